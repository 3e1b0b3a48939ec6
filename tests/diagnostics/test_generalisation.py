"""Kernel regression, the bound on new points and the training curve: against mpmath, exact cases and plain loops."""

import jax
import mpmath
import numpy as np
import pytest

import jaxlimit as jl
from tests import duals

NETWORK = jl.networks.Shallow(
    jl.activations.Relu(), jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal()), train_output=False
)
SMALL = jl.networks.Shallow(
    NETWORK.activation, jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0, 0.01)), train_output=False
)
"""With the same H: ReLU's does not depend on the size of w."""
GOLDEN = jl.Data([[np.sqrt(2.0), 0.0], [1.0, 1.0], [-1.0, 1.0]], [1.0, -1.0, 1.0]).with_bias()


def exact_kernel(x, other):
    """H and h in 40 digits, on the float64 points as they are."""
    with mpmath.workdps(40):
        first, second = ([[mpmath.mpf(float(v)) for v in point] for point in points] for points in (x, other))
        return mpmath.matrix([[entry(p, q) for q in second] for p in first])


def entry(p, q):
    a, b, r = mpmath.fdot(p, p), mpmath.fdot(q, q), mpmath.fdot(p, q)
    return r * duals.relu_derivative(a, b, r)


def test_the_kernel_of_the_paper_is_this_packages_kernel():
    """x̃_i·x̃_j(π − θ_ij)/2π is E[c²] E[σ'σ'] x̃_i·x̃_j with c² = 1 and E[σ'σ'] = (π − θ)/2π: no factor between them."""
    found = jl.gram(NETWORK, GOLDEN.x)
    value = found.value
    assert [round(float(value[i]), 12) for i in ((0, 1), (0, 2), (1, 2))] == [
        0.962902011417,
        -0.094421995640,
        0.304086723985,
    ]
    assert np.allclose(np.diag(value), 1.5, rtol=1e-14)
    assert np.allclose(np.linalg.eigvalsh(value), [0.459937866574, 1.553911337977, 2.486150795448], rtol=0, atol=1e-12)
    certificate = jl.certify(found)
    assert certificate.lower <= 0.459937866575
    assert certificate.upper >= 0.459937866573
    assert certificate.upper - certificate.lower < 1e-4


def test_the_bound_encloses_the_exact_value_and_little_else():
    data = jl.Data(GOLDEN.x / np.linalg.norm(GOLDEN.x, axis=1, keepdims=True), [1.0, -0.25, 0.5])
    found = jl.diagnostics.generalisation_bound(SMALL, data, delta=0.05)
    with mpmath.workdps(40):
        y = mpmath.matrix([mpmath.mpf(v) for v in data.y])
        kernel = exact_kernel(data.x, data.x)
        exact = mpmath.sqrt(2 * (y.T * mpmath.lu_solve(kernel, y))[0] / 3)
        assert mpmath.mpf(found.lower) <= exact <= mpmath.mpf(found.value)
        lowest = min(mpmath.eigsy(kernel, eigvals_only=True))
    assert found.value - found.lower < 1e-12
    assert found.outside == ()
    assert found.assumptions == ()
    assert found.trivial == pytest.approx((1 + 0.25 + 0.5) / 3)
    assert found.certificate.lower <= lowest <= found.certificate.upper
    assert found.failure == pytest.approx(float(mpmath.sqrt(mpmath.log(3 / (lowest * 0.05)) / 3)), rel=1e-3)


def test_a_planted_error_of_the_kernel_leaves_the_bound():
    """The kernel of the network with a learning output layer, E σσ' more, lies elsewhere by far more than the width."""
    other = jl.networks.Shallow(NETWORK.activation, NETWORK.initial)
    ours, theirs = (jl.diagnostics.generalisation_bound(n, GOLDEN) for n in (NETWORK, other))
    assert theirs.value < 0.9 * ours.lower


def test_near_points_widen_the_bound_and_do_not_break_it():
    """Points 1e-5 apart with opposite labels: λ_min is about 1e-6, and the exact value stays inside."""
    x = np.array([[1.0, 0.0], [np.cos(1e-5), np.sin(1e-5)], [0.0, 1.0]])
    found = jl.diagnostics.generalisation_bound(NETWORK, jl.Data(x, [1.0, -1.0, 1.0]))
    with mpmath.workdps(40):
        y = mpmath.matrix([1, -1, 1])
        exact = mpmath.sqrt(2 * (y.T * mpmath.lu_solve(exact_kernel(x, x), y))[0] / 3)
        assert mpmath.mpf(found.lower) <= exact <= mpmath.mpf(found.value)
    assert found.value > found.trivial
    assert found.value - found.lower < 1e-3 * found.value


