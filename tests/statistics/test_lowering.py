"""What statistics compute on a device lowers for CUDA and TPU; everything else of them is NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.statistics import _characteristic
from tests.lowering import counters, exported, foreign

SAMPLES, DIMENSIONS, FREQUENCIES = 1_000_000, 20, 512


def numbers(*shape):
    """Only shapes count: nothing is computed."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


PROGRAMS = {
    "sums": (
        _characteristic._sums,
        (numbers(SAMPLES // 1024, 1024, DIMENSIONS), numbers(DIMENSIONS, FREQUENCIES)),
    ),
    "rows": (_characteristic._cos_sin, (numbers(4096, DIMENSIONS), numbers(DIMENSIONS, FREQUENCIES))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_features_of_a_million_samples_lower(name):
    function, arguments = PROGRAMS[name]
    assert foreign(function, np.float32, *arguments) == []


def test_chunks_of_samples_are_one_loop_that_fits_no_more_than_a_chunk_of_features():
    function, arguments = PROGRAMS["sums"]
    for text in exported(function, *arguments).values():
        assert counters(text) == ([], ["i64"])
        assert f"tensor<1024x{FREQUENCIES}xf32>" in text
        assert f"tensor<{SAMPLES // 1024}x1024x{FREQUENCIES}xf32>" not in text


@pytest.mark.parametrize("statistic", [jl.statistics.EnergyDistance(64), jl.statistics.KernelDiscrepancy(64)])
def test_these_are_the_programs_that_a_comparison_runs(statistic, monkeypatch):
    called = []
    for name in ("_sums", "_cos_sin"):
        real = getattr(_characteristic, name)
        spy = lambda *arrays, real=real, name=name: called.append((name, arrays)) or real(*arrays)  # noqa: E731
        monkeypatch.setattr(_characteristic, name, spy)
    rng = np.random.default_rng(0)
    steps, intact = np.zeros(1, int), np.full(1500, -1)
    samples = jl.paths.Samples(np.zeros(1), rng.standard_normal((1500, 1, 2)), None, steps, intact, "none", 1, 1)
    law = jl.paths.GaussianPath(np.zeros(1), np.zeros((1, 2)), np.eye(2)[None])
    jl.compare(samples, law, statistic)
    assert {name for name, _ in called} == {"_sums", "_cos_sin"}
    assert all(array.dtype == jnp.float32 for _, arrays in called for array in arrays)
