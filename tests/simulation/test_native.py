"""The native loop is the chain too: the same oracle, XLA's loop beside it, and edges that only tiles have."""

import importlib.util

import jax
import jax.numpy as jnp
import numba
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.activations import AbstractActivation
from jaxlimit.losses import AbstractLoss
from jaxlimit.simulation import _native, _pieces
from jaxlimit.simulation._state import Run
from jaxlimit.simulation._tiles import TILE, rows_of, tiled
from tests import systems
from tests.cases import ACTIVATIONS, CHAINS, LOSSES, SCALINGS, each, most_slow
from tests.oracle import assert_same, chain, largest_difference, replay
from tests.systems import LANES, parameters, same_bits

TOLERANCE = 1e-12
"""float64, as for the loop of XLA."""

SINGLE = 2e-5
"""float32, as for the loop of XLA."""

NATIVE = jl.Stepwise(lanes=LANES, native=True)
XLA = jl.Stepwise(lanes=LANES, native=False)


def run(problem, replicas=2, observe=parameters, method=NATIVE, **settings):
    return systems.run(problem, replicas=replicas, observe=observe, method=method, **settings)


def problem_on(case, x=systems.FULL_X, y=systems.FULL_Y, **settings):
    return systems.problem(case, jl.Data(x, y, systems.uneven(len(y))), **settings)


def assert_follows(samples, problem, case, tolerance=TOLERANCE, at=None):
    at = np.zeros((0, problem.data.inputs)) if at is None else at
    for replica in range(samples.replicas):
        path = replay(problem, case, samples.width, jax.random.key(0), replica, samples.ts, at)
        assert_same(samples.values[replica], path.values, tolerance)
        assert_same(samples.observed["c"][replica], path.c, tolerance)
        assert_same(samples.observed["w"][replica], path.w, tolerance)
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01


@pytest.mark.parametrize("scaling", each(SCALINGS))
@pytest.mark.parametrize("case", most_slow(each(CHAINS)))
def test_paths_are_those_of_the_oracle(case, scaling):
    """On data of rank 3 in 5 dimensions, at points inside and outside their span."""
    problem = problem_on(case, systems.THIN_X, systems.THIN_Y, gamma=scaling.gamma)
    assert_follows(run(problem, at=systems.THIN_AT), problem, case, at=systems.THIN_AT)


def looped(problem, case, width, steps, few, lead=False):
    """A compiled loop alone, on a lane of two, beside the oracle: c and w of either at the end."""
    rng, x = np.random.default_rng(width + problem.data.inputs), problem.data.x
    c, w = rng.uniform(-1, 1, (2, width)), rng.standard_normal((2, width, problem.data.inputs))
    indices = rng.integers(0, problem.data.points, (2, steps)).astype(np.int32)
    paths = [chain(problem, case, *draw, [steps]) for draw in zip(c, w, indices, strict=True)]
    kind = np.dtype(np.float64)
    forms = case.activation.scalar(kind), problem.loss.scalar(), kind
    output = problem.scaling.output(width)
    increment = problem.learning_rate * problem.scaling.learning_rate(width) * output
    rest = indices, output, increment, problem.network.train_output, 0
    lost, start = np.full(2, -1, np.int32), w.swapaxes(1, 2)
    if few:
        rows = tiled(x @ start)
        moved = np.zeros_like(rows)
        _native.loop_of_few_points(*forms)(c, rows, moved, x @ x.T, problem.data.y, *rest, lead, lost)
        end = start + x.T @ rows_of(moved, width)
        assert_same(rows_of(rows, width), x @ end, TOLERANCE)
    else:
        rows = tiled(start)
        _native._loop(*forms)(c, rows, x, problem.data.y, *rest, lost)
        end = rows_of(rows, width)
    assert lost.tolist() == [-1, -1]
    return (c, end.swapaxes(1, 2)), (np.stack([path.c[-1] for path in paths]), np.stack([path.w[-1] for path in paths]))


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("width", [1, TILE - 1, TILE, TILE + 1, 2 * TILE + 44])
def test_widths_around_the_edges_of_tiles(width, few):
    case = ACTIVATIONS["tanh"]
    for ours, theirs in zip(*looped(problem_on(case, alpha=0.5), case, width, 37, few), strict=True):
        assert_same(ours, theirs, TOLERANCE)


