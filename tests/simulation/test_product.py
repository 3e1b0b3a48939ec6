"""Products at less than full precision: asked for by name, told in the result, and as short as they say."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation import DeviceProduct, FullProduct, RoundedProduct
from tests import systems
from tests.cases import ACTIVATIONS

PROBLEM = systems.problem(ACTIVATIONS["erf"], jl.Data(systems.FULL_X, systems.FULL_Y))


def rounded(values, bits):
    """To so many bits after the leading one, ties to even, by NumPy."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)


@pytest.mark.parametrize("bits", [7, 10, 23])
def test_factors_are_rounded_to_so_many_bits_and_sums_are_not(bits):
    left, right = np.random.default_rng(0).standard_normal((2, 40, 40)).astype(np.float32)
    found = np.asarray(RoundedProduct(bits)(jnp.asarray(left), jnp.asarray(right)), np.float64)
    expected = rounded(left.astype(np.float64), bits) @ rounded(right.astype(np.float64), bits)
    assert np.max(np.abs(found - expected)) < 2e-5
    exact = left.astype(np.float64) @ right.astype(np.float64)
    assert bool(np.max(np.abs(expected - exact)) > 1e-3) is (bits < 23)


def error(product, method):
    """Of the outputs of float32 networks, against those of float64 with the same draws."""
    settings = {"width": 64, "ts": (0.0, 2.0), "replicas": 4}
    exact = systems.run(PROBLEM, method=method(lanes=4, native=False), **settings).values
    found = systems.run(PROBLEM, method=method(lanes=4, native=False, product=product), dtype=jnp.float32, **settings)
    return np.max(np.abs(found.values - exact))


@pytest.mark.parametrize("method", [jl.Stepwise, jl.SStep])
def test_outputs_lose_what_the_product_loses(method):
    """bfloat16 has 7 bits, TF32 10: errors of 2⁻⁸ and 2⁻¹¹ of an output, and eight times less for three more bits."""
    full, tf32, bf16 = (error(product, method) for product in (None, RoundedProduct(10), RoundedProduct(7)))
    assert full < 2e-6 < 1e-4 < tf32 < 2e-3
    assert 3 < bf16 / tf32 < 20
    assert error(FullProduct(), method) == full


def test_what_was_asked_for_is_told():
    samples = systems.run(PROBLEM, method=jl.Stepwise(product=RoundedProduct(10)), dtype=jnp.float32)
    assert samples.method == "Stepwise(native=False, product=RoundedProduct(mantissa=10))"
    samples = systems.run(PROBLEM, method=jl.SStep(block=4, product=DeviceProduct()), dtype=jnp.float32)
    assert samples.method == "SStep(block=4, order=1, native=False, product=DeviceProduct())"


@pytest.mark.parametrize("method", [jl.Stepwise, jl.SStep])
def test_native_loops_and_other_things_are_refused(method):
    with pytest.raises(ValueError, match="Argument `native` must be False or None here, but native loops multiply"):
        method(native=True, product=FullProduct())
    with pytest.raises(ValueError, match="Argument `product` must be an AbstractProduct or None"):
        method(product="tf32")
    with pytest.raises(ValueError, match="Argument `mantissa` must be at most 23"):
        RoundedProduct(24)
