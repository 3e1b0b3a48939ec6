"""The plan of a run: the method pinned, what it takes, and every refusal of the run itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit._devices import cores
from jaxlimit.simulation import _memory
from tests import systems
from tests.cases import ACTIVATIONS
from tests.systems import same_bits

KEY = jax.random.key(0)
PROBLEM = systems.problem(ACTIVATIONS["erf"], jl.Data(systems.FULL_X, systems.FULL_Y))
LINEAR = jl.Problem(PROBLEM.data, jl.networks.Linearised(PROBLEM.network))
ONE = {"devices": jax.devices()[:1], "key": KEY}


def plan(problem=PROBLEM, width=systems.WIDTH, ts=systems.TS, **settings):
    return jl.simulation.plan(problem, width, ts, **{**ONE, **settings})


@pytest.mark.parametrize(
    ("problem", "width", "kind"),
    [
        (PROBLEM, 64, jl.Stepwise),
        pytest.param(PROBLEM, 8192, jl.SStep, marks=pytest.mark.slow),
        pytest.param(LINEAR, 64, jl.Stepwise, marks=pytest.mark.slow),
    ],
)
def test_the_pinned_method_makes_the_bits_of_none(problem, width, kind):
    ts, dtype = (0.0, 1.0), jnp.float32
    pinned = plan(problem, width, ts, dtype=dtype).method
    assert type(pinned) is kind
    assert isinstance(pinned.lanes, int)
    assert isinstance(pinned.native, bool)
    left, given = (systems.run(problem, width, ts, replicas=2, dtype=dtype, method=method) for method in (None, pinned))
    assert left.method == given.method == plan(problem, width, ts, dtype=dtype).name
    assert left.lanes == given.lanes == pinned.lanes
    assert same_bits(left, given, 2)
    assert plan(problem, width, ts, dtype=dtype, method=pinned).method == pinned


def test_a_method_keeps_what_it_says_and_gets_what_it_left_open():
    given = jl.SStep(block=7, order=2, lanes=3, native=False)
    assert plan(method=given).method == given
    assert plan(method=jl.SStep(block=7, native=False)).method.block == 7
    assert plan(method=jl.Stepwise(native=False)).method == jl.Stepwise(lanes=64, native=False)


def test_it_says_what_a_replica_takes():
    """Bytes are those of the results; seconds are steps times the model's cost of one; workers are cores."""
    settings = {"dtype": jnp.float64, "at": systems.FULL_AT, "observe": systems.parameters}
    method = jl.Stepwise(lanes=3, native=True)
    foreseen = plan(**settings, method=method)
    samples = systems.run(PROBLEM, replicas=5, **settings, method=method)
    found = (samples.values, samples.observed)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(found)) // 5
    # An error of the method has a place of 8 bytes at each time, used or not.
    assert foreseen.result_bytes == held + 8 * len(systems.TS)
    assert (foreseen.lanes, foreseen.steps, foreseen.workers) == (3, samples.steps[-1], cores())
    longer = plan(**settings, method=method, ts=(0.0, 0.29, 1.0, 5.0))
    assert longer.seconds == pytest.approx(2 * foreseen.seconds)
    assert foreseen.seconds > 0
    # At least w of three replicas in both coordinates.
    assert foreseen.lane_bytes > 3 * 2 * systems.WIDTH * 3 * 4
    assert plan(**settings, method=jl.Stepwise(lanes=6, native=True)).lane_bytes == 2 * foreseen.lane_bytes


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"problem": systems.problem(ACTIVATIONS["erf"], PROBLEM.data, alpha=1e4)}, "`learning_rate` must keep a step"),
        ({"width": 0}, "`width` must be"),
        ({"at": np.ones((2, 4))}, "`at` must have 3 inputs"),
        ({"observe": lambda now, start: "text"}, "`observe` must return"),
        ({"at": np.full((1, 3), 1e300), "dtype": jnp.float32}, "`at` must be representable"),
        ({"method": "stepwise"}, "`method` must be a method"),
        ({"key": 0}, "`key` must be"),
        ({"problem": LINEAR, "method": jl.SStep()}, "`method` must be Stepwise"),
    ],
)
def test_what_the_run_would_refuse_is_refused(settings, what):
    with pytest.raises(ValueError, match=f"Argument {what}") as foreseen:
        plan(**settings)
    given = {"problem": PROBLEM, "width": systems.WIDTH, "ts": systems.TS, **ONE, **settings}
    with pytest.raises(ValueError, match="Argument") as refused:
        jl.simulate(replicas=1, **given)
    assert str(foreseen.value) == str(refused.value)


def test_a_lane_without_room_is_refused_and_nothing_is_simulated(monkeypatch):
    foreseen = plan(width=4096)
    monkeypatch.setattr(_memory, "available_on_host", lambda: foreseen.lane_bytes)
    with pytest.raises(ValueError, match=r"Argument `width` must fit into .* of free memory"):
        plan(width=4096)
    monkeypatch.setattr(_memory, "available_on_host", lambda: foreseen.lane_bytes + 2 * foreseen.result_bytes)
    assert jax.tree.leaves(plan(width=4096)) == jax.tree.leaves(foreseen)
