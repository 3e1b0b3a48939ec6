"""The spectral limit: golden values, brute-force matrix exponentials, and the symmetries of the linear equation."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.kernels import CertificateStatus, initial_covariance
from tests import laws, systems
from tests.cases import ACTIVATIONS, CHAINS, each
from tests.oracle import assert_same
from tests.systems import exponential_law, textbook_kernels

ROUNDING = 1e-12
"""Closed forms are good to 1e-15, SciPy's expm to about 1e-14 of the largest entry."""

TEXTBOOK = ("erf", "relu")
TS = np.array([0.0, 0.3, 2.0, 40.0])


def limit_of(name, data=systems.GOLDEN_DATA, **settings):
    case = ACTIVATIONS[name]
    return jl.SpectralLimit(systems.problem(case, data, **settings), rule=case.rule)


def brute_force(name, data, t, at=None, alpha=1.0, random_start=True):
    """Law on the data, then on `at`, by one matrix exponential of textbook kernels."""
    x = data.x if at is None else np.concatenate([data.x, at])
    kernel, start = textbook_kernels(name, x, x)
    extra = len(x) - data.points
    return exponential_law(kernel, random_start * start, data.y, data.weights, alpha, t, extra)


@pytest.mark.parametrize("name", systems.GOLDEN)
def test_the_law_has_its_golden_values_to_all_printed_digits(name):
    golden, limit = systems.GOLDEN[name], limit_of(name)
    systems.assert_printed(np.sort(np.linalg.eigvals(limit.matrix).real), golden.eigenvalues)
    systems.assert_printed(limit.eigenvalues, golden.eigenvalues)
    law = limit.law([2.0])
    systems.assert_printed(law.mean, golden.mean)
    if golden.variances is not None:
        systems.assert_printed(np.diag(law.covariance[0]), golden.variances)


@pytest.mark.parametrize("alpha", [1.0, 3.7])
@pytest.mark.parametrize("weights", [None, systems.uneven(5)], ids=["uniform", "weighted"])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_joint_law_is_that_of_brute_force(name, weights, alpha):
    data = jl.Data(systems.FULL_X, systems.FULL_Y, weights)
    limit = limit_of(name, data, alpha=alpha)
    alone, joint = limit.law(TS), limit.law(TS, at=systems.FULL_AT)
    for i, t in enumerate(TS):
        expected = brute_force(name, data, t, systems.FULL_AT, alpha)
        assert_same(joint.mean[i], expected.mean, ROUNDING)
        assert_same(joint.covariance[i], expected.covariance, ROUNDING)
        assert_same(alone.mean[i], expected.mean[:5], ROUNDING)
        assert_same(alone.covariance[i], expected.covariance[:5, :5], ROUNDING)


@pytest.mark.parametrize("gamma", [0.5, 0.75, 0.95])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_moments_at_a_width_are_those_of_brute_force_from_the_start_of_that_width(name, gamma):
    """Cov h_0 = N^{1−2γ}Σ: each of N independent neurons adds N^{−2γ}Σ."""
    data, width = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)), 24
    limit = limit_of(name, data, gamma=gamma, alpha=1.7)
    alone, joint = limit.moments(TS, width), limit.moments(TS, width, at=systems.FULL_AT)
    factor = width * (width**-gamma) ** 2
    for i, t in enumerate(TS):
        expected = brute_force(name, data, t, systems.FULL_AT, 1.7, random_start=factor)
        assert_same(joint.mean[i], expected.mean, ROUNDING)
        assert_same(joint.covariance[i], expected.covariance, ROUNDING)
        assert_same(alone.mean[i], expected.mean[:5], ROUNDING)
        assert_same(alone.covariance[i], expected.covariance[:5, :5], ROUNDING)


@pytest.mark.parametrize("width", [1, 1000])
def test_the_moments_at_the_xavier_scaling_are_those_of_the_law_at_every_width(width):
    limit = limit_of("erf", jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)))
    law, moments = (f(TS, at=systems.FULL_AT) for f in (limit.law, lambda ts, at: limit.moments(ts, width, at)))
    assert np.array_equal(moments.mean, law.mean)
    assert np.array_equal(moments.covariance, law.covariance)


