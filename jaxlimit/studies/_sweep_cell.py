"""From the settings of one cell to what is simulated; every name in them is looked up here and in `_build`."""

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from jaxlimit import diagnostics, initial, scalings, simulation
from jaxlimit._arguments import instance, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.data import Data
from jaxlimit.networks import AbstractNetwork, Linearised, Multilayer, Shallow
from jaxlimit.problem import Problem
from jaxlimit.studies._build import OBJECTS, data_from, named, shared_arguments
from jaxlimit.studies._build_scalings import held_out_from

ROOMS = {
    **{key: OBJECTS[key] for key in ("activation", "c", "w", "loss")},
    "scaling": (scalings, "name", scalings.AbstractScaling),
    "method": (simulation, "name", simulation.AbstractMethod),
}
"""Tables that name a class: the room it is looked up in, the key of its name, and its kind."""

STREAM = (
    "data",
    "linearised",
    "train_output",
    "layers",
    "activation",
    "c",
    "w",
    "scaling",
    "loss",
    "learning_rate",
    "width",
    "batch",
    "optimiser",
)
"""What gives a cell random numbers of its own. Precision, method, times and observables do not: such cells are the same
networks, looked at in another way."""


class SweepRun(NamedTuple):
    """What a cell simulates: `simulate(problem, width, ts, replicas=…, **arguments)`; and the targets of all points."""

    problem: Problem
    width: Any
    ts: Host
    arguments: dict[str, Any]
    targets: Host


class Observed(eqx.Module):
    """Several observables as one, by name; equal ones share a compilation."""

    names: tuple[str, ...] = eqx.field(static=True)
    each: tuple[Callable[[Any, Any], Any], ...]

    def __call__(self, parameters: Any, start: Any) -> dict[str, Any]:
        """Every observable under its name."""
        return {name: one(parameters, start) for name, one in zip(self.names, self.each, strict=True)}


def sweep_run(settings: Mapping[str, Any]) -> SweepRun:
    """What the settings of a cell describe. Raises ``ValueError``, also where data are not those of the sweep."""
    given = {key: value for key, value in settings.items() if key != "replicas"}
    found = _run(json.dumps(given, sort_keys=True), _stamp(settings))
    why = {
        "data_sha256": ("data", "their numbers are others here: another version of their source?"),
        "code_sha256": ("observe, optimiser", "the text of their functions is another one here"),
        "x64": ("optimiser", "it computes with other types here: JAX_ENABLE_X64 is not what it was"),
    }
    now = facts(found, settings)
    for fact, (name, but) in why.items():
        require(fact not in settings or settings[fact] == now.get(fact), name, "be those of the sweep", but)
    return found


