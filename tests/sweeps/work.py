"""Work for sweeps that needs NumPy alone, found by its name in every process."""

import os
import time
from pathlib import Path

import numpy as np

TIMES, POINTS = 3, 2


def numbers(settings, first, stop, checkpoint=None):
    """Every variable of a replica is drawn from its own generator, so that nothing but its number matters."""
    seed = settings.get("seed", 0), int(settings["width"])
    rows = [np.random.default_rng([*seed, replica]) for replica in range(first, stop)]
    values = np.array([row.standard_normal((TIMES, POINTS)) for row in rows]).astype(settings.get("dtype", "<f4"))
    return {
        "values": (("replica", "time", "point"), values),
        "diverged_at": (("replica",), np.array([row.integers(-1, 9) for row in rows])),
        "ts": (("time",), np.arange(TIMES) / 2.0),
    }


def slow(settings, first, stop, checkpoint=None):
    """A block of `settings["seconds"]` seconds."""
    until = time.monotonic() + settings["seconds"]
    while time.monotonic() < until:
        np.linalg.norm(np.ones(1000))
    return numbers(settings, first, stop)


def fails_at_32(settings, first, stop, checkpoint=None):
    """One width cannot be computed."""
    if settings["width"] == 32:
        raise ArithmeticError("a width of 32 is too much for me")
    return numbers(settings, first, stop)


def no_disk(settings, first, stop, checkpoint=None):
    """A file system that fails within the work."""
    if first:
        raise OSError(28, "No space left on device")
    return numbers(settings, first, stop)


def dies_once(settings, first, stop, checkpoint=None):
    """The first worker that comes to the second block is killed there, as by a machine that runs out of memory."""
    mark = Path(settings["mark"])
    if first and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return numbers(settings, first, stop)


def waits(settings, first, stop, checkpoint=None):
    """Keeps a state, and then waits for a file that says how to go on; a run that finds the state goes on from it."""
    kept = checkpoint.load(0)
    if kept is None:
        checkpoint._every = 0.01  # and not a minute
        checkpoint.offer(0, lambda: {"step": np.array(1)})  # the clock begins
        time.sleep(0.02)
        checkpoint.offer(0, lambda: {"step": np.array(7)})
        Path(settings["mark"]).write_text(str(os.getpid()))
        time.sleep(60.0)
    return {"resumed_at": (("replica",), np.full(stop - first, int(kept["step"])))}


def ragged(settings, first, stop, checkpoint=None):
    """Cells whose replicas have different times, points and types; and a variable that not every cell has."""
    times, points = settings["times"], settings["points"]
    rows = np.arange(first, stop, dtype=settings["dtype"])[:, None, None]
    own = np.arange(times, dtype=settings["dtype"])[:, None] + 10 * np.arange(points, dtype=settings["dtype"])
    found = {
        "values": (("replica", "time", "point"), rows * 100 + own),
        "large": (("replica",), np.arange(first, stop) % 3 == 0),
        "ts": (("time",), np.arange(times) * 0.5),
    }
    if settings["dtype"] == "f8":
        found["steps"] = (("replica", "time"), np.arange(first, stop)[:, None] * np.arange(times))
    return found
