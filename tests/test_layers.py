"""Initial weights of several layers: nested draws, the sums over modes, and what keeps neurons different at depth."""

from functools import partial

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxlimit as jl
from tests import laws
from tests.cases import each
from tests.layer_cases import EMBEDDINGS

KEY = jax.random.key(5)
NORMAL = jl.initial.Normal
SMALL = (6, 5, 4)
HASTY = {"xla_backend_optimization_level": 0}
"""The programs here are long and run once."""


@partial(eqx.filter_jit, compiler_options=HASTY)
def drawn(law, key, widths, inputs):
    """The law's sample in one program: operation by operation each would be compiled by itself."""
    return law.sample(key, widths, inputs)


@pytest.mark.parametrize("law", each(EMBEDDINGS))
class TestEveryEmbedding:
    """Four layers, three inputs."""

    def test_shapes_are_those_of_the_widths_and_numbers_are_float32(self, law):
        weights, biases = drawn(law, KEY, SMALL, 3)
        assert [w.shape for w in weights] == [(6, 3), (6, 5), (5, 4), (4,)]
        assert [b.shape for b in biases] == ([(6,), (5,), (4,), ()] if law.biases else [])
        assert {a.dtype for a in (*weights, *biases)} == {np.dtype(np.float32)}

    def test_a_wider_network_contains_the_narrower_one(self, law):
        """In every layer by itself; the correlated one up to the rounding of its products."""
        (w1, w2, w3, w4), wide = jax.tree.map(np.asarray, drawn(law, KEY, (40, 5, 60), 3))
        weights, biases = jax.tree.map(np.asarray, drawn(law, KEY, SMALL, 3))
        for mine, theirs in zip(weights, (w1[:6], w2[:6], w3[:, :4], w4[:4]), strict=True):
            assert np.allclose(mine, theirs, rtol=1e-5, atol=1e-5)
        for mine, theirs in zip(biases, wide, strict=True):
            assert np.array_equal(mine, theirs[: mine.size] if mine.ndim else theirs)

    def test_means_are_the_stated_ones(self, law):
        """Averages over 40,000 networks of one number each: independent whatever the law."""
        one = lambda key: [w.ravel()[-1] for w in law.sample(key, (2, 2, 2), 3)[0]]  # noqa: E731
        draw = jax.jit(jax.vmap(one), compiler_options=HASTY)
        for values, mean in zip(draw(jax.random.split(KEY, 40_000)), law.means(4), strict=True):
            laws.assert_mean(np.asarray(values, np.float64), mean, detectable=0.15)

    def test_different_keys_give_different_draws_and_layers_have_streams_of_their_own(self, law):
        first, second = (drawn(law, jax.random.key(seed), SMALL, 3)[0] for seed in (0, 1))
        for mine, theirs in zip(first, second, strict=True):
            assert not np.array_equal(mine, theirs)
        assert len({float(np.asarray(w).ravel()[1]) for w in first}) == 4


def test_rows_of_middle_layers_are_independent_and_follow_their_law():
    law = EMBEDDINGS["independent, biases"]
    w2 = np.asarray(drawn(law, KEY, (400, 300, 2), 3)[0][1], np.float64)
    laws.assert_law(w2.ravel(), lambda z: np.clip(z, 0, 1), detectable=0.02)
    correlations = np.corrcoef(w2)[np.triu_indices(400, 1)]
    laws.assert_mean(correlations, 0.0, detectable=0.01)


def test_correlated_weights_are_the_sums_over_modes_of_their_formula():
    """Fitted, not recomputed: w_2 − mean is a matrix of features of w_1 times f, plus g times features of s(c_2)."""
    law = jl.initial.CorrelatedLayers(modes=3, signature=2, size=0.7, decay=0.5, mean=0.25)
    w1, w2, w3, _ = (np.asarray(w, np.float64) for w in drawn(law, KEY, (30, 40, 50), 3)[0])
    for w in (w2, w3):
        singular = np.linalg.svd(w - 0.25, compute_uv=False)
        assert np.sum(singular > 1e-5 * singular[0]) == 2 * law.modes
    # Features of the rows of w_1 lie in the span of the columns of w_2, and no other functions of them do.
    features = np.asarray(law._features(2, w1.astype(np.float32)), np.float64)
    columns = np.linalg.svd(w2 - 0.25)[0][:, : 2 * law.modes]
    outside = lambda v: np.linalg.norm(v - columns @ (columns.T @ v)) / np.linalg.norm(v)  # noqa: E731
    assert outside(features) < 1e-4
    assert outside(np.asarray(law._features(3, w1.astype(np.float32)), np.float64)) > 0.3
    assert np.max(np.abs(features)) <= np.sqrt(2) + 1e-6


def test_a_law_of_modes_is_the_same_for_all_networks_and_another_for_other_maps():
    """e_r belong to the law: with one mode, w_2 of two networks agrees where their neurons do."""
    law, other = (jl.initial.CorrelatedLayers(modes=4, maps=maps) for maps in (0, 1))
    rows = NORMAL().sample(KEY, (10, 3))
    assert np.array_equal(law._features(2, rows), jl.initial.CorrelatedLayers(modes=4)._features(2, rows))
    assert not np.allclose(law._features(2, rows), other._features(2, rows))


