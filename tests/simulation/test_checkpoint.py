"""Checkpoints: a run that is stopped and started again, as often as you like, has the bits of one that was not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlimit as jl
from jaxlimit.simulation import _pieces
from tests import systems
from tests.cases import ACTIVATIONS
from tests.systems import LANES, parameters, same_bits

FULL = systems.problem(ACTIVATIONS["erf"], jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)))
THIN = systems.problem(ACTIVATIONS["erf"], jl.Data(systems.THIN_X, systems.THIN_Y, systems.uneven(3)))
LINEAR = jl.Problem(FULL.data, jl.networks.Linearised(FULL.network))
LAYERS = jl.initial.IndependentLayers((jl.initial.Normal(0, 1), jl.initial.Normal(0.5, 1), jl.initial.Normal(0.5, 1)))
DEEP = jl.Problem(
    FULL.data,
    jl.networks.Multilayer((jl.activations.Tanh(), jl.activations.Sin()), LAYERS),
    jl.scalings.LayerwiseMeanField(0.1),
)


def noisy(rate):
    """SGD by a rule whose state is a number of Python, a key, and a momentum in bfloat16."""

    def init(now):
        return 1.0, jax.random.key(3), optax.tree.zeros_like(now, dtype=jnp.bfloat16)

    def update(gradients, state, _=None):
        factor, key, momentum = state
        key, own = jax.random.split(key)
        momentum = jax.tree.map(lambda m, g: (0.9 * m + g).astype(jnp.bfloat16), momentum, gradients)
        noise = jax.random.normal(own, (), jnp.float32)
        updates = jax.tree.map(lambda m, g: -rate * factor * (m.astype(g.dtype) + noise * g), momentum, gradients)
        return updates, (factor * 0.99, key, momentum)

    return optax.GradientTransformation(init, update)


def stepwise(native):
    return jl.Stepwise(lanes=LANES, native=native)


def blocks(**settings):
    return jl.SStep(lanes=LANES, **settings)


CASES = {
    "native": {"problem": FULL, "method": stepwise(True)},
    "native, few points": {"problem": THIN, "method": stepwise(True), "observe": parameters, "at": systems.THIN_AT},
    "blocks, native, tolerance": {"problem": FULL, "method": blocks(order=2, tolerance=1e-2, native=True)},
    "blocks, tolerance": {"problem": FULL, "method": blocks(tolerance=1e-2, native=False), "observe": parameters},
    "optimiser": {
        "problem": THIN,
        "method": stepwise(False),
        "optimiser": noisy(1e-2),
        "observe": parameters,
        "dtype": jnp.float32,  # in which the type of a number of Python matters
    },
    "XLA": {"problem": FULL, "method": stepwise(False), "observe": parameters, "at": systems.FULL_AT},
    "all points": {"problem": FULL, "method": stepwise(False), "batch": None},
    "blocks, native, fixed": {"problem": FULL, "method": blocks(block=5, native=True), "observe": parameters},
    "blocks, fixed": {"problem": FULL, "method": blocks(block=5, order=2, native=False), "batch": None},
    "Linearised": {"problem": LINEAR, "method": stepwise(False), "observe": parameters},
    "Multilayer": {"problem": DEEP, "width": (6, 5), "method": stepwise(False), "observe": lambda now, start: now},
}


QUICK = ("native, few points", "blocks, native, tolerance", "optimiser")
"""One of each kind of state: the others go with the slow tests."""


class StoppedError(Exception):
    """What ends a run here, as a signal or the end of a job's time would."""


class Memory:
    """Keeps every state, and stops the run at every `stop`-th offer of a lane; notes what happened."""

    def __init__(self, kept=None, stop=None):
        self.kept, self.stop, self.offers, self.loads = dict(kept or {}), stop, {}, []

    def load(self, lane):
        self.loads.append(lane)
        return self.kept.get(lane)

    def offer(self, lane, state):
        self.kept[lane] = state()
        self.offers[lane] = self.offers.get(lane, 0) + 1
        if self.stop and self.offers[lane] % self.stop == 0:
            raise StoppedError


@pytest.fixture
def cut(monkeypatch):
    """Runs are cut into pieces of one step, or of one block."""
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)


def run(problem=FULL, checkpoint=None, **settings):
    settings = {"method": stepwise(True), "replicas": 3, **settings}
    return systems.run(problem, checkpoint=checkpoint, **settings)


