"""Grids of networks: from settings, as in a TOML file, to a spec with every decision written out."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlimit import diagnostics, simulation
from jaxlimit._arguments import instance, require
from jaxlimit.studies._build import XAVIER, complete, data_settings, like, resolved_settings
from jaxlimit.studies._sweep_cell import ROOMS, facts, sweep_run
from jaxlimit.sweeps import SweepSpec

SWEEP: dict[str, Any] = {
    **{key: XAVIER[key] for key in ("data", "activation", "c", "w", "learning_rate", "seed", "dtype")},
    "held_out": 0,
    "linearised": False,
    "train_output": True,
    "layers": None,
    "scaling": {"name": "PowerScaling", "gamma": 0.5},
    "loss": {"name": "SquaredError"},
    "width": 256,
    "ts": [0.0, 1.0, 2.0],
    "replicas": 1024,
    "batch": 1,
    "optimiser": None,
    "method": None,
    "observe": [],
    "common_draws": False,
    "block": None,
}
"""Defaults of a sweep; `batch` is a number or "population", `observe` a list of public names, `optimiser` a table."""

LAYERS: dict[str, Any] = {
    "first": {"law": "Normal", "mean": 0.0, "std": 1.0},
    "middle": {"law": "Normal", "mean": 1.0, "std": 1.0},
    "last": {"law": "Normal", "mean": 1.0, "std": 1.0},
    "correlated": False,
}
"""Defaults of the table `layers`, which makes the network a `Multilayer` whose `width` is a list."""

VARIABLES = ("values", "t", "steps", "target", "weight", "diverged_at", "error", "forced")
"""Names that blocks of networks give to what they hold."""

BLOCK_SECONDS = 2.0
"""About how long a block takes by the cost model: long against writing it, short against what a kill may cost."""
MOST = 2**12
"""Replicas of a block at most."""


def sweep_spec(settings: Mapping[str, Any], *, extend: SweepSpec | None = None) -> SweepSpec:
    """The spec of a sweep, from settings as in a TOML file, and the grid in the table `axes`.

    Settings are those of a problem and of `simulate`; `SWEEP` has the defaults:

    - `data`, a table as for studies, or ``{"file": "mine.npz"}`` with x, y and perhaps weights; `held_out`, a number of
      further digits to predict;
    - `activation`, `c`, `w`, `scaling`, `loss`, `method`: tables that name a class of the room, or objects of it;
    - `width`, `learning_rate`, `ts`, `replicas`, `batch` (a number or "population"), `dtype`, `seed`, `train_output`;
    - `observe`, a list of public names: functions of (parameters, start), or classes that make one of (network, x).
      Those of `jaxlimit.diagnostics` need no module;
    - `optimiser`, a table whose `name` is public, as "optax.adam"; `linearised`, for the tangent twin; `layers`, a
      table (`LAYERS` has its defaults) that makes the network a `Multilayer`, whose `width` is a list;
    - `block`, replicas of a block; `common_draws`: cells draw independently of each other unless it is true.

    Any of them can be an axis.

    With `extend`, an earlier spec, cells that are equal to its cells but for their replicas get blocks as long as
    there, so that `Store.adopt` finds them.

    Every default is written out, and what a machine would decide is decided here, for every cell: method, lanes,
    native code or not, replicas of a block. Each cell is built and checked as `simulate` would check it. Raises
    ``ValueError`` for settings that do not exist or do not fit, naming the cell, before anything is simulated.

        >>> import jaxlimit as jl
        >>> made = {"data": {"source": "sphere", "points": 3, "inputs": 2}, "replicas": 8, "block": 4, "ts": [0.0, 1.0]}
        >>> spec = jl.studies.sweep_spec({**made, "axes": {"width": [8, 16], "scaling.gamma": [0.5, 1]}})
        >>> spec.shape, spec.labels["gamma"], spec.cells[0].settings["method"]["name"]
        ((2, 2), [0.5, 1.0], 'Stepwise')
    """
    given = dict(instance("settings", settings, Mapping))
    axes = instance("axes", given.pop("axes", {}), Mapping)
    full = _completed_all(resolved_settings(given, SWEEP))
    grid = {
        name: [_completed_at(name, value, full) for value in _values(name, values)] for name, values in axes.items()
    }
    draft = SweepSpec({**full, "block": full["block"] or 1}, grid)
    taken = sorted(set(draft.dims) & set(VARIABLES))
    require(not taken, "axes", f"not be called one of {', '.join(VARIABLES)}", f"it has {taken}")
    earlier = () if extend is None else instance("extend", extend, SweepSpec).cells
    known = {_but_for_blocks(cell.settings): cell.block for cell in earlier}
    chosen = []
    for cell in draft.cells:
        try:
            chosen.append(_chosen(cell.settings, full["block"] is None and "block" not in axes, known))
        except ValueError as error:
            where = ", ".join(f"{dim} {label}" for dim, label in draft.where(cell).items())
            raise ValueError(f"{error} (in the cell {where})" if where else str(error)) from error
    return SweepSpec({**full, "block": full["block"] or 1}, grid, chosen)


def _chosen(settings: Mapping[str, Any], decide: bool, known: Mapping[str, int]) -> dict[str, Any]:
    """What is decided for a cell when the sweep is made."""
    most = 2**32
    require(settings["replicas"] <= most, "replicas", "be at most 2³²", f"it is {settings['replicas']}")
    found = sweep_run(settings)
    plan = simulation.plan(found.problem, found.width, found.ts, **found.arguments)
    chosen: dict[str, Any] = {"method": _table_of("method", plan.method), **facts(found, settings)}
    if decide:
        # Whole lanes for all workers, or blocks would leave some of them idle at the end.
        turn = plan.lanes * plan.workers
        wanted = BLOCK_SECONDS * plan.workers / max(plan.seconds, 1e-9)
        # No longer than what there is: a block that is cut short is none of a sweep that goes on from this one.
        cap = min(MOST // turn, -(-settings["replicas"] // turn))
        block = turn * max(1, min(int(wanted / turn), cap))
        chosen["block"] = known.get(_but_for_blocks({**settings, **chosen}), block)
    return chosen


def _but_for_blocks(settings: Mapping[str, Any]) -> str:
    """What makes networks those that they are."""
    return json.dumps({k: v for k, v in settings.items() if k not in ("replicas", "block")}, sort_keys=True)


def _table_of(key: str, one: Any) -> dict[str, Any]:
    """The table that names an object of a public class."""
    room, field, _ = ROOMS[key]
    public = getattr(room, type(one).__name__, None) is type(one)
    require(public, key, f"be of a public class of {room.__name__}", f"it is a {type(one).__qualname__}")
    own = {part.name: getattr(one, part.name) for part in dataclasses.fields(one)}
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in own.items()}
    return {field: type(one).__name__, **{name: value for name, value in plain.items() if value is not None}}


def _public_name(one: Any) -> Any:
    """The name of a function or class, by which other processes find it; a text as it comes."""
    if not callable(one):
        return one
    short = getattr(one, "__name__", type(one).__name__)
    shown = getattr(diagnostics, short, None) is one
    return short if shown else f"{getattr(one, '__module__', '')}.{getattr(one, '__qualname__', short)}"


def _values(name: str, values: Any) -> list[Any]:
    require(isinstance(values, list | tuple), f"axes.{name}", "be a list of values", f"it is {values!r}")
    return list(values)


def _completed_all(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: _completed_at(key, value, settings) for key, value in settings.items()}


def _completed_at(path: str, value: Any, settings: Mapping[str, Any]) -> Any:
    """The value of a setting with all defaults of the class it names, and numbers of the kind that they stand for."""
    key, _, field = path.partition(".")
    if key not in SWEEP:  # an axis of its own name: its values are tables of settings
        tables = isinstance(value, Mapping)
        require(tables, f"axes.{path}", "name a setting, or hold tables of settings", f"it holds {value!r}")
        unknown = sorted(inner for inner in value if inner.partition(".")[0] not in SWEEP)
        require(not unknown, f"axes.{path}", "hold tables of settings", f"{unknown} are none")
        return {inner: _completed_at(inner, one, settings) for inner, one in value.items()}
    if field:
        table = settings[key]
        return _completed_at(key, {**table, field: value}, settings)[field] if isinstance(table, Mapping) else value
    if key == "data" and isinstance(value, Mapping):
        file = value.get("file")
        # From wherever it is run.
        return {**value, "file": str(Path(file).resolve())} if isinstance(file, str) else data_settings(value)
    if key == "layers" and isinstance(value, Mapping):
        return resolved_settings(value, LAYERS)
    if key in ROOMS and isinstance(value, ROOMS[key][2]):
        return complete(key, _table_of(key, value), *ROOMS[key])
    if key in ROOMS and isinstance(value, Mapping):
        return complete(key, value, *ROOMS[key])
    if key == "observe" and isinstance(value, list | tuple):
        return [_public_name(one) for one in value]
    return like(SWEEP[key], value)
