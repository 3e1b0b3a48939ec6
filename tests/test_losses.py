"""Losses: values, derivatives and curvature against NumPy, far from the target too, and the targets they accept."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.losses import AbstractLoss
from tests.cases import LOSSES, each

CASES = each(LOSSES)


def grid(case):
    """Predictions and targets; targets ±1 where others mean nothing."""
    targets = [-1.0, 1.0] if case.signs else np.linspace(-2, 2, 9)
    return np.meshgrid(np.linspace(-3, 3, 13), targets)


@pytest.mark.parametrize("case", CASES)
def test_losses_are_what_the_table_says(case):
    g, y = grid(case)
    assert np.allclose(case.loss.value(g, y), case.value(g, y), rtol=2e-15, atol=2e-15)
    assert np.allclose(case.loss.derivative(g, y), case.derivative(g, y), rtol=2e-15, atol=2e-15)
    h = 1e-6
    slope = (case.value(g + h, y) - case.value(g - h, y)) / (2 * h)
    assert np.allclose(case.loss.derivative(g, y), slope, atol=1e-6 if case.curvature is None else 1e-8)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("case", CASES)
def test_device_and_host_agree_and_keep_the_precision(case, dtype):
    g, y = (jnp.asarray(v, dtype) for v in grid(case))
    for function, reference in ((case.loss.value, case.value), (case.loss.derivative, case.derivative)):
        found = function(g, y)
        assert found.dtype == dtype
        expected = reference(np.asarray(g, np.float64), np.asarray(y, np.float64))
        assert np.allclose(
            found, expected, rtol=0, atol=32 * float(jnp.finfo(dtype).eps) * np.max(1 + np.abs(expected))
        )
    assert type(case.loss.value(*grid(case))) is np.ndarray


@pytest.mark.parametrize("case", CASES)
def test_automatic_differentiation_gives_the_stated_derivative(case):
    for g, y in ((0.3, -1.0), (2.0, 1.0), (-1.5, 1.0)):
        g, y = jnp.float64(g), jnp.float64(y)
        assert float(jax.grad(case.loss.value)(g, y)) == pytest.approx(float(case.loss.derivative(g, y)), rel=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_the_curvature_is_bounded_as_stated_and_no_more_than_needed(case):
    """Slopes between neighbours on a fine grid: none above the bound, one close to it."""
    assert case.loss.curvature == case.curvature
    g = np.linspace(-30, 30, 60_001)
    slopes = np.abs(np.diff(case.loss.derivative(g, np.ones_like(g))) / np.diff(g))
    if case.curvature is None:
        assert np.max(slopes) > 1e12
    else:
        assert 0.999 * case.curvature < np.max(slopes) <= case.curvature * (1 + 1e-9)


def precise(loss, g, y):
    """Value and derivative in mpmath, for the losses whose formula overflows or cancels."""
    r = mpmath.mpf(g) - y
    s = r / mpmath.mpf(0.7)
    return {
        jl.PseudoHuber: lambda: (mpmath.mpf(0.7) ** 2 * (mpmath.sqrt(1 + s * s) - 1), r / mpmath.sqrt(1 + s * s)),
        jl.Logistic: lambda: (mpmath.log1p(mpmath.exp(-y * mpmath.mpf(g))), -y / (1 + mpmath.exp(y * mpmath.mpf(g)))),
        jl.BoundedQuadratic: lambda: (r * r / (1 + r * r), 2 * r / (1 + r * r) ** 2),
    }[type(loss)]()


@pytest.mark.parametrize("g", [-700.0, -50.0, 1 + 1e-9, 60.0, 700.0])
@pytest.mark.parametrize("name", ["pseudo-Huber", "logistic", "bounded quadratic"])
def test_small_numbers_keep_their_relative_accuracy_on_both_sides(name, g):
    loss = LOSSES[name].loss
    with mpmath.workdps(700):
        expected = [float(v) for v in precise(loss, g, 1)]
    found = loss.value(np.float64(g), np.float64(1.0)), loss.derivative(np.float64(g), np.float64(1.0))
    # The margin of the logistic loss enters an exponential: its rounding is multiplied by its size.
    assert found == pytest.approx(expected, rel=4e-16 * (4 + abs(g)), abs=0)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("squared error", "exponential")])
def test_predictions_near_the_largest_number_give_no_nan(name):
    far, loss = jnp.asarray([-1e37, 1e37], jnp.float32), LOSSES[name].loss
    found = loss.derivative(far, jnp.ones_like(far))
    assert np.all(np.isfinite(loss.value(far, jnp.ones_like(far))))
    limit = {"Huber": 0.7, "pseudo-Huber": 0.7, "logistic": 1.0, "bounded quadratic": 0.0}[name]
    assert float(jnp.max(jnp.abs(found))) == pytest.approx(limit, rel=1e-6)


@pytest.mark.parametrize("delta", [1.2e-38, 1e-30, 1e-10, 0.7, 1e10, 1e30, 3.4e38])
def test_pseudo_huber_keeps_its_accuracy_whatever_the_scale(delta):
    """float32 from 1e-30 to 3e38, where r/δ or its square are not representable: device, host and native form."""
    loss = jl.PseudoHuber(delta)
    size = np.array([1e-30, 1e-19, 1e-3, 1.0, 1e10, 1e19, 2e19, 1e25, 1e30, 3e38], np.float32)
    residual = np.concatenate([-size, np.zeros(1, np.float32), size])
    narrow = mpmath.mpf(float(np.float32(delta)))  # δ is rounded to float32 too
    with mpmath.workdps(90):
        r = [mpmath.mpf(float(v)) for v in residual]
        root = [mpmath.sqrt(narrow**2 + v * v) for v in r]
        value = np.array([float(narrow * v * v / (narrow + h)) for v, h in zip(r, root, strict=True)])
        slope = np.array([float(narrow * v / h) for v, h in zip(r, root, strict=True)])
    limits = np.finfo(np.float32)
    for found, expected in (
        (jax.jit(loss.value)(jnp.asarray(residual), jnp.zeros_like(residual)), value),
        (jax.jit(loss.derivative)(jnp.asarray(residual), jnp.zeros_like(residual)), slope),
        ([loss.scalar()(v, np.float32(0)) for v in residual], slope),
    ):
        # Results below the smallest normal number are flushed to zero, those above the largest are infinite.
        small, fits = np.abs(expected) < limits.tiny, np.abs(expected) < limits.max
        error = np.abs(np.asarray(found, np.float64) - expected)
        assert np.all(error[fits & ~small] <= 8 * limits.eps * np.abs(expected[fits & ~small]))
        assert np.all(error[small] <= limits.tiny)
        assert np.all(np.isinf(np.asarray(found)[~fits]))


@pytest.mark.parametrize("case", CASES)
def test_nan_is_not_hidden(case):
    nan, one = np.float64(np.nan), np.float64(1.0)
    with np.errstate(invalid="ignore"):
        assert np.isnan(case.loss.value(nan, one))
        assert np.isnan(case.loss.derivative(nan, one))


@pytest.mark.parametrize("case", CASES)
def test_labels_are_asked_for_where_the_loss_needs_them(case):
    network = jl.networks.Shallow(jl.activations.Erf())
    points = [[1.0, 0.0], [0.0, 1.0]]
    jl.Problem(jl.Data(points, [1.0, -1.0]), network, loss=case.loss)
    if case.signs:
        with pytest.raises(ValueError, match=r"Argument `data` must have targets 1 and −1 .+, but target 1 is 0\.5\."):
            jl.Problem(jl.Data(points, [1.0, 0.5]), network, loss=case.loss)
    else:
        jl.Problem(jl.Data(points, [1.0, 0.5]), network, loss=case.loss)


@pytest.mark.parametrize("kind", [jl.Huber, jl.PseudoHuber])
@pytest.mark.parametrize("delta", [0.0, -1.0, np.inf, np.nan, "a", None, True])
def test_delta_is_a_positive_number(kind, delta):
    with pytest.raises(ValueError, match="Argument `delta` must"):
        kind(delta)


@pytest.mark.parametrize("delta", [1e-300, 1e-40, 1.17e-38, 3.5e38, 1e300])
def test_pseudo_huber_refuses_what_is_zero_or_infinite_in_single_precision(delta):
    with pytest.raises(ValueError, match=r"Argument `delta` must lie between 1\.2e-38 and 3\.4e\+38, as float32, but"):
        jl.PseudoHuber(delta)


@pytest.mark.parametrize("case", CASES)
def test_equal_losses_are_equal_and_share_their_native_form(case):
    """Compiled programs are found again by this equality."""
    settings = {"delta": case.loss.delta} if hasattr(case.loss, "delta") else {}
    again = type(case.loss)(**settings)
    assert case.loss == again
    assert hash(case.loss) == hash(again)
    assert case.loss.scalar() is again.scalar()


def stability_of(loss, alpha):
    data = jl.Data([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0])
    problem = jl.Problem(data, jl.networks.Shallow(jl.activations.Erf()), loss=loss, learning_rate=alpha)
    jl.simulate(problem, 64, [0.0], replicas=1, key=jax.random.key(0))


@pytest.mark.parametrize("loss", [jl.Logistic(), jl.BoundedQuadratic()])
def test_the_stability_limit_scales_with_the_curvature(loss):
    """α·curvature·max B/N = 2, with B estimated to a few per cent."""
    case = jl.gram(jl.networks.Shallow(jl.activations.Erf()), np.eye(2)).value
    limit = 2 * 64 / (loss.curvature * float(np.max(np.diag(case))))
    stability_of(loss, 0.9 * limit)
    with pytest.raises(ValueError, match=r"Argument `learning_rate` must keep a step stable"):
        stability_of(loss, 1.1 * limit)


class Absolute(AbstractLoss):
    """|g − y|: a user's loss, which states no curvature."""

    def value(self, prediction, target):
        return abs(prediction - target)

    def derivative(self, prediction, target):
        return jnp.sign(prediction - target)


def test_without_a_bound_of_the_curvature_stability_is_not_judged():
    for loss in (jl.Exponential(), Absolute()):
        assert loss.curvature is None
        stability_of(loss, 1e6)
