"""Which neurons see a data point, and which push its output the right way: the sets of the early stage of training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Bool, Float, Int, Int8, Int32, UInt8

from jaxlimit._arguments import instance, items, require
from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.data import Data
from jaxlimit.networks import Neurons
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem

KINDS = ("none of the sets", "true-living", "true-dead", "false-living", "false-dead")

GROWS, SHRINKS = (1, 4), (2, 3)


class Partition(NamedTuple):
    """How many neurons each point has in the four sets, [*batch, points]; they add up to the width where no c_k is 0.

    `undecided` counts those, of any set, whose w_k·x_i is so near to zero that rounding decides its sign.
    """

    true_living: Int32[Array, "*batch points"]
    true_dead: Int32[Array, "*batch points"]
    false_living: Int32[Array, "*batch points"]
    false_dead: Int32[Array, "*batch points"]
    undecided: Int32[Array, "*batch points"]


class Patterns(NamedTuple):
    """The sets themselves, in bits: the sign of c_k, and the points that neuron k sees, eight to a byte.

    `undecided` counts the pairs of a neuron and a point whose w_k·x_i is so near to zero that rounding decides.
    """

    sign: Int8[Array, "*batch neurons"]
    living: UInt8[Array, "*batch neurons bytes"]
    undecided: Int32[Array, "*batch"]


class PartitionChanges(NamedTuple):
    """What breaks monotonicity between one save time and the next, for every replica.

    `violations` [*batch, intervals] counts pairs of a neuron and a point, `flips` [*batch, intervals] the neurons whose
    c changed its sign; both are 0 in intervals that do not count. `undecided` [*batch, times] is the doubt: as many
    pairs at a save time may have been counted wrongly. `first` names the first violation that counts, of the first
    replica that has one; it is empty where there is none.
    """

    violations: Int[Host, "*batch intervals"]
    flips: Int[Host, "*batch intervals"]
    undecided: Int[Host, "*batch times"]
    first: str


class PartitionConditions(NamedTuple):
    """What the monotonicity theorem asks of data and start.

    `mu_0` = min_ij y_i y_j x_i·x_j; `balance` = c_k² − |w_k|²; `kept` says that it is ≥ 0 for all neurons, with
    c_k ≠ 0, and `claimed` that μ_0 > 0 beyond rounding as well. `reason` says what is missing. Monotone sets are then
    claimed for the flow, and as long as every output is pushed to its label: neither the loss nor the step is known
    here, and `pushed_to_labels` sees until when the loss pushes so.
    """

    mu_0: float
    balance: Float[Host, "*batch neurons"]
    kept: Bool[Host, "*batch"]
    claimed: Bool[Host, "*batch"]
    reason: str


def neuron_partition(parameters: Neurons, data: Data) -> Partition:
    """How many neurons are true-living, true-dead, false-living and false-dead for every point.

    Neuron k is true for point i if c_k y_i > 0 and false if c_k y_i < 0; living if w_k·x_i > 0 and dead otherwise.
    Leading axes of c [*batch, neurons] and w [*batch, neurons, inputs] are batched over. Works inside `jax.jit` and as
    an observable of `simulate`: ``observe=lambda now, start: neuron_partition(now, data)``; memory is five numbers per
    point. Raises ``ValueError`` for parameters and points that do not fit together, and for a target 0. Source:
    references `mild`.

        >>> import numpy as np, jaxlimit as jl
        >>> data = jl.Data(np.eye(2), [1.0, -1.0])
        >>> neurons = jl.networks.Neurons(np.array([1.0, -1.0]), np.array([[1.0, 1.0], [1.0, -1.0]]))
        >>> found = jl.diagnostics.neuron_partition(neurons, data)
        >>> found.true_living.tolist(), found.true_dead.tolist(), found.false_living.tolist()
        ([1, 0], [0, 1], [1, 1])
    """
    c, living, near = _living(parameters, data)
    true = c[..., :, None] * jnp.asarray(np.sign(data.y), c.dtype)

    def count(members: Array) -> Array:
        return jnp.sum(members, axis=-2, dtype=jnp.int32)

    right, wrong = true > 0, true < 0
    return Partition(count(right & living), count(right & ~living), count(wrong & living), count(wrong & ~living), near)


def neuron_patterns(parameters: Neurons, data: Data) -> Patterns:
    """The sets of `neuron_partition` neuron by neuron, for `partition_changes`: 1 + ⌈points/8⌉ bytes a neuron.

    Counts may stand still while neurons change places, so monotonicity needs the sets. An observable of `simulate` like
    `neuron_partition`: 1000 replicas of width 64 with 20 points take 26 MB for 100 save times. Source: references
    `mild`.

        >>> import numpy as np, jaxlimit as jl
        >>> data = jl.Data(np.eye(2), [1.0, -1.0])
        >>> neurons = jl.networks.Neurons(np.array([1.0, -1.0]), np.array([[1.0, 1.0], [1.0, -1.0]]))
        >>> found = jl.diagnostics.neuron_patterns(neurons, data)
        >>> found.sign.tolist(), found.living.tolist()
        ([1, -1], [[192], [128]])
    """
    c, living, near = _living(parameters, data)
    sign = (c > 0).astype(jnp.int8) - (c < 0).astype(jnp.int8)
    return Patterns(sign, jnp.packbits(living, axis=-1), jnp.sum(near, axis=-1, dtype=jnp.int32))


def partition_changes(patterns: Patterns, data: Data, *, counted: Any = None) -> PartitionChanges:
    """Whether true-living and false-dead only grow, true-dead and false-living only shrink, from save to save.

    A pair of a neuron and a point counts where it leaves one of the growing sets or enters one of the shrinking ones.
    `patterns` are those of `neuron_patterns` at the save times: sign [*batch, times, neurons], as in
    `Samples.observed`. What happens and is undone between two saves is not seen. Only intervals of `counted`
    [*batch, intervals] count, all if it is None; `pushed_to_labels` gives those of which the theorem speaks. In a
    replica that diverged all pairs are undecided. Raises ``ValueError`` for patterns of fewer than two times or of
    other points, and for a mask of another shape. Source: references `mild`.

        >>> import numpy as np, jaxlimit as jl
        >>> data = jl.Data(np.eye(2), [1.0, -1.0])
        >>> w = np.array([[[1.0, -1.0]], [[1.0, 1.0]], [[-1.0, 1.0]]])
        >>> patterns = jl.diagnostics.neuron_patterns(jl.networks.Neurons(np.ones((3, 1)), w), data)
        >>> found = jl.diagnostics.partition_changes(patterns, data)
        >>> found.violations.tolist()
        [1, 1]
        >>> found.first
        'between saves 0 and 1 neuron 0 turns from false-dead into false-living for point 1'
    """
    sign, living, undecided = (np.asarray(part) for part in instance("patterns", patterns, Patterns))
    points = _labelled(data).points
    fits = sign.ndim >= 2 and living.shape == (*sign.shape, -(-points // 8)) and undecided.shape == sign.shape[:-1]
    shapes = f"their shapes are {sign.shape}, {living.shape}, {undecided.shape}"
    require(fits, "patterns", f"be those of {points} points, with an axis of times", shapes)
    require(sign.shape[-2] >= 2, "patterns", "have two save times or more", "there is one")
    batch, intervals = sign.shape[:-2], sign.shape[-2] - 1
    violations, flips = np.zeros((*batch, intervals), np.int64), np.zeros((*batch, intervals), np.int64)
    mask = np.ones((*batch, intervals), bool) if counted is None else np.asarray(counted)
    masks = mask.shape == (*batch, intervals) and mask.dtype == bool
    shape = f"its shape is {mask.shape} and its dtype {mask.dtype}"
    require(masks, "counted", f"be a mask of shape {(*batch, intervals)}, of the intervals between saves", shape)
    labels, first = np.sign(data.y).astype(np.int8), ""
    for replica in np.ndindex(batch):
        true = sign[replica][..., None] * labels
        sees = np.unpackbits(living[replica], axis=-1, count=points).astype(bool)
        kinds = np.where(true == 0, 0, np.where(true > 0, 1, 3) + ~sees)
        before, after = kinds[:-1], kinds[1:]
        broken = (before != after) & (np.isin(before, GROWS) | np.isin(after, SHRINKS))
        broken &= mask[replica][:, None, None]
        violations[replica] = broken.sum(axis=(1, 2))
        flips[replica] = mask[replica] * np.sum(sign[replica][1:] != sign[replica][:-1], axis=-1)
        if broken.any() and not first:
            save, k, i = np.unravel_index(int(np.argmax(broken)), broken.shape)
            where = f"in replica {', '.join(map(str, replica))}, between" if replica else "between"
            turned = sign[replica][save, k] != sign[replica][save + 1, k]
            first = (
                f"{where} saves {save} and {save + 1} neuron {k} turns from {KINDS[before[save, k, i]]} into "
                f"{KINDS[after[save, k, i]]} for point {i}{', as its c changes sign' if turned else ''}"
            )
    return PartitionChanges(violations, flips, undecided, first)


def pushed_to_labels(problem: Problem, samples: Samples) -> Bool[Host, "replicas intervals"]:
    """Whether until then the loss pushed every output to its label, y_i ∂ℓ/∂g(g(x_i), y_i) ≤ 0, between saves.

    What the monotonicity theorem asks of the loss, and the mask `counted` of `partition_changes`: the logistic and the
    exponential loss always do, the squared error until an output has passed its target. A step takes the outputs before
    it; an interval of several steps counts where both its ends do, and what happens within is not seen. In a replica
    that diverged nothing counts from there on. Raises ``ValueError`` for samples with fewer points than the data, and
    for a target 0. Source: references `mild`.

        >>> import numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Relu(), jl.Initial())
        >>> problem = jl.Problem(jl.Data([[1.0, 0.0]], [1.0]), network, jl.FixedStep(0.5))
        >>> steps, values = np.arange(4), np.array([[[0.0], [0.9], [1.1], [0.99]]])
        >>> samples = jl.Samples(steps.astype(float), values, None, steps, np.array([-1]), "Stepwise", 10, 1)
        >>> jl.diagnostics.pushed_to_labels(problem, samples).tolist()
        [[True, True, False]]
    """
    data, values = _labelled(instance("problem", problem, Problem).data), instance("samples", samples, Samples).values
    loss: Any = problem.loss
    enough = values.shape[2] >= data.points
    require(enough, "samples", f"hold the {data.points} points of the data", f"they hold {values.shape[2]}")
    with np.errstate(over="ignore", invalid="ignore"):  # replicas that diverged
        slopes = data.y * np.asarray(loss.derivative(values[..., : data.points].astype(np.float64), data.y))
    # Not > 0: a network that diverged pushes nowhere.
    towards = np.all(slopes <= 0, axis=2)
    between = towards[:, :-1] & (towards[:, 1:] | (np.diff(samples.steps) == 1))
    return np.asarray(np.logical_and.accumulate(between, axis=1))


def partition_conditions(data: Data, start: Neurons) -> PartitionConditions:
    """Whether y_i y_j x_i·x_j ≥ μ_0 > 0 for all points and |c_k| ≥ |w_k| for all neurons: then the sets are monotone.

    The flow of a ReLU network without factor per neuron conserves c_k² − |w_k|², so that |c_k| ≥ |w_k| at the start
    keeps the signs of c; a step of size η changes it by η²(ċ_k² − |ẇ_k|²), which is O(η) over a fixed time, and
    `balance` along a run shows how far. Losses must push towards the label, y ∂ℓ/∂g ≤ 0: the logistic and the
    exponential loss always do, the squared error as long as y_i g(x_i) ≤ y_i² (`pushed_to_labels`). Leading axes of the
    start are batched over; float64 on the host. Source: references `mild`.

        >>> import numpy as np, jaxlimit as jl
        >>> neurons = jl.networks.Neurons(np.array([1.0, -1.0]), np.array([[0.1, 0.2], [0.3, 2.0]]))
        >>> found = jl.diagnostics.partition_conditions(jl.Data([[1.0, 0.0], [-0.8, -0.6]], [1.0, -1.0]), neurons)
        >>> found.mu_0, bool(found.claimed), found.reason
        (0.8, False, '|c_k| < |w_k| or c_k = 0 for 1 neuron(s)')
    """
    c, w = (np.asarray(part, np.float64) for part in _fitting(start, _labelled(data)))
    alike = np.outer(data.y, data.y) * (data.x @ data.x.T)
    mu = float(np.min(alike))
    sizes = np.abs(data.y) * np.linalg.norm(data.x, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # neurons that diverged
        balance = c**2 - np.sum(w**2, axis=-1)
    lost = ~(np.isfinite(c) & np.all(np.isfinite(w), axis=-1))
    wrong = lost | (balance < 0) | (c == 0)
    apart = bool(np.all(alike > 1.01 * (data.inputs + 4) * UNIT * np.outer(sizes, sizes)))
    missing = [] if apart else [f"min_ij y_i y_j x_i·x_j = {mu:.3g} is not above zero"]
    few = wrong & ~lost
    missing += [f"|c_k| < |w_k| or c_k = 0 for {np.sum(few)} neuron(s)"] if few.any() else []
    missing += [f"{np.sum(lost)} neuron(s) are not finite"] if lost.any() else []
    kept = np.asarray(~np.any(wrong, axis=-1))
    return PartitionConditions(mu, balance, kept, kept & apart, "; ".join(missing))


def _living(parameters: Neurons, data: Data) -> tuple[Array, Array, Array]:
    """c, whether w_k·x_i > 0 [*batch, neurons, points], and for how many neurons rounding decides [*batch, points]."""
    c, w = _fitting(parameters, _labelled(data))
    x = jnp.asarray(data.x, w.dtype)
    u = jnp.einsum("...nd,pd->...np", w, x, precision=Precision.HIGHEST)
    # At least Σ_j |w_j x_j|, and of no squares, which would underflow.
    sizes = jnp.sum(jnp.abs(w), axis=-1)[..., None] * jnp.max(jnp.abs(x), axis=-1)
    limits = jnp.finfo(w.dtype)
    # Not ≤: what is not finite is undecided too.
    near = ~(jnp.abs(u) > (data.inputs + 8) * float(limits.eps) * sizes + float(limits.tiny))
    near = near | ~jnp.isfinite(c)[..., None]
    return c, u > 0, jnp.sum(near, axis=-2, dtype=jnp.int32)


def _labelled(data: Data) -> Data:
    """Data whose targets have a sign."""
    zeros = np.flatnonzero(instance("data", data, Data).y == 0)
    require(zeros.size == 0, "data", "have targets with a sign", f"{zeros.size} of them are zero")
    return data


def _fitting(parameters: Neurons, data: Data) -> tuple[Array, Array]:
    """c and w, arrays with the inputs of the data; known under `jax.jit` too."""
    found = items("parameters", parameters, "arrays")
    arrays = len(found) == 2 and all(isinstance(one, jax.Array | np.ndarray) for one in found)
    require(arrays, "parameters", "be a pair of arrays (c, w)", f"it holds {len(found)} member(s) of other kinds")
    c, w = (jnp.asarray(one) for one in found)
    floats = jnp.issubdtype(c.dtype, jnp.floating) and jnp.issubdtype(w.dtype, jnp.floating)
    require(floats, "parameters", "hold floating-point numbers", f"dtypes are {c.dtype} and {w.dtype}")
    fits = w.ndim >= 2 and c.shape == w.shape[:-1] and w.size > 0 and w.shape[-1] == data.inputs
    must = f"be c [*batch, neurons] and w [*batch, neurons, {data.inputs}] like the points"
    require(fits, "parameters", must, f"their shapes are {c.shape} and {w.shape}")
    return c, w