@pytest.mark.parametrize("rank", [1, 2, 4, 5, 6, 9, 10, 13])
def test_ranks_around_multiples_of_five(rank):
    """Coordinates are taken five at a time, and the rest one by one."""
    x = np.random.default_rng(rank).standard_normal((rank + 2, rank)) / np.sqrt(rank)
    case = ACTIVATIONS["erf"]
    for ours, theirs in zip(
        *looped(problem_on(case, x, np.sin(np.arange(rank + 2))), case, 20, 51, False), strict=True
    ):
        assert_same(ours, theirs, TOLERANCE)


@pytest.mark.parametrize("points", [1, 2, 3, 4, 5, 8, 11])
def test_numbers_of_points_around_multiples_of_four(points):
    """Rows are taken four at a time, and the rest one by one; here more points than inputs are no obstacle."""
    x = np.random.default_rng(points).standard_normal((points, 3)) / np.sqrt(3)
    case = ACTIVATIONS["erf"]
    for ours, theirs in zip(*looped(problem_on(case, x, np.sin(np.arange(points))), case, 20, 51, True), strict=True):
        assert_same(ours, theirs, TOLERANCE)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("lead", [False, True])
def test_pairs_of_steps_and_what_is_left_over(steps, lead):
    case = ACTIVATIONS["tanh"]
    for ours, theirs in zip(*looped(problem_on(case), case, 20, steps, True, lead), strict=True):
        assert_same(ours, theirs, TOLERANCE)


@pytest.mark.parametrize("few", [False, True])
def test_frozen_output_weights_stay_in_the_loop(few):
    """Not learnt is an argument of the loop, so this compiles nothing that the edges above have not compiled."""
    case = ACTIVATIONS["tanh"]
    (c, w), (c_oracle, w_oracle) = looped(problem_on(case, train_output=False), case, 20, 37, few)
    assert np.array_equal(c, c_oracle)
    assert_same(w, w_oracle, TOLERANCE)


@pytest.mark.slow
def test_frozen_output_weights():
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, train_output=False)
    samples = run(problem)
    assert_follows(samples, problem, case)
    c = samples.observed["c"]
    assert np.array_equal(c, np.broadcast_to(c[:, :1], c.shape))


@pytest.mark.slow
@pytest.mark.parametrize("points", [3, 5])
def test_more_steps_than_one_block_of_indices(points):
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, systems.FULL_X[:points], systems.FULL_Y[:points])
    samples = run(problem, ts=(42.0, 43.0, 90.0, 100.0))
    assert samples.steps.tolist() == [1008, 1032, 2160, 2400]
    assert_follows(samples, problem, case, 10 * TOLERANCE)


@pytest.mark.parametrize("case", most_slow(each(CHAINS)))
def test_float32_follows_the_same_path(case):
    problem = problem_on(case)
    samples = run(problem, dtype=jnp.float32)
    assert samples.values.dtype == np.float32
    assert_follows(samples, problem, case, SINGLE)


# Bits.


FEW = problem_on(ACTIVATIONS["erf"], systems.THIN_X, systems.THIN_Y)
MANY = problem_on(ACTIVATIONS["erf"])
ODD = (0.0, 0.04, 0.3, 45.0)  # no step, one, seven, and 1080: past the end of a block of indices


@pytest.fixture(scope="module", params=[FEW, MANY], ids=["few points", "more points"])
def seven(request):
    return request.param, run(request.param, replicas=7, dtype=jnp.float32, ts=ODD)


@pytest.mark.parametrize("replicas", [1, 3])
def test_fewer_replicas_are_the_first_of_more(seven, replicas):
    """The padding of the last lane is not computed here; it must not show."""
    problem, samples = seven
    assert same_bits(run(problem, replicas, dtype=jnp.float32, ts=ODD), samples, replicas)


@pytest.mark.slow
def test_two_devices_give_the_bits_of_one(seven):
    problem, samples = seven
    assert same_bits(run(problem, 7, dtype=jnp.float32, ts=ODD, devices=jax.devices()[:2]), samples, 7)


