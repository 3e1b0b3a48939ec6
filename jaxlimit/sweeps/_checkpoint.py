"""The state of a block that is not finished, so that hours of one replica are not lost either."""

import os
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlimit._versions import versions
from jaxlimit.sweeps._canonical import digest
from jaxlimit.sweeps._files import STATE, write_whole
from jaxlimit.sweeps._format import DamagedError, packed, unpacked

EVERY = 60.0
"""Seconds between two states that are kept: what a kill can cost."""


class BlockCheckpoint:
    """States of the lanes of one block in files beside it, one per lane, replaced as the work goes on.

    `load(lane)` gives what was kept last, None where there is nothing, or nothing sound. `offer(lane, state)` keeps
    `state()` if `every` seconds have passed since the last time; it is called from several threads. `clear()` removes
    what was loaded or kept, once the block is there.
    """

    def __init__(self, block: Path, cell: str, every: float = EVERY):
        # Half a block of one version and half of another would be neither's.
        self._block, self._cell, self._every = block, digest({"cell": cell, "made by": _maker()}), every
        self._kept: dict[int, float] = {}
        self._files: set[Path] = set()
        self._lock = threading.Lock()

    def load(self, lane: int) -> dict[str, np.ndarray] | None:
        """The arrays last kept of this lane; a damaged file, or one of other versions of packages, counts as none."""
        path = self._path(lane)
        try:
            data = path.read_bytes()
            self._files.add(path)
            header, variables = unpacked(data)
        except (OSError, DamagedError):
            return None
        same = header["cell"] == self._cell and header["first"] == lane
        return {name: np.array(array) for name, (_, array) in variables.items()} if same else None

    def offer(self, lane: int, state: Callable[[], dict[str, np.ndarray]]) -> None:
        """Keep the state of a lane, if it is time to."""
        now = time.monotonic()
        with self._lock:
            if now - self._kept.setdefault(lane, now) < self._every:
                return
            self._kept[lane] = now
        kept = {name: (_dims(array), array) for name, array in state().items()}
        path = self._path(lane)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files.add(path)
        write_whole(path, packed(self._cell, lane, lane + 1, kept))

    def clear(self) -> None:
        """Remove what was loaded or kept."""
        for path in self._files:
            path.unlink(missing_ok=True)

    def _path(self, lane: int) -> Path:
        return self._block.with_name(f".{self._block.name}.{lane}{STATE}")


def _maker() -> dict[str, Any]:
    """What the bits of a state depend on besides its cell."""
    wide = bool(jax.config.read("jax_enable_x64"))
    return {"versions": _versions(), "x64": wide, "xla_flags": os.environ.get("XLA_FLAGS", "")}


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    """They are looked up in files, which takes longer than to write a small block."""
    return versions()


def _dims(array: Any) -> tuple[str, ...]:
    return tuple(f"dim_{i}" for i in range(np.ndim(array)))
