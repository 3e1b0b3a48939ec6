"""Variants of what networks with several hidden layers are made of: a part of the table of cases."""

import jaxlimit as jl

LAYERWISE_SCALINGS = {
    "layerwise mean field": jl.LayerwiseMeanField(0.05),
    "deep powers": jl.DeepPowerScaling((0.6, 0.9)),
}

EMBEDDINGS = {
    "independent": jl.initial.IndependentLayers((jl.initial.Normal(), *(jl.initial.Normal(1.0, 1.0),) * 3)),
    "independent, biases": jl.initial.IndependentLayers(
        (jl.initial.Normal(), jl.initial.Uniform(0, 1), jl.initial.Rademacher(), jl.initial.Normal(1.0, 1.0)),
        (jl.initial.Normal(),) * 4,
    ),
    "correlated": jl.initial.CorrelatedLayers(modes=5, mean=0.5),
    "correlated, biases": jl.initial.CorrelatedLayers(biases=(jl.initial.Uniform(),) * 4),
}
"""For four layers."""

NETWORKS = {"multilayer": jl.networks.Multilayer((jl.activations.Tanh(),) * 3, EMBEDDINGS["independent"])}
