"""The minimum-norm solution against a dense pseudo-inverse, in a small network where F_0 can be formed."""

import jax
import numpy as np
import pytest
from scipy.special import erf

import jaxlimit as jl
from jaxlimit.diagnostics import _tangent_space as tangent_space

WIDTH = 30
RELU = (jl.activations.Relu(), lambda u: np.maximum(u, 0), lambda u: (u > 0) * 1.0)
ERF = (jl.activations.Erf(), erf, lambda u: 2 / np.sqrt(np.pi) * np.exp(-u * u))
DATA = jl.data.sphere(points=5, inputs=4, seed=3).with_bias()
RNG = np.random.default_rng(0)
START = jl.networks.Neurons(RNG.choice([-1.0, 1.0], WIDTH), RNG.standard_normal((WIDTH, DATA.inputs)))
CASES = {(name, both): (sigma, both) for name, sigma in (("relu", RELU), ("erf", ERF)) for both in (False, True)}


def problem(activation, train_output, **changes):
    network = jl.networks.Shallow(activation, jl.Initial(c=jl.initial.Rademacher()), train_output=train_output)
    return jl.Problem(**{"data": DATA, "network": network, "scaling": jl.FixedStep(0.1, gamma=0.7), **changes})


class Dense:
    """F_0 [parameters, points] written out, with (c, w) or w as one vector."""

    def __init__(self, sigma, train_output):
        _, value, slope = sigma
        factor, u = WIDTH**-0.7, START.w @ DATA.x.T
        self.train_output = train_output
        self.values = factor * START.c @ value(u)
        of_w = factor * (START.c[:, None] * slope(u))[:, None, :] * DATA.x.T[None]
        of_w = of_w.reshape(-1, DATA.points)
        self.f0 = np.concatenate([factor * value(u), of_w]) if train_output else of_w

    def flat(self, parameters):
        w = np.asarray(parameters.w).reshape(*parameters.w.shape[:-2], -1)
        return np.concatenate([parameters.c, w], axis=-1) if self.train_output else w

    def neurons(self, flat):
        c, w = (flat[:WIDTH], flat[WIDTH:]) if self.train_output else (START.c, flat)
        return jl.networks.Neurons(c, w.reshape(START.w.shape))


def both(name):
    sigma, train_output = CASES[name]
    return jl.diagnostics.min_norm_solution(problem(sigma[0], train_output), START), Dense(sigma, train_output)


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_start_and_the_pseudo_inverse_of_what_is_missing(name):
    found, dense = both(name)
    expected = np.linalg.pinv(dense.f0.T) @ (DATA.y - dense.values)
    assert np.allclose(dense.flat(found.parameters) - dense.flat(START), expected, rtol=0, atol=1e-10)
    assert found.distance == pytest.approx(np.linalg.norm(expected), rel=1e-12)
    missing = DATA.y - dense.values
    assert found.distance**2 == pytest.approx(missing @ np.linalg.solve(found.gram.value, missing), rel=1e-10)
    assert found.residual < 1e-12
    linear = dense.values + dense.f0.T @ (dense.flat(found.parameters) - dense.flat(START))
    assert np.max(np.abs(linear - DATA.y)) < 1e-12
    if not dense.train_output:
        assert np.array_equal(found.parameters.c, START.c)


@pytest.mark.parametrize("name", CASES)
def test_the_gram_is_within_its_radius(name):
    found, dense = both(name)
    # The dense product rounds too, by as much.
    assert np.all(np.abs(found.gram.value - dense.f0.T @ dense.f0) <= 2 * found.gram.radius)
    assert found.gram.maximal_radius < 1e-10
    assert found.certificate.status.name == "PROVED_PD"
    assert found.certificate.lower <= np.linalg.svd(dense.f0)[1][-1] ** 2


def test_the_gram_is_that_of_the_networks_own_kernel():
    found, _ = both(("relu", True))
    kernel = jl.empirical_gram(found.problem.network, jl.networks.Neurons(*map(np.asarray, START)), DATA.x)
    assert np.allclose(found.gram.value, WIDTH ** (1 - 1.4) * np.asarray(kernel), rtol=1e-12)


def test_of_relu_it_is_the_papers_form():
    """f_0 = F_0ᵀw(0) where σ is homogeneous, so θ* = P⊥w(0) + F_0(F_0ᵀF_0)^{-1}Y. Not so for erf."""
    for name, same in ((("relu", False), True), (("erf", False), False)):
        found, dense = both(name)
        inverse = np.linalg.pinv(dense.f0.T)
        start = dense.flat(START)
        papers = start - inverse @ (dense.f0.T @ start) + inverse @ DATA.y
        assert np.allclose(dense.flat(found.parameters), papers, rtol=0, atol=1e-10) == same


