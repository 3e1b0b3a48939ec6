"""Scalings: powers of the width, and the number of steps at a limit time."""

import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlimit as jl
from tests.cases import SCALINGS, each
from tests.layer_cases import LAYERWISE_SCALINGS


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


@pytest.mark.parametrize("widths", [(4, 7), (16, 16), (3, 5, 8)])
def test_the_plain_gradient_of_a_layer_is_multiplied_by_its_two_widths(widths):
    """MATHS 3: n_1, n_{i−1} n_i, n_{L−1}, and n_i for biases, times the step ε."""
    scaling = jl.LayerwiseMeanField(0.05)
    n1, *_, last = widths
    rates = scaling.learning_rate(widths)
    assert scaling.output(widths) == tuple(1 / n for n in widths)
    assert rates[0] == pytest.approx(0.05 * n1)
    assert rates[-1] == pytest.approx(0.05 * last)
    assert rates[1] == pytest.approx(0.05 * n1 * widths[1])
    assert scaling.bias_learning_rate(widths) == pytest.approx([0.05 * n for n in (*widths, 1)])
    assert [scaling.steps(t, widths) for t in (0.0, 0.15, 0.29, 1.0)] == [0, 3, 5, 20]


@pytest.mark.parametrize("gammas", [(0.5,), (0.7,), (1.0,)])
def test_one_hidden_layer_of_powers_is_the_power_of_the_width(gammas):
    deep, shallow = jl.DeepPowerScaling(gammas), jl.PowerScaling(gammas[0])
    assert deep.output((48,)) == pytest.approx([shallow.output(48)])
    assert deep.learning_rate((48,)) == pytest.approx([shallow.learning_rate(48)] * 2)
    assert deep.steps(0.29, (100,)) == shallow.steps(0.29, 100) == 29


def test_powers_at_mean_field_are_averages_with_the_last_width_for_its_clock():
    """γ = 1 in every layer: the rates of `LayerwiseMeanField` with ε = 1/N_last."""
    for widths in ((8, 5), (8, 5, 7)):
        deep, mean = jl.DeepPowerScaling((1.0,) * len(widths)), jl.LayerwiseMeanField(1 / widths[-1])
        assert deep.output(widths) == pytest.approx(mean.output(widths))
        assert deep.learning_rate(widths) == pytest.approx(mean.learning_rate(widths))
        assert deep.steps(3.0, widths) == mean.steps(3.0, widths) == 3 * widths[-1]
        assert deep.bias_learning_rate(widths) is None


@pytest.mark.parametrize("scaling", each(LAYERWISE_SCALINGS))
def test_layerwise_scalings_have_a_factor_for_every_layer(scaling):
    assert (len(scaling.output((5, 6))), len(scaling.learning_rate((5, 6))), len(scaling.schedules(3))) == (2, 3, 3)
    assert scaling.steps(7.0, (5, 6)) == round(7.0 / scaling.step_time((5, 6)))


LAYERWISE_REFUSED = {
    "no step": ("epsilon", lambda: jl.LayerwiseMeanField(0.0)),
    "a negative ξ": ("xi", lambda: jl.LayerwiseMeanField(0.1, -1.0)),
    "a ξ that is text": ("xi", lambda: jl.LayerwiseMeanField(0.1, (1.0, "1"))),
    "no ξ ≥ 0 in a list": ("xi", lambda: jl.LayerwiseMeanField(0.1, [1.0, -1.0])),
    "a ξ with if": ("xi", lambda: jl.LayerwiseMeanField(0.1, lambda t: 1.0 if t < 1 else 0.1)),
    "a ξ of NumPy": ("xi", lambda: jl.LayerwiseMeanField(0.1, lambda t: np.exp(-t))),
    "a ξ of nothing": ("xi", lambda: jl.LayerwiseMeanField(0.1, lambda: 1.0)),
    "a ξ with two values": ("xi", lambda: jl.LayerwiseMeanField(0.1, lambda t: jnp.stack([t, t]))),
    "a ξ that starts below 0": ("xi", lambda: jl.LayerwiseMeanField(0.1, lambda t: t - 1.0)),
    "a ξ that starts at ∞": ("xi", lambda: jl.LayerwiseMeanField(0.1, lambda t: 1.0 / t)),
    "another number of ξ": ("xi", lambda: jl.LayerwiseMeanField(0.1, (1.0, 1.0)).schedules(3)),
    "a width of zero": ("width", lambda: jl.LayerwiseMeanField(0.1).output((4, 0))),
    "no width": ("width", lambda: jl.LayerwiseMeanField(0.1).output(())),
    "a whole number": ("width", lambda: jl.LayerwiseMeanField(0.1).learning_rate(8)),
    "four powers": ("gammas", lambda: jl.DeepPowerScaling((0.5,) * 4)),
    "a power alone": ("gammas", lambda: jl.DeepPowerScaling(0.5)),
    "no powers": ("gammas", lambda: jl.DeepPowerScaling(None)),
    "no ξ": ("xi", lambda: jl.LayerwiseMeanField(0.1, ())),
    "a small power": ("gammas", lambda: jl.DeepPowerScaling((0.5, 0.4))),
    "another number of widths": ("width", lambda: jl.DeepPowerScaling((0.5, 0.5)).output((4,))),
}


@pytest.mark.parametrize("name", LAYERWISE_REFUSED)
def test_factors_per_layer_are_refused_by_name_where_they_do_not_fit(name):
    argument, attempt = LAYERWISE_REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        attempt()


def test_a_schedule_that_does_not_fit_is_named_by_its_layer():
    with pytest.raises(ValueError, match=r"have as ξ_2 a function of limit time that JAX can trace .* Tracer"):
        jl.LayerwiseMeanField(0.1, (1.0, lambda t: 1.0 if t < 1 else 0.1, 1.0))
    with pytest.raises(ValueError, match=r"have as ξ_3 a number ≥ 0 or a function of limit time, but it is -1"):
        jl.LayerwiseMeanField(0.1, (1.0, 1.0, -1.0))
    with pytest.raises(ValueError, match=r"have as ξ_1 .*, but it is -2 at t = 0"):
        jl.LayerwiseMeanField(0.1, (lambda t: t - 2, 1.0))


def test_a_list_of_schedules_is_a_tuple_and_schedules_of_optax_are_taken():
    decay = optax.exponential_decay(1.0, 1, 0.5)
    assert jl.LayerwiseMeanField(0.1, [1.0, decay]) == jl.LayerwiseMeanField(0.1, (1.0, decay))
    assert jl.LayerwiseMeanField(0.1, [1.0, decay]).schedules(2) == (1.0, decay)
