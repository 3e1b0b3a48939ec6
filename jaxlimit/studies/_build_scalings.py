"""From plain settings to the arguments of the studies of other scalings, as `_build` does for Xavier's."""

from collections.abc import Mapping
from typing import Any

from jaxlimit._arguments import natural_number, require
from jaxlimit.data import Data
from jaxlimit.problem import Problem
from jaxlimit.scalings import MeanField
from jaxlimit.studies._build import (
    XAVIER,
    data_from,
    problem_from,
    resolved_settings,
    rule_from,
    shared_arguments,
    study_from,
)
from jaxlimit.studies._mean_field import MEASURE_REPLICAS, MEASURE_WIDTHS, REPLICAS
from jaxlimit.studies._mean_field import TIMES as MEAN_FIELD_TIMES
from jaxlimit.studies._mean_field import WIDTHS as MEAN_FIELD_WIDTHS
from jaxlimit.studies._normalisation import GAMMAS, SCALING_TIMES, SCALING_WIDTHS
from jaxlimit.studies._study import Study

HELD_OUT = 100
"""Digits to test on, where the data are digits."""

_SHARED = {key: XAVIER[key] for key in ("data", "activation", "c", "w", "learning_rate", "seed", "dtype")}

MEAN_FIELD: dict[str, Any] = {
    **_SHARED,
    "widths": list(MEAN_FIELD_WIDTHS),
    "replicas": REPLICAS,
    "ts": list(MEAN_FIELD_TIMES),
    "law_width": 256,
    "path_replicas": 64,
    "measure_widths": list(MEASURE_WIDTHS),
    "measure_replicas": MEASURE_REPLICAS,
    "particles": 8192,
}
"""Defaults of ``jaxlimit run mean_field``."""

NORMALISATION: dict[str, Any] = {
    **_SHARED,
    "rule": None,
    "held_out": None,
    "gammas": list(GAMMAS),
    "widths": list(SCALING_WIDTHS),
    "replicas": 4096,
    "path_replicas": 3072,
    "law_width": 512,
    "ts": list(SCALING_TIMES),
    "particles": 4096,
}
"""Defaults of ``jaxlimit run normalisation``; `held_out` None is 100 further images for digits, and none for others."""


def mean_field_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `jaxlimit run mean_field`, put over their defaults as by `resolved_settings`."""
    return resolved_settings(settings, MEAN_FIELD)


def normalisation_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `jaxlimit run normalisation`, put over their defaults as by `resolved_settings`."""
    return resolved_settings(settings, NORMALISATION)


def mean_field_problem(settings: Mapping[str, Any]) -> Problem:
    """The problem that resolved settings describe, in the mean-field scaling."""
    given = problem_from(settings)
    return Problem(given.data, given.network, MeanField(), given.loss, given.learning_rate)


def mean_field_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.mean_field` beside the problem."""
    names = (
        "widths",
        "replicas",
        "ts",
        "law_width",
        "path_replicas",
        "measure_widths",
        "measure_replicas",
        "particles",
    )
    return {**shared_arguments(settings), **{name: settings[name] for name in names}}


def mean_field_from(settings: Mapping[str, Any]) -> Study:
    """The study `mean_field` that resolved settings describe. Raises ``ValueError`` for settings that do not fit."""
    return study_from("mean_field", settings, mean_field_problem, mean_field_arguments)


def normalisation_from(settings: Mapping[str, Any]) -> Study:
    """The study `normalisation` that resolved settings describe. Raises ``ValueError`` for settings that do not fit."""
    return study_from("normalisation", settings, problem_from, normalisation_arguments)


def normalisation_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.normalisation` beside the problem, the held-out data among them."""
    names = ("gammas", "widths", "replicas", "path_replicas", "law_width", "ts", "particles")
    rule = None if settings["rule"] is None else rule_from(settings["rule"])
    found = {name: settings[name] for name in names}
    return {**shared_arguments(settings), **found, "rule": rule, "held_out": held_out_from(settings)}


def held_out_from(settings: Mapping[str, Any]) -> Data | None:
    """The images that follow those of the table `data`, or None where there are to be none."""
    table = settings["data"]
    real = table.get("source") == "digits"
    count = settings["held_out"]
    count = (HELD_OUT if real else 0) if count is None else natural_number("held_out", count)
    require(real or not count, "held_out", "be 0 for data that are not digits", f"it is {count}")
    if not count:
        return None
    points = data_from(table).points
    both = data_from({**table, "points": points + count})
    return Data(both.x[points:], both.y[points:])
