"""From plain settings to the problem and the arguments of the study of the early stage."""

from collections.abc import Mapping
from typing import Any

from jaxlimit import initial, losses
from jaxlimit._arguments import require
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem
from jaxlimit.scalings import FixedStep
from jaxlimit.studies._build import activation_from, data_from, named, resolved_settings, shared_arguments, study_from
from jaxlimit.studies._mild import ETAS, LOSSES, NARROW, START_WIDTHS, TAIL_TIMES, WIDTHS
from jaxlimit.studies._study import Study

MILD: dict[str, Any] = {
    "data": {"source": "aligned", "points": 20, "inputs": 10, "bias": False},
    "activation": {"name": "Relu"},
    "c": {"law": "Rademacher", "scale": 1.0},
    "w": {"law": "Normal", "mean": 0.0, "std": 0.00125},
    "width_power": -0.5,
    "eta": 0.1,
    "gamma": 0.0,
    "losses": [{"name": type(loss).__name__} for loss in LOSSES],
    "seed": 0,
    "widths": list(WIDTHS),
    "narrow": list(NARROW),
    "replicas": 32,
    "etas": list(ETAS),
    "step_width": 256,
    "share": 0.1,
    "horizon": 4.0,
    "descent_replicas": 512,
    "partition_width": 64,
    "start_widths": list(START_WIDTHS),
    "starts": 20_000,
    "tail_ts": list(TAIL_TIMES),
    "tail_width": 32,
    "tail_eta": 0.5,
    "dtype": "float32",
}
"""Defaults of ``jaxlimit run mild``: one table per object, its keys the arguments of the class named."""

PIECES = ("data", "activation", "c", "w", "width_power", "eta", "gamma")
"""What makes the problem; the rest are arguments of the study."""


def mild_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `jaxlimit run mild`, put over their defaults as by `resolved_settings`."""
    return resolved_settings(settings, MILD)


def mild_problem(settings: Mapping[str, Any]) -> Problem:
    """The problem that resolved settings describe; the study puts each of its losses in."""
    c, w = (named(initial, settings[key], key, "law", initial.AbstractLaw) for key in ("c", "w"))
    law = initial.Initial(c, w, settings["width_power"])
    network = Shallow(activation_from(settings["activation"]), law)
    return Problem(data_from(settings["data"]), network, FixedStep(settings["eta"], settings["gamma"]))


def mild_from(settings: Mapping[str, Any]) -> Study:
    """The study `mild` that resolved settings describe. Raises ``ValueError`` for settings that do not fit."""
    return study_from("mild", settings, mild_problem, mild_arguments)


def mild_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.mild` beside the problem."""
    shared = shared_arguments(settings)
    for key in ("widths", "narrow", "etas", "start_widths", "tail_ts"):
        require(isinstance(settings[key], list | tuple), key, "be a list of numbers", f"it is {settings[key]!r}")
    given = settings["losses"]
    tables = isinstance(given, list | tuple) and all(isinstance(one, Mapping) for one in given)
    require(tables, "losses", "be a list of tables", f"it is {given!r}")
    rest = {key: value for key, value in settings.items() if key not in (*PIECES, "seed", "losses", "dtype")}
    return {
        **shared,
        **rest,
        "losses": [named(losses, one, "losses", "name", losses.AbstractLoss) for one in given],
    }
