"""Problems with known answers: golden values, textbook kernels, and limit laws by brute-force matrix exponentials."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import scipy.linalg
import scipy.stats

import jaxlimit as jl

GOLDEN_DATA = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])


@dataclass(frozen=True)
class Golden:
    """Values at GOLDEN_DATA with α = 1, uniform π, c ~ U[−1, 1], w ~ N(0, I), t = 2, as printed."""

    kernel: dict
    eigenvalues: tuple
    mean: tuple
    variances: tuple | None = None


GOLDEN = {
    "erf": Golden(
        {
            (0, 0): ".654362399309",
            (0, 1): ".354594309941",
            (0, 2): "-.268574285127",
            (1, 2): ".268574285127",
            (2, 2): ".723079015929",
        },
        (".025536857234", ".315412177865", ".336318903083"),
        (".092514072304", "-.092514072304", "-.077939454482"),
        (".043853188723", ".043853188723", ".049296902847"),
    ),
    "relu": Golden(
        {
            (0, 0): ".666666666667",
            (0, 1): ".409257060353",
            (0, 2): ".041682815642",
            (1, 2): ".375016148975",
            (2, 2): ".833333333333",
        },
        (".05372290", ".23819449", ".43030484"),
        (".15607387", "-.06236877", ".04683526"),
    ),
    "tanh": Golden(
        {
            (0, 0): ".5490954579",
            (0, 1): ".3039397131",
            (0, 2): "-.2328110905",
            (1, 2): ".2328110905",
            (2, 2): ".6122770603",
        },
        (".0172531594", ".2685577756", ".2843450570"),
        (".0728924550", "-.0728924550", "-.0768768499"),
    ),
    "probit": Golden(
        {
            (0, 0): ".363962716412",
            (0, 1): ".315177313364",
            (0, 2): ".199263579285",
            (1, 2): ".300736420715",
            (2, 2): ".379193813667",
        },
        (".006238154801", ".057790035740", ".305011558289"),
        (".079816308028", ".047529015294", ".041768401921"),
    ),
    "sin + cos": Golden(
        {
            (0, 0): "1.333333333333",
            (0, 1): ".804384055243",
            (0, 2): ".164093062670",
            (1, 2): ".624471666605",
            (2, 2): "1.416666666667",
        },
        (".134033038572", ".409017395667", ".818060676871"),
        (".300387648965", "-.182662152023", ".121152446425"),
    ),
}


def assert_printed(values, printed):
    """Agreement to all printed digits: within half a unit of the last one (and the rounding of float64)."""
    for value, text in zip(np.ravel(values), printed, strict=True):
        unit = 10.0 ** -len(text.split(".")[1])
        assert abs(float(value) - float(text)) <= 0.5 * unit + 1e-15, f"{float(value):.14f} is not {text}"


def problem(case, data=GOLDEN_DATA, gamma=0.5, alpha=1.0, initial=None, train_output=True):
    """A problem with the activation of a case."""
    network = jl.networks.Shallow(case.activation, jl.Initial() if initial is None else initial, train_output)
    return jl.Problem(data, network, jl.PowerScaling(gamma), learning_rate=alpha)


# Data that fill their space (5 points, 3 inputs), and data of rank 3 in 5 dimensions. Weights are far from uniform.
FULL_X = np.array([[1.0, 0.2, -0.3], [0.1, -0.8, 0.5], [-0.6, 0.4, 0.9], [0.3, 0.7, 0.1], [-0.2, -0.5, -1.1]])
FULL_Y = np.array([1.0, -0.5, 0.25, -1.0, 0.75])
THIN_X = np.array([[1.0, 0.2, -0.3, 0.4, 0.1], [0.1, -0.8, 0.5, 0.0, 0.3], [-0.6, 0.4, 0.9, -0.2, 0.7]])
THIN_Y = np.array([1.0, -0.5, 0.25])
FULL_AT = np.array([[0.3, 0.3, 0.3], [-1.0, 0.6, 0.2]])
THIN_AT = np.array([0.5 * THIN_X[0] - 0.25 * THIN_X[2], [0.3, 0.1, -0.2, 0.9, -0.4]])  # inside the span, and outside


def uneven(points):
    """Weights 1, 2, …: no two alike."""
    return np.arange(1.0, points + 1)


# Shared by the tests of simulation: one set of shapes is one compilation.
WIDTH, LANES, REPLICAS = 24, 2, 4
TS = (0.0, 0.29, 1.0, 2.5)


def parameters(now, start):
    """An observable that returns all there is."""
    return {"c": now.c, "w": now.w, "start": start}


def run(problem, width=WIDTH, ts=TS, *, replicas=REPLICAS, seed=0, dtype=jnp.float64, **settings):
    """`simulate` on one device in lanes of LANES, in float64."""
    settings = {"method": jl.Stepwise(lanes=LANES), "devices": jax.devices()[:1], **settings}
    return jl.simulate(problem, width, ts, replicas=replicas, key=jax.random.key(seed), dtype=dtype, **settings)


def same_bits(first, second, replicas):
    """Whether two runs agree bit by bit in their first replicas, observables included."""
    ones, others = (jax.tree.leaves((samples.values, samples.observed)) for samples in (first, second))
    return all(np.array_equal(a[:replicas], b[:replicas]) for a, b in zip(ones, others, strict=True))


def dependence(c, w):
    """Largest |rank correlation| of c with a column of w, or with the numbers of w in the order of their drawing.

    The latter is near 1 if both came from one stream of random bits and their laws use the bits alike.
    """
    w = np.asarray(w)
    others = [*w.T, w.ravel()[: len(c)]]
    return max(abs(scipy.stats.spearmanr(c, other).statistic) for other in others)


# Textbook kernels, independent of the package: the arcsine and arc-cosine forms, good for well-separated points.


def textbook_duals(name, x, x2, std=1.0):
    """E σσ' and E σ̇σ̇' for w ~ N(0, std² I)."""
    a, b, r = (std**2 * v for v in (np.sum(x * x, axis=1)[:, None], np.sum(x2 * x2, axis=1)[None, :], x @ x2.T))
    if name == "erf":
        root = (1 + 2 * a) * (1 + 2 * b)
        return 2 / np.pi * np.arcsin(2 * r / np.sqrt(root)), 4 / np.pi / np.sqrt(root - 4 * r * r)
    equal = np.all(x[:, None, :] == x2[None, :, :], axis=2)  # where arccos would lose half of its digits
    angle = np.where(equal, 0.0, np.arccos(np.clip(r / np.sqrt(a * b), -1, 1)))
    value = np.sqrt(a * b) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    return value, (np.pi - angle) / (2 * np.pi)


def textbook_kernels(name, x, x2, variance=1 / 3, std=1.0):
    """B and Σ with E c² = variance."""
    dual, derivative = textbook_duals(name, x, x2, std)
    return dual + variance * derivative * (x @ x2.T), variance * dual


def integrated_duals(case, p, q, std=1.0, panels=80, nodes=20, cut=9.0):
    """The duals of one pair by composite Gauss–Legendre quadrature in the plane of the two points.

    With |p| std ≤ 10 and 80 panels the error is below 1e-14 for σ analytic in a strip of half-width π/2.
    """
    t, weights = np.polynomial.legendre.leggauss(nodes)
    edges = np.linspace(-cut, cut, panels + 1)
    half = 0.5 * (edges[1] - edges[0])
    z = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * t).ravel()
    mass = np.tile(half * weights, panels) * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    along = std * np.dot(p, q) / np.linalg.norm(p)
    across = std * np.linalg.norm(q - np.dot(p, q) / np.dot(p, p) * p)
    u, v = std * np.linalg.norm(p) * z, along * z[:, None] + across * z[None, :]
    return tuple(float((f(u) * mass) @ (f(v) @ mass)) for f in (case.sigma, case.slope))


def precise_moments(p, q, std=1.0):
    """(a, b, r) = (std²|p|², std²|q|², std² p·q) of float64 points in mpmath, where sums are exact enough."""
    s, p, q = mpmath.mpf(float(std)), [mpmath.mpf(float(v)) for v in p], [mpmath.mpf(float(v)) for v in q]
    return s * s * mpmath.fdot(p, p), s * s * mpmath.fdot(q, q), s * s * mpmath.fdot(p, q)


class Law(NamedTuple):
    """Mean [points] and covariance [points, points] at one time."""

    mean: np.ndarray
    covariance: np.ndarray


def exponential_law(kernel, start, y, weights, alpha, t, extra=0):
    """The law of dh(x) = α E_π[(y − h)B(x, ·)] dt by one matrix exponential on (h on all points, 1).

    `kernel` and `start` are B and Σ on the data and then on `extra` points; only the data drive.
    """
    points = len(y)
    assert kernel.shape == (points + extra, points + extra)
    drive = alpha * kernel[:, :points] * np.asarray(weights)[None, :]
    generator = np.zeros((points + extra + 1, points + extra + 1))
    generator[:-1, :points] = -drive
    generator[:-1, -1] = drive @ y
    flow = scipy.linalg.expm(generator * t)
    propagator = flow[:-1, :-1]
    return Law(flow[:-1, -1], propagator @ start @ propagator.T)
