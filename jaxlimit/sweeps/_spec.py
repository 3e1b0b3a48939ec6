"""What a sweep is: settings, the axes along which they vary, and a name for the whole that no two sweeps share."""

import itertools
import json
import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, final

from jaxlimit._arguments import positive_integer, require
from jaxlimit.sweeps._blocks import identity
from jaxlimit.sweeps._canonical import canonical, digest, plain
from jaxlimit.sweeps._format import SCHEMA

RESERVED = ("replica", "time", "point", "complete", "wanted")
"""Names of dimensions and variables that every sweep has."""

LONGEST = 100
"""Letters of a name that every file system and format takes."""


class Job(NamedTuple):
    """One block: replicas first, …, stop − 1 of cell number `cell`. What travels to a worker, with no array in it."""

    cell: int
    first: int
    stop: int


class Cell(NamedTuple):
    """One point of the grid.

    `position` is its place along every axis, `text` the canonical JSON of everything that the work is told, `cell_id`
    the SHA-256 of that without `replicas`: more replicas of a cell extend it, anything else makes another one.
    `replicas` are wanted, in blocks of `block`.
    """

    number: int
    position: tuple[int, ...]
    text: str
    cell_id: str
    replicas: int
    block: int

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of everything that the work is told."""
        return dict(json.loads(self.text))

    @property
    def jobs(self) -> list[Job]:
        """Its blocks; the last one may be shorter."""
        edges = range(0, self.replicas, self.block)
        return [Job(self.number, first, min(first + self.block, self.replicas)) for first in edges]


@final
class SweepSpec:
    """A grid of settings, each point of it a Monte Carlo of `replicas` replicas in blocks of `block`.

    `settings` is a tree of plain values (tables, lists, text, numbers); `axes` is {name: values}, whose product is the
    grid. An axis is the name of a setting, with dots into tables (``"scaling.gamma"``), or a name of its own, whose
    values are then tables of settings that go together (``{"size": [{"width": 64, "replicas": 4096}, …]}``). `chosen`
    holds, for every cell in order, settings that somebody decided on when the sweep was made, as lane widths or
    lengths of blocks: they belong to the identity. Every cell must end up with `replicas` and `block`.

    Specs are immutable, equal where their text is, and can be hashed. ``spec_id`` is the SHA-256 of the canonical text,
    schema version included: one number changed anywhere is another sweep. Raises ``ValueError`` for values that have
    no text (functions, arrays, NaN), empty axes, repeated values, unknown settings on an axis, and names that clash.

        >>> from jaxlimit.sweeps import SweepSpec
        >>> settings = {"width": 64, "replicas": 100, "block": 32, "scaling": {"name": "PowerScaling", "gamma": 0.5}}
        >>> spec = SweepSpec(settings, {"width": [64, 128], "scaling.gamma": [0.5, 0.75, 1.0]})
        >>> spec.dims, spec.shape, len(spec.cells), len(spec.jobs), spec.spec_id[:8]
        (('width', 'gamma'), (2, 3), 6, 24, 'f1e12af4')
        >>> spec == SweepSpec.from_text(spec.text)
        True
    """

    __slots__ = ("_cells", "_id", "_labels", "_text", "_tree")

    def __init__(
        self,
        settings: Mapping[str, Any],
        axes: Mapping[str, Sequence[Any]],
        chosen: Sequence[Mapping[str, Any]] = (),
    ):
        require(isinstance(settings, Mapping), "settings", "be a table", f"it is {type(settings).__name__}")
        require(isinstance(axes, Mapping), "axes", "be a table", f"it is {type(axes).__name__}")
        given = plain("settings", settings)
        grid = [[name, plain(f"axes.{name}", values)] for name, values in axes.items()]
        require(all(isinstance(each, Mapping) for each in chosen), "chosen", "hold tables", f"it is {chosen!r}")
        self._tree = {"schema": SCHEMA, "settings": given, "axes": grid, "chosen": plain("chosen", list(chosen))}
        _check_axes(given, grid)
        self._text, self._id = canonical(self._tree), digest(self._tree)
        # In the order of the text, or labels would depend on whether a spec was read from it.
        self._tree = json.loads(self._text)
        self._labels = {dim: _labels(values) for dim, (_, values) in zip(self.dims, self._tree["axes"], strict=True)}
        self._cells = self._all_cells()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The spec of a canonical text. Raises ``ValueError`` if it is none, or was written by a newer version."""
        try:
            tree = json.loads(text)
            schema, settings, axes, chosen = (tree[name] for name in ("schema", "settings", "axes", "chosen"))
            grid = dict(axes)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Argument `spec` must be the text of a sweep, but it cannot be read ({error})."
            ) from error
        newer = f"its schema is {schema}: update jaxlimit"
        require(schema == SCHEMA, "spec", f"be of schema {SCHEMA}, which this version reads", newer)
        return cls(settings, grid, chosen)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The spec that a TOML document describes: settings, and the grid in the table ``[axes]``.

        >>> from jaxlimit.sweeps import SweepSpec
        >>> SweepSpec.from_toml('replicas = 8\\nblock = 4\\nwidth = 16\\n[axes]\\nwidth = [16, 32]').shape
        (2,)
        """
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"Argument `text` must be valid TOML, but {error}.") from error
        return cls(tree, tree.pop("axes", {}))

    @property
    def text(self) -> str:
        """The canonical JSON."""
        return self._text

    @property
    def spec_id(self) -> str:
        """SHA-256 of the text, 64 hexadecimal digits: what to cite."""
        return self._id

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of the settings that cells share, before axes are put over them."""
        return dict(json.loads(self._text)["settings"])

    @property
    def axes(self) -> dict[str, list[Any]]:
        """A copy of the axes, in their order."""
        return dict(json.loads(self._text)["axes"])

    @property
    def dims(self) -> tuple[str, ...]:
        """Short names of the axes: the last part of a dotted name, where that is unique."""
        return _short([name for name, _ in self._tree["axes"]])

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along every axis."""
        return tuple(len(values) for _, values in self._tree["axes"])

    @property
    def labels(self) -> dict[str, list[Any]]:
        """For every dim, its values where they are numbers, and otherwise a text for each of them."""
        return {dim: list(labels) for dim, labels in self._labels.items()}

    def where(self, cell: Cell) -> dict[str, Any]:
        """The label of a cell along every dim."""
        return {dim: labels[i] for (dim, labels), i in zip(self._labels.items(), cell.position, strict=True)}

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every point of the grid, the last axis varying fastest."""
        return self._cells

    @property
    def jobs(self) -> list[Job]:
        """Every block, in the order in which answers become usable early: all cells by equal shares of their replicas.

        A sweep that is stopped anywhere is a smaller Monte Carlo of every cell.
        """
        every = [job for cell in self._cells for job in cell.jobs]
        return sorted(every, key=lambda job: (job.first / self._cells[job.cell].replicas, job.cell))

    def with_chosen(self, chosen: Sequence[Mapping[str, Any]]) -> "SweepSpec":
        """The same sweep with these decisions for its cells."""
        return SweepSpec(self.settings, self.axes, chosen)

    def __eq__(self, other: object) -> bool:
        """Specs are their text."""
        return isinstance(other, SweepSpec) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        axes = ", ".join(f"{dim}: {size}" for dim, size in zip(self.dims, self.shape, strict=True))
        return f"SweepSpec({self.spec_id[:12]}, {axes or 'one cell'})"

    def _all_cells(self) -> tuple[Cell, ...]:
        settings, axes, chosen = self._tree["settings"], self._tree["axes"], self._tree["chosen"]
        count = math.prod(self.shape)
        fits = len(chosen) in (0, count)
        require(fits, "chosen", f"have one table for each of the {count} cells, or be empty", f"it has {len(chosen)}")
        found = []
        for number, index in enumerate(itertools.product(*map(range, self.shape))):
            # Copies: an axis may put values into the table that another axis has put there. An axis whose name is no
            # setting has tables of them.
            own = json.loads(canonical(settings))
            for (name, values), i in zip(axes, index, strict=True):
                value = json.loads(canonical(values[i]))
                for path, setting in {name: value}.items() if _has(settings, name) else value.items():
                    _put(own, path, setting)
            own.update(chosen[number] if chosen else {})
            for name in ("replicas", "block"):
                require(name in own, f"settings.{name}", "be given", f"cell {index} has none")
                positive_integer(name, own[name])
            found.append(Cell(number, index, canonical(own), identity(own), own["replicas"], own["block"]))
        seen: dict[str, Cell] = {}
        for cell in found:
            twin = seen.setdefault(cell.cell_id, cell)
            same = f"cells {twin.position} and {cell.position} have the same settings"
            require(twin is cell, "axes", "tell all cells apart", same)
        return tuple(found)


