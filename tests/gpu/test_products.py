"""Products of matrices are those of float32, and shorter ones are told apart, in a product and in a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests.gpu.sizes import BOTH_SLOW, KEY, METHODS, TANH, TOLERANCE, assert_close, elsewhere, problem, run, sizes
from tests.oracle import largest_difference, replay

FULL, DEVICE, TF32 = jl.simulation.FullProduct(), jl.simulation.DeviceProduct(), jl.simulation.RoundedProduct(10)


def multiplies_short():
    """Whether this device rounds float32 factors where nobody asks: TPUs, and GPUs of compute capability 8 and more."""
    device = jax.devices()[0]
    major = str(getattr(device, "compute_capability", "0")).split(".")[0]
    return device.platform == "tpu" or (major.isdigit() and int(major) >= 8)


def error(product, left, right):
    """The largest, in units of the largest entry; products of random numbers add up roots of their number."""
    exact = left.astype(np.float64) @ right.astype(np.float64)
    found = np.asarray(jax.jit(product)(left, right), np.float64)
    return float(np.max(np.abs(found - exact)) / np.max(np.abs(exact)))


@pytest.mark.parametrize("n", sizes(64, 1024))
def test_products_of_a_run_are_exact_in_float32(n):
    """Matrices, a batch of them, a matrix and a vector: 2⁻²⁴ for each number, 2⁻¹¹ in TF32."""
    rng, units = np.random.default_rng(0), float(np.finfo(np.float32).eps)
    for shapes in (((n, n), (n, n)), ((8, n // 2, n), (8, n, n // 2)), ((n, n), (n,))):
        left, right = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        assert error(FULL, left, right) <= 16 * units
        assert error(TF32, left, right) > 256 * units
    matrices = rng.standard_normal((2, n, n)).astype(np.float32)
    assert (error(DEVICE, *matrices) > 256 * units) is multiplies_short()


@pytest.mark.parametrize("size", BOTH_SLOW)
def test_short_products_in_a_run_are_told_apart(size):
    """Steps on all points: products of the data and of the features at every step."""
    question, whole = problem(size), METHODS["stepwise"](size)
    plants = [TF32, DEVICE] if multiplies_short() else [TF32]
    for product in (None, *plants):
        method = jl.Stepwise(whole.lanes, product=product)
        samples = run(question, size, method, batch=None, replicas=1)
        path = replay(question, TANH, size.width, KEY, 0, samples.ts, elsewhere(size), batch=None)
        if product is None:
            assert_close(samples.values[0], path.values, samples.steps, "outputs")
        else:
            assert largest_difference(samples.values[0], path.values) > 2 * TOLERANCE[jnp.float32], product


@pytest.mark.parametrize("place", sizes("a CPU", "an accelerator", pytest.mark.slow))
def test_the_diagnosis_finds_nothing_amiss(place):
    wrong = [finding for finding in jl.doctor.diagnose() if finding.ok is False]
    assert wrong == [], place
