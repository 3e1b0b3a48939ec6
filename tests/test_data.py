"""Data: a law with finite support, kept in float64, and the sets that come with the package."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.studies import _build

X = [[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]]
Y = [1.0, -1.0, 0.5]


def test_data_keep_float64_and_accept_jax_arrays():
    value = 0.1 + 2.0**-50
    data = jl.Data(np.array([[value]]), jnp.array([1.0], jnp.float32))
    assert data.x.dtype == data.y.dtype == data.weights.dtype == np.float64
    assert data.x[0, 0] == value


def test_uniform_weights_are_one_over_the_points():
    assert np.array_equal(jl.Data(X, Y).weights, np.full(3, 1 / 3))


def test_weights_are_normalised():
    assert jl.Data(X, Y, [1.0, 2.0, 5.0]).weights.tolist() == [0.125, 0.25, 0.625]


def test_weights_of_any_size_are_normalised():
    assert jl.Data(X, Y, [1e308, 1e308, 1e308]).weights.tolist() == [1 / 3] * 3
    assert jl.Data(X, Y, [5e-324, 5e-324, 1e-323]).weights.tolist() == [0.25, 0.25, 0.5]


def test_a_bias_is_a_coordinate_one():
    data = jl.Data(X, Y, [1.0, 2.0, 5.0]).with_bias()
    assert data.inputs == 3
    assert np.array_equal(data.x, np.column_stack([X, np.ones(3)]))
    assert np.array_equal(data.weights, [0.125, 0.25, 0.625])
    assert np.array_equal(data.y, Y)


def test_repeated_inputs_need_equal_targets():
    assert jl.Data([*X, X[1]], [*Y, Y[1]]).points == 4
    with pytest.raises(ValueError, match=r"Argument `y` must be the same at equal inputs, but points \[1, 3\]"):
        jl.Data([*X, X[1]], [*Y, -Y[1]])
    # −0 and 0 are the same input.
    with pytest.raises(ValueError, match="Argument `y` must be the same"):
        jl.Data([[1.0, 0.0], [1.0, -0.0]], [1.0, 2.0])


def test_data_cannot_be_changed():
    with pytest.raises(AttributeError):
        jl.Data(X, Y).x = np.zeros((3, 2))


def test_sphere_points_have_unit_norm_and_random_signs():
    data = jl.data.sphere(points=2000, inputs=3, seed=1)
    assert np.max(np.abs(np.linalg.norm(data.x, axis=1) - 1)) < 1e-15
    # By symmetry every coordinate and every target has mean zero: five standard errors of 2000 draws.
    assert np.max(np.abs(data.x.mean(axis=0))) < 5 / np.sqrt(3 * 2000)
    assert set(data.y) == {-1.0, 1.0}
    assert abs(data.y.mean()) < 5 / np.sqrt(2000)


def test_sphere_depends_on_its_seed_alone():
    first, again, other = (jl.data.sphere(4, 3, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.x, again.x)
    assert np.array_equal(first.y, again.y)
    assert not np.array_equal(first.x, other.x)


def test_digits_are_the_images_they_claim_to_be():
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    data = jl.data.digits(classes=(3, 8), points=25, unit_norm=False)
    # Each image of the set is found among the originals with its label.
    for x, y in zip(data.x, data.y, strict=True):
        labels = bunch.target[np.all(bunch.data == x, axis=1)]
        assert labels.tolist() == [3 if y == -1.0 else 8]
    assert np.sum(data.y == -1.0) == 13  # in turn from each class
    assert len(np.unique(data.x, axis=0)) == 25


def test_digits_take_what_is_left_of_the_larger_class():
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    ones, eights = (int(np.sum(bunch.target == c)) for c in (1, 8))
    data = jl.data.digits(classes=(1, 8), points=ones + eights)
    assert np.sum(data.y == -1.0) == ones
    assert np.max(np.abs(np.linalg.norm(data.x, axis=1) - 1)) < 1e-15
    with pytest.raises(ValueError, match=r"Argument `points` must be at most"):
        jl.data.digits(classes=(1, 8), points=ones + eights + 1)


@pytest.mark.parametrize("classes", [(3, 3), (3,), (1, 2, 3), (3, 10), (-1, 2)])
def test_digits_need_two_different_classes(classes):
    with pytest.raises(ValueError, match=r"Argument `classes` must be two different digits"):
        jl.data.digits(classes=classes)


def test_diabetes_are_the_patients_they_claim_to_be():
    bunch = pytest.importorskip("sklearn.datasets").load_diabetes()
    data = jl.data.diabetes(points=40, unit_norm=False)
    assert np.array_equal(data.x, bunch.data[:40])
    assert np.max(np.abs(np.corrcoef(data.y, bunch.target[:40])[0, 1] - 1)) < 1e-14


def test_later_patients_are_the_later_rows_of_all_of_them():
    some, everyone = jl.data.diabetes(points=40), jl.data.diabetes(points=442)
    assert np.array_equal(some.x, everyone.x[:40])
    assert np.array_equal(some.y, everyone.y[:40])
    assert abs(everyone.y.mean()) < 1e-15
    assert abs(everyone.y.std() - 1) < 1e-15
    assert np.max(np.abs(np.linalg.norm(everyone.x, axis=1) - 1)) < 1e-15
    with pytest.raises(ValueError, match=r"Argument `points` must be at most 442"):
        jl.data.diabetes(points=443)


def test_a_teacher_gives_its_own_values_and_noise_changes_nothing_else():
    def function(x):
        return np.sin(x @ np.array([1.0, -2.0, 0.5]))

    clean, noisy = (jl.data.teacher(4000, 3, function, noise=noise, seed=5) for noise in (0.0, 0.5))
    assert np.array_equal(clean.y, function(clean.x))
    assert np.array_equal(clean.x, noisy.x)
    error = (noisy.y - clean.y) / 0.5
    # Five standard errors of mean and variance of 4000 standard normal numbers.
    assert abs(error.mean()) < 5 / np.sqrt(4000)
    assert abs(error.var() - 1) < 5 * np.sqrt(2 / 4000)


def test_aligned_points_lie_on_their_labels_side_and_more_points_extend_them():
    few, many = jl.data.aligned(5, 4, seed=2), jl.data.aligned(300, 4, seed=2)
    z = many.y[:, None] * many.x
    assert np.max(np.abs(np.linalg.norm(z, axis=1) - 1)) < 1e-15
    assert z.min() >= 0
    assert (z @ z.T).min() > 0
    assert abs(many.y.mean()) < 5 / 300**0.5  # false alarms 6e-7
    # Of the uniform law on the sphere, E z_k² = 1/4 and Var z_k² = 1/16 at most.
    assert np.max(np.abs((z**2).mean(axis=0) - 0.25)) < 5 * 0.25 / 300**0.5
    assert np.array_equal(many.x[:5], few.x)
    assert np.array_equal(many.y[:5], few.y)
    assert not np.array_equal(jl.data.aligned(5, 4, seed=3).x, few.x)


def test_more_points_extend_a_teachers_data():
    few, many = jl.data.teacher(5, 3, seed=2), jl.data.teacher(9, 3, seed=2)
    assert np.array_equal(few.x, many.x[:5])
    assert np.max(np.abs(few.y - many.y[:5])) < 1e-15
    assert np.max(np.abs(np.linalg.norm(many.x, axis=1) - 1)) < 1e-15
    assert not np.array_equal(few.y, jl.data.teacher(5, 3, seed=3).y)


def test_the_default_teacher_is_odd_and_neither_linear_nor_far_from_it():
    x = jl.data.teacher(400, 6, seed=1)
    slope, *_ = np.linalg.lstsq(np.column_stack([x.x, np.ones(400)]), x.y, rcond=None)
    left = np.var(x.y - x.x @ slope[:-1] - slope[-1]) / np.var(x.y)
    assert 1e-3 < left < 0.5
    assert abs(slope[-1]) < 0.1 * np.std(x.y)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x, "Argument `function\\(x\\)` must have 1 dimension"),
        (lambda x: x[1:, 0], "Argument `function` must return 4 numbers, one per point"),
        (lambda x: x[:, 0] * np.nan, "Argument `function\\(x\\)` must be finite"),
        ("erf", "Argument `function` must be a function"),
    ],
)
def test_a_teacher_must_return_a_number_for_every_point(function, message):
    with pytest.raises(ValueError, match=message):
        jl.data.teacher(4, 3, function)


def test_inputs_of_a_teacher_may_be_gaussian():
    sphere, gaussian = (jl.data.teacher(50, 4, seed=3, unit_norm=unit) for unit in (True, False))
    assert np.max(np.abs(gaussian.x / np.linalg.norm(gaussian.x, axis=1, keepdims=True) - sphere.x)) < 1e-15
    # E|x|² = 4 with variance 8: five standard errors.
    assert abs(np.mean(np.sum(gaussian.x**2, axis=1)) - 4) < 5 * np.sqrt(8 / 50)


def test_all_patients_are_taken_unless_told_otherwise_and_no_two_are_alike():
    everyone = jl.data.diabetes()
    assert everyone.points == 442
    directions = everyone.x @ everyone.x.T - 2 * np.eye(442)
    assert np.max(np.abs(directions[~np.eye(442, dtype=bool)])) < 1 - 1e-6


@pytest.mark.parametrize(
    "table", [{"source": "diabetes", "points": 30}, {"source": "teacher", "points": 6, "inputs": 3}]
)
def test_they_can_be_named_in_settings(table):
    settings = _build.resolved_settings({"data": table})
    assert _build.problem_from(settings).data.points == table["points"]


def test_a_polynomial_is_a_power_of_one_linear_function():
    linear, square, cubic = (jl.data.polynomial(20, 3, power, seed=4) for power in (1, 2, 3))
    assert np.array_equal(linear.x, cubic.x)
    assert np.max(np.abs(np.linalg.norm(linear.x, axis=1) - 1)) < 1e-15
    beta, *_ = np.linalg.lstsq(linear.x, linear.y, rcond=None)
    assert np.linalg.norm(beta) == pytest.approx(1.0, abs=1e-14)
    assert np.max(np.abs(linear.x @ beta - linear.y)) < 1e-14
    assert np.array_equal(square.y, linear.y**2)
    assert np.max(np.abs(cubic.y - linear.y**3)) < 1e-15
    assert np.max(np.abs(jl.data.polynomial(9, 3, 1, seed=4).y - linear.y[:9])) < 1e-15
    assert not np.array_equal(jl.data.polynomial(20, 3, 1, seed=5).y, linear.y)


@pytest.mark.parametrize("power", [0, -1, 1.5])
def test_a_power_is_a_positive_integer(power):
    with pytest.raises(ValueError, match=r"^Argument `power` must be a positive integer, but it is"):
        jl.data.polynomial(4, 3, power)


def test_signs_part_targets_at_their_median_or_at_a_given_value():
    data = jl.Data([[1.0], [2.0], [3.0], [4.0]], [0.5, -2.0, 7.0, 1.0], [1.0, 1.0, 1.0, 5.0])
    signs = data.with_signs()
    assert signs.y.tolist() == [-1.0, -1.0, 1.0, 1.0]
    assert np.array_equal(signs.x, data.x)
    assert np.array_equal(signs.weights, data.weights)
    assert data.with_signs(-2.0).y.tolist() == [1.0, -1.0, 1.0, 1.0]
    assert data.with_signs(9.0).y.tolist() == [-1.0] * 4
    for y, threshold in ([1.0, 1.0], None), ([1.0, 2.0], np.nan):
        with pytest.raises(ValueError, match=r"^Argument `threshold` must .+, but .+\.$"):
            jl.Data([[1.0], [2.0]], y).with_signs(threshold)


def test_label_noise_redraws_a_share_of_the_labels_and_nothing_else():
    data = jl.data.sphere(points=4000, inputs=3)
    none, some, everything = (data.with_label_noise(share, seed=1) for share in (0.0, 0.3, 1.0))
    assert np.array_equal(none.y, data.y)
    assert np.array_equal(some.x, data.x)
    # 1200 labels, each flipped with probability one half: five standard deviations.
    assert abs(np.sum(some.y != data.y) - 600) < 5 * np.sqrt(1200 / 4)
    assert abs(np.mean(everything.y * data.y)) < 5 / np.sqrt(4000)
    # A larger share keeps what a smaller one drew.
    flipped = some.y != data.y
    assert np.array_equal(everything.y[flipped], some.y[flipped])
    assert not np.array_equal(data.with_label_noise(0.3, seed=2).y, some.y)


def test_label_noise_counts_points_and_not_rounding():
    """0.29 · 100 is 28.999999999999996 in float64, and 29 points are meant: those of a share just above."""
    data = jl.data.sphere(points=100, inputs=3)
    for seed in range(8):  # a point more or less shows with probability one half each
        assert np.array_equal(data.with_label_noise(0.29, seed).y, data.with_label_noise(0.29 + 1e-6, seed).y)
    fewer = [data.with_label_noise(0.29 - 1e-6, seed).y for seed in range(8)]
    assert any(not np.array_equal(data.with_label_noise(0.29, s).y, y) for s, y in enumerate(fewer))


@pytest.mark.parametrize(
    ("y", "share", "argument"), [([1.0, 0.5], 0.1, "y"), ([1.0, -1.0], 1.1, "share"), ([1.0, -1.0], -0.1, "share")]
)
def test_label_noise_is_for_labels_and_shares(y, share, argument):
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        jl.Data([[1.0], [2.0]], y).with_label_noise(share)
