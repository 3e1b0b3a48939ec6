"""What an accelerator computes, here: the replicas of a lane advance together, and the steps of a block in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit._lanes import IN_FLIGHT, crew
from jaxlimit.simulation._lane import lane_keys, lanes_of
from jaxlimit.simulation._prepared import prepared
from jaxlimit.simulation._state import Run
from tests import systems
from tests.cases import ACTIVATIONS, LOSSES, each, most_slow
from tests.devices import Accelerator
from tests.oracle import assert_same, replay
from tests.systems import parameters, same_bits

TOLERANCE = 1e-12
"""float64, as for replicas in turn."""


@pytest.fixture
def accelerated(monkeypatch):
    """Every run takes its devices for accelerators."""
    monkeypatch.setattr(Run, "on_cpus", False)


def problem_on(case, loss=None, **settings):
    y = np.sign(systems.FULL_Y) if loss is not None and loss.signs else systems.FULL_Y
    given = systems.problem(case, jl.Data(systems.FULL_X, y, systems.uneven(len(y))), **settings)
    return given if loss is None else jl.Problem(given.data, given.network, given.scaling, loss.loss, 2.0)


def run(problem, method, **settings):
    return systems.run(problem, method=method, **{"replicas": 5, "observe": parameters, **settings})


@pytest.mark.filterwarnings("ignore:.*beyond the tolerance:UserWarning")
@pytest.mark.parametrize(
    "method",
    [
        jl.Stepwise(lanes=4, native=False),
        jl.SStep(6, 2, lanes=4, native=False),
        pytest.param(jl.SStep(tolerance=1e-2, order=2, lanes=4, native=False), marks=pytest.mark.slow),
        pytest.param(jl.SStep(tolerance=1e-3, lanes=4, native=False), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("batch", [1, pytest.param(3, marks=pytest.mark.slow), None])
def test_replicas_together_do_as_they_do_in_turn(method, batch, monkeypatch):
    problem = problem_on(ACTIVATIONS["erf"], gamma=0.75)
    in_turn = run(problem, method, batch=batch)
    monkeypatch.setattr(Run, "on_cpus", False)
    together = run(problem, method, batch=batch)
    assert_same(together.values, in_turn.values, TOLERANCE)
    assert_same(together.observed["w"], in_turn.observed["w"], TOLERANCE)


@pytest.mark.parametrize("name", most_slow(each(LOSSES)))
def test_blocks_of_one_step_are_the_chain_of_every_loss(name, accelerated):
    """Against the NumPy oracle, with a step that moves outputs."""
    case, loss = ACTIVATIONS["tanh"], name
    problem = problem_on(case, loss)
    samples = run(problem, jl.SStep(1, lanes=4), replicas=2)
    path = replay(problem, case, samples.width, jax.random.key(0), 1, samples.ts, derivative=loss.derivative)
    assert_same(samples.values[1], path.values, TOLERANCE)
    assert_same(samples.observed["c"][1], path.c, TOLERANCE)


@pytest.mark.slow
def test_long_blocks_are_corrected_over_many_chunks(accelerated):
    """700 steps are chunks of 32 in streams of 1024 indices."""
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, alpha=0.02)
    samples = run(problem, jl.SStep(700, lanes=4), ts=(42.0, 90.0, 100.0), replicas=2)
    path = replay(problem, case, samples.width, jax.random.key(0), 1, samples.ts)
    assert_same(samples.values[1], path.values, 3e-3)


@pytest.mark.parametrize("method", [jl.Stepwise(lanes=3), jl.SStep(6, lanes=3)])
def test_padding_devices_and_the_order_of_lanes_change_no_bit(method, accelerated):
    """7 replicas in lanes of 3 on 1, 2 and 4 devices, 5 of them alone, and the last 3."""
    problem = problem_on(ACTIVATIONS["erf"])
    whole = run(problem, method, replicas=7, devices=jax.devices()[:1], dtype=jnp.float32)
    for count in (2, 4):
        assert same_bits(run(problem, method, replicas=7, devices=jax.devices()[:count], dtype=jnp.float32), whole, 7)
    assert same_bits(run(problem, method, replicas=5, devices=jax.devices()[:1], dtype=jnp.float32), whole, 5)
    last = run(problem, method, replicas=3, first=4, devices=jax.devices()[:1], dtype=jnp.float32)
    assert np.array_equal(last.values, whole.values[4:])
    assert (whole.lanes, whole.devices) == (3, "cpu")


def test_an_accelerator_has_two_lanes_in_flight():
    """While the results of one travel, the steps of the other run; CPUs have a worker for each core."""
    gpus = [Accelerator(), Accelerator()]
    assert crew(100, gpus) == [*gpus, *gpus]
    assert crew(1, gpus) == gpus[:1]
    assert crew(100, gpus[:1]).count(gpus[0]) == IN_FLIGHT == 2
    assert len(crew(100, [gpus[0], jax.devices()[0]])) > IN_FLIGHT


@pytest.mark.parametrize("method", [jl.Stepwise(lanes=4, native=False), jl.SStep(6, lanes=4, native=False)])
def test_a_lane_asks_for_every_transfer_and_its_calls_for_none(method, accelerated):
    """Implicit transfers are refused: what is sent and fetched is sent and fetched on purpose, between two calls."""
    problem = problem_on(ACTIVATIONS["erf"])
    given = prepared(problem, 24, [0.5, 1.0], 5, jax.random.key(0), method, None, None, 1, None, jnp.float32, None, 0)
    lanes = lanes_of(given, None, None, lambda _: None)(jax.devices()[0])
    before = lanes.through(1, lambda: None)  # constants of a program are sent once, when it is compiled
    with jax.transfer_guard("disallow"):
        after = lanes.through(1, lambda: None)
        assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
        keys = lane_keys(lanes.base, jax.device_put(np.arange(4, dtype=np.uint32)))
        start = lanes.programs.begun(keys, jax.device_put(np.int32(4)))
    with jax.transfer_guard("disallow_explicit"):
        lanes.programs.advanced(keys, *start, lanes.there[0])
    with jax.transfer_guard("disallow"), pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device"):
        lanes.programs.advanced(keys, *start, lanes.cut[0])
