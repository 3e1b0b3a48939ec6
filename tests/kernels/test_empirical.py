"""The kernel of a finite network: its definition in NumPy, and its mean, which is the limit's kernel at every width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.kernels import _empirical
from jaxlimit.networks import Neurons
from tests import laws, systems
from tests.cases import ACTIVATIONS, CHAINS, each

X, X2 = systems.FULL_X, systems.FULL_AT


def network(case, train_output=True):
    return jl.networks.Shallow(case.activation, jl.Initial(), train_output)


def some_parameters(*batch, seed=0):
    rng = np.random.default_rng(seed)
    return Neurons(jnp.asarray(rng.uniform(-1, 1, (*batch, 7))), jnp.asarray(rng.standard_normal((*batch, 7, 3))))


def by_definition(case, parameters, x, x2, train_output=True):
    c, w = (np.asarray(p) for p in parameters)
    total = np.zeros((len(x), len(x2)))
    for ci, wi in zip(c, w, strict=True):
        u, v = x @ wi, x2 @ wi
        total += ci**2 * np.outer(case.slope(u), case.slope(v)) * (x @ x2.T)
        if train_output:
            total += np.outer(case.sigma(u), case.sigma(v))
    return total / len(c)


@pytest.mark.parametrize("train_output", [True, False])
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_it_is_the_average_over_neurons(case, train_output):
    p = some_parameters()
    for x2 in (None, X2):
        found = jl.empirical_gram(network(case, train_output), p, X, x2)
        expected = by_definition(case, p, X, X if x2 is None else x2, train_output)
        assert found.dtype == jnp.float64
        assert np.max(np.abs(found - expected)) < 1e-14


def test_leading_axes_of_the_parameters_are_batched_over():
    case = ACTIVATIONS["erf"]
    p = some_parameters(2, 3)
    found = jl.empirical_gram(network(case), p, X, X2)
    assert found.shape == (2, 3, 5, 2)
    for index in np.ndindex(2, 3):
        one = jl.empirical_gram(network(case), Neurons(p.c[index], p.w[index]), X, X2)
        assert np.max(np.abs(found[index] - one)) < 1e-15


def test_it_has_the_precision_of_the_parameters_and_runs_under_jit():
    case = ACTIVATIONS["erf"]
    p = jax.tree.map(lambda a: a.astype(jnp.float32), some_parameters())
    found = jax.jit(lambda p: jl.empirical_gram(network(case), p, X))(p)
    assert found.dtype == jnp.float32
    assert np.max(np.abs(np.asarray(found) - by_definition(case, p, X, X))) < 2e-6


@pytest.mark.parametrize("case", each(CHAINS))
def test_its_mean_at_initialisation_is_the_kernel_of_the_limit(case):
    """E B_N = B at every width, so 60,000 networks of one neuron say as much as one of 60,000."""
    c, w = network(case).init(60_000, 3, jax.random.key(3))
    each_neuron = jl.empirical_gram(network(case), Neurons(c[:, None], w[:, None, :]), X[:3])
    expected = jl.gram(network(case), X[:3], rule=case.rule).value
    laws.assert_mean(each_neuron.reshape(-1, 9), expected.ravel(), detectable=0.06)


@pytest.mark.slow
def test_it_serves_as_an_observable():
    case = ACTIVATIONS["erf"]
    problem = systems.problem(case, jl.Data(X, systems.FULL_Y))
    samples = systems.run(problem, observe=lambda now, start: (now, jl.empirical_gram(problem.network, now, X)))
    now, kernel = samples.observed
    assert kernel.shape == (systems.REPLICAS, len(systems.TS), 5, 5)
    for index in np.ndindex(systems.REPLICAS, len(systems.TS)):
        expected = by_definition(case, (now.c[index], now.w[index]), X, X)
        assert np.max(np.abs(kernel[index] - expected)) < 1e-13


def stream(monkeypatch, chunk):
    """Chunks of this many neurons, whatever the number of points."""
    monkeypatch.setattr(_empirical, "STREAMED", 0)
    monkeypatch.setattr(_empirical, "LEAST", chunk)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_streaming_over_neurons_changes_nothing_but_rounding(monkeypatch, chunk):
    """7 neurons in chunks of 1, of 3 with one left over, and at once."""
    stream(monkeypatch, chunk)
    case = ACTIVATIONS["erf"]
    p = some_parameters(2)
    for x2 in (None, X2):
        found = jl.empirical_gram(network(case), p, X, x2)
        for i in range(2):
            expected = by_definition(case, (p.c[i], p.w[i]), X, X if x2 is None else x2)
            assert np.max(np.abs(found[i] - expected)) < 1e-14


def test_neurons_left_over_are_not_padded(monkeypatch):
    """σ(0) ≠ 0 would count neurons that are not there."""
    stream(monkeypatch, 3)
    found = jl.empirical_gram(jl.networks.Shallow(Constant(), jl.Initial()), some_parameters(), X)
    assert np.max(np.abs(found - 1.0)) < 1e-15


class Constant(jl.activations.AbstractActivation):
    """σ(u) = 1."""

    def __call__(self, u):
        """One."""
        return 1.0 + 0.0 * u


def test_gradients_and_jit_pass_through_the_stream(monkeypatch):
    case = ACTIVATIONS["erf"]
    p = some_parameters()
    total = lambda p: jnp.sum(jl.empirical_gram(network(case), p, X) ** 2)  # noqa: E731
    whole = jax.grad(total)(p)
    stream(monkeypatch, 3)
    parts = jax.jit(jax.grad(lambda p: total(p)))(p)
    for a, b in zip(whole, parts, strict=True):
        assert np.max(np.abs(a - b)) < 1e-13


def test_memory_is_that_of_a_chunk():
    erf = network(ACTIVATIONS["erf"])
    x = jl.data.sphere(points=64, inputs=3).x
    shapes = Neurons(jax.ShapeDtypeStruct((2**18,), jnp.float32), jax.ShapeDtypeStruct((2**18, 3), jnp.float32))
    compiled = jax.jit(lambda p: jl.empirical_gram(erf, p, jnp.asarray(x, jnp.float32))).lower(shapes).compile()
    features = 4 * 64 * 2**18
    assert compiled.memory_analysis().temp_size_in_bytes < features / 3


@pytest.mark.parametrize("weights", [None, np.array([0.1, 0.2, 0.3, 0.15, 0.25])])
def test_its_smallest_eigenvalue_is_within_the_stated_rounding(weights):
    case = ACTIVATIONS["erf"]
    p = some_parameters(2, 3)
    root = np.ones(5) if weights is None else np.sqrt(weights)
    for dtype in (jnp.float64, jnp.float32):
        narrow = jax.tree.map(lambda a: a.astype(dtype), p)  # noqa: B023
        found = jl.kernels.empirical_lambda_min(network(case), narrow, X, weights)
        assert found.value.dtype == found.error.dtype == dtype
        assert found.value.shape == found.error.shape == (2, 3)
        for index in np.ndindex(2, 3):
            kernel = by_definition(case, (narrow.c[index], narrow.w[index]), X, X) * np.outer(root, root)
            eigenvalues = np.linalg.eigvalsh(kernel)
            error = float(found.error[index])
            assert abs(float(found.value[index]) - eigenvalues[0]) <= error
            assert error == pytest.approx(5 * float(jnp.finfo(dtype).eps) * eigenvalues[-1], rel=1e-5)


def test_the_smallest_eigenvalue_of_a_singular_kernel_is_noise_below_its_error():
    case = ACTIVATIONS["erf"]
    p = jax.tree.map(lambda a: a.astype(jnp.float32), some_parameters())
    found = jl.kernels.empirical_lambda_min(network(case), p, np.array([*X, -X[0]]))
    assert abs(float(found.value)) <= float(found.error)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_kernel_and_smallest_eigenvalue_lower_for_cuda(monkeypatch, dtype):
    stream(monkeypatch, 3)
    p = jax.tree.map(lambda a: a.astype(dtype), some_parameters())
    erf = network(ACTIVATIONS["erf"])
    run = jax.jit(lambda p: jl.kernels.empirical_lambda_min(erf, p, X))
    text = jax.export.export(run, platforms=("cuda",))(p).mlir_module()
    assert "HIGHEST" in text
    assert "DEFAULT, DEFAULT" not in text  # TF32 would be off by 1e-4


@pytest.mark.slow
def test_the_smallest_eigenvalue_serves_as_an_observable():
    case = ACTIVATIONS["erf"]
    problem = systems.problem(case, jl.Data(X, systems.FULL_Y))
    observe = lambda now, start: (now, jl.kernels.empirical_lambda_min(problem.network, now, X))  # noqa: E731
    now, found = systems.run(problem, observe=observe).observed
    assert found.value.shape == found.error.shape == (systems.REPLICAS, len(systems.TS))
    for index in np.ndindex(systems.REPLICAS, len(systems.TS)):
        expected = np.linalg.eigvalsh(by_definition(case, (now.c[index], now.w[index]), X, X))[0]
        assert abs(found.value[index] - expected) < 1e-13


C, W = some_parameters()
PAIR, SHAPES, PLANE = (
    "`parameters` must be a pair",
    r"`parameters` must be c \[",
    r"must have shape \[points, 3\] like w",
)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("a", PAIR),
        ("ab", PAIR),
        (None, "`parameters` must be a sequence of arrays"),
        ((1, 2), PAIR),
        ((C,), PAIR),
        ((C, W, C), PAIR),
        (C, PAIR),
        ((C, "w"), PAIR),
        ((C[:4], W), SHAPES),
        ((C, W[:, 0]), SHAPES),
        ((W, C), SHAPES),
        ((C[:0], W[:0]), SHAPES),
        ((C[None], W), SHAPES),
        ((np.ones(7, int), np.ones((7, 3), int)), "`parameters` must hold floating-point numbers"),
        ((C.astype(jnp.float32), W), "`parameters` must have one precision"),
    ],
)
def test_what_are_no_parameters_is_refused(parameters, message):
    erf = network(ACTIVATIONS["erf"])
    for function in (jl.empirical_gram, jl.kernels.empirical_lambda_min):
        with pytest.raises(ValueError, match=f"Argument {message}"):
            function(erf, parameters, X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("a", "must hold real numbers"),
        (None, "must hold real numbers"),
        (X[0], r"must have 2 dimension\(s\)"),
        (X[:, :2], PLANE),
        (X[:0], "must not be empty"),
        ([[1.0, 2.0], [3.0]], "must be an array"),
        (np.full((2, 3), np.nan), "must be finite"),
        (np.ones((2, 3), complex), "must hold real numbers"),
        (jnp.asarray(X[0]), PLANE),
        (jnp.ones((2, 3), jnp.complex64), "must hold real numbers"),
    ],
)
def test_what_are_no_points_is_refused(x, message):
    erf, p = network(ACTIVATIONS["erf"]), some_parameters()
    with pytest.raises(ValueError, match=f"Argument `x` {message}"):
        jl.kernels.empirical_lambda_min(erf, p, x)
    with pytest.raises(ValueError, match=f"Argument `x` {message}"):
        jl.empirical_gram(erf, p, x)
    if x is not None:
        with pytest.raises(ValueError, match=f"Argument `x2` {message}"):
            jl.empirical_gram(erf, p, X, x)
    if isinstance(x, jax.Array):  # and where only shapes are known
        with pytest.raises(ValueError, match=f"Argument `x` {message}"):
            jax.jit(lambda x: jl.empirical_gram(erf, p, x))(x)


def test_other_weights_and_networks_are_refused():
    erf, p = network(ACTIVATIONS["erf"]), some_parameters()
    with pytest.raises(ValueError, match="Argument `weights` must have shape"):
        jl.kernels.empirical_lambda_min(erf, p, X, np.ones(2))
    with pytest.raises(ValueError, match="Argument `network` must be a Shallow"):
        jl.empirical_gram("erf", p, X)


def test_numpy_parameters_and_lists_of_points_are_taken():
    erf, p = network(ACTIVATIONS["erf"]), some_parameters()
    expected = jl.empirical_gram(erf, p, X)
    assert np.array_equal(jl.empirical_gram(erf, [np.asarray(p.c), np.asarray(p.w)], X.tolist()), expected)
