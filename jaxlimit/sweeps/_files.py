"""Files that are there whole or not at all, whenever the plug is pulled."""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

STALE = 3600.0
"""Seconds after which a temporary file is that of a process that is gone: writing one takes seconds."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a new file: under a temporary name, to the disk, then renamed, and the folder to the disk as well."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within the folder survive a loss of power, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(descriptor)
    except OSError:  # file systems that cannot
        pass
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> int:
    """Remove temporary files that nobody is writing any more; returns how many there were."""
    gone = 0
    for path in temporaries(folder):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()
                gone += 1
    return gone


def temporaries(folder: Path) -> Iterator[Path]:
    """Temporary files in the folder and those below it."""
    return folder.rglob(".*.tmp")