@pytest.mark.slow
def test_the_moments_are_those_of_paths_from_the_start_of_real_networks():
    """Width 16 at γ = 3/4, 20,000 networks: mean and covariance of h_0 and of the path from it, on and off the data.

    False-alarm rate 1e-6 for each of the two; a mean off by 0.1 standard deviations or a covariance
    off by 15% is sure to be seen. The path multiplies what float32 rounds in h_0 by no more than 1.
    """
    data, ts = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)), [0.0, 1.5]
    problem = systems.problem(ACTIVATIONS["erf"], data, gamma=0.75)
    limit = jl.SpectralLimit(problem)
    samples = jl.simulate(problem, 16, [0.0], replicas=20_000, key=jax.random.key(0), at=systems.FULL_AT)
    start = samples.values[:, 0].astype(np.float64)
    paths = limit.path(start[:, :5], ts, at=systems.FULL_AT, h0_at=start[:, 5:])
    moments = limit.moments(ts, 16, at=systems.FULL_AT)
    centred = (paths - moments.mean) / moments.standard_deviation
    laws.assert_mean(centred, 0.0, detectable=0.1)
    correlation = moments.covariance / (moments.standard_deviation[:, :, None] * moments.standard_deviation[:, None, :])
    laws.assert_mean(np.einsum("rtp,rtq->rtpq", centred, centred), correlation, detectable=0.15)


@pytest.mark.parametrize("width", [0, -3, 2.5, True, None, "16"])
def test_bad_widths_are_refused(width):
    with pytest.raises(ValueError, match="Argument `width` must be a positive integer, but it is"):
        limit_of("erf").moments(TS, width)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_paths_from_a_given_start_solve_the_equation(name):
    """h_t from h_0 is the mean of a law started there: linear in (h_0, y), and exact at both ends.

    One start and more starts than points are multiplied in different orders.
    """
    data = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
    limit = limit_of(name, data)
    rng = np.random.default_rng(0)
    h0, h0_at = rng.standard_normal((2, 3, 5)), rng.standard_normal((2, 3, 2))
    path = limit.path(h0, TS, at=systems.FULL_AT, h0_at=h0_at)
    assert path.shape == (2, 3, 4, 7)
    assert_same(path[:, :, 0], np.concatenate([h0, h0_at], axis=-1), ROUNDING)
    assert_same(path[..., :5], limit.path(h0, TS), ROUNDING)
    # With g = h − h_0 the equation reads dg = A((y − h_0) − g)dt, g_0 = 0: the mean with other targets.
    moved = jl.Data(data.x, data.y - h0[1, 2], data.weights)
    for i, t in enumerate(TS):
        expected = brute_force(name, moved, t, systems.FULL_AT).mean + np.concatenate([h0[1, 2], h0_at[1, 2]])
        assert_same(path[1, 2, i], expected, ROUNDING)
    one = limit.path(h0[1, 2], TS, at=systems.FULL_AT, h0_at=h0_at[1, 2])
    assert_same(one, path[1, 2], ROUNDING)


