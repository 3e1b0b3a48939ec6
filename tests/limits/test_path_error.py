"""How far a finite network is from its limit: against moment equations, block exponentials and simulation."""

from typing import ClassVar

import equinox as eqx
import jax
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import jaxlimit as jl
from jaxlimit import _devices
from jaxlimit.limits._path_error import Modes
from tests import laws, systems
from tests.cases import ACTIVATIONS
from tests.oracle import assert_same

DATA = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
KEY = jax.random.key(4)
TS = np.array([0.0, 0.5, 2.0])
WEIGHTS = DATA.weights
AT = systems.FULL_AT
EVERY = np.concatenate([DATA.x, AT])


def limit_of(gamma=0.5, alpha=1.0, data=DATA, name="erf"):
    return jl.SpectralLimit(systems.problem(ACTIVATIONS[name], data, gamma=gamma, alpha=alpha))


def residual_moment(gamma, width, data=DATA):
    """E r_0 r_0ᵀ from textbook kernels."""
    _, start = systems.textbook_kernels("erf", data.x, data.x)
    return float(width) ** (1 - 2 * gamma) * start + np.outer(data.y, data.y)


def joint(matrix):
    """Columns of zeros for the extra inputs, which drive nothing."""
    return np.concatenate([matrix, np.zeros((len(matrix), len(matrix) - matrix.shape[1]))], axis=1)


@pytest.mark.parametrize("gamma", [0.5, 0.7])
def test_the_noise_of_sgd_solves_its_moment_equations(gamma):
    """dM = −AM − MAᵀ for M = E rrᵀ and dP = −AP − PAᵀ + α²Cov_π[rB]/(N·batch), by DOP853 in original coordinates.

    On the data and on extra inputs at once, which are driven and drive nothing.
    """
    alpha, width, batch = 1.7, 40, 3
    kernel, _ = systems.textbook_kernels("erf", EVERY, DATA.x)
    drift = alpha * kernel * WEIGHTS
    whole = joint(drift)

    def field(_, state):
        second, error = state[:25].reshape(5, 5), state[25:].reshape(7, 7)
        mean = kernel * WEIGHTS
        noise = (kernel * (WEIGHTS * np.diag(second))) @ kernel.T - mean @ second @ mean.T
        moved = -drift[:5] @ second - second @ drift[:5].T
        spread = -whole @ error - error @ whole.T + alpha**2 / (width * batch) * noise
        return np.concatenate([moved.ravel(), spread.ravel()])

    start = np.concatenate([residual_moment(gamma, width).ravel(), np.zeros(49)])
    exact = scipy.integrate.solve_ivp(field, (0, TS[-1]), start, "DOP853", TS, rtol=1e-12, atol=1e-15)
    expected = exact.y[25:].T.reshape(-1, 7, 7)
    limit = limit_of(gamma, alpha)
    assert_same(limit.path_error(TS, width, key=KEY, batch=batch, neurons=2, at=AT).sgd, expected, 1e-9)
    alone = limit.path_error(TS, width, key=KEY, batch=batch, neurons=2).sgd
    assert_same(alone, expected[:, :5, :5], 1e-9)
    assert np.min(np.diag(expected[1])) > 1e-5


@pytest.mark.parametrize("alpha", [1.0, 1e3, 1e7])
def test_the_quadrature_in_time_is_exact_for_stiff_and_mild_kernels(alpha):
    """Entry ab is Σ_cd K_abcd E ρ_cρ_d ∫ e^{−(λ_a+λ_b)(t−s)} e^{−(λ_c+λ_d)s} ds, summed here over all four indices."""
    limit, t, width = limit_of(alpha=alpha), 2.0, 10
    rates, q, root = limit.eigenvalues, limit.basis, np.sqrt(WEIGHTS)
    second = q.T @ (root[:, None] * residual_moment(0.5, width) * root) @ q
    pair = np.add.outer(rates, rates)
    low, gap = np.minimum.outer(pair, pair), np.abs(np.subtract.outer(pair, pair))
    safe = np.where(gap > 0, gap, 1.0)
    integral = np.exp(-low * t) * np.where(gap > 0, -np.expm1(-safe * t) / safe, t)
    mixed = np.einsum("ma,mb,mc,md,m->abcd", q, q, q, q, 1 / WEIGHTS)
    total = np.einsum("abcd,cd,abcd->ab", mixed, second, integral) - t * np.exp(-pair * t) * second
    total *= np.outer(rates, rates)
    left = q / root[:, None]
    found = limit.path_error([t], width, key=KEY, neurons=2).sgd[0]
    assert_same(found, left @ total @ left.T / width, 1e-11)