@pytest.mark.parametrize("name", CASES)
def test_lyapunov_functions_are_those_of_the_dense_projection(name):
    found, dense = both(name)
    orthonormal = np.linalg.qr(dense.f0)[0]
    target = dense.flat(found.parameters)
    moves = np.random.default_rng(1).standard_normal((6, target.size))
    points = [dense.neurons(target + move) for move in moves]
    path = jl.networks.Neurons(*(np.stack(part).reshape(2, 3, *part[0].shape) for part in zip(*points, strict=True)))
    along = found.along(path)
    parallel = np.sum((moves @ orthonormal) ** 2, axis=1)
    assert all(part.shape == (2, 3) for part in along)
    assert np.allclose(along.parallel.ravel(), parallel, rtol=1e-10)
    assert np.allclose(along.orthogonal.ravel(), np.sum(moves**2, axis=1) - parallel, rtol=1e-10)
    from_start = np.array([dense.flat(point) - dense.flat(START) for point in points])
    assert np.allclose(along.moved.ravel(), np.linalg.norm(from_start, axis=1), rtol=1e-12)
    largest = [np.max(np.linalg.norm(point.w - START.w, axis=1)) for point in points]
    assert np.allclose(along.largest_move.ravel(), largest, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_projection_is_idempotent_and_orthogonal(name):
    """A move within the range of F_0 has no orthogonal part, one orthogonal to it no parallel part: to rounding."""
    found, dense = both(name)
    target = dense.flat(found.parameters)
    move = np.random.default_rng(2).standard_normal(target.size)
    within = np.linalg.qr(dense.f0)[0] @ (np.linalg.qr(dense.f0)[0].T @ move)
    kept, gone = found.along(dense.neurons(target + within)), found.along(dense.neurons(target + move - within))
    assert kept.parallel == pytest.approx(within @ within, rel=1e-10)
    assert kept.orthogonal < 1e-24
    assert gone.orthogonal == pytest.approx((move - within) @ (move - within), rel=1e-12)
    assert gone.parallel < 1e-24
    start = found.along(START)
    assert start.parallel == pytest.approx(found.distance**2, rel=1e-10)
    assert (start.orthogonal < 1e-24, start.moved, start.largest_move) == (True, 0.0, 0.0)


def test_chunks_of_neurons_change_nothing(monkeypatch):
    whole, _ = both(("erf", True))
    path = jl.networks.Neurons(START.c + 0.1, START.w - 0.2)
    for name in ("STREAMED", "LEAST"):
        monkeypatch.setattr(tangent_space, name, 7)
    parts, _ = both(("erf", True))
    for mine, theirs in zip(jax.tree.leaves(parts.parameters), jax.tree.leaves(whole.parameters), strict=True):
        assert np.allclose(mine, theirs, rtol=0, atol=1e-12)
    assert np.allclose(parts.along(path), whole.along(path), rtol=1e-10)


def test_parameters_may_be_float32_on_the_device():
    law = jl.Initial(c=jl.initial.Rademacher())
    start = jl.networks.Neurons(*law.sample(jax.random.key(0), 64, DATA.inputs))
    found = jl.diagnostics.min_norm_solution(problem(jl.activations.Relu(), True), start)
    assert all(part.dtype == np.float64 for part in (*found.start, *found.parameters))
    assert found.along(start).moved == 0.0


def test_gradient_descent_on_the_linear_model_ends_there():
    found, dense = both(("erf", False))
    theta, eta = dense.flat(START), 1.0 / np.linalg.eigvalsh(found.gram.value)[-1]
    missing = DATA.y - dense.values
    for _ in range(4000):
        theta = theta + eta * dense.f0 @ (missing - dense.f0.T @ (theta - dense.flat(START)))
    assert found.along(dense.neurons(theta)).parallel < 1e-16
    assert found.along(dense.neurons(theta)).orthogonal < 1e-22


def refused(activation=RELU[0], train_output=False, start=START, **changes):
    return lambda: jl.diagnostics.min_norm_solution(problem(activation, train_output, **changes), start)


TWICE = jl.Data(np.concatenate([DATA.x, DATA.x[:1]]), np.append(DATA.y, DATA.y[0]))
TANH = jl.activations.Tanh()
LAYERS = jl.networks.Multilayer((TANH,), jl.initial.IndependentLayers((jl.initial.Normal(), jl.initial.Normal())))
FOUND = both(("relu", False))[0]
REFUSED = {
    "a repeated point": ("start", refused(data=TWICE)),
    "more points than parameters": (
        "start",
        refused(start=jl.networks.Neurons(START.c[:1], START.w[:1]), data=jl.data.sphere(7, 4, seed=4).with_bias()),
    ),
    "a loss without a least value": ("problem", refused(loss=jl.Logistic())),
    "a tangent": ("problem", refused(network=jl.networks.Linearised(problem(RELU[0], False).network))),
    "layers": ("problem", refused(network=LAYERS)),
    "a scaling of layers": ("problem", refused(scaling=jl.scalings.LayerwiseMeanField())),
    "inputs": ("start", refused(start=jl.networks.Neurons(START.c, START.w[:, 1:]))),
    "one array": ("start", refused(start=(START.c,))),
    "NaN at the start": ("start", refused(start=jl.networks.Neurons(START.c * np.nan, START.w))),
    "a problem": ("problem", lambda: jl.diagnostics.min_norm_solution(DATA, START)),
    "other neurons": ("parameters", lambda: FOUND.along(jl.networks.Neurons(START.c[1:], START.w[1:]))),
    "NaN": ("parameters", lambda: FOUND.along(jl.networks.Neurons(START.c, START.w * np.nan))),
    "moved output weights": ("parameters", lambda: FOUND.along(jl.networks.Neurons(START.c + 1e-9, START.w))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, attempt = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        attempt()
