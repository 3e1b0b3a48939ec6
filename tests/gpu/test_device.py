"""What an accelerator must get right, from outside the package: paths, symmetries, kernels, statistics, a verdict.

Every test has two sizes: one for an accelerator, where there is one (marker `gpu`), and a tiny one that runs on the
CPU as well, so that the tests themselves do not rot (the longer ones are `slow`). They need the core of the package
alone.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.statistics._characteristic import mean_features
from tests.oracle import assert_same, largest_difference, replay

TANH = SimpleNamespace(sigma=np.tanh, slope=lambda u: 1 / np.cosh(u) ** 2)
"""σ and σ' for the oracle."""

TOLERANCE = {jnp.float64: 1e-12, jnp.float32: 2e-5}
"""As on the CPU: TF32 products, 1e-3 of their size off, would fail the second."""

METHODS = {"stepwise": jl.Stepwise(native=False, lanes=2), "s-step": jl.SStep(block=1, native=False, lanes=2)}
TS = (0.0, 0.4, 1.5)
KEY = jax.random.key(0)


def sizes(tiny, real, marks=()):
    """A size for any platform and one for accelerators alone; marks are those of the tiny one."""
    return [
        pytest.param(tiny, id=f"tiny-{tiny}", marks=marks),
        pytest.param(real, id=f"accelerator-{real}", marks=pytest.mark.gpu),
    ]


def problem():
    data = jl.data.sphere(points=5, inputs=3)
    data = jl.Data(data.x, data.y, np.arange(1.0, 6.0))
    return jl.Problem(data, jl.networks.Shallow(jl.activations.Tanh(), jl.Initial()))


def simulated(width, method, dtype=jnp.float32, replicas=3, devices=1, observe=None, ts=TS):
    """On the default platform's first devices: whatever JAX would take by itself."""
    chosen = jax.devices()[:devices]
    settings = {"replicas": replicas, "key": KEY, "method": method, "dtype": dtype, "devices": chosen}
    return jl.simulate(problem(), width, ts, observe=observe, **settings)


def parameters(now, start):
    return {"c": now.c, "w": now.w}


def bits(samples, replicas):
    return [np.asarray(leaf)[:replicas] for leaf in jax.tree.leaves((samples.values, samples.observed))]


@pytest.mark.parametrize("width", sizes(16, 256))
@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_paths_are_those_of_the_oracle(method, dtype, width):
    samples = simulated(width, METHODS[method], dtype, observe=parameters)
    assert samples.values.dtype == dtype
    for replica in range(3):
        path = replay(problem(), TANH, width, KEY, replica, TS)
        assert_same(samples.values[replica], path.values, TOLERANCE[dtype])
        assert_same(samples.observed["c"][replica], path.c, TOLERANCE[dtype])
        assert_same(samples.observed["w"][replica], path.w, TOLERANCE[dtype])
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01


@pytest.mark.parametrize("width", sizes(64, 1024, pytest.mark.slow))
@pytest.mark.parametrize("order", [1, 2])
def test_blocks_of_several_steps_follow_the_oracle_within_their_own_error(order, width):
    samples = simulated(width, jl.SStep(block=8, order=order, native=False, lanes=2), jnp.float64, replicas=1)
    path = replay(problem(), TANH, width, KEY, 0, TS)
    difference = np.max(np.abs(samples.values[0] - path.values), axis=1)
    assert np.all(difference <= 4 * samples.error[0] + 1e-12)
    assert np.max(difference) > 1e-12  # blocks were taken


@pytest.mark.parametrize("width", sizes(16, 512, pytest.mark.slow))
@pytest.mark.parametrize("method", METHODS)
def test_fewer_replicas_and_fewer_devices_give_the_same_bits(method, width):
    """Three replicas fill a lane of two and half of another, whose rest is padding."""
    many = simulated(width, METHODS[method], replicas=4, observe=parameters, devices=len(jax.devices()))
    few = simulated(width, METHODS[method], replicas=3, observe=parameters)
    assert all(np.array_equal(a, b) for a, b in zip(bits(many, 3), bits(few, 3), strict=True))
    assert not np.array_equal(many.values[2], many.values[3])