def test_structure_is_told_from_noise():
    """y = β·x is learnt from few points; redrawn labels raise the bound."""
    data = jl.data.polynomial(points=60, inputs=3, power=1)
    signs = jl.Data(data.x, np.sign(data.y))
    clean, half, all_ = (
        jl.diagnostics.generalisation_bound(NETWORK, signs.with_label_noise(s)).value for s in (0, 0.5, 1)
    )
    assert jl.diagnostics.generalisation_bound(NETWORK, data).value < 0.4 < clean < half < all_


def test_what_the_theorem_does_not_cover_is_listed():
    found = jl.diagnostics.generalisation_bound(
        jl.networks.Shallow(jl.activations.Erf()), jl.Data(GOLDEN.x, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    )
    assert len(found.outside) == 7
    assert "w is not centred Gaussian" not in found.outside
    assert found.trivial == 1.0


@pytest.mark.parametrize("std", [0.14, 0.15, 1.0, 100.0])
def test_a_start_that_is_not_small_is_outside_the_theorem(std):
    """On the unit sphere f_0 has variance std²/2; a tenth of the labels ±1 is std = 0.1414."""
    data = jl.data.polynomial(points=6, inputs=3, power=1).with_signs()
    law = jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0, std))
    found = bound(jl.networks.Shallow(jl.activations.Relu(), law, train_output=False), data)
    said = f"the start is not small: the RMS of f_0 is {std / np.sqrt(2):.2g}, that of the targets 1"
    assert found.outside == (() if std < 0.1414 else (said,))
    assert found.value == pytest.approx(bound(SMALL, data).value, rel=1e-9)


def test_a_start_with_a_mean_of_c_is_not_small():
    law = jl.Initial(c=jl.initial.Dirac(1.0), w=jl.initial.Normal(0, 1e-6))
    found = bound(jl.networks.Shallow(jl.activations.Relu(), law, train_output=False), GOLDEN)
    assert any("f_0 grows like √N" in reason for reason in found.outside)


def test_regression_interpolates_and_is_within_its_error_elsewhere():
    data = jl.data.sphere(points=8, inputs=3, seed=2)
    own = jl.diagnostics.kernel_regression(NETWORK, data, data.x)
    assert np.all(np.abs(own.value - data.y) <= own.error)
    new = jl.data.sphere(points=4, inputs=3, seed=5).x
    found = jl.diagnostics.kernel_regression(NETWORK, data, new)
    with mpmath.workdps(40):
        alpha = mpmath.lu_solve(exact_kernel(data.x, data.x), mpmath.matrix([mpmath.mpf(v) for v in data.y]))
        exact = exact_kernel(new, data.x) * alpha
        assert all(abs(mpmath.mpf(f) - e) <= b for f, e, b in zip(found.value, exact, found.error, strict=True))
    assert found.error.max() < 1e-9
    assert found.assumptions == ()
    assert found.certificate.status.name == "PROVED_PD"


def test_regression_takes_a_rule_and_says_what_it_assumes():
    data = jl.data.sphere(points=4, inputs=3)
    rule = jl.kernels.Quadrature()
    found = jl.diagnostics.kernel_regression(jl.networks.Shallow(jl.activations.Tanh()), data, data.x, rule)
    assert np.all(np.abs(found.value - data.y) <= found.error)
    assert found.assumptions


def test_the_training_curve_is_that_of_a_loop_on_a_linear_model():
    rng = np.random.default_rng(0)
    features, y, eta = rng.standard_normal((5, 9)), rng.standard_normal(5), 0.05
    theta, losses = np.zeros(9), []
    for _ in range(41):
        losses.append(np.sum((y - features @ theta) ** 2))
        theta = theta + eta * features.T @ (y - features @ theta)
    steps = [0, 1, 7, 40]
    kernel = features @ features.T
    found = jl.diagnostics.training_curve((kernel + kernel.T) / 2, y, eta, steps)
    assert np.allclose(found.value, np.array(losses)[steps], rtol=1e-12)
    assert np.all(found.error < 1e-11 * found.value[0])


def test_the_training_curve_carries_the_radius_of_its_kernel():
    """Every kernel within the radius has its curve within the error, and the error is not ten times too large."""
    kernel, y, steps = np.diag([1.0, 0.3]), np.array([1.0, 2.0]), np.array([0, 1, 10])
    radius = np.diag([1e-3, 1e-3])
    found = jl.diagnostics.training_curve(jl.kernels.Gram(kernel, radius), y, 0.5, steps)
    exact = jl.diagnostics.training_curve(kernel - radius, y, 0.5, steps)
    off = np.abs(exact.value - found.value)
    assert np.all(off <= found.error + exact.error)
    assert found.error[2] < 10 * off[2]