@pytest.mark.parametrize("alpha", [1.7, 1e-3, 500.0])
def test_the_kernel_part_is_that_of_block_exponentials_neuron_by_neuron(alpha):
    """∫ e^{−A(t−s)} E Π e^{−As} ds is a corner of one matrix exponential (Van Loan); the draws are the same."""
    width, neurons = 40, 6
    limit = limit_of(0.6, alpha)
    c, w = (np.asarray(v, float) for v in limit.kernel.network.init(neurons, 3, KEY))
    case = ACTIVATIONS["erf"]
    kernel, _ = systems.textbook_kernels("erf", EVERY, DATA.x)
    drift = joint(alpha * kernel * WEIGHTS)
    second = residual_moment(0.6, width)
    each = []
    for t in TS:
        shares = []
        for i in range(neurons):
            u = EVERY @ w[i]
            slope = c[i] * case.slope(u)
            b = np.outer(case.sigma(u), case.sigma(u)) + np.outer(slope, slope) * (EVERY @ EVERY.T)
            shift = joint(alpha * (b[:, :5] - kernel) * WEIGHTS)
            block = np.block([[-drift, shift], [np.zeros((7, 7)), -drift]])
            corner = scipy.linalg.expm(block * t)[:7, 7:12]
            shares.append(corner @ second @ corner.T / width)
        each.append(shares)
    each = np.array(each)
    found = limit.path_error(TS, width, key=KEY, neurons=neurons, at=AT)
    assert_same(found.kernel, each.mean(axis=1), 1e-10)
    variances = np.diagonal(each, axis1=2, axis2=3)
    assert_same(found.kernel_standard_error, variances.std(axis=1, ddof=1) / np.sqrt(neurons), 1e-9)
    alone = limit.path_error(TS, width, key=KEY, neurons=neurons)
    assert_same(alone.kernel, found.kernel[:, :5, :5], 1e-12)
    assert_same(alone.kernel_standard_error, found.kernel_standard_error[:, :5], 1e-10)


def test_extra_inputs_that_are_data_have_the_errors_of_the_data():
    found = limit_of().path_error(TS, 10, key=KEY, neurons=20, at=DATA.x[[3, 0]])
    again = [*range(5), 3, 0]
    for part in (found.sgd, found.kernel):
        assert_same(part, part[:, again][:, :, again], 1e-12)


def test_the_second_divided_difference_keeps_its_digits():
    """∫_0^t ∫_0^s e^{−a(s−u)−bu} du ds in 100 digits, for rates apart, near each other, equal and zero."""
    rates = np.array([0.0, 1e-12, 1e-3, 0.3, 0.3 + 1e-9, 0.7, 1.0, 1.0 + 1e-6, 30.0, 1e6])
    eye = np.eye(rates.size)
    modes = Modes(rates, eye, np.ones(rates.size), eye, eye, eye[:0])

    def exact(a, b):
        with mpmath.workdps(100):
            p, q = mpmath.mpf(float(a)), mpmath.mpf(float(b))
            # Equal rates by a difference of 1e-25, whose square is out of sight.
            q = q + mpmath.mpf(10) ** -25 if p == q else q
            phi = [t if s == 0 else (1 - mpmath.exp(-s * t)) / s for s in (p, q) for t in [mpmath.mpf(float(time))]]
            return float((phi[0] - phi[1]) / (q - p))

    for time in (0.5, 3.0):
        expected = np.array([[exact(a, b) for b in rates] for a in rates])
        np.testing.assert_allclose(modes.accumulated(time), expected, rtol=1e-13)


def test_one_point_has_no_sampling_noise_and_a_known_kernel_part():
    """With λ = αB, N·E|h^N_t − h_t|² = α²t²e^{−2λt} Var(b) (y² + Σ), and Var(b) by Gauss quadrature in (c, w)."""
    x, alpha, width, neurons = 0.8, 2.0, 50, 200_000
    data = jl.Data([[x]], [1.3])
    z, mass = np.polynomial.hermite_e.hermegauss(80)
    c, weight = np.polynomial.legendre.leggauss(20)
    mass, weight = mass / mass.sum(), weight / 2
    case = ACTIVATIONS["erf"]
    b = case.sigma(x * z)[None] ** 2 + np.square(np.outer(c, case.slope(x * z))) * x * x
    mean = weight @ b @ mass
    start = (weight @ c**2) * (mass @ case.sigma(x * z) ** 2)
    found = limit_of(alpha=alpha, data=data).path_error(TS, width, key=KEY, neurons=neurons)
    variance = weight @ b**2 @ mass - mean**2
    expected = (alpha * TS * np.exp(-alpha * mean * TS)) ** 2 * variance * (data.y[0] ** 2 + start) / width
    assert np.max(np.abs(found.sgd)) < 1e-15
    error = found.kernel_standard_error[1:, 0]
    assert np.all(error < 0.005 * expected[1:])
    # One number at several times: false-alarm rate 1e-6.
    assert np.all(np.abs(found.square[1:, 0] - expected[1:]) <= 4.9 * error)


