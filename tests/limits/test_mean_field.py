"""The mean-field limit: particles that agree with NumPy, a law of large numbers, a central limit theorem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.statistics import MeanShift, VarianceRatio, compare, equivalence
from tests import laws, systems
from tests.cases import ACTIVATIONS
from tests.limits.test_epsilon_flow import numpy_flow

KEY = jax.random.key(3)  # that of numpy_flow
THIN = jl.Data(systems.THIN_X, systems.THIN_Y, systems.uneven(3))
FULL = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
TS = [0.0, 0.7, 2.0]
POSITIVE = jl.Initial(c=jl.initial.Uniform(0.0, 1.0))
FAR = jl.Initial(c=jl.initial.Uniform(0.0, 2.0), w=jl.initial.Normal(0.5, 1.0))
FEW = {"particles": 128, "initial": FAR, "dtype": jnp.float32}


def limit_of(data=THIN, particles=40, initial=None, dtype=jnp.float64, key=KEY, gamma=1.0):
    network = jl.networks.Shallow(jl.activations.Erf(), initial or jl.Initial())
    problem = jl.Problem(data, network, scaling=jl.PowerScaling(gamma), learning_rate=1.5)
    return jl.MeanFieldLimit(problem, particles, key=key, dtype=dtype)


@pytest.mark.slow
def test_it_is_the_system_of_numpy_without_the_particles_random_start():
    limit = limit_of()
    expected, state = numpy_flow(1.0, THIN, "erf", np.zeros(5), TS, systems.THIN_AT)
    law = limit.law(TS, systems.THIN_AT)
    assert np.max(np.abs(law.mean - expected)) < limit.flow.error
    assert not law.covariance.any()
    found = limit.particles(TS)
    for value, last in zip(found, state, strict=True):
        assert np.max(np.abs(value[-1] - last)) < limit.flow.error
    assert np.array_equal(limit.path(np.zeros(3), TS), limit.path(None, TS))


def test_a_mean_of_the_output_weights_enters_with_its_exact_value():
    """g_0 = E c · mean σ(w·x): no fluctuation of c is in it."""
    limit = limit_of(initial=POSITIVE)
    w = np.asarray(limit.flow.neurons.w, np.float64)
    expected = 0.5 * ACTIVATIONS["erf"].sigma(w @ np.concatenate([THIN.x, systems.THIN_AT]).T).mean(axis=0)
    assert np.max(np.abs(limit.start(systems.THIN_AT) - expected)) < 1e-14
    assert np.max(np.abs(limit.law([0.0], systems.THIN_AT).mean[0] - expected)) < 1e-14
    assert not limit_of().start().any()


@pytest.mark.slow
def test_the_stated_errors_are_those_of_the_particles_and_of_the_solver():
    limit = limit_of(particles=512, dtype=jnp.float32)
    solution = limit.solve(TS, systems.THIN_AT)
    assert np.array_equal(solution.values, limit.law(TS, systems.THIN_AT).mean)
    assert solution.error.shape == (3, 5)
    assert not solution.error[0].any()
    assert np.all((solution.error[1:] > 1e-4) & (solution.error[1:] < 0.05))
    assert np.all(solution.solver_error < limit.flow.error)


@pytest.mark.slow
def test_the_spread_over_particles_is_what_is_stated():
    """20 independent sets: the spread of g_t is the stated error to a factor of two."""
    solutions = [limit_of(FULL, 256, dtype=jnp.float32, key=jax.random.key(seed)).solve(TS) for seed in range(20)]
    spread = np.std([s.values for s in solutions], axis=0, ddof=1)[1:]
    stated = np.sqrt(np.mean([s.error**2 for s in solutions], axis=0))[1:]
    assert np.all((spread > 0.5 * stated) & (spread < 2.0 * stated))


def test_the_start_is_a_mean_over_the_particles_and_has_their_error():
    """E c ≠ 0, 24 independent sets, t = 0 included: variances over them and stated ones differ by Snedecor's F."""
    keys = [jax.random.key(seed) for seed in range(24)]
    found = [limit_of(key=key, **FEW).law([0.0, 0.7], systems.THIN_AT) for key in keys]
    spread = np.var([law.mean for law in found], axis=0, ddof=1)
    stated = np.mean([law.mean_standard_error**2 for law in found], axis=0)
    low, high = (scipy.stats.f.ppf(tail, 23, 24 * 7) for tail in (1e-7, 1 - 1e-7))
    assert np.all((spread > low * stated) & (spread < high * stated)), spread / stated
    solution = limit_of(key=keys[0], **FEW).solve([0.0, 0.7], systems.THIN_AT)
    assert np.array_equal(solution.error, found[0].mean_standard_error)


