"""The mean-field limit of networks with several hidden layers, as a system of particles."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import (
    float_dtype,
    instance,
    positive_integer,
    random_key,
    require,
    save_times,
)
from jaxlimit._span import span
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.limits._base import AbstractLimit, extra_points
from jaxlimit.limits._groups import GROUPS, deterministic, standard_error, with_groups
from jaxlimit.limits._integrate import chosen_solver, chosen_tolerance, finer_tolerance, integrate, require_finished
from jaxlimit.limits._particles import largest, product
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Layers, Multilayer
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem
from jaxlimit.scalings import LayerwiseMeanField


class MultilayerSolution(eqx.Module):
    """The limit `values` [times, points] of the output, and how far finitely many particles and the solver leave it.

    `error` [times, points] is the standard error from the particles: the spread of 8 disjoint networks of an eighth of
    the neurons, and their mean's distance from all neurons, which shows what is of order 1/n. `solver_error` [times]
    is the largest difference over the points from a second, finer solve for the same particles.
    """

    ts: Float[Host, " times"]
    values: Float[Host, "times points"]
    error: Float[Host, "times points"]
    solver_error: Float[Host, " times"]
    neurons: tuple[int, ...] = eqx.field(static=True)


class MultilayerLimit(AbstractLimit):
    """The mean-field limit of a `Multilayer` network, by `neurons` (n_1, …, n_{L−1}) particles per layer and diffrax.

        ∂_t w_i(c_{i−1}, c_i) = −αξ_i(t) E_π[Δ_i φ_{i−1}(H_{i−1})],    ∂_t w_1 = −αξ_1(t) E_π[Δ_1 x],
        Δ_L = ∂_2ℓ φ_L'(H_L),    Δ_{i−1}(c_{i−1}) = E_{C_i}[Δ_i(C_i) w_i(c_{i−1}, C_i)] φ'_{i−1}(H_{i−1})

    with expectations over neurons as averages over the particles, and gradients of the population. The particles are
    the network's own initial draw at this width from `key`; with `jaxlimit.simulation.start_key(key, r)` for it they
    are what replica r of `simulate` draws, whose narrower networks are the first neurons of these: compare them neuron
    by neuron (`parameters`), with at most an eighth of the neurons. The distance is of order n^{−1/2} + √ε with fresh
    samples, n^{−1/2} + ε with all points at every step.

    Solver, dtype and tolerance as in `OdeLimit`. Raises ``ValueError`` unless the network is `Multilayer` and the
    scaling `LayerwiseMeanField`; ``RuntimeError`` where the solver gives up. Source: references `multilayer`.

        >>> import jax, jaxlimit as jl
        >>> normal, tanh = jl.initial.Normal, jl.activations.Tanh()
        >>> law = jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
        >>> network = jl.networks.Multilayer((tanh, tanh), law)
        >>> data = jl.data.sphere(points=3, inputs=2)
        >>> problem = jl.Problem(data, network, jl.scalings.LayerwiseMeanField(), jl.Huber())
        >>> limit = jl.MultilayerLimit(problem, (64, 64), key=jax.random.key(0))
        >>> limit.law([0.0, 1.0]).mean.shape
        (2, 3)
    """

    problem: Problem
    network: Multilayer
    start: Layers
    neurons: tuple[int, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        neurons: tuple[int, ...],
        *,
        key: RandomKey,
        dtype: np.dtype | type = jnp.float32,
        tolerance: float | None = None,
        solver: diffrax.AbstractSolver | None = None,
        max_steps: int = 100_000,
    ):
        instance("problem", problem, Problem)
        self.network = instance("problem", problem.network, Multilayer, "have a Multilayer network")
        wanted = "have the scaling LayerwiseMeanField for this limit"
        scaling = instance("problem", problem.scaling, LayerwiseMeanField, wanted)
        scaling.schedules(self.network.layers)
        counted = isinstance(neurons, tuple | list) and len(neurons) == self.network.layers - 1
        require(counted, "neurons", f"be a tuple of {self.network.layers - 1} positive integers", f"it is {neurons!r}")
        self.neurons = tuple(positive_integer("neurons", n) for n in neurons)
        self.problem, self.dtype = problem, float_dtype(dtype)
        self.tolerance, self.solver = chosen_tolerance(tolerance, self.dtype), chosen_solver(solver)
        self.max_steps = positive_integer("max_steps", max_steps)
        self.start = _drawn(self.network, self.neurons, problem.data.inputs, random_key(key))

    def path(
        self,
        h0: None,
        ts: ArrayLike,
        at: ArrayLike | None = None,
        h0_at: None = None,
    ) -> Float[Host, "times points"]:
        """The output on the data and then at the extra inputs. It starts where the particles do: h0 must be None."""
        require(h0 is None and h0_at is None, "h0", "be None: the start is that of the particles", "one is given")
        return self._solved(self.start, ts, at, self.tolerance)

    def law(self, ts: ArrayLike, at: ArrayLike | None = None) -> GaussianPath:
        """The output on the data and then at the extra inputs, deterministic: its covariance is zero.

        It comes with repeats, from 8 disjoint networks of an eighth of the neurons, hence with `mean_standard_error`;
        `solve` adds what is of order 1/n. Raises ``ValueError`` for fewer than 16 neurons in a layer.
        """
        self._require_groups()
        times = save_times(ts)
        groups = (deterministic(times, path) for path in self._group_paths(ts, at))
        return with_groups(deterministic(times, self.path(None, ts, at)), groups)

    def solve(self, ts: ArrayLike, at: ArrayLike | None = None) -> MultilayerSolution:
        """`law` with the errors that it has, the particles' and the solver's.

        Raises ``ValueError`` for fewer than 16 neurons in a layer, and for a tolerance without room for a finer solve.
        """
        self._require_groups()
        finer = finer_tolerance(self.tolerance, self.dtype)
        values = np.asarray(self.path(None, ts, at), np.float64)
        exact = np.asarray(self._solved(self.start, ts, at, finer), np.float64)
        groups = self._group_paths(ts, at)
        # What is of order 1/n is 8 times larger in the groups than in the whole.
        bias = (np.mean(groups, axis=0) - values) / (GROUPS - 1)
        error = np.hypot(standard_error(groups), bias)
        return MultilayerSolution(save_times(ts), values, error, np.max(np.abs(values - exact), axis=1), self.neurons)

    def parameters(self, ts: ArrayLike) -> Layers:
        """All weights and biases of the particles at these times, [times, …], in original coordinates."""
        return self._solved(self.start, ts, None, self.tolerance, whole=True)

    def _require_groups(self) -> None:
        least = min(self.neurons)
        require(least >= 2 * GROUPS, "neurons", f"be {2 * GROUPS} or more in each layer", f"the fewest are {least}")

    def _group_paths(self, ts: ArrayLike, at: ArrayLike | None) -> Float[Host, "groups times points"]:
        """The output of every group of neurons alone."""
        return np.array([self._solved(self._part(g), ts, at, self.tolerance) for g in range(GROUPS)], np.float64)

    def _part(self, group: int) -> Layers:
        """The network of one group of neurons in every layer."""
        cuts = [slice(group * (n // GROUPS), (group + 1) * (n // GROUPS)) for n in self.neurons]
        first, *middle, last = self.start.weights
        inner = (w[below, own] for w, below, own in zip(middle, cuts[:-1], cuts[1:], strict=True))
        biases = tuple(b[own] for b, own in zip(self.start.biases, cuts, strict=False)) + self.start.biases[-1:]
        return Layers((first[cuts[0]], *inner, last[cuts[-1]]), biases if self.start.biases else ())

    def _solved(self, start: Layers, ts: ArrayLike, at: ArrayLike | None, tolerance: float, whole: bool = False) -> Any:
        """Outputs, or all parameters, at the times."""
        data, times = self.problem.data, save_times(ts)
        given = extra_points(data, at)
        extra = np.zeros((0, data.inputs)) if given is None else given
        scaling: Any = self.problem.scaling
        basis = span(data.x, extra).basis
        cast = lambda a: jnp.asarray(a, self.dtype)  # noqa: E731
        found, finished = _solve(
            self.network,
            self.problem.loss,
            scaling.schedules(self.network.layers),
            jax.tree.map(cast, start),
            None if basis is None else cast(basis),
            cast(data.x),
            cast(np.concatenate([data.x, extra])),
            cast(data.y),
            cast(data.weights),
            cast(self.problem.learning_rate),
            cast(times),
            self.solver,
            tolerance,
            self.max_steps,
            whole,
        )
        require_finished(finished, times[-1], self.solver, tolerance, self.max_steps)
        return jax.tree.map(np.asarray, found)


@eqx.filter_jit
def _drawn(network: Multilayer, neurons: tuple[int, ...], inputs: int, key: RandomKey) -> Layers:
    return network.init(neurons, inputs, key)


@eqx.filter_jit
def _solve(
    network: Multilayer,
    loss: AbstractLoss,
    schedules: tuple[Any, ...],
    start: Layers,
    basis: Float[Array, "inputs rank"] | None,
    x: Float[Array, "points inputs"],
    seen: Float[Array, "all inputs"],
    y: Float[Array, " points"],
    weights: Float[Array, " points"],
    alpha: Float[Array, ""],
    ts: Float[Array, " times"],
    solver: diffrax.AbstractSolver,
    tolerance: float,
    max_steps: int,
    whole: bool,
) -> tuple[Any, Array]:
    """The state is how far the parameters have moved, w_1 in the span of the data: the start is no part of a tolerance.

    Gradients are those of JAX, of the network as it is defined: nothing is shared with the loops of `simulate`.
    """
    first = start.weights[0]
    inside = first if basis is None else product(first, basis)
    reduced = x if basis is None else product(x, basis)
    sizes = (1, *(w.shape[0] for w in start.weights[1:]), 1)

    count = len(start.weights)
    # Flat: an empty tuple of biases is no part that the solver's loops could hold.
    origin = (*start.weights, *start.biases)

    def at(moved: tuple[Array, ...], w1: Array) -> Layers:
        total = (w1 + moved[0], *(a + b for a, b in zip(origin[1:], moved[1:], strict=True)))
        return Layers(total[:count], total[count:])

    def field(t: Any, moved: tuple[Array, ...], args: Any) -> tuple[Array, ...]:
        outputs, pull = jax.vjp(lambda p: network.apply(p, reduced), at(moved, inside))
        (gradient,) = pull(-alpha * weights * loss.derivative(outputs, y).astype(y.dtype))
        xi = [jnp.asarray(one(t) if callable(one) else one).astype(y.dtype) for one in schedules]
        rates = [s if learns else 0.0 * s for s, learns in zip(xi, network.trained, strict=True)]
        pairs = zip(gradient.weights, rates, sizes[:-1], sizes[1:], strict=True)
        of_weights = (rate * float(below * own) * g for g, rate, below, own in pairs)
        of_biases = (rate * float(n) * g for g, rate, n in zip(gradient.biases, rates, sizes[1:], strict=False))
        return *of_weights, *of_biases

    def saved(t: Any, moved: tuple[Array, ...], args: Any) -> Any:
        step = moved[0] if basis is None else product(moved[0], basis.T)
        now = at((step, *moved[1:]), first)
        return (*now.weights, *now.biases) if whole else network.apply(now, seen)

    still = jax.tree.map(jnp.zeros_like, (inside, *origin[1:]))
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=largest)
    found, finished, _ = integrate(field, still, ts, solver, controller, max_steps, saved)
    return Layers(found[:count], found[count:]) if whole else found, finished
