"""Gradient descent with a step of its own, and starts that depend on the width: against the loop of NumPy."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests import systems
from tests.cases import ACTIVATIONS, LOSSES, STEPS, each
from tests.oracle import Formulae, assert_same, replay

KEY = jax.random.key(11)
WIDTH, STOPS = 12, [0, 1, 7, 40]
SIGNS = jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0, 0.3), width_power=-0.5)


def problem_of(scaling, activation=None, initial=SIGNS, loss=None, y=None, train_output=True):
    network = jl.networks.Shallow(activation or jl.activations.Relu(), initial, train_output)
    y = systems.FULL_Y if y is None else y
    data = jl.Data(systems.FULL_X, y, systems.uneven(5))
    return jl.Problem(data, network, scaling, loss or jl.SquaredError(), 1.5)


def formulae(scaling):
    """α η N^{−γ} a step, and steps as they are counted."""
    return Formulae(
        increment=lambda alpha, width, gamma: alpha * scaling.eta * width**-gamma, steps=lambda t, _: int(t)
    )


@pytest.mark.parametrize("scaling", each(STEPS))
@pytest.mark.parametrize("batch", [None, 1, 3])
def test_every_step_is_that_of_the_raw_gradient(scaling, batch):
    problem = problem_of(scaling, train_output=batch != 1)
    samples = jl.simulate(
        problem, WIDTH, STOPS, replicas=2, key=KEY, batch=batch, dtype=jnp.float64, at=systems.FULL_AT
    )
    for r in range(2):
        expected = replay(
            problem, ACTIVATIONS["relu"], WIDTH, KEY, r, STOPS, systems.FULL_AT, formulae(scaling), batch=batch
        )
        assert_same(samples.values[r], expected.values, 1e-12)
    wrong = Formulae(increment=lambda alpha, width, gamma: alpha * scaling.eta, steps=lambda t, _: int(t))
    if scaling.gamma:
        bug = replay(problem, ACTIVATIONS["relu"], WIDTH, KEY, 0, STOPS, systems.FULL_AT, wrong, batch=batch)
        assert np.max(np.abs(bug.values - samples.values[0])) > 1e-3
    assert samples.steps.tolist() == STOPS
    assert samples.method == "Stepwise(native=False)"


@pytest.mark.parametrize("name", ["logistic", "exponential"])
def test_losses_of_signs_follow_the_gradient_by_autodiff(name):
    """Three steps on all points by `jax.grad` of the mean loss of the network as a function."""
    case, y = LOSSES[name], np.sign(systems.FULL_Y) + (systems.FULL_Y == 0)
    scaling = jl.FixedStep(0.2, gamma=0.0)
    problem = problem_of(scaling, jl.activations.Erf(), loss=case.loss, y=y)
    samples = jl.simulate(problem, WIDTH, [3], replicas=1, key=KEY, batch=None, dtype=jnp.float64)
    c, w, _ = jl.simulation.draws(problem, WIDTH, KEY, 0, 0)
    parameters, x = (jnp.asarray(c, jnp.float64), jnp.asarray(w, jnp.float64)), jnp.asarray(systems.FULL_X)

    def loss(p):
        g = jax.scipy.special.erf(x @ p[1].T) @ p[0]
        values = jnp.log1p(jnp.exp(-y * g)) if name == "logistic" else jnp.exp(-y * g)
        return jnp.sum(problem.data.weights * values)

    for _ in range(3):
        gradient = jax.grad(loss)(parameters)
        parameters = jax.tree.map(lambda p, g: p - 1.5 * 0.2 * g, parameters, gradient)
    expected = jax.scipy.special.erf(x @ parameters[1].T) @ parameters[0]
    assert_same(samples.values[0, 0], np.asarray(expected), 1e-12)


@pytest.mark.parametrize("width", [4, 100])
def test_c_is_drawn_with_its_power_of_the_width(width):
    c, w = SIGNS.sample(KEY, width, 3)
    plain, same = jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0, 0.3)).sample(KEY, width, 3)
    assert np.array_equal(w, same)
    assert_same(c, np.asarray(plain) / np.sqrt(width), 1e-7)
    assert c.dtype == np.float32


@pytest.mark.parametrize("width", [16, 4096])
def test_stability_is_judged_at_the_width_of_the_run(width):
    """λ_max(B diag π) N η output², with B from c = ±N^{−1/2}: the same at every width, and at both ways to write it."""
    largest = []
    for initial, scaling in ((SIGNS, lambda e: jl.FixedStep(e, 0.0)), (plain_signs(), lambda e: jl.FixedStep(e, 0.5))):
        network = jl.networks.Shallow(jl.activations.Relu(), initial, train_output=False)
        data = jl.Data(systems.FULL_X, systems.FULL_Y)

        def refusal(eta, network=network, data=data, scaling=scaling):
            try:
                jl.simulate(jl.Problem(data, network, scaling(eta)), width, [0], replicas=1, key=KEY, batch=None)
            except ValueError as error:
                return str(error)
            return ""

        assert "Argument `learning_rate` must keep a step stable, α η N^{1−2γ}" in refusal(100.0)
        low, high = 0.01, 100.0
        for _ in range(12):
            middle = np.sqrt(low * high)
            low, high = (low, middle) if refusal(middle) else (middle, high)
        largest.append(low)
    gram = jl.gram(network, data.x, rule=jl.kernels.ClosedForm()).value
    exact = 2.0 / np.linalg.eigvalsh(gram / 5)[-1]
    assert largest[0] == pytest.approx(largest[1], rel=0.01)
    assert largest[0] == pytest.approx(exact, rel=0.15)


def plain_signs():
    return jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0, 0.3))


def test_a_step_that_diverges_is_reported_and_kept():
    """The exponential loss has no bound of its curvature, so the step is not refused before."""
    y = np.sign(systems.FULL_Y) + (systems.FULL_Y == 0)
    problem = problem_of(jl.FixedStep(1e6, 0.0), loss=jl.losses.Exponential(), y=y)
    with pytest.warns(UserWarning, match="diverged"):
        samples = jl.simulate(problem, WIDTH, [0, 50], replicas=3, key=KEY, batch=None)
    assert samples.diverged > 0


def test_what_speaks_of_infinite_width_refuses_a_start_that_depends_on_it():
    network = jl.networks.Shallow(jl.activations.Erf(), SIGNS)
    problem = jl.Problem(jl.Data(systems.FULL_X, systems.FULL_Y), network)
    refused = [
        lambda: jl.gram(network, systems.FULL_X),
        lambda: jl.kernels.initial_covariance(network, systems.FULL_X),
        lambda: jl.SpectralLimit(problem),
        lambda: jl.EpsilonFlow(problem, 0.5, key=KEY),
        lambda: jl.simulation.antithetic(problem, 8, [1.0], replicas=2, key=KEY),
        lambda: jl.kernels.lambda_min_replicates(network, systems.FULL_X, neurons=8, replicas=2, key=KEY),
    ]
    for call in refused:
        with pytest.raises(ValueError, match="Argument `network` must have initial weights that do not depend"):
            call()
    with pytest.raises(ValueError, match="Argument `problem` must have a scaling N"):
        jl.SpectralLimit(problem_of(jl.FixedStep(0.1)))


def test_blocks_are_refused_and_not_chosen():
    problem = problem_of(jl.FixedStep(1e-4), jl.activations.Erf(), plain_signs())
    with pytest.raises(ValueError, match=r"Argument `method` must be Stepwise\(\) for this scaling"):
        jl.simulate(problem, 2048, [10], replicas=1, key=KEY, method=jl.SStep())
    assert "Stepwise" in jl.simulate(problem, 4096, [10], replicas=1, key=KEY, batch=2).method


def test_a_mean_of_c_is_no_warning_where_no_limit_is_claimed():
    initial = jl.Initial(c=jl.initial.Dirac(1.0), w=jl.initial.Normal(0, 0.3), width_power=-1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jl.simulate(problem_of(jl.FixedStep(0.1), initial=initial), WIDTH, [1], replicas=1, key=KEY, batch=2)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("eta", lambda: jl.FixedStep(0.0)),
        ("eta", lambda: jl.FixedStep(np.inf)),
        ("gamma", lambda: jl.FixedStep(0.1, gamma=-0.1)),
        ("gamma", lambda: jl.FixedStep(0.1, gamma=1.5)),
        ("width_power", lambda: jl.Initial(width_power=np.nan)),
        ("width_power", lambda: jl.Initial(width_power=3.0)),
        ("ts", lambda: jl.FixedStep(0.1).steps(2.0**31, 4)),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()
