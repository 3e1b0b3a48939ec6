"""Benchmarks: each script asks one question and brings its peers along in the same run."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np


def seconds(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taking turns so that a slow minute of the machine hits all of them.

    A turn is two runs, of which the second counts: the first meets caches full of the others' data.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in times.items()}


def product(dtype: type, size: int = 1536) -> Callable[[], object]:
    """A product of square matrices by NumPy's library on all cores: 2·size³ operations."""
    a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    return lambda: a @ a


def peak(time: float, size: int = 1536) -> float:
    """Operations a second of that product."""
    return 2.0 * size**3 / time