def spread(law, n, seed, layers=4):
    network = jl.networks.Multilayer((jl.activations.Tanh(),) * (layers - 1), law)
    parameters = jl.networks.Layers(*drawn(law, jax.random.key(seed), (n,) * (layers - 1), 3))
    return [float(s.value[0]) for s in jl.diagnostics.neuron_spread(network, parameters, np.ones((1, 3)) / np.sqrt(3))]


@pytest.mark.parametrize("name", ["independent", "correlated"])
def test_neurons_of_the_second_layer_stay_different_with_correlated_weights_alone(name):
    """L = 4: independent weights lose a half at four times the width, correlated ones nothing. Means of 6 networks."""
    law = EMBEDDINGS["independent"] if name == "independent" else jl.initial.CorrelatedLayers()
    narrow, wide = (np.mean([spread(law, n, seed)[1] for seed in range(6)]) for n in (64, 256))
    if name == "independent":
        assert 0.4 < wide / narrow < 0.6
    else:
        assert 0.75 < wide / narrow < 1.33
        assert wide > 0.2


THREE = jl.networks.Multilayer((jl.activations.Tanh(),) * 3, EMBEDDINGS["independent"])


@pytest.mark.parametrize(("bias", "kept"), [(jl.initial.Dirac(0.5), False), (NORMAL(0.0, 0.5), True)])
def test_at_the_start_neurons_of_the_second_of_three_layers_differ_by_random_biases_alone(bias, kept):
    """L = 3: the spread of the weights' part halves at four times the width. Means of 6 networks."""
    law = jl.initial.IndependentLayers((NORMAL(), NORMAL(1, 1), NORMAL(1, 1)), (bias,) * 3)
    narrow, wide = (np.mean([spread(law, n, seed, layers=3)[1] for seed in range(6)]) for n in (64, 256))
    assert 0.85 < wide / narrow < 1.15 if kept else 0.4 < wide / narrow < 0.6


REFUSED = {
    "one layer": ("weights", lambda: jl.initial.IndependentLayers((NORMAL(),))),
    "a class": ("weights", lambda: jl.initial.IndependentLayers((NORMAL, NORMAL()))),
    "no sequence": ("weights", lambda: jl.initial.IndependentLayers(3)),
    "vectors in the middle": (
        "weights",
        lambda: jl.initial.IndependentLayers((NORMAL(), jl.initial.MultivariateNormal(np.eye(2)))),
    ),
    "biases": ("biases", lambda: jl.initial.IndependentLayers((NORMAL(), NORMAL()), (NORMAL(),))),
    "modes": ("modes", lambda: jl.initial.CorrelatedLayers(modes=0)),
    "signature": ("signature", lambda: jl.initial.CorrelatedLayers(modes=2, signature=3)),
    "size": ("size", lambda: jl.initial.CorrelatedLayers(size=0.0)),
    "decay": ("decay", lambda: jl.initial.CorrelatedLayers(decay=-1.0)),
    "a mean that is none": ("mean", lambda: jl.initial.CorrelatedLayers(mean=float("nan"))),
    "a mean that is text": ("mean", lambda: jl.initial.CorrelatedLayers(mean="x")),
    "first inputs": (
        "network",
        lambda: jl.initial.CorrelatedLayers(first=jl.initial.MultivariateNormal(np.eye(2))).sample(KEY, (4, 4), 3),
    ),
    "maps": ("maps", lambda: jl.initial.CorrelatedLayers(maps=-1)),
    "first": ("first", lambda: jl.initial.CorrelatedLayers(first=1.0)),
    "last": ("last", lambda: jl.initial.CorrelatedLayers(last=jl.initial.MultivariateNormal(np.eye(2)))),
    "no activations": ("activations", lambda: jl.networks.Multilayer((), EMBEDDINGS["independent"])),
    "an activation's class": (
        "activations",
        lambda: jl.networks.Multilayer((jl.activations.Tanh,) * 3, EMBEDDINGS["independent"]),
    ),
    "layers": ("initial", lambda: jl.networks.Multilayer((jl.activations.Tanh(),), EMBEDDINGS["independent"])),
    "a law of neurons": ("initial", lambda: jl.networks.Multilayer((jl.activations.Tanh(),), jl.Initial())),
    "biases of the modes": (
        "biases",
        lambda: jl.networks.Multilayer((jl.activations.Tanh(),), EMBEDDINGS["correlated, biases"]),
    ),
    "one width too few": ("width", lambda: THREE.init((8, 4), 3, KEY)),
    "one width too many": ("width", lambda: THREE.init((8, 4, 2, 2), 3, KEY)),
    "no neurons": ("width", lambda: THREE.init((8, 0, 2), 3, KEY)),
    "a number for widths": ("width", lambda: THREE.init(5, 3, KEY)),
    "train": (
        "train",
        lambda: jl.networks.Multilayer((jl.activations.Tanh(),) * 3, EMBEDDINGS["correlated"], train=(True, False)),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, attempt = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        attempt()


def test_a_law_of_all_of_w_has_its_own_number_of_inputs():
    law = jl.initial.IndependentLayers((jl.initial.MultivariateNormal(np.eye(2)), NORMAL()))
    with pytest.raises(ValueError, match="Argument `network` must draw w_1 with 3 coordinates like the points"):
        law.sample(KEY, (4,), 3)
    assert law.sample(KEY, (4,), 2)[0][0].shape == (4, 2)
