"""Where gradient descent goes: the solution of the linearised problem that is nearest to the start."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from jaxlimit._arguments import instance, items, real_array, require
from jaxlimit._typing import Host
from jaxlimit.diagnostics._solve import Solver, definite
from jaxlimit.diagnostics._tangent_space import Parameters, TangentSpace
from jaxlimit.kernels import Certificate, Gram
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.problem import Problem
from jaxlimit.scalings import AbstractLayerwiseScaling


class Lyapunov(NamedTuple):
    """`parallel` = |P(θ − θ*)|² and `orthogonal` = |P⊥(θ − θ*)|² are squares, `moved` = |θ − θ(0)| and `largest_move`
    = max_k |w_k − w_k(0)| are not; each has the leading axes of θ.
    """

    parallel: Host
    orthogonal: Host
    moved: Host
    largest_move: Host


class MinNormSolution(eqx.Module):
    """θ* = θ(0) + F_0(F_0ᵀF_0)^{-1}(Y − f_0), from `min_norm_solution`.

    `parameters` is θ* and `start` θ(0), in float64; `gram` is F_0ᵀF_0 [points, points] with a bound of its rounding
    and `certificate` the proof that it is positive definite; `distance` is |θ* − θ(0)|, and `residual` the largest
    error max_i |f_lin(x_i) − y_i| of the linearised network at these `parameters`, as it was found.
    """

    problem: Problem
    start: Neurons
    parameters: Neurons
    gram: Gram
    certificate: Certificate
    distance: float = eqx.field(static=True)
    residual: float = eqx.field(static=True)

    def along(self, parameters: Neurons) -> Lyapunov:
        """Where parameters of the same network are, seen from θ*: P projects on the range of F_0.

        c [*batch, neurons], w [*batch, neurons, inputs] with any leading axes, as in paths of parameters. P is an
        n × n solve; the part orthogonal to the range is formed before it is squared, so that it is small where it
        should be. Parameters in float32 carry their own rounding, about 1e-7 of |θ| for each time they were rounded.
        Raises ``ValueError`` for other shapes, parameters that are not finite, and output weights that moved although
        they are not trained.
        """
        space = _space(self.problem, self.start)
        now = _like("parameters", parameters, space.start)
        batch = now.c.shape[:-1]
        now = Parameters(now.c.reshape(-1, *now.c.shape[-1:]), now.w.reshape(-1, *now.w.shape[-2:]))
        kept = space.network.train_output or bool(np.all(now.c == space.start.c))
        require(kept, "parameters", "keep the output weights of the start, which are not trained", "some have moved")
        copies, target = len(now.c), Parameters(*map(np.asarray, self.parameters))
        inner, moved, largest = np.zeros((copies, len(space.x))), np.zeros(copies), np.zeros(copies)
        for chunk in space.chunks(copies):
            inner += space.transposed(chunk, _difference(now, target, chunk.where))
            move = _difference(now, space.start, chunk.where)
            moved += _square(move)
            largest = np.maximum(largest, np.max(np.linalg.norm(move.w, axis=-1), axis=-1))
        finite = bool(np.all(np.isfinite(inner)) and np.all(np.isfinite(moved)))
        require(finite, "parameters", "be finite", "some are NaN or infinite")
        solver = Solver(self.gram.value)
        coefficients, orthogonal = solver(inner), np.zeros(copies)
        for chunk in space.chunks(copies):
            away, along = _difference(now, target, chunk.where), space.image(chunk, coefficients)
            orthogonal += _square(Parameters(away.c - along.c, away.w - along.w))
        found = solver.square(inner), orthogonal, np.sqrt(moved), largest
        return Lyapunov(*(value.reshape(batch) for value in found))


def min_norm_solution(problem: Problem, start: Neurons) -> MinNormSolution:
    """The parameters nearest to `start` at which the network, linearised there, is exact on the data:

        θ* = θ(0) + F_0(F_0ᵀF_0)^{-1}(Y − f_0),   |θ* − θ(0)|² = (Y − f_0)ᵀ(F_0ᵀF_0)^{-1}(Y − f_0).

    F_0 = ∂f/∂θ at θ(0), with θ = w where the output layer is not trained and θ = (c, w) where it is, and F_0ᵀF_0 is
    N · output(N)² times the kernel of `empirical_gram`. Gradient descent on the linearised network ends there, and
    that of a wide network close to it. `start` has c [neurons] and w [neurons, inputs], as `simulation.draws` and
    `network.init` give them; its width is N. Float64 on the host; neurons are taken in chunks and F_0 is never formed,
    so that memory holds a few copies of the parameters at any width.

    Raises ``ValueError`` if the network is not `Shallow`, the loss is not least at g = y, shapes do not fit, or F_0ᵀF_0
    cannot be proved positive definite: the linearised network then need not reach the data. Source: references
    `min_norm`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Relu(), jl.Initial(c=jl.initial.Rademacher()))
        >>> problem = jl.Problem(jl.data.sphere(points=4, inputs=3), network)
        >>> found = jl.diagnostics.min_norm_solution(problem, network.init(256, 3, jax.random.key(0)))
        >>> found.residual < 1e-12, bool(found.along(found.start).orthogonal < 1e-24)
        (True, True)
    """
    space, data = _space(problem, start), problem.data
    targets: Any = data.y
    least = not np.any(problem.loss.derivative(targets, targets))
    require(least, "problem", "have a loss that is least at g = y", f"it has {type(problem.loss).__name__}")
    values, gram = space.values_and_gram()
    certificate = definite("start", gram)
    coefficients = Solver(gram.value)(data.y - values)
    target, achieved, square = Parameters(*(a.copy() for a in space.start)), values.copy(), 0.0
    for chunk in space.chunks():
        move = space.image(chunk, coefficients)
        for parameters, change in zip(target, move, strict=True):
            parameters[chunk.where] += change
        rounded = _difference(target, space.start, chunk.where)
        achieved += space.transposed(chunk, rounded)
        square += float(_square(rounded))
    residual = float(np.max(np.abs(achieved - data.y)))
    distance = math.sqrt(square)
    return MinNormSolution(problem, _neurons(space.start), _neurons(target), gram, certificate, distance, residual)


def _space(problem: Problem, start: Neurons) -> TangentSpace:
    """Everything that is asked of the problem and of a start of its network."""
    problem = instance("problem", problem, Problem)
    must = "have a network with one hidden layer (of a Linearised one, pass the problem of its Shallow network)"
    network = instance("problem", problem.network, Shallow, must)
    one = not isinstance(problem.scaling, AbstractLayerwiseScaling)
    require(one, "problem", "have a scaling for one hidden layer", f"it has {type(problem.scaling).__name__}")
    given = items("start", start, "arrays")
    require(len(given) == 2, "start", "be a pair of arrays (c, w)", f"it holds {len(given)} members")
    c, w = real_array("start", given[0], 1), real_array("start", given[1], 2)
    fits = w.shape == (c.size, problem.data.inputs)
    must = f"be c [neurons] and w [neurons, {problem.data.inputs}]"
    require(fits, "start", must, f"their shapes are {c.shape} and {w.shape}")
    return TangentSpace(network, Parameters(c, w), problem.data.x, float(problem.scaling.output(c.size)))


def _neurons(parameters: Any) -> Neurons:
    """Arrays of NumPy where those of JAX would be float32."""
    return Neurons(*parameters)


def _like(name: str, parameters: Neurons, start: Parameters) -> Parameters:
    """NumPy arrays in their own precision, with the shapes of `start` behind equal leading axes."""
    given = tuple(np.asarray(one) for one in items(name, parameters, "arrays"))
    shapes = " and ".join(str(one.shape) for one in given)
    fits = len(given) == 2 and given[0].shape[-1:] == start.c.shape and given[1].shape[-2:] == start.w.shape
    fits = fits and given[0].shape[:-1] == given[1].shape[:-2]
    must = f"be c [*batch, {start.c.size}] and w [*batch, {start.w.shape[0]}, {start.w.shape[1]}] like the start"
    require(fits, name, must, f"the shapes are {shapes}")
    return Parameters(*given)


def _difference(left: Parameters, right: Parameters, where: slice) -> Parameters:
    """left − right for these neurons, in float64."""
    return Parameters(
        np.asarray(left.c[..., where], np.float64) - right.c[where],
        np.asarray(left.w[..., where, :], np.float64) - right.w[where],
    )


def _square(move: Parameters) -> Host:
    return np.sum(move.c**2, axis=-1) + np.sum(move.w**2, axis=(-2, -1))