@pytest.mark.parametrize("width", sizes(32, 2048))
def test_a_wider_network_begins_with_the_neurons_of_a_narrower_one(width):
    narrow, wide = (jl.simulation.draws(problem(), n, KEY, 0, 10) for n in (width, 2 * width))
    assert np.array_equal(narrow[0], wide[0][:width])
    assert np.array_equal(narrow[1], wide[1][:width])
    assert np.array_equal(narrow[2], wide[2])


@pytest.mark.parametrize("width", sizes(64, 65536))
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_the_kernel_of_a_network_is_its_average_over_neurons(dtype, width):
    """In float32 to a few rounding units of the largest entry: products in TF32 would be off by a thousand."""
    network, x = problem().network, problem().data.x
    p = jax.tree.map(lambda one: one.astype(dtype), network.init(width, 3, KEY))
    found = jax.jit(lambda p: jl.empirical_gram(network, p, x))(p)
    assert found.dtype == dtype
    c, w = (np.asarray(one, np.float64) for one in p)
    u = x @ w.T
    slopes = c * TANH.slope(u)
    expected = (slopes @ slopes.T * (x @ x.T) + TANH.sigma(u) @ TANH.sigma(u).T) / width
    units = 64 * float(jnp.finfo(dtype).eps)
    assert np.max(np.abs(np.asarray(found, np.float64) - expected)) <= units * np.max(expected)
    least = jax.jit(lambda p: jl.kernels.empirical_lambda_min(network, p, x))(p)
    assert abs(float(least.value) - np.linalg.eigvalsh(expected)[0]) <= float(least.error) + units * np.max(expected)


@pytest.mark.parametrize("replicas", sizes(1500, 200_000))
def test_features_of_distances_between_laws_are_means_of_cosines_and_sines(replicas):
    """What statistics compute on the device: float32 terms, whose rounding is far below the noise 1/√n."""
    z = np.random.default_rng(0).standard_normal((replicas, 3))
    at, weight = jl.statistics.EnergyDistance().frequencies(3)
    at, weight = at[:24], weight[:24]
    found = mean_features(z, at, weight)
    angles = z @ at.T
    expected = np.sqrt(weight) * np.array([np.cos(angles).mean(axis=0), np.sin(angles).mean(axis=0)])
    # An angle of many turns is known to a float32 rounding unit of itself.
    allowed = np.sqrt(weight) * 4 * float(np.finfo(np.float32).eps) * (4 + np.max(np.abs(angles), axis=0))
    assert np.all(np.abs(found - expected) <= allowed)


@pytest.mark.parametrize("replicas", sizes(128, 20_000))
def test_samples_of_the_law_agree_with_it_and_others_are_told_apart(replicas):
    """False alarms at one in a million; the other law has its mean moved by eight standard errors and more."""
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    z = np.random.default_rng(1).multivariate_normal(np.zeros(2), covariance, replicas)[:, None]
    law = jl.paths.GaussianPath(np.zeros(1), np.zeros((1, 2)), covariance[None])
    for shift, agrees in ((0.0, True), (12.0 / np.sqrt(replicas), False)):
        intact = np.full(replicas, -1)
        samples = jl.paths.Samples(np.zeros(1), z + shift, None, np.zeros(1, int), intact, "none", 1, 1)
        found = jl.compare(samples, law, jl.statistics.EnergyDistance(), key=KEY)
        assert bool(found.p_value[0] > 1e-6) is agrees


@pytest.mark.parametrize("replicas", sizes(32, 4096, pytest.mark.slow))
def test_the_study_of_the_xavier_limit_violates_nothing(replicas):
    data = jl.data.sphere(points=4, inputs=3)
    case = jl.Problem(data, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
    widths = (16, 32) if replicas < 1000 else (256, 512, 1024)
    report = jl.studies.xavier(
        case, key=KEY, widths=widths, replicas=replicas, ts=(0.0, 1.0), devices=jax.devices()[:1]
    )
    violated = [claim.name for claim in report.claims if claim.verdict is Verdict.VIOLATED]
    assert violated == []
    assert any(claim.verdict is Verdict.HOLDS for claim in report.claims)
