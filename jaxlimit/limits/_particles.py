"""A population of neurons that trains as one: the flow of particles behind the limits for γ > 1/2."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float

from jaxlimit._span import span
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation
from jaxlimit.limits._integrate import integrate
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.problem import Problem


class State(NamedTuple):
    """Movement of the particles divided by ε, and the output h as a state of its own: nothing cancels as ε → 0."""

    c: Float[Array, " particles"]
    w: Float[Array, "particles rank"]
    h: Float[Array, " all"]


class Particles(eqx.Module):
    """Neurons at their start, in coordinates of the span of the data, and what drives them.

    `x` [all, rank] holds the data and then the extra points; `frozen` [particles, extra] is what w_0 says of an extra
    point outside the span, where w never moves. `basis` [inputs, rank] leads back to original coordinates, None
    where they are the original ones.
    """

    activation: AbstractActivation
    loss: AbstractLoss
    c: Float[Array, " particles"]
    w: Float[Array, "particles rank"]
    x: Float[Array, "all rank"]
    frozen: Float[Array, "particles extra"]
    y: Float[Array, " points"]
    weights: Float[Array, " points"]
    alpha: Float[Array, ""]
    train_output: bool = eqx.field(static=True)

    @property
    def count(self) -> int:
        """Number of particles."""
        return self.c.size

    def part(self, chosen: slice) -> "Particles":
        """These particles alone."""
        return eqx.tree_at(lambda p: (p.c, p.w, p.frozen), self, (self.c[chosen], self.w[chosen], self.frozen[chosen]))

    def preactivations(self, w: Float[Array, "particles rank"]) -> Float[Array, "particles all"]:
        """w·x at the data and at the extra points."""
        u = product(w, self.x.T)
        return u.at[:, self.y.size :].add(self.frozen) if self.frozen.shape[1] else u

    def features(self) -> Float[Array, "particles all"]:
        """σ(w·x) at the start."""
        return self.activation(self.preactivations(self.w)).astype(self.w.dtype)

    def drive(self, h: Float[Array, "*batch all"]) -> Float[Array, "*batch points"]:
        """αe = −α ∂ℓ/∂g(h, y) at the data."""
        return -self.alpha * self.loss.derivative(h[..., : self.y.size], self.y)

    def field(
        self,
        epsilon: Float[Array, ""],
        state: State,
        masses: Float[Array, " particles"] | None = None,
        forcing: Float[Array, " points"] | float = 0.0,
    ) -> State:
        """Time derivative of the state at this ε.

        With c = c_0 + εδc, w = w_0 + εδw and e the drive plus `forcing`,

            δċ_i = E_π[e σ(w_i·x)]        δẇ_i = E_π[e c_i σ'(w_i·x) x]
            ḣ(x) = Σ_i p_i [σ(w_i·x) δċ_i + c_i σ'(w_i·x) x·δẇ_i],    p_i = 1/P or the given `masses`.
        """
        c, w = self.c + epsilon * state.c, self.w + epsilon * state.w
        u, points = self.preactivations(w), self.y.size
        features = self.activation(u).astype(u.dtype)
        slopes = self.activation.derivative(u).astype(u.dtype) * c[:, None]
        push = self.weights * (self.drive(state.h) + forcing)
        moved_c = product(features[:, :points], push) if self.train_output else jnp.zeros_like(c)
        moved_w = product(slopes[:, :points] * push, self.x[:points])
        each = features * moved_c[:, None] + slopes * product(moved_w, self.x.T)
        return State(moved_c, moved_w, jnp.mean(each, axis=0) if masses is None else product(masses, each))

    def begin(self, h0: Float[Array, " all"]) -> State:
        """The particles where they start, with this output."""
        return State(jnp.zeros_like(self.c), jnp.zeros_like(self.w), h0)


def particles(
    problem: Problem, network: Shallow, neurons: Neurons, at: Host | None, dtype: np.dtype
) -> tuple[Particles, Host | None]:
    """These neurons as particles on the problem's data and on the extra points, and the basis of the data's span."""
    data = problem.data
    reduced = span(data.x, np.zeros((0, data.inputs)) if at is None else at)
    c, w = (np.asarray(v, np.float64) for v in neurons)
    outside = np.zeros((len(reduced.at), data.inputs)) if reduced.remainder is None else reduced.remainder
    return Particles(
        network.activation,
        problem.loss,
        jnp.asarray(c, dtype),
        jnp.asarray(w if reduced.basis is None else w @ reduced.basis, dtype),
        jnp.asarray(np.concatenate([reduced.x, reduced.at]), dtype),
        jnp.asarray(w @ outside.T, dtype),
        jnp.asarray(data.y, dtype),
        jnp.asarray(data.weights, dtype),
        jnp.asarray(problem.learning_rate, dtype),
        network.train_output,
    ), reduced.basis


def product(left: Array, right: Array) -> Array:
    """At full precision: an accelerator's short products would show as a distance from the limit."""
    return jnp.matmul(left, right, precision=Precision.HIGHEST)


def largest(state: Any) -> Array:
    """The largest root mean square of an array of the state: the few outputs weigh as much as the many particles."""
    sizes = [jnp.sqrt(jnp.mean(jnp.square(leaf))) for leaf in jax.tree.leaves(state) if leaf.size]
    return jnp.max(jnp.stack(sizes))


@eqx.filter_jit
def solve(
    population: Particles,
    epsilon: Float[Array, ""],
    starts: Float[Array, "paths all"],
    ts: Float[Array, " times"],
    solver: diffrax.AbstractSolver,
    tolerance: float,
    max_steps: int,
    whole: bool = False,
) -> tuple[Any, Array, Array]:
    """h [paths, times, all] from every start, or the whole state; whether the solver finished; its steps.

    Every path has particles of its own, which start in one place.
    """

    def field(t: Any, state: State, args: Any) -> State:
        return population.field(epsilon, state)

    def one(start: Array) -> tuple[Any, Array, Array]:
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=largest)
        begin = population.begin(start)
        return integrate(field, begin, ts, solver, controller, max_steps, lambda t, y, args: y if whole else y.h)

    # One after the other: a path is a product of matrices for all its particles already.
    return jax.lax.map(one, starts)


def fastest_rate(population: Particles) -> float:
    """λ_max of A = αB_PΠ for the particles' kernel where they start, times the bound of |∂²ℓ/∂g²| if there is one."""
    points = population.y.size
    x, u = population.x[:points], population.preactivations(population.w)[:, :points]
    slopes = np.asarray(population.activation.derivative(u) * population.c[:, None], np.float64)
    features = np.asarray(population.activation(u), np.float64) * float(population.train_output)
    kernel = (slopes.T @ slopes) * np.asarray(product(x, x.T), np.float64) + features.T @ features
    root = np.sqrt(np.asarray(population.weights, np.float64))
    rate = float(np.linalg.eigvalsh(root[:, None] * kernel * root)[-1]) / population.count
    curvature = population.loss.curvature
    return float(population.alpha) * rate * (1.0 if curvature is None else curvature)