@pytest.mark.slow
def test_small_pieces_give_the_bits_of_one_call(seven, monkeypatch):
    """Between pieces the update that waits for its next step is finished at once, and no pair of steps is cut."""
    problem, samples = seven
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
    calls = []
    cut = run(problem, 3, dtype=jnp.float32, ts=ODD, progress=lambda done, total: calls.append(done))
    assert len(calls) > 1000
    assert same_bits(cut, samples, 3)


@pytest.mark.parametrize("case", most_slow(each(CHAINS)))
def test_negating_c_and_the_targets_negates_the_outputs_bitwise(case):
    """Signs are exact in floating point, in whatever order a compiler sums."""
    flipped = jl.Initial(c=Negated(jl.initial.Uniform()), w=jl.initial.Normal())
    samples = run(problem_on(case, y=-systems.FULL_Y, initial=flipped), dtype=jnp.float32)
    assert np.array_equal(samples.values, -run(problem_on(case), dtype=jnp.float32).values)


class Negated(jl.initial.AbstractLaw):
    """−c for c from another law, bit by bit."""

    law: jl.initial.AbstractLaw

    def sample(self, key, shape):
        return -self.law.sample(key, shape)

    @property
    def mean(self):
        return -self.law.mean

    @property
    def second_moment(self):
        return self.law.second_moment


def test_a_learning_rate_of_zero_freezes_the_outputs_bitwise():
    samples = run(problem_on(ACTIVATIONS["erf"], alpha=0.0), dtype=jnp.float32)
    assert np.array_equal(samples.values, np.broadcast_to(samples.values[:, :1], samples.values.shape))


@pytest.mark.slow
@pytest.mark.parametrize("points", [3, 5])
def test_a_replica_that_diverges_leaves_the_others_alone(points):
    """In one lane, one after the other: NaN left in the loop's memory would spoil the next."""
    initial = jl.Initial(c=jl.initial.Normal(0.0, 2.0), w=jl.initial.Normal())
    problem = problem_on(ACTIVATIONS["relu"], systems.FULL_X[:points], systems.FULL_Y[:points], initial=initial)
    ts = np.arange(41) / 2
    outcomes = []
    for method in (jl.Stepwise(lanes=32, native=True), jl.Stepwise(lanes=32, native=False)):
        with pytest.warns(UserWarning, match="of 32 replicas diverged"):
            outcomes.append(run(problem, 32, width=2, ts=ts, method=method, observe=None))
    native, plain = outcomes
    assert 0 < native.diverged < 32
    assert np.array_equal(native.diverged_at, plain.diverged_at)
    kept = native.diverged_at < 0
    assert_same(native.values[kept], plain.values[kept], 1e-9)


# Who compiles the loop.


class Sine(AbstractActivation):
    """A user's activation, with no scalar form."""

    def __call__(self, u):
        return jnp.sin(u)


class Quartic(AbstractLoss):
    """A user's loss, with no scalar form."""

    def value(self, prediction, target):
        return 0.25 * (prediction - target) ** 4

    def derivative(self, prediction, target):
        return (prediction - target) ** 3


def chosen(problem=None, dtype=np.float32, devices=None, batch=1, **settings):
    problem = problem_on(ACTIVATIONS["erf"]) if problem is None else problem
    devices = jax.devices()[:1] if devices is None else devices
    run = Run(problem, problem.network, 64, 3, 0, 100, batch, np.dtype(dtype), tuple(devices))
    return jl.Stepwise(**settings).chain(run).name


def test_float32_on_cpus_is_native_and_float64_is_not():
    assert chosen() == "Stepwise(native=True)"
    assert chosen(dtype=np.float64) == "Stepwise(native=False)"
    assert chosen(dtype=np.float64, native=True) == "Stepwise(native=True)"
    assert chosen(native=False) == "Stepwise(native=False)"
    assert run(problem_on(ACTIVATIONS["erf"]), method=None, dtype=jnp.float32).method == "Stepwise(native=True)"


class Elsewhere:
    platform, device_kind = "gpu", "NVIDIA H100 80GB HBM3"


