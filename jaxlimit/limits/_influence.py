"""How a network of finite width fluctuates around its limit, from influence functions of the particles."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxlimit._arguments import require
from jaxlimit._typing import Host
from jaxlimit.limits._groups import GROUPS, group_size, standard_error, with_groups
from jaxlimit.limits._particles import Particles, State, fastest_rate, product
from jaxlimit.paths import GaussianPath

FEWEST, PER_RATE = 32, 4
"""Steps of the fixed grid: so many at least, and so many in the time 1/λ_max of the fastest mode."""
MOST = 2**20
"""Steps of the grid that a reverse pass can hold."""
ORDER = 2
"""Of the grid: halving its steps divides the error by four."""


class Fluctuation(eqx.Module):
    """Covariance of √N(h^N_t − h_t) to leading order, for networks of width N with the ε of the flow.

    `initial` and `sgd` [times, points, points] are its two independent parts: the sampling of the neurons' start, and
    the noise of drawing `batch` samples a step; each is zero where it was switched off. Points are the data, then
    the extra inputs. `initial_groups` and `sgd_groups` are the same from 8 disjoint groups of particles, each from its
    own start and on a grid of half the steps: what they spread is the Monte Carlo error, which `law` carries.
    `discretisation` estimates the error of the diagonal of both together that the grid of `steps` steps leaves.
    """

    ts: Float[Host, " times"]
    initial: Float[Host, "times points points"]
    sgd: Float[Host, "times points points"]
    initial_groups: Float[Host, "groups times points points"]
    sgd_groups: Float[Host, "groups times points points"]
    discretisation: Float[Host, "times points"]
    epsilon: float = eqx.field(static=True)
    batch: int | None = eqx.field(static=True)
    particles: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    @property
    def covariance(self) -> Float[Host, "times points points"]:
        """Both parts together."""
        return self.initial + self.sgd

    @property
    def initial_standard_error(self) -> Float[Host, "times points"]:
        """Of the diagonal of `initial`, known itself to a quarter of its size."""
        return standard_error(np.diagonal(self.initial_groups, axis1=2, axis2=3))

    @property
    def sgd_standard_error(self) -> Float[Host, "times points"]:
        """Of the diagonal of `sgd`."""
        return standard_error(np.diagonal(self.sgd_groups, axis1=2, axis2=3))

    @property
    def standard_error(self) -> Float[Host, "times points"]:
        """Of the diagonal of `covariance`: both parts come from the same particles, so their errors are dependent."""
        return standard_error(np.diagonal(self.initial_groups + self.sgd_groups, axis1=2, axis2=3))

    @property
    def law(self) -> GaussianPath:
        """N(0, covariance), the limit law of √N(h^N_t − h_t), with repeats from the groups of particles."""
        zero = np.zeros(self.initial.shape[:2])
        groups = (GaussianPath(self.ts, zero, covariance) for covariance in self.initial_groups + self.sgd_groups)
        return with_groups(GaussianPath(self.ts, zero, self.covariance), groups)


def fluctuation(
    population: Particles,
    epsilon: float,
    limit_start: Callable[[Particles], Host],
    ts: Float[Host, " times"],
    initial: bool,
    sgd: bool,
    batch: int | None,
    steps: int | None,
) -> Fluctuation:
    """Both parts with their errors; `limit_start` of particles is where their limit starts, of each group its own.

    RuntimeError where the grid is too coarse.
    """
    size = group_size("particles", population.count)
    count = max(FEWEST, math.ceil(PER_RATE * fastest_rate(population) * float(ts[-1]))) if steps is None else steps
    parts = [population.part(slice(k * size, (k + 1) * size)) for k in range(GROUPS)]

    # Gap by gap the fine grid has exactly twice the steps of the coarse one: their difference tells the error.
    gaps = np.diff(ts, prepend=0.0)
    coarse = np.array([0 if gap == 0 else math.ceil(0.5 * count * gap / ts[-1] - 1e-9) for gap in gaps])
    total = 2 * int(coarse.sum())
    require(total <= MOST, "ts", f"need {MOST} steps of the grid at most", f"they need {total}: lower `steps` or t")

    def found(one: Particles, counts: Host) -> Host:
        noisy, samples = sgd and batch is not None, 1 if batch is None else batch
        return np.stack(_parts(one, epsilon, limit_start(one), gaps, initial, noisy, samples, counts))

    whole = found(population, 2 * coarse)
    spread = np.stack([found(part, coarse) for part in parts], axis=1)
    fine = found(parts[0], 2 * coarse)
    change = np.diagonal(np.sum(fine - spread[:, 0], axis=0), axis1=1, axis2=2)
    # What is left of the error of the coarse grid, the difference, on the fine one.
    left = np.abs(change) / (2**ORDER - 1)
    (start, noise), (start_groups, noise_groups) = whole, spread
    return Fluctuation(ts, start, noise, start_groups, noise_groups, left, epsilon, batch, population.count, total)


def _parts(
    population: Particles,
    epsilon: float,
    h0: Host,
    gaps: Host,
    initial: bool,
    sgd: bool,
    batch: int,
    counts: Host,
) -> tuple[Host, Host]:
    """The two covariances [times, all, all] of these particles, by so many steps in each gap, in float64."""
    dtype = population.w.dtype
    lengths = np.concatenate([np.full(n, gap / max(1, n)) for n, gap in zip(counts, gaps, strict=True)])
    start, noise = _covariances(
        population,
        jnp.asarray(epsilon, dtype),
        jnp.asarray(h0, dtype),
        jnp.asarray(lengths, dtype),
        tuple(np.cumsum(counts).tolist()),
        initial,
    )
    found = np.asarray(start, np.float64) * float(initial), np.asarray(noise, np.float64) * float(sgd) / batch
    if not all(bool(np.all(np.isfinite(part))) for part in found):
        raise RuntimeError(f"The fixed grid of {len(lengths)} steps is unstable: raise `steps`.")
    by_start, by_noise = (0.5 * (part + np.swapaxes(part, 1, 2)) for part in found)
    return by_start, by_noise


@eqx.filter_jit
def _covariances(
    population: Particles,
    epsilon: Array,
    h0: Float[Array, " all"],
    lengths: Float[Array, " steps"],
    saved: tuple[int, ...],
    initial: bool,
) -> tuple[Float[Array, "times all all"], Float[Array, "times all all"]]:
    """Sampling of the start, and of the data at one sample a step.

    Particle i gets the mass (1 + a_i)/P, and the residual in step k the forcing f_k. One reverse pass for each output
    gives both ∂h/∂a, whose P-fold is the influence of a neuron, and ∂h/∂f, the response to the noise α e_m(1 − π_m).
    """
    count, weights = population.count, population.weights
    own = population.c[:, None] * population.features() / epsilon if initial else None

    def outputs(masses: Array, forcing: Array) -> Array:
        h = h0 if own is None else h0 + product(masses, own) / count
        shares = (1.0 + masses) / count

        def step(state: State, given: tuple[Array, Array]) -> tuple[State, Array]:
            length, push = given
            moved = _runge_kutta(population, epsilon, state, shares, push, length)
            return moved, moved.h

        _, hs = lax.scan(jax.checkpoint(step), population.begin(h), (lengths, forcing))
        return jnp.concatenate([h[None], hs])

    forcing = jnp.zeros((lengths.size, weights.size), h0.dtype)
    hs, back = jax.vjp(outputs, jnp.zeros((count,), h0.dtype), forcing)
    drive = population.drive(0.5 * (hs[1:] + hs[:-1]))

    def at_time(index: Array) -> tuple[Array, Array]:
        def one(point: Array) -> tuple[Array, Array]:
            return back(jnp.zeros_like(hs).at[index, point].set(1.0))

        masses, impulses = lax.map(one, jnp.arange(h0.size, dtype=jnp.int32))
        influence = count * (masses - jnp.mean(masses, axis=1, keepdims=True))
        start = product(influence, influence.T) / (count - 1)
        # Per unit of time and of π_m: the response to drawing m, with the residual that m has.
        response = impulses / (lengths[:, None] * weights) * drive
        response = response - jnp.sum(response * weights, axis=2, keepdims=True)
        scaled = (response * jnp.sqrt(lengths[:, None] * weights)).reshape(h0.size, -1)
        return start, product(scaled, scaled.T)

    return lax.map(at_time, jnp.asarray(saved, jnp.int32))


def _runge_kutta(
    population: Particles, epsilon: Array, state: State, masses: Array, forcing: Array, length: Array
) -> State:
    """One classical step of order 4."""

    def field(now: State) -> State:
        return population.field(epsilon, now, masses, forcing)

    def ahead(slope: State, share: float) -> State:
        return jax.tree.map(lambda s, v: s + share * length * v, state, slope)

    first = field(state)
    second = field(ahead(first, 0.5))
    third = field(ahead(second, 0.5))
    fourth = field(ahead(third, 1.0))

    def combined(s: Array, *slopes: Any) -> Array:
        one, two, three, four = slopes
        return s + length / 6.0 * (one + 2.0 * two + 2.0 * three + four)

    return jax.tree.map(combined, state, first, second, third, fourth)
