"""The theorem itself: networks of finite width against the law of the limit, within Monte Carlo error and 1/width."""

import functools
import math

import jax
import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit.statistics import pathwise
from tests import laws, systems
from tests.cases import ACTIVATIONS, CHAINS

CASE = ACTIVATIONS["erf"]
DATA = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
AT = systems.FULL_AT
TS = [0.0, 0.5, 2.0]
NETWORKS, NEURONS = 8192, 64

ALLOWANCE = 0.5 / NEURONS
"""Finite width: coupled means were seen to differ from the limit by 0.1/N, covariances by about 0.3/N."""


def problem(gamma=0.5, alpha=2.0):
    return systems.problem(CASE, DATA, gamma=gamma, alpha=alpha)


@functools.cache
def ensemble(gamma=0.5, width=NEURONS, networks=NETWORKS):
    return jl.simulate(
        problem(gamma), width, TS, replicas=networks, key=jax.random.key(7), at=AT, devices=jax.devices()[:1]
    ).values.astype(np.float64)


def coupled(values, gamma=0.5):
    """The limit's path from every network's own start."""
    start = values[:, 0]
    return jl.SpectralLimit(problem(gamma)).path(start[:, :5], TS, at=AT, h0_at=start[:, 5:])


def threshold(samples, allowance):
    """What |mean − expected| may reach: the allowance and z standard errors, 1e-6 over all components."""
    error = np.std(samples, axis=0, ddof=1) / math.sqrt(len(samples))
    return allowance + scipy.stats.norm.isf(0.5e-6 / error.size) * error


@pytest.mark.parametrize("gamma", [0.5, 0.75, 1.0])
def test_at_the_start_the_covariance_is_exact_at_every_width(gamma):
    """Cov h_0 = N^{1−2γ}Σ without any error in the width; on data and extra points jointly."""
    scaled = ensemble(gamma)[:, 0] * NEURONS ** (gamma - 0.5)
    x = np.concatenate([DATA.x, AT])
    _, covariance = systems.textbook_kernels("erf", x, x)
    deviation = np.sqrt(np.diag(covariance))
    laws.assert_mean(scaled / deviation, 0.0, detectable=0.1)
    products = scaled[:, :, None] * scaled[:, None, :] / np.outer(deviation, deviation)
    laws.assert_mean(products, covariance / np.outer(deviation, deviation), detectable=0.2)


def test_the_mean_follows_the_limit():
    """Coupled to the limit started at each network's own outputs: all noise of the start cancels."""
    values = ensemble()
    differences = (values - coupled(values))[:, 1:]
    allowed = threshold(differences, ALLOWANCE)
    assert np.all(np.abs(differences.mean(axis=0)) <= allowed)
    # Sharp enough to matter: a learning rate wrong by 10%, or uniform weights, would not pass.
    law = jl.SpectralLimit(problem()).law(TS, at=AT)
    for wrong in (problem(alpha=2.2), systems.problem(CASE, jl.Data(DATA.x, DATA.y), alpha=2.0)):
        shift = np.abs(jl.SpectralLimit(wrong).law(TS, at=AT).mean - law.mean)[1:]
        assert np.any(shift > 2 * allowed)


def test_mean_and_covariance_are_those_of_the_law():
    values, law = ensemble(), jl.SpectralLimit(problem()).law(TS, at=AT)
    centred = values - law.mean
    assert np.all(np.abs(centred.mean(axis=0)) <= threshold(centred, ALLOWANCE))
    products = centred[:, :, :, None] * centred[:, :, None, :]
    allowed = threshold(products, ALLOWANCE)
    assert np.all(np.abs(products.mean(axis=0) - law.covariance) <= allowed)
    # Sharp enough to matter: Var c = 1/3 taken for E|c| = 1/2, or a covariance that does not decay, would not pass.
    assert np.any(np.abs(1.5 * law.covariance - law.covariance) > 2 * allowed)
    assert np.any(np.abs(law.covariance[0] - law.covariance[2]) > 2 * allowed[2])


@pytest.mark.slow
def test_parameters_hardly_move():
    """RMS movement is of order N^{−1/2}, so four times the width halves it."""

    def movement(now, start):
        return ((now.w - start.w) ** 2).mean()

    moves = []
    for width in (64, 256):
        samples = systems.run(problem(), width=width, ts=(1.0,), replicas=64, observe=movement, method=jl.Stepwise())
        moves.append(math.sqrt(samples.observed.mean()))
    assert moves[0] / moves[1] == pytest.approx(2.0, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_paths_converge_with_the_square_root_of_the_width(name):
    """RMS |h^N_t − h_t| started together; the 95% interval of the fitted exponent lies within −1/2 ± 0.1."""
    case = ACTIVATIONS[name]
    question = systems.problem(case, DATA, alpha=2.0)
    limit = jl.SpectralLimit(question, rule=case.rule)
    widths, errors = [64, 128, 256, 512, 1024], []
    for width in widths:
        one = jax.devices()[:1]  # a program is compiled for every device it runs on
        samples = jl.simulate(question, width, TS, replicas=512, key=jax.random.key(width), at=AT, devices=one)
        values = samples.values.astype(np.float64)
        reference = limit.path(values[:, 0, :5], TS, at=AT, h0_at=values[:, 0, 5:])
        errors.append(pathwise(values[:, 1:], reference[:, 1:]))
    rate = jl.rate(widths, errors)
    assert -0.6 < rate.low < rate.high < -0.4, rate
    assert rate.widths_used == tuple(widths)


@pytest.mark.slow
def test_finite_width_errors_of_the_mean_are_of_order_one_over_the_width():
    """What ALLOWANCE supposes: at 32 neurons the coupled mean is off by no more than 0.5/32, with 32,768 networks."""
    values = ensemble(width=32, networks=32_768)
    differences = (values - coupled(values))[:, 1:]
    assert np.all(np.abs(differences.mean(axis=0)) <= threshold(differences, 0.5 / 32))
    assert np.max(threshold(differences, 0.0)) < 0.5 / 32


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, None])
def test_predictions_for_other_patients_have_the_joint_law_of_the_limit(batch):
    """Eight patients to learn from, two others to predict, whose inputs lie outside the span of the eight.

    Chance in the samples adds to covariances what the allowance holds; without it there is only the width's.
    """
    everyone = jl.data.diabetes()
    data, others = jl.Data(everyone.x[:8], everyone.y[:8]), everyone.x[40:42]
    question = systems.problem(CASE, data, alpha=4.0)
    settings = {"replicas": NETWORKS, "key": jax.random.key(11), "at": others, "devices": jax.devices()[:1]}
    values = jl.simulate(question, NEURONS, TS, batch=batch, **settings).values.astype(np.float64)
    law = jl.SpectralLimit(question).law(TS, at=others)
    centred = values - law.mean
    assert np.all(np.abs(centred.mean(axis=0)) <= threshold(centred, ALLOWANCE))
    products = centred[:, :, :, None] * centred[:, :, None, :]
    allowed = threshold(products, ALLOWANCE)
    assert np.all(np.abs(products.mean(axis=0) - law.covariance) <= allowed)
    # Sharp enough to matter: predictions that stay where they start, and ones independent of the data's outputs.
    assert np.all(np.abs(law.mean[2, 8:] - law.mean[0, 8:]) > 2 * threshold(centred, ALLOWANCE)[2, 8:])
    assert np.any(np.abs(law.covariance[:, 8:, :8]) > 2 * allowed[:, 8:, :8])
