"""method=None: the chain where exactness is asked for or cheap, blocks as exact as float32 where they pay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation._choose import TOLERANCE, chosen_method
from jaxlimit.simulation._state import Run
from tests import systems
from tests.cases import ACTIVATIONS


def run_of(width, name="erf", gamma=0.5, alpha=1.0, points=20, inputs=10, dtype=np.float32, batch=1):
    data = jl.data.sphere(points=points, inputs=inputs)
    problem = systems.problem(ACTIVATIONS[name], data, gamma=gamma, alpha=alpha)
    devices = (jax.devices()[0],)
    rank = min(points, inputs)
    return Run(problem, problem.network, width, rank, 0, 2 * width, batch, np.dtype(dtype), devices)


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 16384, "dtype": np.float64},
        {"width": 256},
        {"width": 1024, "gamma": 1.0, "alpha": 20.0},
        {"width": 4096, "gamma": 1.0, "alpha": 5.0},
        {"width": 1024, "points": 250, "inputs": 10},
    ],
)
def test_the_chain_is_chosen_where_blocks_would_not_be_exact_or_would_not_pay(settings):
    assert isinstance(chosen_method(run_of(**settings)), jl.Stepwise)


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ({"width": 4096}, 1),
        ({"width": 16384, "alpha": 5.0}, 1),
        ({"width": 16384, "name": "relu"}, None),
        ({"width": 16384, "gamma": 1.0}, 2),
        ({"width": 65536, "points": 200, "inputs": 10}, None),
    ],
)
def test_blocks_are_chosen_for_wide_networks(settings, order):
    method = chosen_method(run_of(**settings))
    assert isinstance(method, jl.SStep)
    assert method.tolerance == TOLERANCE
    assert order is None or method.order == order


@pytest.mark.slow
def test_simulate_says_what_it_took_and_stays_within_the_tolerance():
    problem = systems.problem(ACTIVATIONS["tanh"], jl.data.sphere(points=6, inputs=4), alpha=2.0)
    settings = {"width": 2048, "ts": (0.5, 1.0), "replicas": 3, "dtype": jnp.float32}
    samples = systems.run(problem, method=None, **settings)
    assert samples.method.startswith("SStep(tolerance=0.0001")
    exact = systems.run(problem, method=jl.Stepwise(native=True), **{**settings, "dtype": jnp.float64})
    error = np.max(np.abs(samples.values - exact.values), axis=2)
    assert np.all(error <= samples.error)
    assert np.all(samples.error <= TOLERANCE)
    assert systems.run(problem, method=None, **{**settings, "width": 64}).method.startswith("Stepwise")


@pytest.mark.parametrize("native", [False, True])
def test_the_cost_of_blocks_falls_with_their_length_and_grows_like_the_width(native):
    def seconds(width, block):
        return jl.SStep(block=block, native=native).chain(run_of(width)).seconds

    assert seconds(16384, 64) > 3 * seconds(16384, 1024)
    assert seconds(2**20, 2**18) < 4 * seconds(2**14, 2**12)
    stepwise = jl.Stepwise(native=native)
    assert stepwise.chain(run_of(2**20)).seconds == pytest.approx(64 * stepwise.chain(run_of(2**14)).seconds)


def test_many_save_times_make_blocks_short_and_the_chain_cheaper():
    assert isinstance(chosen_method(run_of(4096)), jl.SStep)
    assert isinstance(chosen_method(run_of(4096)._replace(saves=2048)), jl.Stepwise)


@pytest.mark.parametrize(("width", "alpha"), [(4096, 6.0), (8192, 8.0)])
def test_order_one_is_not_chosen_where_its_blocks_would_have_to_be_short(width, alpha):
    """At γ = 3/4 the lengths expected of order 1 have been ten times too long."""
    method = chosen_method(run_of(width, gamma=0.75, alpha=alpha))
    assert isinstance(method, jl.Stepwise) or method.order == 2
