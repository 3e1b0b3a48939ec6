"""From plain settings (a TOML or JSON file, or the command line) to objects, and nowhere else.

Names in settings are public class names, looked up with getattr in the room they belong to.
"""

import copy
import difflib
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from jaxlimit import activations, data, initial, kernels, losses
from jaxlimit._arguments import instance, require
from jaxlimit._typing import RandomKey
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem
from jaxlimit.studies._definiteness import ACTIVATIONS
from jaxlimit.studies._study import Study
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

OBJECTS: dict[str, tuple[ModuleType, str, type]] = {
    "rule": (kernels, "name", kernels.AbstractRule),
    **dict.fromkeys(("activation", "beside"), (activations, "name", activations.AbstractActivation)),
    **dict.fromkeys(("loss", "losses"), (losses, "name", losses.AbstractLoss)),
    **dict.fromkeys(("c", "w", "first", "middle", "last"), (initial, "law", initial.AbstractLaw)),
}
"""Settings that are tables, or lists of them: the room in which a class is named, the key of its name, its kind."""


def resolved_settings(settings: Mapping[str, Any], defaults: Mapping[str, Any] = XAVIER) -> dict[str, Any]:
    """Defaults with the given settings put over them; a table replaces the default table as a whole.

    Raises ``ValueError`` for keys that do not exist.
    """
    require(isinstance(settings, Mapping), "config", "be a table", f"it is {settings!r}")
    unknown = sorted(set(settings) - set(defaults))
    require(not unknown, "config", f"have keys among {sorted(defaults)}", f"it also has {unknown}")
    given = {key: like(defaults[key], value) for key, value in copy.deepcopy(dict(settings)).items()}
    return {**copy.deepcopy(dict(defaults)), **given}


def like(default: Any, value: Any) -> Any:
    """1 is 1.0 where a real number is meant, and a tuple a list: one computation, one text."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, list) and isinstance(value, list | tuple) and default and isinstance(default[0], float):
        return [like(default[0], one) for one in value]
    return list(value) if isinstance(value, tuple) else value


def definiteness_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `jaxlimit run definiteness`, put over their defaults as by `resolved_settings`."""
    return resolved_settings(settings, DEFINITENESS)


def problem_from(settings: Mapping[str, Any]) -> Problem:
    """The problem that resolved settings describe."""
    points = data_from(_table(settings, "data"))
    return Problem(points, network_from(settings), learning_rate=settings["learning_rate"])


def network_from(settings: Mapping[str, Any]) -> Shallow:
    """The network that resolved settings describe."""
    return Shallow(activation_from(_table(settings, "activation")), _initial(settings))


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Resolved settings with every default of the classes that they name written out: of rules, laws, activations…"""
    full = dict(settings)
    for key, where in OBJECTS.items():
        given = settings.get(key)
        if isinstance(given, list | tuple):
            full[key] = [complete(key, one, *where) for one in given]
        elif given is not None:
            full[key] = complete(key, given, *where)
    return full


def complete(key: str, table: Any, room: ModuleType, field: str, kind: type) -> dict[str, Any]:
    """The table with every default of the class that it names. Raises ``ValueError`` for one that names none."""
    named(room, table, key, field, kind)  # what is wrong with it is said in its words
    return completed(room, table, field)


def completed(room: ModuleType, table: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The table with the defaults of its class that a settings file can hold, and numbers of the kind it keeps."""
    kind = getattr(room, table[field])
    parameters = inspect.signature(kind).parameters.values()
    plain = {p.name: p.default for p in parameters if isinstance(p.default, bool | int | float | str | list | tuple)}
    # A signature shows what a converter takes, the class what it keeps.
    real = {name for name, kept in inspect.get_annotations(kind).items() if kept is float}
    return {name: like(0.0 if name in real else plain.get(name), one) for name, one in {**plain, **table}.items()}


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


def key_from(settings: Mapping[str, Any]) -> RandomKey:
    """The key of the settings' seed."""
    seed = settings["seed"]
    whole = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**31
    require(whole, "seed", "be an integer from 0 to 2³¹ − 1", f"it is {seed!r}")
    # Whatever JAX's default is on a machine: other bits would be other networks of the same name.
    return jax.random.key(seed, impl="threefry2x32")


def shared_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What every study of one network takes: the key, and the precision of simulations."""
    dtype = settings["dtype"]
    require(dtype in ("float32", "float64"), "dtype", "be float32 or float64", f"it is {dtype!r}")
    return {"key": key_from(settings), "dtype": jnp.float64 if dtype == "float64" else jnp.float32}


def xavier_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `studies.xavier` beside the problem."""
    shared = shared_arguments(settings)
    rule = None if settings["rule"] is None else rule_from(_table(settings, "rule"))
    return {
        **shared,
        "widths": settings["widths"],
        "replicas": settings["replicas"],
        "path_replicas": settings["path_replicas"],
        "law_width": settings["law_width"],
        "ts": settings["ts"],
        "rule": rule,
    }


def study_from(
    name: str,
    settings: Mapping[str, Any],
    problem: Callable[[Mapping[str, Any]], Problem],
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> Study:
    """The study of this name, with what these two functions make of its settings, and the settings in full."""
    full = complete_settings({**settings, "data": data_settings(_table(settings, "data"))})
    return Study(name, full, problem(full), arguments(full))


def xavier_from(settings: Mapping[str, Any]) -> Study:
    """The study `xavier` that resolved settings describe. Raises ``ValueError`` for settings that do not fit."""
    return study_from("xavier", settings, problem_from, xavier_arguments)


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
    require(isinstance(table, Mapping), where, "be a table", f"it is {table!r}")
    arguments = dict(table)
    name = arguments.pop(field, None)
    public = isinstance(name, str) and not name.startswith(("_", "Abstract"))
    found = getattr(room, name, None) if public else None
    fits = inspect.isclass(found) and issubclass(found, kind)
    choices = sorted(
        n for n, c in vars(room).items() if inspect.isclass(c) and issubclass(c, kind) and not n.startswith("Abstract")
    )
    close = [n for n in choices if isinstance(name, str) and n.lower() == name.lower()]
    close = close or difflib.get_close_matches(str(name), choices, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    require(fits, f"{where}.{field}", f"be one of {', '.join(choices)}", f"it is {name!r}{meant}")
    return _called(found, arguments, where)


def _table(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = settings[key]
    require(isinstance(table, Mapping), key, "be a table", f"it is {table!r}")
    return table


def _called(function: Any, arguments: Mapping[str, Any], where: str) -> Any:
    """The object made with these arguments; what it refuses is named by its place in the settings."""
    parameters = inspect.signature(function).parameters
    name = function.__name__
    unknown = sorted(set(arguments) - set(parameters))
    known = f"have keys among {list(parameters)}, which are those of {name}" if parameters else f"be {name} alone"
    require(not unknown, where, known, f"it also has {unknown}")
    missing = [one for one, p in parameters.items() if p.default is inspect.Parameter.empty and one not in arguments]
    require(not missing, where, f"have keys {missing}, which {name} needs", f"it has {sorted(arguments)}")
    # A default that is written out is the default itself: objects print as if it had been left out.
    plain = {
        key: parameters[key].default if _same(value, parameters[key].default) else value
        for key, value in arguments.items()
    }
    try:
        return function(**plain)
    except ValueError as error:
        raise ValueError(str(error).replace("Argument `", f"Argument `{where}.", 1)) from error


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
