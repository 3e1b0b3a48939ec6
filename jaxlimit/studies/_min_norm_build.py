"""From plain settings to the problem and the arguments of the minimum-norm study."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxlimit import activations
from jaxlimit._arguments import instance, natural_number, positive_integer, require
from jaxlimit.data import Data
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem
from jaxlimit.scalings import FixedStep
from jaxlimit.studies._build import (
    data_from,
    data_settings,
    named,
    network_from,
    resolved_settings,
    rule_from,
    shared_arguments,
    study_from,
)
from jaxlimit.studies._min_norm import MIN_NORM_REPLICAS, MIN_NORM_STEPS, MIN_NORM_WIDTHS, NOISE
from jaxlimit.studies._study import Study

MIN_NORM: dict[str, Any] = {
    "data": {"source": "polynomial", "points": 100, "inputs": 5, "power": 2, "bias": True},
    "standardise": True,
    "held_out": 100,
    "activation": {"name": "Relu"},
    "beside": {"name": "Erf"},
    "twin": True,
    "c": {"law": "Rademacher"},
    "w": {"law": "Normal"},
    "train_output": False,
    "eta": 1.0,
    "rule": None,
    "labels": {"source": "digits", "classes": [0, 1], "points": 250},
    "labels_held_out": 100,
    "shares": list(NOISE),
    "delta": 0.01,
    "seed": 0,
    "dtype": "float32",
    "widths": list(MIN_NORM_WIDTHS),
    "replicas": MIN_NORM_REPLICAS,
    "steps": MIN_NORM_STEPS,
}
"""Defaults of ``jaxlimit run min_norm``. `standardise`: points have length √inputs, before a bias, and targets mean 0
and variance 1 over the data. `labels` None leaves the bound out; targets other than ±1, as those of diabetes, count as
the signs of what exceeds the median of the points to train on."""

EXTEND = ("digits", "diabetes", "teacher", "polynomial")
"""Functions of jaxlimit.data whose first points do not depend on how many there are."""


def min_norm_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `jaxlimit run min_norm`, over their defaults as by `resolved_settings`; "none" is no `beside`."""
    found = resolved_settings(settings, MIN_NORM)
    # TOML has no null.
    return {**found, "beside": None if found["beside"] == "none" else found["beside"]}


def min_norm_problem(settings: Mapping[str, Any]) -> Problem:
    """The problem that resolved settings describe, with steps of size `eta` of the mean loss."""
    return Problem(_points(settings)[0], _network(settings), FixedStep(settings["eta"]))


def min_norm_from(settings: Mapping[str, Any]) -> Study:
    """The study `min_norm` that resolved settings describe. Raises ``ValueError`` for settings that do not fit."""
    labels = settings["labels"]
    try:
        full = None if labels is None else data_settings(instance("labels", labels, dict, "be a table"))
    except ValueError as error:  # it is this table that is wrong, not `data`
        raise ValueError(str(error).replace("Argument `data", "Argument `labels", 1)) from error
    return study_from("min_norm", {**settings, "labels": full}, min_norm_problem, min_norm_arguments)


def min_norm_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.min_norm` beside the problem, the held-out data among them."""
    shared = shared_arguments(settings)
    for name, kind, plural in (("widths", int, "integers"), ("shares", int | float, "numbers")):
        value = settings[name]
        fits = isinstance(value, list | tuple) and all(isinstance(x, kind) and not isinstance(x, bool) for x in value)
        require(fits, name, f"be a list of {plural}", f"it is {value!r}")
    given = settings["beside"]
    beside = None if given is None else named(activations, given, "beside", "name", activations.AbstractActivation)
    return {
        **{name: settings[name] for name in ("widths", "replicas", "steps", "twin", "shares", "delta")},
        **shared,
        "rule": None if settings["rule"] is None else rule_from(settings["rule"]),
        "beside": beside,
        "held_out": _points(settings)[1],
        "labels": None if settings["labels"] is None else _labels(settings),
    }


def _labels(settings: Mapping[str, Any]) -> tuple[Data, Data | None]:
    """Labels ±1 to train and to test on, parted at one and the same value where targets are real."""
    count = positive_integer("labels_held_out", settings["labels_held_out"])
    table = instance("labels", settings["labels"], dict, "be a table")
    try:
        own, other = _parted(table, "labels_held_out", count)
    except ValueError as error:  # it is this table that is wrong, not `data`
        raise ValueError(str(error).replace("Argument `data", "Argument `labels", 1)) from error
    if other is None or all(bool(np.all(np.abs(one.y) == 1.0)) for one in (own, other)):
        return own, other
    return own.with_signs(), other.with_signs(float(np.median(own.y)))


def _network(settings: Mapping[str, Any]) -> Shallow:
    made = network_from(settings)
    return Shallow(made.activation, made.initial, instance("train_output", settings["train_output"], bool))


def _points(settings: Mapping[str, Any]) -> tuple[Data, Data | None]:
    """The data and the points after them, on the scale of the data."""
    table, standardise = (
        dict(instance("data", settings["data"], dict, "be a table")),
        instance("standardise", settings["standardise"], bool),
    )
    count = natural_number("held_out", settings["held_out"])
    bias = instance("data.bias", table.pop("bias", False), bool)
    own, other = _parted(table, "held_out", count)
    if standardise:
        own, other = _standardised(own, own), None if other is None else _standardised(other, own)
    return (own.with_bias(), None if other is None else other.with_bias()) if bias else (own, other)


def _parted(table: Mapping[str, Any], name: str, count: int) -> tuple[Data, Data | None]:
    """The first points, and those that follow them."""
    own = data_from(table)
    source = table.get("source")
    further = source in EXTEND or not count
    where = f"be 0 for {source} data, which have no further points (pass --held-out 0)"
    require(further or name != "held_out", name, where, f"it is {count}")
    require(further, "data.source", f"be one of {', '.join(EXTEND)}, which have points to test on", f"it is {source}")
    if not count:
        return own, None
    both = data_from({**table, "points": own.points + count})
    return own, Data(both.x[own.points :], both.y[own.points :])


def _standardised(data: Data, like: Data) -> Data:
    """Points of length √inputs; targets less the mean of `like` and over its deviation."""
    deviation, lengths = float(np.std(like.y)), np.linalg.norm(data.x, axis=1, keepdims=True)
    require(deviation > 0, "standardise", "be false where all targets are the same", "it is true")
    require(bool(np.all(lengths > 0)), "standardise", "be false where a point is zero", "it is true")
    return Data(data.x * (np.sqrt(data.inputs) / lengths), (data.y - np.mean(like.y)) / deviation)
