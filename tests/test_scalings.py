"""Scalings: powers of the width, and the number of steps at a limit time."""

import math
from fractions import Fraction

import numpy as np
import pytest

import jaxlimit as jl
from tests.cases import SCALINGS, each


@pytest.mark.parametrize("scaling", each(SCALINGS))
@pytest.mark.parametrize("width", [1, 2, 100, 4096, 10**6])
def test_both_increments_carry_the_width_to_the_power_gamma_minus_two(scaling, width):
    gamma = scaling.gamma
    assert scaling.output(width) == pytest.approx(width**-gamma, rel=1e-14)
    assert scaling.output(width) * scaling.learning_rate(width) == pytest.approx(width ** (gamma - 2), rel=1e-13)


def test_the_named_scalings_are_the_ends_of_the_family():
    assert jl.Xavier() == jl.PowerScaling(0.5)
    assert jl.MeanField() == jl.PowerScaling(1.0)
    assert jl.MeanField().learning_rate(1000) == 1.0
    assert jl.Xavier().learning_rate(1000) == pytest.approx(1e-3, rel=1e-15)


@pytest.mark.parametrize("width", [1, 3, 10, 100, 250, 1000, 4096, 65536])
def test_a_decimal_time_means_the_steps_it_says(width):
    """0.29 · 100 is 28.999999999999996 in floating point: ⌊Nt⌋ must be that of the decimal number."""
    for hundredths in range(1001):
        exact = math.floor(Fraction(hundredths, 100) * width)
        assert jl.Xavier().steps(hundredths / 100, width) == exact


def test_rounding_forgives_rounding_only():
    steps = jl.Xavier().steps
    assert steps(np.nextafter(3.0, 0.0), 7) == 21
    assert steps(3.0 * (1 - 1e-14), 7) == 20
    assert steps(1e-300, 7) == 0


def test_all_scalings_share_the_clock():
    assert {scaling.steps(1.7, 33) for scaling in SCALINGS.values()} == {56}


def test_the_step_counter_stays_within_32_bits():
    # Loops run over whole blocks of 1024 indices, whose end must be a 32-bit number too.
    assert jl.Xavier().steps(2.0**31 - 1025, 1) == 2**31 - 1025
    with pytest.raises(ValueError, match="2³¹"):
        jl.Xavier().steps(2.0**31 - 1024, 1)
    with pytest.raises(ValueError, match=r"Argument `ts` must stay below 2³¹ steps, but t = 2 at width 1073741824"):
        jl.Xavier().steps(2.0, 2**30)


@pytest.mark.parametrize("gamma", [0.0, 0.4999, 1.0001, 2.0, -1.0, np.nan, np.inf, "1/2", None, True])
def test_exponents_outside_the_known_limits_are_refused(gamma):
    with pytest.raises(ValueError, match="Argument `gamma` must"):
        jl.PowerScaling(gamma)


@pytest.mark.parametrize("width", [0, -1, 1.5, True])
def test_widths_are_positive_integers(width):
    with pytest.raises(ValueError, match="Argument `width` must"):
        jl.Xavier().output(width)
    with pytest.raises(ValueError, match="Argument `width` must"):
        jl.Xavier().steps(1.0, width)