@pytest.fixture(scope="module")
def half_done():
    """What is kept of the first lane of a run that was stopped half way, with two saves done."""
    memory = Memory(stop=11)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
        with pytest.raises(StoppedError):
            run(replicas=LANES, checkpoint=memory)
    return memory.kept[0]


@pytest.mark.filterwarnings("ignore:.*beyond the tolerance:UserWarning")
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_a_run_that_is_stopped_again_and_again_has_the_bits_of_one_that_is_not(name, cut):
    settings = CASES[name]
    whole, memory, stops = run(**settings), Memory(stop=3 if isinstance(settings["method"], jl.SStep) else 13), 0
    resumed = None
    while resumed is None:
        try:
            resumed = run(**settings, checkpoint=memory)
        except StoppedError:
            stops += 1
    assert stops >= 2
    assert same_bits(resumed, whole, 3)
    for field in ("error", "forced", "diverged_at"):
        assert np.array_equal(getattr(resumed, field), getattr(whole, field))
    arrays = [array for kept in memory.kept.values() for array in kept.values()]
    assert all(type(array) is np.ndarray and array.dtype.kind in "biufc" for array in arrays)


def test_progress_counts_what_was_done_before(half_done, cut):
    calls, memory = [], Memory({0: half_done})
    run(replicas=LANES, checkpoint=memory, progress=lambda now, total: calls.append((now, total)))
    step = int(half_done["pieces"][2])
    assert 0 < step < 60
    assert calls[0] == (step, 60)
    assert calls[-1] == (60, 60)


def test_every_piece_but_the_last_of_a_lane_is_offered(cut):
    """Native code goes two steps at a time, and the save at time 0 is a piece: 31 pieces."""
    memory = Memory()
    run(checkpoint=memory)
    assert memory.offers == {0: 30, 1: 30}
    assert [memory.kept[lane]["pieces"].tolist() for lane in (0, 1)] == [[30, 31, 58]] * 2
    assert sorted(memory.loads) == [0, 1]


def test_a_short_run_is_one_call_and_offers_nothing():
    memory = Memory()
    assert same_bits(run(checkpoint=memory), run(), 3)
    assert not memory.offers
    assert sorted(memory.loads) == [0, 1]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"seed": 1}, "`keys` differ"),
        ({"first": 2}, "`keys` differ"),
        ({"replicas": 1}, "`keys` differ"),
        ({"width": 25}, "`run` differ"),
        ({"problem": systems.problem(ACTIVATIONS["erf"], FULL.data, alpha=0.5)}, "`run` differ"),
        ({"method": jl.Stepwise(lanes=3, native=True)}, "`run` differ"),
        ({"ts": (0.0, 0.29, 1.1, 2.5)}, "`run` differ"),
        ({"observe": lambda now, start: now.c[0]}, "names differ"),
    ],
)
def test_a_state_of_another_run_is_refused(half_done, settings, what, cut):
    with pytest.raises(ValueError, match=f"Argument `checkpoint` must have .* of lane 0 its {what}"):
        run(checkpoint=Memory({0: half_done}), **{"replicas": LANES, **settings})


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda state: state.pop("moving 0"), "names differ"),
        (lambda state: state.update({"moving 0": state["moving 0"][:, :5]}), "`moving 0` differ in shape or type"),
        (lambda state: state.update({"saved 0": state["saved 0"].astype("f4")}), "`saved 0` differ in shape or type"),
        (lambda state: state.update({"saved 0": state["saved 0"][:, :1]}), "`saved 0` differ in shape or type"),
        (lambda state: state["pieces"].__iadd__([0, 1, 0]), "`pieces` differ"),
        (lambda state: state.pop("pieces"), "no piece to go on from"),
        (lambda state: state["pieces"].__imul__([0, 1, 1]), "no piece to go on from"),
    ],
)
def test_a_spoilt_state_is_refused(half_done, spoil, what, cut):
    state = {name: array.copy() for name, array in half_done.items()}
    spoil(state)
    with pytest.raises(ValueError, match=f"Argument `checkpoint` must have .*{what}"):
        run(replicas=LANES, checkpoint=Memory({0: state}))


def test_what_is_no_checkpoint_is_refused():
    with pytest.raises(ValueError, match="Argument `checkpoint` must have the methods `load` and `offer`"):
        run(checkpoint={})


def test_more_replicas_take_up_whole_lanes_that_were_kept(half_done, cut):
    memory = Memory({0: half_done})
    assert same_bits(run(checkpoint=memory, replicas=2 * LANES), run(replicas=2 * LANES), 2 * LANES)
    assert memory.offers[0] < memory.offers[1]
