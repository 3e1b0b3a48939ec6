"""From plain settings (a TOML or JSON file, or the command line) to objects, and nowhere else.

Names in settings are public class names, looked up with getattr in the room they belong to.
"""

import copy
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from jaxlimit import activations, data, initial, kernels
from jaxlimit._arguments import instance, require
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem
from jaxlimit.studies._definiteness import ACTIVATIONS
from jaxlimit.studies._xavier import TIMES, WIDTHS

XAVIER: dict[str, Any] = {
    "data": {"source": "digits", "classes": [3, 8], "points": 20, "bias": False},
    "activation": {"name": "Erf"},
    "c": {"law": "Uniform", "low": -1.0, "high": 1.0},
    "w": {"law": "Normal", "mean": 0.0, "std": 1.0},
    "rule": None,
    "learning_rate": 1.0,
    "seed": 0,
    "widths": list(WIDTHS),
    "replicas": 8192,
    "path_replicas": None,
    "law_width": None,
    "ts": list(TIMES),
    "dtype": "float32",
}
"""Defaults of ``jaxlimit run xavier``: one table per object, its keys the arguments of the class named."""

DEFINITENESS: dict[str, Any] = {
    "data": {"source": "digits", "points": 20},
    "activation": [{"name": type(one).__name__, **vars(one)} for one in ACTIVATIONS],
    "c": XAVIER["c"],
    "w": XAVIER["w"],
    "rule": None,
    "variants": True,
}
"""Defaults of ``jaxlimit run definiteness`` and ``jaxlimit certify``; `activation` is a list of tables."""


def resolved_settings(settings: Mapping[str, Any], defaults: Mapping[str, Any] = XAVIER) -> dict[str, Any]:
    """Defaults with the given settings put over them; a table replaces the default table as a whole.

    Raises ``ValueError`` for keys that do not exist.
    """
    require(isinstance(settings, Mapping), "config", "be a table", f"it is {settings!r}")
    unknown = sorted(set(settings) - set(defaults))
    require(not unknown, "config", f"have keys among {sorted(defaults)}", f"it also has {unknown}")
    return {**copy.deepcopy(dict(defaults)), **copy.deepcopy(dict(settings))}


def definiteness_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `jaxlimit run definiteness`, put over their defaults as by `resolved_settings`."""
    return resolved_settings(settings, DEFINITENESS)


def problem_from(settings: Mapping[str, Any]) -> Problem:
    """The problem that resolved settings describe."""
    points = data_from(_table(settings, "data"))
    network = Shallow(activation_from(_table(settings, "activation")), _initial(settings))
    return Problem(points, network, learning_rate=settings["learning_rate"])


def data_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The table of `data_from` with every argument of the function that it names, defaults written out."""
    parameters = inspect.signature(_source(settings)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {"source": settings["source"], **defaults, "bias": False, **settings}


def data_from(settings: Mapping[str, Any]) -> data.Data:
    """The data that a table describes: `source` names a function of jaxlimit.data, `bias` appends a coordinate 1."""
    table = dict(settings)
    bias = instance("data.bias", table.pop("bias", False), bool)
    function = _source(table)
    del table["source"]
    points = _called(function, table, "data")
    return points.with_bias() if bias else points


def activation_from(table: Mapping[str, Any]) -> activations.AbstractActivation:
    """The activation that a table describes."""
    return named(activations, table, "activation", "name", activations.AbstractActivation)


def rule_from(table: Mapping[str, Any]) -> kernels.AbstractRule:
    """The kernel rule that a table describes."""
    return named(kernels, table, "rule", "name", kernels.AbstractRule)


def xavier_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.xavier` beside the problem."""
    seed, dtype = settings["seed"], settings["dtype"]
    require(dtype in ("float32", "float64"), "dtype", "be float32 or float64", f"it is {dtype!r}")
    whole = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**31
    require(whole, "seed", "be an integer from 0 to 2³¹ − 1", f"it is {seed!r}")
    rule = None if settings["rule"] is None else rule_from(_table(settings, "rule"))
    return {
        "key": jax.random.key(seed),
        "widths": settings["widths"],
        "replicas": settings["replicas"],
        "path_replicas": settings["path_replicas"],
        "law_width": settings["law_width"],
        "ts": settings["ts"],
        "rule": rule,
        "dtype": jnp.float64 if dtype == "float64" else jnp.float32,
    }


def definiteness_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.definiteness` beside the points, from settings resolved with its defaults."""
    chosen, variants = settings["activation"], instance("variants", settings["variants"], bool)
    tables = isinstance(chosen, list) and all(isinstance(one, Mapping) for one in chosen)
    require(tables, "activation", "be a list of tables", f"it is {chosen!r}")
    return {
        "activations": [activation_from(one) for one in chosen],
        "initial": _initial(settings),
        "rule": None if settings["rule"] is None else rule_from(_table(settings, "rule")),
        "variants": variants,
    }


def _initial(settings: Mapping[str, Any]) -> initial.Initial:
    """The law of a neuron that the tables c and w describe."""
    return initial.Initial(
        c=named(initial, _table(settings, "c"), "c", "law", initial.AbstractLaw),
        w=named(initial, _table(settings, "w"), "w", "law", initial.AbstractLaw),
    )


def _source(settings: Mapping[str, Any]) -> Any:
    """The function of jaxlimit.data that a table names."""
    source = settings.get("source")
    function = getattr(data, source, None) if isinstance(source, str) and not source.startswith("_") else None
    made = inspect.isfunction(function) and inspect.signature(function).return_annotation is data.Data
    require(bool(made), "data.source", "name a function of jaxlimit.data that makes Data", f"it is {source!r}")
    return function


def named(room: ModuleType, table: Mapping[str, Any], where: str, field: str, kind: type) -> Any:
    """An object of the public class that `table[field]` names in the room, made with the table's other keys."""
    arguments = dict(table)
    name = arguments.pop(field, None)
    public = isinstance(name, str) and not name.startswith(("_", "Abstract"))
    found = getattr(room, name, None) if public else None
    fits = inspect.isclass(found) and issubclass(found, kind)
    choices = sorted(
        n for n, c in vars(room).items() if inspect.isclass(c) and issubclass(c, kind) and not n.startswith("Abstract")
    )
    require(fits, f"{where}.{field}", f"be one of {', '.join(choices)}", f"it is {name!r}")
    return _called(found, arguments, where)


def _table(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = settings[key]
    require(isinstance(table, Mapping), key, "be a table", f"it is {table!r}")
    return table


def _called(function: Any, arguments: Mapping[str, Any], where: str) -> Any:
    """The object made with these arguments; what it refuses is named by its place in the settings."""
    parameters = inspect.signature(function).parameters
    unknown = sorted(set(arguments) - set(parameters))
    require(not unknown, where, f"have keys among {list(parameters)}", f"it also has {unknown}")
    missing = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty and name not in arguments]
    require(not missing, where, f"have keys {missing}", f"it has {sorted(arguments)}")
    try:
        return function(**arguments)
    except ValueError as error:
        raise ValueError(str(error).replace("Argument `", f"Argument `{where}.", 1)) from error