def test_the_parts_scale_as_they_should():
    limit = limit_of()
    one, wide = (limit.path_error(TS, width, key=KEY, neurons=50) for width in (1, 64))
    assert_same(wide.covariance, one.covariance / 64, 1e-14)
    full, four = (limit.path_error(TS, 1, key=KEY, neurons=50, batch=batch) for batch in (None, 4))
    assert not full.sgd.any()
    assert_same(four.sgd, one.sgd / 4, 1e-14)
    assert np.array_equal(full.kernel, one.kernel)
    rms, doubt = one.pooled
    assert rms == pytest.approx(np.sqrt(one.square.mean()))
    assert doubt == pytest.approx(one.kernel_standard_error.mean() / (2 * rms))
    assert not one.covariance[0].any()


class TestSimulation:
    """N = 128, where the next order is some 2%: 2048 networks see 15%, with false-alarm rate 1e-6."""

    alpha, width, batch = 2.0, 128, 2
    ts: ClassVar = [0.0, 0.5, 2.0]

    def ratios(self, gamma):
        problem = systems.problem(ACTIVATIONS["erf"], DATA, gamma=gamma, alpha=self.alpha)
        limit = jl.SpectralLimit(problem)
        samples = jl.simulate(
            problem, self.width, self.ts, replicas=2048, key=KEY, batch=self.batch, at=AT, devices=jax.devices()[:1]
        )
        start = np.asarray(samples.values[:, 0], float)
        shift = (samples.values - limit.path(start[:, :5], self.ts, AT, start[:, 5:]))[:, 1:]
        error = limit.path_error(self.ts[1:], self.width, key=KEY, batch=self.batch, at=AT)
        assert error.pooled[1] < 0.005 * error.pooled[0]
        return limit, shift, error

    @pytest.mark.parametrize("gamma", [0.5, pytest.param(0.6, marks=pytest.mark.slow)])
    def test_the_prediction_is_that_of_real_networks_and_planted_errors_are_noticed(self, gamma):
        limit, shift, error = self.ratios(gamma)
        # Extra inputs alone, and with the data: the products that both enter.
        there = error.square[:, 5:].mean(axis=1)
        laws.assert_mean(np.mean(shift[:, :, 5:] ** 2, axis=2) / there, 1.0, detectable=0.3)
        together = shift.sum(axis=2) ** 2 / error.covariance.sum(axis=(1, 2))
        laws.assert_mean(together, 1.0, detectable=0.3)
        squares = np.mean(shift[:, :, :5] ** 2, axis=2)
        predicted = error.square[:, :5].mean(axis=1)
        laws.assert_mean(squares / predicted, 1.0, detectable=0.2)
        points = {"sgd": np.diagonal(error.sgd, axis1=1, axis2=2)[:, :5].mean(axis=1)}
        # A = αB, as if every weight were 1.
        even = jl.Problem(jl.Data(DATA.x, DATA.y), limit.kernel.network, learning_rate=5 * self.alpha)
        planted = {
            "α² lost": predicted / self.alpha**2,
            "batch ignored": predicted + points["sgd"],
            "no kernel part": points["sgd"],
            "no π": jl.SpectralLimit(even).path_error(self.ts[1:], self.width, key=KEY).square.mean(axis=1),
        }
        for wrong in planted.values():
            with pytest.raises(AssertionError, match="standard errors"):
                laws.assert_mean(squares / wrong, 1.0, detectable=9.0)


@pytest.mark.slow
def test_above_one_half_start_and_error_add_up_to_the_law_at_finite_width():
    """Cov h^N − Cov h(h^N_0), network by network, against the predicted difference: 30% of it is sure to be seen."""
    width, ts = 256, [0.0, 2.0]
    problem = systems.problem(ACTIVATIONS["erf"], DATA, gamma=0.7, alpha=2.0)
    limit = jl.SpectralLimit(problem)
    samples = jl.simulate(problem, width, ts, replicas=8192, key=KEY, at=AT, devices=jax.devices()[:1])
    start = np.asarray(samples.values[:, 0], float)
    law = limit.finite_width(ts, width, key=KEY, at=AT)
    moments = limit.moments(ts, width, AT)
    extra = np.trace(law.covariance[1] - moments.covariance[1])
    paths = limit.path(start[:, :5], ts, AT, start[:, 5:])
    squares = [np.sum((v[:, 1] - law.mean[1]) ** 2, axis=1) for v in (samples.values, paths)]
    laws.assert_mean((squares[0] - squares[1]) / extra, 1.0, detectable=0.3)
    assert np.array_equal(law.mean, moments.mean)


