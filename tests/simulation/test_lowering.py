"""Everything that `simulate` runs on a device lowers for CUDA and TPU, with nothing foreign inside. Nothing ran there.

The programs are those of a run whose device is no CPU, from the keys of a lane to its results.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlimit as jl
from tests import systems
from tests.cases import ACTIVATIONS, LAWS, LOSSES, STEPS, VECTOR_LAWS, each, most_slow
from tests.lane_program import DATA, LANES, SIGNS, TS, WIDTH, lane_program, problem_of
from tests.layer_cases import EMBEDDINGS
from tests.lowering import counters, exported, foreign

STEPWISE, BLOCKS = jl.Stepwise(lanes=LANES), jl.SStep(block=8, lanes=LANES)
METHODS = {
    "stepwise": STEPWISE,
    "blocks": BLOCKS,
    "blocks, order 2": jl.SStep(block=8, order=2, lanes=LANES),
    "tolerance": jl.SStep(tolerance=1e-3, lanes=LANES),
    "tolerance, order 2": jl.SStep(tolerance=1e-3, order=2, lanes=LANES),
}
PROBLEM = problem_of()
slow = pytest.mark.slow


def some_slow(methods, fast=("stepwise", "blocks")):
    return [pytest.param(one, id=name, marks=() if name in fast else slow) for name, one in methods.items()]


def found(problem, method, dtype=np.float32, **settings):
    """What is foreign in the programs of this run."""
    lane, arguments = lane_program(problem, method, dtype=dtype, **settings)
    return foreign(lane, dtype, *arguments)


@pytest.mark.parametrize("batch", [1, pytest.param(4, marks=slow), None])
@pytest.mark.parametrize("method", each(METHODS))
def test_every_method_lowers_with_every_batch(method, batch):
    assert found(PROBLEM, method, batch=batch, at=systems.FULL_AT) == []


@pytest.mark.parametrize("batch", [1, pytest.param(4, marks=slow), pytest.param(None, marks=slow)])
@pytest.mark.parametrize("method", most_slow(each(METHODS)))
def test_float64_lowers_as_well(method, batch):
    assert found(PROBLEM, method, np.float64, batch=batch, at=systems.FULL_AT) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", [STEPWISE, BLOCKS])
def test_outputs_of_all_replicas_leave_the_program_in_the_precision_of_the_run(method, dtype):
    lane, arguments = lane_program(PROBLEM, method, dtype=dtype, at=systems.FULL_AT)
    kind = {np.float32: "f32", np.float64: "f64"}[dtype]
    for text in exported(lane, *arguments).values():
        (head,) = (line for line in text.splitlines() if "@main(" in line)
        assert f"tensor<{LANES}x{len(TS)}x7x{kind}>" in head.split("->")[1]


@pytest.mark.parametrize("batch", [1, pytest.param(None, marks=slow)])
@pytest.mark.parametrize("method", some_slow(METHODS))
def test_steps_and_blocks_are_counted_in_32_bits(method, batch):
    """But for scans of known length, over save times and in rounds of steps, which JAX counts itself."""
    lane, arguments = lane_program(PROBLEM, method, batch=batch)
    for text in exported(lane, *arguments).values():
        ends, lengths = counters(text)
        assert set(ends) == {"i32"}
        assert 1 <= len(lengths) <= 2


@pytest.mark.parametrize("case", most_slow(each(ACTIVATIONS)))
def test_every_activation_lowers(case):
    name = next(name for name, one in ACTIVATIONS.items() if one is case)
    for method in (STEPWISE, BLOCKS):
        assert found(problem_of(name), method) == []


@pytest.mark.parametrize("case", most_slow(each(LOSSES)))
def test_every_loss_lowers(case):
    for method in (STEPWISE, BLOCKS):
        assert found(problem_of(data=SIGNS, loss=case.loss), method, batch=4) == []


@pytest.mark.parametrize("scaling", most_slow(each(STEPS)))
def test_every_fixed_step_lowers(scaling):
    assert found(problem_of(scaling=scaling), STEPWISE, ts=(0, 5, 30), width=16) == []


STARTS = {name: jl.Initial(w=case.law) for name, case in LAWS.items()}
STARTS |= {f"c {name}": jl.Initial(c=LAWS[name].law) for name in ("rademacher", "normal")}
STARTS |= {name: jl.Initial(w=law) for name, law in VECTOR_LAWS.items()}


@pytest.mark.parametrize("initial", most_slow(each(STARTS)))
def test_every_law_of_the_start_is_drawn_on_the_device(initial):
    assert found(problem_of(initial=initial), STEPWISE) == []


def trained_hidden(train_output):
    network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(), train_output=train_output)
    return jl.Problem(DATA, network, jl.PowerScaling(0.75))


THIN = jl.Data(systems.THIN_X, systems.THIN_Y, systems.uneven(3))
MANY = jl.data.sphere(points=300, inputs=3)
RUNS = {
    "half of a network": (PROBLEM, STEPWISE, {"half": 1}),
    "half of a network in blocks": (PROBLEM, BLOCKS, {"half": 0}),
    "more data than a block": (problem_of(data=MANY), BLOCKS, {}),
    "more coordinates than are written out": (problem_of(data=jl.data.sphere(points=80, inputs=70)), STEPWISE, {}),
    "products that are asked for": (PROBLEM, jl.Stepwise(lanes=LANES, product=jl.simulation.FullProduct()), {}),
    "data that span a part of their space": (problem_of(data=THIN), BLOCKS, {"at": systems.THIN_AT}),
    "an output layer that is frozen": (trained_hidden(False), BLOCKS, {}),
    "several calls": (PROBLEM, STEPWISE, {"ts": (0.0, 1.0, 4000.0), "width": 512}),
    "lanes and method as they are chosen": (PROBLEM, None, {"width": 1024}),
    "the tangent": (jl.Problem(DATA, jl.networks.Linearised(PROBLEM.network)), STEPWISE, {"at": systems.FULL_AT}),
    "the tangent, all points": (jl.Problem(DATA, jl.networks.Linearised(PROBLEM.network)), STEPWISE, {"batch": None}),
}
FAST_RUNS = (
    "half of a network",
    "more data than a block",
    "several calls",
    "lanes and method as they are chosen",
    "the tangent",
)


@pytest.mark.parametrize("run", some_slow(RUNS, FAST_RUNS))
def test_runs_of_every_kind_lower(run):
    problem, method, settings = run
    assert found(problem, method, **settings) == []


def multilayer(embedding, layers):
    activations = (jl.activations.Tanh(), jl.activations.Erf(), jl.activations.Tanh())[: layers - 1]
    network = jl.networks.Multilayer(activations, embedding)
    scaling = jl.LayerwiseMeanField(0.1, (lambda t: 1.0 / (1.0 + t), *(1.0,) * (layers - 1)))
    return jl.Problem(DATA, network, scaling, jl.Huber())


@pytest.mark.parametrize("batch", [2, pytest.param(None, marks=slow)])
@pytest.mark.parametrize("embedding", most_slow(each(EMBEDDINGS)))
def test_networks_of_several_hidden_layers_lower(embedding, batch):
    assert found(multilayer(embedding, 4), STEPWISE, width=(8, 6, 7), batch=batch, at=systems.FULL_AT) == []


OBSERVABLES = {
    "parameters": systems.parameters,
    "movement": jl.diagnostics.movement,
    "partition": lambda now, start: jl.diagnostics.neuron_partition(now, DATA),
    "patterns": lambda now, start: jl.diagnostics.neuron_patterns(now, DATA),
    "smallest eigenvalue": lambda now, start: jl.kernels.empirical_lambda_min(PROBLEM.network, now, DATA.x),
}


@pytest.mark.parametrize("method", [STEPWISE, pytest.param(BLOCKS, marks=slow)])
@pytest.mark.parametrize("observe", each(OBSERVABLES))
def test_what_is_observed_lowers_with_the_run(observe, method):
    assert found(PROBLEM, method, observe=observe) == []


@slow
def test_movement_of_several_layers_and_of_the_tangent_lowers():
    deep = multilayer(EMBEDDINGS["independent, biases"], 4)
    assert found(deep, STEPWISE, width=(8, 6, 7), observe=jl.diagnostics.movement) == []
    tangent = jl.Problem(DATA, jl.networks.Linearised(PROBLEM.network))
    assert found(tangent, STEPWISE, observe=jl.diagnostics.movement) == []


@pytest.mark.parametrize("method", [STEPWISE, pytest.param(BLOCKS, marks=slow)])
def test_the_kernel_is_observed_in_the_precision_of_the_run(method):
    """Its points are float64 on the host, and with the flag they are sent as they are, to be rounded on the device."""
    kernel = jl.diagnostics.EmpiricalKernel(PROBLEM.network, DATA.x)
    seen = found(PROBLEM, method, observe=kernel)
    assert all(": carries float64: " in one and "tensor<5x3xf64>" in one for one in seen)
    with jax.enable_x64(False):
        assert found(PROBLEM, method, observe=kernel) == []


OPTIMISERS = {
    "adam": optax.adam(1e-2),
    "a schedule": optax.sgd(optax.cosine_decay_schedule(1e-2, 100), momentum=0.9),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
}


@pytest.mark.parametrize("batch", [None, pytest.param(4, marks=slow)])
@pytest.mark.parametrize("optimiser", most_slow(each(OPTIMISERS)))
def test_optimisers_lower(optimiser, batch):
    """optax counts steps in int32, and with the flag takes powers of its rates in float64: one number a replica."""
    with jax.enable_x64(False):
        assert found(PROBLEM, STEPWISE, optimiser=optimiser, batch=batch) == []
    seen = found(PROBLEM, STEPWISE, optimiser=optimiser, batch=batch)
    assert all("s in float64: " in one or ": carries float64: " in one for one in seen)
    assert not any(f"x{WIDTH}xf64" in one for one in seen)


@pytest.mark.parametrize("method", some_slow(METHODS))
def test_without_the_flag_programs_are_as_clean(method):
    with jax.enable_x64(False):
        assert found(PROBLEM, method, at=systems.FULL_AT, observe=jl.diagnostics.movement) == []


# What must be found if it were there.


class Promoting(jl.activations.AbstractActivation):
    """σ of a careless user, in float64 whatever comes in; the run keeps its own precision, and pays for it."""

    def __call__(self, u):
        return jnp.tanh(u.astype(jnp.float64))

    def derivative(self, u):
        return 1.0 / jnp.cosh(u) ** 2


class Hosted(jl.activations.AbstractActivation):
    """σ computed by NumPy."""

    def __call__(self, u):
        return jax.pure_callback(np.tanh, jax.ShapeDtypeStruct(u.shape, u.dtype), u, vmap_method="expand_dims")

    def derivative(self, u):
        return 1.0 / jnp.cosh(u) ** 2


@pytest.mark.parametrize("method", [STEPWISE, BLOCKS])
@pytest.mark.parametrize(
    ("activation", "named"),
    [(Promoting(), rf"computes in float64: .*tanh .*{WIDTH}xf64"), (Hosted(), "is refused")],
)
def test_an_activation_that_leaves_the_precision_or_the_device_is_found(activation, named, method):
    problem = jl.Problem(DATA, jl.networks.Shallow(activation, jl.Initial()), jl.PowerScaling(0.75))
    seen = found(problem, method)
    for platform in ("cuda", "tpu"):
        assert any(re.match(f"{platform}: {named}", one) for one in seen), seen


@pytest.mark.parametrize("method", [jl.Stepwise, jl.SStep])
def test_products_as_the_device_likes_them_are_found_and_rounded_ones_are_exact(method):
    short = found(PROBLEM, method(lanes=LANES, product=jl.simulation.DeviceProduct()))
    assert len(short) >= 4
    assert all(": short products: " in one for one in short)
    assert found(PROBLEM, method(lanes=LANES, product=jl.simulation.RoundedProduct(10))) == []


# What was lowered is what runs.


@slow
@pytest.mark.parametrize("method", each(METHODS))
def test_the_lowered_programs_compute_what_simulate_returns(method):
    """On this machine's CPU, replicas together as on an accelerator: the same paths to rounding."""
    lane, arguments = lane_program(PROBLEM, method, dtype=np.float64, at=systems.FULL_AT)
    ((values, _, _),), diverged, _ = jax.jit(lane)(*arguments)
    settings = {"replicas": LANES, "key": jax.random.key(0), "at": systems.FULL_AT, "dtype": jnp.float64}
    samples = jl.simulate(PROBLEM, WIDTH, TS, method=method, devices=jax.devices()[:1], **settings)
    np.testing.assert_allclose(values, samples.values, rtol=0, atol=1e-9)
    assert np.array_equal(diverged, [-1] * LANES)
    assert np.max(np.abs(samples.values[:, -1] - samples.values[:, 0])) > 0.01


@slow
@pytest.mark.parametrize("method", each(METHODS))
def test_constants_of_python_are_gone_when_a_program_is_compiled(method):
    """Findings let float64 constants pass; compiled for the CPU, the only device here, none is left."""
    lane, arguments = lane_program(PROBLEM, method, at=systems.FULL_AT)
    compiled = jax.jit(lane).lower(*arguments).compile().as_text()
    assert "f32[" in compiled
    assert "f64[" not in compiled
