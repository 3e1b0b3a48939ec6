"""Files that are there whole or not at all, whenever the plug is pulled."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

STALE = 3600.0
"""Seconds after which a temporary file is that of a process that is gone: writing one takes seconds."""

STATE = ".part"
"""How names of states of blocks end that are not finished: .<name of the block>.<lane>.part"""


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


def write_new(path: Path, data: bytes) -> bool:
    """`write_whole`, unless another process has written the file already: then it stays, and False is returned."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    write_whole(temporary, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # file systems without links: the last of two that write at the same moment stays
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, to the disk as well: or it would be lost with all that is whole in it."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        for above in list(path.parents)[:3]:
            sync_folder(above)


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
    """Remove temporary files and folders that nobody is writing any more, and states of blocks that are finished.

    Returns how many there were.
    """
    gone = 0
    for path in list(_temporaries(folder)):
        with contextlib.suppress(OSError):
            if path.name.endswith(STATE):
                if path.with_name(path.name[1:].rsplit(".", 2)[0]).exists():
                    path.unlink()
                    gone += 1
                continue
            inside = path.rglob("*") if path.is_dir() else ()
            if time.time() - max(each.stat().st_mtime for each in (path, *inside)) > STALE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                gone += 1
    return gone


def _temporaries(folder: Path) -> Iterator[Path]:
    """What is temporary in the folder and below it, without looking into folders that are."""
    # Another process may have put a folder in its place, or removed it, since its name was read.
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith((".tmp", STATE)):
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from _temporaries(Path(entry.path))