class Skewed(jl.initial.AbstractLaw):
    """2 with probability 1/3 and −1 with probability 2/3."""

    def sample(self, key, shape):
        return jax.numpy.where(jax.random.uniform(key, shape, "float32") < 1 / 3, 2.0, -1.0).astype("float32")

    @property
    def mean(self):
        return 0.0

    @property
    def second_moment(self):
        return 2.0


def test_a_kernel_that_drifts_is_refused():
    initial = jl.Initial(c=Skewed())
    odd = jl.SpectralLimit(systems.problem(ACTIVATIONS["erf"], DATA, initial=initial))
    odd.path_error([1.0], 8, key=KEY, neurons=1000)
    drifting = jl.SpectralLimit(systems.problem(ACTIVATIONS["relu"], DATA, initial=initial))
    skewed = systems.problem(ACTIVATIONS["erf"], DATA, initial=jl.Initial(c=Skewed(), w=Skewed()))
    for limit in (drifting, jl.SpectralLimit(skewed, rule=jl.kernels.MonteCarlo(1000))):
        with pytest.raises(ValueError, match="the kernel drifts at the same order"):
            limit.path_error([1.0], 8, key=KEY, neurons=1000)


def test_a_skewness_that_its_law_knows_is_not_left_to_draws():
    """c = a or −1 with E c = 0 has E c³ = a(a − 1): 0.05 here, where a mean of 1000 cubes scatters by 0.03."""
    nearly = jl.initial.Discrete([1.05, -1.0], [1 / 2.05, 1.05 / 2.05])
    limit = jl.SpectralLimit(systems.problem(ACTIVATIONS["relu"], DATA, initial=jl.Initial(c=nearly)))
    with pytest.raises(ValueError, match=r"the kernel drifts at the same order\), but E c³ = 0\.0525"):
        limit.path_error([1.0], 8, key=KEY, neurons=1000)
    # E c³ = 0 exactly, of four draws whose mean cube is far from it for most keys.
    rare = jl.initial.Discrete([-30.0, -1.0, 1.0, 30.0], [0.25, 0.25, 0.25, 0.25])
    limit = jl.SpectralLimit(systems.problem(ACTIVATIONS["relu"], DATA, initial=jl.Initial(c=rare)))
    limit.path_error([1.0], 8, key=KEY, neurons=4)


def test_features_in_single_precision_and_too_many_neurons_are_refused(monkeypatch):
    class Narrow(jl.activations.AbstractActivation):
        """tanh, whose slope comes in single precision."""

        def __call__(self, u):
            return u.__array_namespace__().tanh(u)

        def derivative(self, u):
            return (1 - u.__array_namespace__().tanh(u) ** 2).astype("float32")

    limit = limit_of()
    narrow = eqx.tree_at(lambda one: one.kernel.network, limit, jl.networks.Shallow(Narrow()))
    with pytest.raises(ValueError, match=r"Argument `activation` must compute σ' in float64 .+ but σ' came in float32"):
        narrow.path_error([1.0], 8, key=KEY, neurons=4)
    monkeypatch.setattr(_devices, "available_on_host", lambda: 2**30)
    monkeypatch.setattr(jl.networks.Shallow, "init", lambda *_: pytest.fail("neurons were drawn"))
    with pytest.raises(ValueError, match="Argument `neurons` must have weights that fit into the memory"):
        limit.path_error([1.0], 8, key=KEY, neurons=10**9)


@pytest.mark.parametrize("gamma", [0.75, 0.9])
def test_scalings_whose_kernel_moves_too_much_are_refused(gamma):
    with pytest.raises(ValueError, match="Argument `problem` must have γ < 3/4"):
        limit_of(gamma).path_error([1.0], 8, key=KEY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"batch": 0}, "batch"), ({"neurons": 1}, "neurons"), ({"key": 3}, "key"), ({"width": 0}, "width")],
)
def test_bad_arguments_are_refused(changes, message):
    settings = {"width": 8, "key": KEY, **changes}
    with pytest.raises(ValueError, match=f"Argument `{message}` must"):
        limit_of().path_error([1.0], **settings)


def test_there_is_no_such_law_at_one_half():
    with pytest.raises(ValueError, match="must have γ > 1/2"):
        limit_of().finite_width([1.0], 8, key=KEY)
