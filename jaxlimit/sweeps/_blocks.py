"""A folder of cells, each a folder of blocks: existence is the only record of what has been done."""

import contextlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxlimit._arguments import require
from jaxlimit.sweeps._canonical import canonical, digest
from jaxlimit.sweeps._files import make_folder, write_whole
from jaxlimit.sweeps._format import SCHEMA, DamagedError, Variables, packed, read_about, unpacked

SUFFIX = ".block"
NAME = re.compile(r"(\d{10,})-(\d{10,})\.block", re.ASCII)
PREFIX = 16
"""Hexadecimal digits of a cell's identity in the name of its folder; the whole of it stands in every block."""


def identity(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings without `replicas`: more replicas of a cell extend it, anything else makes another one."""
    return digest({"schema": SCHEMA, "settings": {key: value for key, value in settings.items() if key != "replicas"}})


class Blocks:
    """Immutable blocks under `folder`/blocks, by cell and range of replicas; there is no index and no lock.

    Any number of processes on any number of machines may read and write at once: a block appears whole, and computing
    it twice gives the same bytes. Damaged files are moved to `folder`/quarantine and count as missing.

        >>> import tempfile, numpy as np
        >>> from jaxlimit.sweeps import Blocks
        >>> blocks, cell = Blocks(tempfile.mkdtemp()), "ab" * 32
        >>> blocks.write(cell, 0, 2, {"values": (("replica", "time"), np.zeros((2, 3)))})
        >>> blocks.ranges(cell), blocks.read(cell, 0, 2)["values"][1].shape
        ([(0, 2)], (2, 3))
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def of(self, cell: str) -> Path:
        """The folder of a cell."""
        return self.folder / "blocks" / cell[:PREFIX]

    def path(self, cell: str, first: int, stop: int) -> Path:
        """Where the block of these replicas is or will be."""
        return self.of(cell) / f"{first:010d}-{stop:010d}{SUFFIX}"

    def describe(self, cell: str, settings: Mapping[str, Any]) -> None:
        """Write what `identity` made the cell of beside its blocks, for whoever finds the folder alone."""
        path, data = self.of(cell) / "cell.json", canonical({"cell": cell, "settings": settings}).encode()
        if not path.exists() or path.read_bytes() != data:
            make_folder(path.parent)
            write_whole(path, data)

    def has(self, cell: str, first: int, stop: int) -> bool:
        """Whether the block is there."""
        return self.path(cell, first, stop).exists()

    def write(self, cell: str, first: int, stop: int, variables: Variables) -> None:
        """Add a block; what is there already stays, and should be the same.

        Warns if it differs: the promise of equal bytes holds on one kind of machine with one set of versions.
        """
        self.add(cell, first, stop, packed(cell, first, stop, variables))

    def add(self, cell: str, first: int, stop: int, data: bytes) -> None:
        """`write` for the bytes of a block."""
        path = self.path(cell, first, stop)
        make_folder(path.parent)
        if not path.exists():
            write_whole(path, data)
        elif path.read_bytes() != data:
            warnings.warn(
                f"Block {path.name} of cell {cell[:PREFIX]} was computed twice with different results, of which the "
                "first stays: do the machines or the versions in `runs` differ?",
                stacklevel=3,
            )

    def sound(self, cell: str, first: int, stop: int) -> bytes | None:
        """The bytes of a block; None where it is not there or not what was written."""
        path = self.path(cell, first, stop)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        return None if self._wrong(data, path, cell) else data

    def read(self, cell: str, first: int, stop: int) -> dict[str, Any]:
        """The variables of a block. Raises `DamagedError` if the file is not what was written, or of another cell."""
        header, variables = unpacked(self.path(cell, first, stop).read_bytes())
        self._mine(header, cell, first, stop)
        return dict(variables)

    def about(self, cell: str, first: int, stop: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """(header, variables of the cell) of a block, with those of replicas unread. Raises `DamagedError`."""
        with self.path(cell, first, stop).open("rb") as stream:
            header, variables = read_about(stream)
        return self._mine(header, cell, first, stop), dict(variables)

    def ranges(self, cell: str) -> list[tuple[int, int]]:
        """The (first, stop) of the blocks that are there, in order."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.of(cell)):
                name = NAME.fullmatch(entry.name)
                if name:
                    found.append((int(name[1]), int(name[2])))
        return sorted(found)

    def every(self) -> Iterator[Path]:
        """All block files, whatever cell they belong to."""
        yield from sorted((self.folder / "blocks").glob(f"*/*{SUFFIX}"))

    def numbered(self, path: Path) -> tuple[int, int]:
        """(first, stop) by the name of a block file. Raises `DamagedError` if it is no such name."""
        name = NAME.fullmatch(path.name)
        if not name:
            raise DamagedError("it does not have the name of a block")
        return int(name[1]), int(name[2])

    def damage(self, path: Path, cell: str | None = None) -> str:
        """What is wrong with a block file; empty where nothing is. `cell` is the identity that it should have.

        A file that cannot be read (`OSError`) is not damaged for that.
        """
        return self._wrong(path.read_bytes(), path, cell)

    def quarantine(self, path: Path) -> Path | None:
        """Move a damaged file out of the way, where it can be looked at; its replicas count as missing again.

        Returns where it is now; None where another process was faster, whose sound block is put back.
        """
        place = self.folder / "quarantine"
        place.mkdir(exist_ok=True)
        stem = f"{path.parent.name}-{path.name}"
        target = place / stem
        for number in range(1, 10_000):
            if not target.exists():
                break
            target = place / f"{stem}.{number}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        if not self._wrong(target.read_bytes(), path):
            target.replace(path)
            return None
        return target

    def description(self, folder: Path) -> dict[str, Any]:
        """The settings of a cell's folder. Raises `DamagedError`."""
        try:
            text = (folder / "cell.json").read_text(encoding="utf-8")
            tree = json.loads(text)
            same = text == canonical(tree) and tree["cell"] == identity(tree["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"it cannot be read ({error})") from error
        if not same or not tree["cell"].startswith(folder.name):
            raise DamagedError("it is not what was written")
        return dict(tree["settings"])

    def _wrong(self, data: bytes, path: Path, cell: str | None = None) -> str:
        """What is wrong with these bytes as those of the block at this path."""
        try:
            self._mine(unpacked(data)[0], cell or path.parent.name, *self.numbered(path))
        except DamagedError as error:
            return str(error)
        return ""

    def _mine(self, header: dict[str, Any], cell: str, first: int, stop: int) -> dict[str, Any]:
        if not header["cell"].startswith(cell) or (header["first"], header["stop"]) != (first, stop):
            raise DamagedError(
                f"it says that it is {header['first']}–{header['stop']} of cell {header['cell'][:PREFIX]}"
            )
        return header


def require_folder(folder: str | Path) -> Path:
    """An existing folder. Raises ``ValueError``."""
    path = Path(folder)
    require(path.is_dir(), "folder", "be the folder of a sweep", f"there is no {path}")
    return path