@pytest.mark.slow
def test_a_law_of_few_particles_is_not_held_against_networks():
    """128 particles are not the law: taken as known it would be refuted, with its repeats it is not."""
    ts, width = [0.0, 0.25], 256
    limit = limit_of(**FEW)
    law = limit.finite_width(ts, width, systems.THIN_AT, steps=8)
    problem = limit.flow.problem
    settings = {"at": systems.THIN_AT, "method": jl.Stepwise(), "devices": jax.devices()[:1]}
    found = jl.simulate(problem, width, ts, replicas=2048, key=KEY, **settings)
    for statistic in (MeanShift(), VarianceRatio(), jl.statistics.WhitenedMoments()):
        assert equivalence(compare(found, law, statistic)).verdict is not Verdict.VIOLATED
    known = jl.paths.GaussianPath(law.ts, law.mean, law.covariance)
    assert equivalence(compare(found, known, MeanShift())).verdict is Verdict.VIOLATED
    # Repeats are laws themselves.
    for one in law.repeats:
        assert np.array_equal(one.covariance, np.swapaxes(one.covariance, 1, 2))
        assert np.all(np.linalg.eigvalsh(one.covariance) > 0)


@pytest.mark.slow
def test_the_law_of_large_numbers_and_the_central_limit_theorem():
    """RMS |g^N − g| falls like N^{−1/2}; N·Var g^N is the prediction, with and without the noise of SGD."""
    limit, ts, replicas, widths = limit_of(FULL, 8192, dtype=jnp.float32), [0.5, 2.0], 3000, (50, 256)
    solution, problem = limit.solve(ts), limit.flow.problem
    predictions = {batch: limit.finite_width(ts, widths[-1], batch=batch) for batch in (1, None)}
    assert np.max(solution.error / predictions[1].standard_deviation) < 0.25
    settings = {"replicas": replicas, "key": KEY, "method": jl.Stepwise(), "devices": jax.devices()[:1]}
    for batch, predicted in predictions.items():
        rms = []
        for width in widths:
            found = jl.simulate(problem, width, ts, batch=batch, **settings)
            rms.append(np.sqrt(np.mean((found.values - solution.values) ** 2)))
        slope = np.diff(np.log(rms)) / np.diff(np.log(widths))
        # The standard error of an RMS of so many is below 1.5%, of the slope 0.01.
        assert slope == pytest.approx(-0.5, abs=0.05)
        centred = (found.values - found.values.mean(axis=0)) / predicted.standard_deviation
        laws.assert_mean(np.mean(centred**2, axis=(1, 2)) * replicas / (replicas - 1), 1.0, detectable=0.2)
    # The test can fail: the noise of SGD is a large part of the variance.
    both, start = (np.trace(predicted.covariance[1]) for predicted in predictions.values())
    assert both - start > 0.2 * start


@pytest.mark.slow
def test_the_law_at_finite_width_falls_like_its_inverse():
    limit, ts = limit_of(**FEW), [0.0, 0.25]
    wide, wider = (limit.finite_width(ts, width, systems.THIN_AT, steps=8) for width in (100, 400))
    assert np.array_equal(wide.mean, wider.mean)
    assert np.allclose(wide.covariance, 4 * wider.covariance, rtol=1e-12)
    assert np.allclose(wide.covariance_standard_error, 4 * wider.covariance_standard_error, rtol=1e-12)
    assert np.array_equal(wide.mean_standard_error, limit.law(ts, systems.THIN_AT).mean_standard_error)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("problem", lambda: limit_of(gamma=0.75)),
        ("problem", lambda: jl.MeanFieldLimit(THIN, key=KEY)),
        ("particles", lambda: limit_of(particles=8).solve(TS)),
        ("particles", lambda: limit_of(particles=8).law(TS)),
        ("width", lambda: limit_of().finite_width(TS, 0)),
        ("h0_at", lambda: limit_of().path(None, TS, h0_at=[0.0])),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()