@pytest.mark.parametrize("case", each(CHAINS))
class TestSymmetries:
    """Of the flow on data and extra points alike."""

    start = np.array([0.5, -1.0, 2.0, 0.1, 0.3])
    start_at = np.array([0.7, -0.2])

    def limit(self, case, **settings):
        data = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
        return jl.SpectralLimit(systems.problem(case, data, **settings), rule=case.rule)

    def path(self, case, ts, start=None, start_at=None, **settings):
        start = self.start if start is None else start
        start_at = self.start_at if start_at is None else start_at
        return self.limit(case, **settings).path(start, ts, at=systems.FULL_AT, h0_at=start_at)

    def test_semigroup(self, case):
        first = self.path(case, [0.7])[0]
        assert_same(self.path(case, [1.3], first[:5], first[5:])[0], self.path(case, [2.0])[0], ROUNDING)

    def test_superposition(self, case):
        """Affine combinations of starts give affine combinations of paths."""
        other, other_at = np.linspace(-1, 1, 5), np.array([3.0, 1.0])
        mixed = self.path(case, TS, 3 * self.start - 2 * other, 3 * self.start_at - 2 * other_at)
        assert_same(mixed, 3 * self.path(case, TS) - 2 * self.path(case, TS, other, other_at), 10 * ROUNDING)

    def test_time_and_learning_rate_enter_as_a_product(self, case):
        assert_same(self.path(case, TS, alpha=2.5), self.path(case, 2.5 * TS), ROUNDING)
        laws = [self.limit(case, alpha=2.5).law(TS), self.limit(case).law(2.5 * TS)]
        assert_same(laws[0].covariance, laws[1].covariance, ROUNDING)

    def test_a_learning_rate_of_zero_keeps_the_start(self, case):
        assert_same(self.path(case, TS, alpha=0.0), np.tile([*self.start, *self.start_at], (4, 1)), ROUNDING)
        frozen = self.limit(case, alpha=0.0)
        assert frozen.certificate().status is CertificateStatus.PROVED_NOT_PD
        assert_same(frozen.law(TS).covariance, np.tile(self.limit(case).law([0.0]).covariance, (4, 1, 1)), ROUNDING)

    def test_targets_are_fixed_points_and_are_reached(self, case):
        limit = self.limit(case)
        assert_same(limit.path(systems.FULL_Y, TS), np.tile(systems.FULL_Y, (4, 1)), ROUNDING)
        late = 60.0 / limit.eigenvalues[0]
        assert_same(limit.path(self.start, [late])[0], systems.FULL_Y, ROUNDING)

    def test_repeated_points_are_weights(self, case):
        """Point 1 three times among seven is weight 3/7; laws agree where both have points, here and elsewhere."""
        which = [0, 1, 1, 1, 2, 3, 4]
        repeated = jl.Data(systems.FULL_X[which], systems.FULL_Y[which])
        weighted = jl.Data(systems.FULL_X, systems.FULL_Y, [1, 3, 1, 1, 1])
        first, second = (
            jl.SpectralLimit(systems.problem(case, data), rule=case.rule).law(TS, at=systems.FULL_AT)
            for data in (repeated, weighted)
        )
        keep = [0, 1, 4, 5, 6, 7, 8]
        assert_same(first.mean[:, keep], second.mean, ROUNDING)
        assert_same(first.covariance[:, keep][:, :, keep], second.covariance, ROUNDING)
        copies = first.covariance[:, 1:4, 1:4]
        assert_same(copies, np.broadcast_to(copies[:, :1, :1], copies.shape), ROUNDING)

    def test_an_extra_point_that_is_a_data_point_has_its_law(self, case):
        limit = self.limit(case)
        law = limit.law(TS, at=systems.FULL_X[[3, 0]])
        assert_same(law.mean[:, 5:], law.mean[:, [3, 0]], ROUNDING)
        assert_same(law.covariance[:, 5:, :], law.covariance[:, [3, 0], :], ROUNDING)
        assert_same(law.covariance[:, 5:, 5:], law.covariance[:, [3, 0]][:, :, [3, 0]], ROUNDING)

    def test_covariances_are_symmetric_and_not_negative(self, case):
        law = self.limit(case).law(TS, at=systems.FULL_AT)
        assert np.array_equal(law.covariance, np.swapaxes(law.covariance, 1, 2))
        assert np.min(np.linalg.eigvalsh(law.covariance)) > -1e-14


SINGULAR = {
    "opposite points": ("erf", [[1.0, 0.2], [-1.0, -0.2], [0.3, 0.8]], [1.0, 0.5, -1.0]),
    "repeated points": ("erf", [[1.0, 0.2], [1.0, 0.2], [0.3, 0.8]], [1.0, 1.0, -1.0]),
    "parallel points": ("relu", [[1.0, 0.25], [2.0, 0.5], [0.3, 0.8]], [1.0, 0.5, -1.0]),
}


@pytest.mark.parametrize("kind", SINGULAR)
def test_singular_kernels_are_solved_and_reported(kind):
    """On the kernel of A nothing moves, off the data φ_t(0) = t; no division by zero anywhere."""
    name, x, y = SINGULAR[kind]
    data = jl.Data(x, y, [1.0, 2.0, 3.0])
    limit = limit_of(name, data)
    assert limit.eigenvalues[0] == pytest.approx(0.0, abs=1e-15)
    assert limit.certificate().status is CertificateStatus.PROVED_NOT_PD
    at = np.array([[0.5, -0.5], [0.1, 2.0]])
    law = limit.law([*TS, 1e4], at=at)
    for i, t in enumerate([*TS, 1e4]):
        expected = brute_force(name, data, t, at)
        # At t = 1e4 an eigenvalue of 1e-17 in place of 0 moves the path by 1e-13.
        assert_same(law.mean[i], expected.mean, 2e-11)
        assert_same(law.covariance[i], expected.covariance, 2e-11)


