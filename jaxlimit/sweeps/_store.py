"""A sweep on disk: its spec, its blocks, and what is still to do."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from jaxlimit._arguments import instance, require
from jaxlimit.sweeps._blocks import PREFIX, Blocks, require_folder
from jaxlimit.sweeps._canonical import canonical
from jaxlimit.sweeps._files import write_new, write_whole
from jaxlimit.sweeps._journal import notes
from jaxlimit.sweeps._spec import Cell, Job, SweepSpec

SPEC = "spec.json"
CONSOLIDATED = "consolidated.zarr"


class Progressed(NamedTuple):
    """How far a sweep is: blocks and replicas, done and wanted, and what the notes of its runs say of their speed."""

    blocks: int
    all_blocks: int
    replicas: int
    all_replicas: int
    seconds: float
    quarantined: int

    @property
    def complete(self) -> bool:
        """Whether nothing is left to compute."""
        return self.blocks == self.all_blocks


class Store:
    """A folder with one sweep: ``spec.json`` and immutable blocks.

    `Store.create(folder, spec)` makes it, or opens it where it has this very spec; `Store.open(folder)` opens it.
    Whatever happens to the processes that work on it, it stays valid: a block is there whole or not at all, and what
    is not there is still to do. Raises ``ValueError`` for a folder with another spec, with a newer schema, or with
    files of somebody else, and for one in which nothing can be written.

        >>> import tempfile
        >>> from jaxlimit.sweeps import Store, SweepSpec
        >>> spec = SweepSpec({"replicas": 8, "block": 4, "width": 1}, {"width": [16, 32]})
        >>> store = Store.create(tempfile.mkdtemp(), spec)
        >>> len(store.missing()), Store.open(store.folder).spec == spec
        (4, True)
    """

    def __init__(self, folder: Path, spec: SweepSpec):
        self.folder, self.spec, self.blocks = folder, spec, Blocks(folder)

    @classmethod
    def create(cls, folder: str | Path, spec: SweepSpec) -> Self:
        """A new store, or the one that is there with this spec."""
        path, spec = Path(folder).resolve(), instance("spec", spec, SweepSpec)
        if (path / SPEC).exists():
            store = cls.open(path)
            other = f"it has spec {store.spec.spec_id[:12]} and this one is {spec.spec_id[:12]}; take another folder"
            require(store.spec == spec, "folder", "have no sweep or this very one", other)
            return store
        # Another process may be writing the same spec at this moment; and one that was lost can be written again.
        mine = {"blocks", "runs", "quarantine", "figures", SPEC, CONSOLIDATED}
        there = [entry.name for entry in path.iterdir()] if path.is_dir() else []
        strange = [name for name in there if name not in mine and not name.startswith(".")]
        require(not strange, "folder", "be new or empty", f"{path} holds {', '.join(sorted(strange)[:5])}")
        cells = {cell.cell_id[:PREFIX] for cell in spec.cells}
        others = [place.name for place in (path / "blocks").glob("*/") if place.name not in cells]
        require(
            not others, "folder", "have no blocks of another sweep", f"{path}/blocks has {len(others)} cells of one"
        )
        try:
            path.mkdir(parents=True, exist_ok=True)
            new = write_new(path / SPEC, _written(spec).encode())
        except OSError as error:
            raise ValueError(f"Argument `folder` must be one to write in, but {path}: {error.strerror}.") from error
        return cls(path, spec) if new else cls.create(path, spec)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The store of a folder."""
        # A process that changes its working folder goes on with this one.
        path = require_folder(folder).resolve()
        require((path / SPEC).is_file(), "folder", "be that of a sweep", f"{path} has no {SPEC}")
        try:
            text = (path / SPEC).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"Argument `folder` must have a sound {SPEC}, but that of {path} is no text.") from error
        spec = SweepSpec.from_text(text)
        sound = _written(spec) == text
        again = "remove it and make the sweep again from its settings, which keeps its blocks"
        require(sound, "folder", f"have the {SPEC} that was written", f"that of {path} was changed: {again}")
        return cls(path, spec)

    def cell(self, job: Job) -> Cell:
        """The cell of a block."""
        return self.spec.cells[job.cell]

    def has(self, job: Job) -> bool:
        """Whether a block is there."""
        return self.blocks.has(self.cell(job).cell_id, job.first, job.stop)

    def path(self, job: Job) -> Path:
        """The file of a block."""
        return self.blocks.path(self.cell(job).cell_id, job.first, job.stop)

    def present(self) -> list[Job]:
        """The blocks that are there, cell by cell."""
        found = []
        for cell in self.spec.cells:
            ranges = set(self.blocks.ranges(cell.cell_id))
            found += [job for job in cell.jobs if (job.first, job.stop) in ranges]
        return found

    def missing(self) -> list[Job]:
        """What is still to do, in the order of the spec."""
        done = set(self.present())
        return [job for job in self.spec.jobs if job not in done]

    def quarantine_damaged(self, jobs: Sequence[Job] | None = None) -> list[Path]:
        """Move blocks aside that are not what was written; returns where they are now."""
        moved = []
        for job in self.present() if jobs is None else jobs:
            path = self.path(job)
            if path.exists() and self.blocks.damage(path, self.cell(job).cell_id):
                moved.append(self.blocks.quarantine(path))
        return [path for path in moved if path is not None]

    def status(self) -> Progressed:
        """How far the sweep is."""
        present = self.present()
        replicas = sum(job.stop - job.first for job in present)
        wanted = sum(cell.replicas for cell in self.spec.cells)
        cells = {cell.cell_id for cell in self.spec.cells}
        own = (entry for entry in notes(self.folder) if "seconds" in entry and entry.get("cell") in cells)
        seconds = sum(float(entry["seconds"]) for entry in own)
        place = self.folder / "quarantine"
        damaged = sum(1 for _ in place.iterdir()) if place.is_dir() else 0
        return Progressed(len(present), len(self.spec.jobs), replicas, wanted, seconds, damaged)

    def adopt(self, other: "Store") -> int:
        """Copy the blocks of another sweep that this one wants too; returns how many there were.

        A sweep with more replicas, or with further values along an axis, starts from what an earlier one has: cells
        are equal where all their settings but `replicas` are. What is damaged is left behind.
        """
        other, copied = instance("other", other, Store), 0
        for job in self.missing():
            cell = self.cell(job)
            data = other.blocks.sound(cell.cell_id, job.first, job.stop)
            if data is not None:
                self.describe(cell)
                self.blocks.add(cell.cell_id, job.first, job.stop, data)
                copied += 1
        for entry in (other.folder / "runs").glob("*.jsonl") if copied else ():
            (self.folder / "runs").mkdir(exist_ok=True)
            write_whole(self.folder / "runs" / entry.name, entry.read_bytes())
        return copied

    def describe(self, cell: Cell) -> None:
        """Write down beside the blocks of a cell what it is, once."""
        self.blocks.describe(cell.cell_id, {k: v for k, v in cell.settings.items() if k != "replicas"})


def _written(spec: SweepSpec) -> str:
    """The text of the spec with its digest, or one that was changed would be the sound spec of another sweep."""
    return canonical({**json.loads(spec.text), "spec_id": spec.spec_id})