def facts(found: SweepRun, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What bits depend on and settings do not say: numbers of the data, text of one's own functions, wide types.

    Without an optimiser a run in float32 is the same whether JAX has 64-bit types or not.
    """
    known: dict[str, Any] = {"data_sha256": _digest(found)}
    names = [name for name in settings["observe"] if "." in name]
    names += [] if settings["optimiser"] is None else [settings["optimiser"]["name"]]
    own = [name for name in names if name.partition(".")[0] not in ("jaxlimit", "optax", "jax")]
    if own:
        known["code_sha256"] = hashlib.sha256("".join(map(_source, own)).encode()).hexdigest()
    if settings["optimiser"] is not None:
        known["x64"] = bool(jax.config.read("jax_enable_x64"))
    return known


def _source(name: str) -> str:
    """The text of a function or class; its name, where there is none to be had."""
    try:
        return inspect.getsource(_public(name, "observe"))
    except (OSError, TypeError):
        return name


def _stamp(settings: Mapping[str, Any]) -> str:
    """The digest of a file of data: two writings within a tick of its clock have one date."""
    table = settings["data"]
    file = table.get("file") if isinstance(table, Mapping) else None
    try:
        return "" if not isinstance(file, str) else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


@lru_cache(maxsize=64)
def _run(text: str, stamp: str) -> SweepRun:
    """Equal settings give the very same objects, so that nothing is compiled twice."""
    settings = json.loads(text)
    points = _data(settings)
    problem = Problem(points, _network(settings), _object("scaling", settings), _object("loss", settings),
                      settings["learning_rate"])  # fmt: skip
    further = held_out_from(settings)
    x = np.zeros((0, points.inputs)) if further is None else further.x
    width = settings["width"]
    batch, shared = settings["batch"], shared_arguments(settings)
    known = batch == "population" or (isinstance(batch, int) and not isinstance(batch, bool))
    require(known, "batch", 'be a number of samples or "population"', f"it is {batch!r}")
    arguments = {
        **shared,
        "key": _key(settings, shared["key"]),
        "method": None if settings["method"] is None else _object("method", settings),
        "at": x if len(x) else None,
        "observe": _observe(settings["observe"], problem),
        "batch": None if batch == "population" else batch,
        "optimiser": None if settings["optimiser"] is None else _optimiser(settings["optimiser"]),
    }
    targets = points.y if further is None else np.concatenate([points.y, further.y])
    return SweepRun(problem, tuple(width) if isinstance(width, list) else width, settings["ts"], arguments, targets)


def _network(settings: Mapping[str, Any]) -> AbstractNetwork:
    if settings["layers"] is not None:
        return _deep(settings["layers"], settings)
    law = initial.Initial(c=_object("c", settings), w=_object("w", settings))
    network = Shallow(_object("activation", settings), law, instance("train_output", settings["train_output"], bool))
    return Linearised(network) if instance("linearised", settings["linearised"], bool) else network


def _deep(table: Mapping[str, Any], settings: Mapping[str, Any]) -> Multilayer:
    """One activation, and one law of middle weights, for all layers; as many layers as the width says."""
    hidden = settings["width"]
    require(
        isinstance(hidden, list), "width", "be a list, one per hidden layer, where there is `layers`", f"{hidden!r}"
    )
    first, middle, last = (
        named(initial, table[key], f"layers.{key}", "law", initial.AbstractLaw) for key in ("first", "middle", "last")
    )
    law: initial.AbstractEmbedding
    if instance("layers.correlated", table["correlated"], bool):
        law = initial.CorrelatedLayers(mean=middle.mean, first=first, last=last)
    else:
        law = initial.IndependentLayers((first, *(middle,) * (len(hidden) - 1), last))
    return Multilayer((_object("activation", settings),) * len(hidden), law)


def _object(key: str, settings: Mapping[str, Any]) -> Any:
    """The object that a table names."""
    room, field, kind = ROOMS[key]
    return named(room, settings[key], key, field, kind)


def _data(settings: Mapping[str, Any]) -> Data:
    table = instance("data", settings["data"], Mapping, "be a table")
    if "file" not in table:
        return data_from(table)
    path = Path(instance("data.file", table["file"], str))
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Data(arrays["x"], arrays["y"], arrays.get("weights"))
    except (OSError, KeyError, ValueError, TypeError) as error:
        wanted = "be an .npz file with x [points, inputs], y [points] and perhaps weights [points]"
        raise ValueError(f"Argument `data.file` must {wanted}, but {path}: {error}.") from error


def _digest(found: SweepRun) -> str:
    """SHA-256 of the numbers: versions of a source may differ, arrays have no other name."""
    data, at = found.problem.data, found.arguments["at"]
    arrays = (data.x, data.weights, found.targets, np.zeros((0, data.inputs)) if at is None else at)
    parts = [f"{array.shape}".encode() + np.ascontiguousarray(array, "<f8").tobytes() for array in arrays]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _key(settings: Mapping[str, Any], key: RandomKey) -> RandomKey:
    """The seed's key, and for every cell one of its own, by what the cell is and not by where it stands."""
    if instance("common_draws", settings["common_draws"], bool):
        return key
    own = json.dumps({name: settings[name] for name in STREAM}, sort_keys=True)
    words = np.frombuffer(hashlib.sha256(own.encode()).digest()[:8], "<u4")
    for word in words:
        key = jax.random.fold_in(key, word)
    return key


def _observe(names: Any, problem: Problem) -> Observed | None:
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    require(listed, "observe", "be a list of public names", f"it is {names!r}")
    if not names:
        return None
    found: list[Any] = []
    for name in names:
        one = _public(name if "." in name else f"jaxlimit.diagnostics.{name}", "observe")
        found.append(one(problem.network, problem.data.x) if isinstance(one, type) else one)
    short = tuple(name.rpartition(".")[2] for name in names)
    require(len(set(short)) == len(short), "observe", "have names that differ", f"they are {list(short)}")
    return Observed(short, tuple(found))


@lru_cache(maxsize=64)
def _made(name: str, arguments: str) -> Any:
    """The same object for the same table: a transformation that is another object is another program."""
    return _public(name, "optimiser")(**json.loads(arguments))


def _optimiser(table: Any) -> Any:
    rest = dict(instance("optimiser", table, Mapping))
    name = rest.pop("name", None)
    require(isinstance(name, str), "optimiser.name", 'be public, as in "optax.adam"', f"it is {name!r}")
    try:
        return _made(name, json.dumps(rest, sort_keys=True))
    except TypeError as error:
        raise ValueError(f"Argument `optimiser` must have the arguments of {name}, but {error}.") from error


def _public(name: str, where: str) -> Any:
    """What a public name stands for, wherever this process can import it."""
    module, _, attribute = name.rpartition(".")
    hidden = any(part.startswith("_") or not part.isidentifier() for part in name.split("."))
    require(bool(module) and not hidden, where, "be a public name, as in package.module.function", f"it is {name!r}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        choices = f"; jaxlimit.diagnostics has {sorted(n for n in vars(diagnostics) if not n.startswith('_'))}"
        hint = choices if module == "jaxlimit.diagnostics" else ""
        raise ValueError(f"Argument `{where}` must be a name that can be imported, but {error}{hint}.") from error
    require(callable(found), where, "name something that can be called", f"{name} is a {type(found).__name__}")
    return found
