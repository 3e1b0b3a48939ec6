"""Who computed what, with which versions, and how long it took: notes beside the blocks, of which no result depends.

A run appends to a file of its own under `runs`: what made it, then a line per block. Every line ends with the CRC-32 of
the rest, so that a torn or flipped one is known; notes that are lost cost no result.
"""

import json
import os
import platform
import subprocess
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jaxlimit._versions import versions
from jaxlimit.sweeps._canonical import canonical


def provenance() -> dict[str, Any]:
    """What bits depend on besides the spec: versions, devices, precision of products, random bits; and the revision."""
    devices = [f"{device.platform} {device.device_kind}" for device in jax.local_devices()]
    return {
        "versions": versions(),
        "devices": devices,
        "machine": platform.machine(),
        "matmul_precision": "highest",
        "x64": bool(jax.config.read("jax_enable_x64")),
        "prng": str(jax.random.key_impl(jax.random.key(0))),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "git_revision": _revision(),
    }


class Journal:
    """The notes of one run."""

    def __init__(self, folder: Path):
        self._path = folder / "runs" / f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:8]}.jsonl"
        self._path.parent.mkdir(exist_ok=True)
        self.note({"provenance": provenance(), "started": time.time()})

    def note(self, entry: dict[str, Any]) -> None:
        """Append one line."""
        text = canonical(entry).encode()
        with self._path.open("ab", buffering=0) as stream:
            stream.write(text + b" " + _check(text) + b"\n")


def notes(folder: Path) -> Iterator[dict[str, Any]]:
    """Every sound line of every run, oldest run first."""
    for path in sorted((folder / "runs").glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            entry = _entry(line)
            if entry is not None:
                yield entry


def damaged_notes(folder: Path) -> list[Path]:
    """Files of notes with a line that is torn or was changed; a kill may tear the last one."""
    found = []
    for path in sorted((folder / "runs").glob("*.jsonl")):
        lines = path.read_bytes().split(b"\n")
        if any(_entry(line) is None for line in lines[:-1]) or lines[-1]:
            found.append(path)
    return found


def environments(folder: Path) -> list[dict[str, Any]]:
    """The different provenances among the runs, each once: more than one means that bits may differ between blocks."""
    found: dict[str, dict[str, Any]] = {}
    for entry in notes(folder):
        if "provenance" in entry:
            # The revision is that of the user's own repository: it says where one worked, and changes no bit.
            made = {key: value for key, value in entry["provenance"].items() if key != "git_revision"}
            found.setdefault(canonical(made), entry["provenance"])
    return [found[text] for text in sorted(found)]


def _entry(line: bytes) -> dict[str, Any] | None:
    text, _, check = line.rpartition(b" ")
    return dict(json.loads(text)) if check == _check(text) else None


def _check(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()


def _revision() -> str | None:
    """The revision of the repository around the working folder, if there is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True, cwd=os.getcwd()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
