"""From plain settings to the problem and the arguments of the multilayer study."""

from collections.abc import Mapping
from typing import Any

from jaxlimit import initial, losses
from jaxlimit._arguments import positive_integer, require
from jaxlimit.networks import Multilayer
from jaxlimit.problem import Problem
from jaxlimit.scalings import LayerwiseMeanField
from jaxlimit.studies._build import activation_from, data_from, key_from, named, resolved_settings, study_from
from jaxlimit.studies._multilayer import LOSSES, RESOLUTIONS, SPREAD_WIDTHS, TIMES, WIDTHS
from jaxlimit.studies._study import Study

MULTILAYER: dict[str, Any] = {
    "data": {"source": "teacher", "points": 10, "inputs": 10, "bias": False},
    "activation": {"name": "Tanh"},
    "layers": 3,
    "first": {"law": "Normal", "mean": 0.0, "std": 1.0},
    "middle": {"law": "Normal", "mean": 1.0, "std": 1.0},
    "last": {"law": "Normal", "mean": 1.0, "std": 1.0},
    "correlated": False,
    "loss": {"name": "Huber"},
    "losses": [{"name": type(loss).__name__} for loss in LOSSES],
    "epsilon": 0.02,
    "xi": 1.0,
    "learning_rate": 1.0,
    "seed": 0,
    "widths": list(WIDTHS),
    "reference": 1024,
    "replicas": 128,
    "ts": list(TIMES),
    "step_width": 32,
    "step_replicas": 192,
    "resolutions": list(RESOLUTIONS),
    "spread_widths": list(SPREAD_WIDTHS),
    "spread_replicas": 12,
    "spread_end": 4.0,
    "loss_width": 128,
    "loss_replicas": 4,
    "end": 100.0,
}
"""Defaults of ``jaxlimit run multilayer``: one table per object, its keys the arguments of the class named."""

PIECES = (
    "data",
    "activation",
    "layers",
    "first",
    "middle",
    "last",
    "correlated",
    "loss",
    "epsilon",
    "xi",
    "learning_rate",
)
"""What makes the problem; the rest are arguments of the study."""


def multilayer_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `jaxlimit run multilayer`, put over their defaults as by `resolved_settings`."""
    return resolved_settings(settings, MULTILAYER)


def multilayer_problem(settings: Mapping[str, Any]) -> Problem:
    """The problem that resolved settings describe: one activation and one law of middle weights for all layers."""
    layers = positive_integer("layers", settings["layers"])
    require(layers >= 3, "layers", "be 3 or more: two hidden layers and the output", f"it is {layers}")
    first, middle, last = (
        named(initial, settings[key], key, "law", initial.AbstractLaw) for key in ("first", "middle", "last")
    )
    correlated = settings["correlated"]
    require(isinstance(correlated, bool), "correlated", "be true or false", f"it is {correlated!r}")
    law: initial.AbstractEmbedding
    if correlated:
        law = initial.CorrelatedLayers(mean=middle.mean, first=first, last=last)
    else:
        law = initial.IndependentLayers((first, *(middle,) * (layers - 2), last))
    network = Multilayer((activation_from(settings["activation"]),) * (layers - 1), law)
    scaling = LayerwiseMeanField(settings["epsilon"], settings["xi"])
    scaling.schedules(layers)
    loss = named(losses, settings["loss"], "loss", "name", losses.AbstractLoss)
    return Problem(data_from(settings["data"]), network, scaling, loss, settings["learning_rate"])


def multilayer_from(settings: Mapping[str, Any]) -> Study:
    """The study `multilayer` that resolved settings describe. Raises ``ValueError`` for settings that do not fit."""
    return study_from("multilayer", settings, multilayer_problem, multilayer_arguments)


def multilayer_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.multilayer` beside the problem."""
    key = key_from(settings)
    rest = {key: value for key, value in settings.items() if key not in (*PIECES, "seed", "losses")}
    tables = settings["losses"]
    listed = isinstance(tables, list | tuple) and all(isinstance(one, Mapping) for one in tables)
    require(listed, "losses", "be a list of tables", f"it is {tables!r}")
    chosen = [named(losses, one, "losses", "name", losses.AbstractLoss) for one in tables]
    return {"key": key, **rest, "losses": chosen}