def test_what_cannot_be_learnt_stays():
    """Odd σ: h(x) + h(−x) = 0 at every time, in spite of targets whose sum is not zero."""
    limit = limit_of("erf", jl.Data([[1.0, 0.2], [-1.0, -0.2]], [1.0, 0.5]))
    law = limit.law([0.0, 1.0, 1e6])
    assert_same(law.mean.sum(axis=1), np.zeros(3), 1e-9)
    assert_same(law.mean[-1], np.array([0.25, -0.25]), 1e-9)


@pytest.mark.parametrize("gamma", [0.6, 0.75, 0.99])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_between_the_ends_of_the_scalings_the_limit_is_deterministic(name, gamma):
    data = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
    limit = limit_of(name, data, gamma=gamma)
    law = limit.law(TS, at=systems.FULL_AT)
    assert not law.covariance.any()
    for i, t in enumerate(TS):
        assert_same(law.mean[i], brute_force(name, data, t, systems.FULL_AT, random_start=False).mean, ROUNDING)
    assert_same(law.mean, limit.path(np.zeros(5), TS, at=systems.FULL_AT, h0_at=np.zeros(2)), ROUNDING)


def test_the_matrix_carries_the_weights_and_the_certificate_is_about_its_eigenvalues():
    data = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
    limit = limit_of("erf", data, alpha=2.0)
    kernel, _ = textbook_kernels("erf", data.x, data.x)
    assert_same(limit.matrix, 2.0 * kernel * data.weights[None, :], ROUNDING)
    eigenvalues = np.sort(np.linalg.eigvals(limit.matrix).real)
    assert_same(limit.eigenvalues, eigenvalues, ROUNDING)
    certificate = limit.certificate()
    assert certificate.status is CertificateStatus.PROVED_PD
    assert certificate.lower <= eigenvalues[0] <= certificate.upper
    assert certificate.upper - certificate.lower < 1e-10


@pytest.mark.parametrize("weights", [None, systems.uneven(5)], ids=["uniform", "weighted"])
def test_the_loss_is_the_expectation_of_half_the_square(weights):
    data = jl.Data(systems.FULL_X, systems.FULL_Y, weights)
    limit = limit_of("erf", data)
    for t, loss in zip(TS, limit.loss(TS), strict=True):
        law = brute_force("erf", data, t)
        expected = 0.5 * data.weights @ ((data.y - law.mean) ** 2 + np.diag(law.covariance))
        assert loss == pytest.approx(expected, rel=1e-12)
    # It decays like e^{−2λt}, λ the lowest eigenvalue, which carries the weights.
    late = np.array([30.0, 31.0]) / limit.eigenvalues[0]
    first, second = limit.loss(late)
    assert np.log(first / second) == pytest.approx(2.0, rel=1e-3)


def test_the_start_has_the_covariance_of_the_initial_network():
    case = ACTIVATIONS["erf"]
    limit = limit_of("erf")
    covariance = initial_covariance(limit.kernel.problem.network, systems.GOLDEN_DATA.x, rule=case.rule).value
    assert_same(limit.law([0.0]).covariance[0], covariance, ROUNDING)
    assert_same(limit.law([0.0]).mean[0], np.zeros(3), ROUNDING)


def test_other_laws_of_the_output_weights_enter_by_their_second_moment():
    initial = jl.Initial(c=jl.initial.Rademacher(0.5))
    limit = limit_of("erf", initial=initial)
    kernel, start = textbook_kernels("erf", systems.GOLDEN_DATA.x, systems.GOLDEN_DATA.x, variance=0.25)
    expected = exponential_law(kernel, start, systems.GOLDEN_DATA.y, systems.GOLDEN_DATA.weights, 1.0, 2.0)
    law = limit.law([2.0])
    assert_same(law.mean[0], expected.mean, ROUNDING)
    assert_same(law.covariance[0], expected.covariance, ROUNDING)