def test_simulated_training_follows_the_curve():
    """Mean loss, step η_0, width 4096: F_0ᵀF_0 with η = η_0/n. The kernel moves by O(N^{−1/2}), so 5% is allowed."""
    data, width, eta = jl.data.sphere(points=4, inputs=3, seed=1), 4096, 0.5
    problem = jl.Problem(data, NETWORK, scaling=jl.FixedStep(eta))
    steps = np.array([0, 5, 20])
    start = jl.networks.Neurons(*NETWORK.init(width, 3, jax.random.key(0)))
    found = jl.diagnostics.min_norm_solution(problem, start)
    c, w = (np.asarray(part, np.float64) for part in start)
    losses = []
    for k in range(steps[-1] + 1):
        u = data.x @ w.T
        missing = data.y - np.maximum(u, 0) @ c / np.sqrt(width)
        losses.append(np.sum(missing**2))
        if k == 0:
            first = missing
        w = w + eta / 4 / np.sqrt(width) * ((missing[:, None] * (u > 0)).T * c[:, None]) @ data.x
    curve = jl.diagnostics.training_curve(found.gram, first, eta / 4, steps)
    assert np.allclose(curve.value, np.array(losses)[steps], rtol=0.05)
    limit = jl.diagnostics.training_curve(jl.gram(NETWORK, data.x), first, eta / 4, steps)
    assert np.allclose(limit.value, curve.value, rtol=0.2)


TWICE = jl.Data(np.concatenate([GOLDEN.x, GOLDEN.x[:1]]), np.append(GOLDEN.y, GOLDEN.y[0]))
SAMPLED = jl.kernels.Gram(np.eye(2), standard_error=np.ones((2, 2)))
curve, bound = jl.diagnostics.training_curve, jl.diagnostics.generalisation_bound
POWER = jl.networks.Shallow(NETWORK.activation, jl.Initial(c=jl.initial.Rademacher(), width_power=-0.5), False)
REFUSED = {
    "regression of c that depends on N": ("network", lambda: jl.diagnostics.kernel_regression(POWER, GOLDEN, GOLDEN.x)),
    "a bound of c that depends on N": ("network", lambda: bound(POWER, GOLDEN)),
    "regression on a repeated point": ("data", lambda: jl.diagnostics.kernel_regression(NETWORK, TWICE, GOLDEN.x)),
    "inputs of new points": ("at", lambda: jl.diagnostics.kernel_regression(NETWORK, GOLDEN, GOLDEN.x[:, :2])),
    "a bound on a repeated point": ("data", lambda: bound(NETWORK, TWICE)),
    "targets whose squares underflow": ("data", lambda: bound(NETWORK, jl.Data(GOLDEN.x, 1e-160 * GOLDEN.y))),
    "targets whose squares overflow": (
        "data",
        lambda: jl.diagnostics.kernel_regression(NETWORK, jl.Data(GOLDEN.x, 1e160 * GOLDEN.y), GOLDEN.x),
    ),
    "certainty": ("delta", lambda: bound(NETWORK, GOLDEN, delta=1.0)),
    "no certainty": ("delta", lambda: bound(NETWORK, GOLDEN, delta=0.0)),
    "arrays": ("data", lambda: bound(NETWORK, GOLDEN.x)),
    "a curve by Monte Carlo": ("gram", lambda: curve(SAMPLED, [1.0, 1.0], 0.1, [1])),
    "a rectangle": ("gram", lambda: curve(np.ones((2, 3)), [1.0, 1.0], 0.1, [1])),
    "an asymmetric matrix": ("gram", lambda: curve([[1.0, 0.5], [0.4, 1.0]], [1.0, 1.0], 0.1, [1])),
    "targets": ("y", lambda: curve(np.eye(2), [1.0], 0.1, [1])),
    "a step of zero": ("eta", lambda: curve(np.eye(2), [1.0, 1.0], 0.0, [1])),
    "half steps": ("steps", lambda: curve(np.eye(2), [1.0, 1.0], 0.1, [0.5])),
    "no steps": ("steps", lambda: curve(np.eye(2), [1.0, 1.0], 0.1, [])),
    "divergence beyond float64": ("steps", lambda: curve(np.eye(2), [1.0, 1.0], 100.0, [1000])),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, attempt = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        attempt()