def unsupported():
    base = problem_on(ACTIVATIONS["erf"])
    return {
        "an accelerator": ("for CPUs", {"devices": [jax.devices()[0], Elsewhere()]}),
        "a batch": ("one sample a step", {"batch": 2}),
        "a user's activation": (
            "Sine has no `scalar` form",
            {"problem": jl.Problem(base.data, jl.networks.Shallow(Sine()))},
        ),
        "a user's loss": (
            "Quartic has no `scalar` form",
            {"problem": jl.Problem(base.data, base.network, loss=Quartic())},
        ),
    }


@pytest.mark.parametrize("why", unsupported())
def test_what_cannot_be_native_is_left_to_xla_or_refused(why):
    reason, settings = unsupported()[why]
    assert chosen(**settings) == "Stepwise(native=False)"
    with pytest.raises(ValueError, match=rf"Argument `native` must be False or None here, but .*{reason}"):
        chosen(native=True, **settings)


def test_without_numba_xla_does_the_work(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert chosen() == "Stepwise(native=False)"
    with pytest.raises(ValueError, match=r"numba is not installed \(pip install 'jaxlimit\[numba\]'\)"):
        chosen(native=True)


@pytest.mark.parametrize("native", ["yes", 1, 0.0])
def test_native_is_yes_no_or_undecided(native):
    with pytest.raises(ValueError, match="Argument `native` must be True, False or None, but"):
        jl.Stepwise(native=native)


# The scalar forms.

SCALARS = {name: case for name, case in ACTIVATIONS.items() if case.activation.scalar(np.dtype(np.float32)) is not None}
GRID = np.concatenate(
    [np.linspace(-12, 12, 4801), np.geomspace(1e-30, 1, 200), -np.geomspace(1e-30, 1, 200), [0, 99, -99]]
)


def evaluated(form, u):
    pair = numba.njit(form)
    value, slope = np.transpose([pair(v) for v in u])
    return value, slope


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", each(SCALARS))
def test_scalar_forms_are_sigma_and_its_slope(case, dtype):
    u = GRID.astype(dtype)
    value, slope = evaluated(case.activation.scalar(np.dtype(dtype)), u)
    unit = float(np.finfo(dtype).eps)
    exact = u.astype(np.float64)
    # Relative to σ where it is odd, and small with u; elsewhere to its size.
    size = np.abs(case.sigma(exact)) + (1e-30 if case.odd else 1.0)
    assert np.max(np.abs(value - case.sigma(exact)) / size) <= 4 * unit
    # 1 − tanh² doubles the error of tanh.
    assert np.max(np.abs(slope - case.slope(exact))) <= 8 * unit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", each(SCALARS))
def test_scalar_forms_let_nan_through_and_take_infinity(case, dtype):
    pair = numba.njit(case.activation.scalar(np.dtype(dtype)))
    assert np.isnan(pair(dtype(np.nan))[0])
    if case.activation in (jl.activations.Sin(), jl.activations.Cos(), jl.activations.SinCos()):
        return  # of infinity they are not a number
    for u in (dtype(np.inf), dtype(-np.inf)):
        steep = 0.0 if case.bounded or (u < 0 and not case.odd) else 1.0
        value, slope = pair(u)
        assert value == pytest.approx(case.sigma(u), abs=1e-37)
        assert slope == pytest.approx(steep, abs=1e-37) or case.even  # ∞·0 for the bump


@pytest.mark.parametrize("case", each(LOSSES))
def test_scalar_derivatives_of_losses_are_those_of_the_table(case):
    scalar = numba.njit(case.loss.scalar())
    for g, y in ((0.3, -1.0), (2.0, 1.0), (-1.5, 1.0)):
        assert scalar(g, y) == pytest.approx(case.derivative(g, y), abs=2e-15)
        # Constants take the precision of the numbers, or the loop over neurons would leave single precision.
        single = scalar(np.float32(g), np.float32(y))
        assert single == pytest.approx(case.derivative(g, y), rel=1e-6, abs=1e-6)
    assert {str(form[1].return_type) for form in scalar.overloads.items() for form in [(None, form[1].signature)]} == {
        "float32",
        "float64",
    }
    assert np.isnan(scalar(np.nan, 1.0))