def _check_axes(settings: Mapping[str, Any], axes: Sequence[Any]) -> None:
    dims = _short([name for name, _ in axes])
    require(len(set(dims)) == len(dims), "axes", "have names that can be told apart", f"they are called {dims}")
    for dim, (name, values) in zip(dims, axes, strict=True):
        require(dim not in RESERVED, f"axes.{name}", f"not be called one of {RESERVED}", "it is")
        fits = 0 < len(dim) <= LONGEST and "/" not in dim
        require(fits, f"axes.{name}", f"have a name of at most {LONGEST} letters without a slash", f"it is {dim!r}")
        filled = isinstance(values, list) and len(values) > 0
        require(filled, f"axes.{name}", "be a list of at least one value", f"it is {values!r}")
        twice = [text for text, count in Counter(map(canonical, values)).items() if count > 1]
        require(not twice, f"axes.{name}", "not repeat a value", f"it repeats {', '.join(sorted(twice))}")
        tables = all(isinstance(value, dict) for value in values)
        known = _has(settings, name)
        must = "name a setting, with dots into tables, or hold tables of settings"
        require(known or tables, f"axes.{name}", must, f"there is no setting `{name}`")


def _has(settings: Mapping[str, Any], path: str) -> bool:
    where: Any = settings
    for part in path.split("."):
        if not isinstance(where, Mapping) or part not in where:
            return False
        where = where[part]
    return True


def _put(settings: dict[str, Any], path: str, value: Any) -> None:
    """Put a value of an axis into the settings of a cell."""
    *tables, last = path.split(".")
    where = settings
    for part in tables:
        where = where.setdefault(part, {})
        require(isinstance(where, dict), "axes", f"go into tables, as `{path}` does", f"`{part}` is none")
    where[last] = value


def _short(names: Sequence[str]) -> tuple[str, ...]:
    last = [name.rpartition(".")[2] for name in names]
    return tuple(
        short if last.count(short) == 1 else name.replace(".", "_") for short, name in zip(last, names, strict=True)
    )


def _labels(values: Sequence[Any]) -> list[Any]:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numbers:
        return list(values)
    names = [_name(value) for value in values]
    return names if len(set(names)) == len(names) else [canonical(value) for value in values]


def _name(value: Any) -> str:
    """What people would call it: the name of the class in a table, with what else the table says."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) else canonical(value)
    named = next((value[key] for key in ("name", "law", "source") if key in value), "")
    rest = {key: inner for key, inner in value.items() if inner != named}
    text = ", ".join(f"{key}={_name(inner)}" for key, inner in rest.items())
    return f"{named}({text})" if named and text else named or text
