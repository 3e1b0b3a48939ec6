"""Blocks of steps in native code: one core, one replica after the other, compiled by numba at run time.

The same algorithm as `_blocks`. A pass over the neurons moves the parameters for the last block and takes the
features of the next; between two passes everything happens in the outputs.
"""

import threading
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxlimit._typing import Host, RandomKey
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.simulation._blocks_loop import AGE, COUNT, FORCED, FREE_NOW, LENGTH, LOST, STEP, loop_of_blocks
from jaxlimit.simulation._control import Rule, stated
from jaxlimit.simulation._draws import block_steps
from jaxlimit.simulation._passes import fours
from jaxlimit.simulation._readout import outputs_of_weights, readers
from jaxlimit.simulation._state import Advance, Constants, Fixed, Moving, Observe, Run, indices_of, recorded
from jaxlimit.simulation._tiles import TILE, aligned, rows_of, tile_into

_record = eqx.filter_jit(recorded)

WINDOW = 65536
"""Indices drawn ahead for a replica, unless two blocks need more."""


class Lane(NamedTuple):
    """A lane between two calls: what `Blocks` holds, in tiles of neurons, on the host; `numbers` are its integers,
    `largest` the largest output and the largest sum of errors.

    `rest` is what rounding took from the parameters so far. Neurons that fill up the last tile have c = 0 and
    w = 0, and no features.
    """

    c: Host
    w: Host
    rest_c: Host
    rest_w: Host
    old_c: Host
    old_w: Host
    kernels: Host
    drift: Host
    largest: Host
    numbers: Host

    @property
    def diverged(self) -> Host:
        """First non-finite step of each replica."""
        return self.numbers[:, LOST]

    @property
    def forced(self) -> Host:
        """Blocks that should have been shorter than the shortest."""
        return self.numbers[:, FORCED]


def chain(rule: Rule, of: Run) -> Advance:
    """What advances a lane of this run; the same contract as XLA's."""
    # Made here, once for all lanes: their threads would compile a copy each. The first call compiles, not this.
    scalar = of.network.activation.scalar(of.dtype)
    run, (read, _) = loop_of_blocks(scalar, of.problem.loss.scalar(), of.dtype), readers(scalar, of.dtype)
    lengths = int(rule.shortest), int(rule.longest), float(rule.allowance), float(rule.total)
    width, places = of.width, _Places(of.dtype)

    def advance(
        network: Shallow,
        _: AbstractLoss,
        observe: Observe | None,
        constants: Constants,
        keys: RandomKey,
        moving: Moving | Lane,
        fixed: Fixed,
        stops: Host,
        ends: Host,
    ) -> tuple[Lane, Any, Any, Any]:
        x, y, output, increment = (
            np.asarray(a) for a in (constants.x, constants.y, constants.output, constants.increment)
        )
        lane = moving if isinstance(moving, Lane) else _begin(rule, moving, y.size, places)
        points = x[fours(y.size)]
        features = (places.of(name, (lane.w.shape[1], len(points) * TILE)) for name in "hd")
        weights = np.zeros(0, x.dtype) if constants.weights is None else np.asarray(constants.weights)
        weights.setflags(write=False)  # as they come from a device: one type, one compilation
        problem = points, x @ x.T, y, weights, output[()], increment[()], network.train_output
        fixed_part = *problem, *rule[:3], *lengths, *features
        real = int(fixed.real)
        window = _Window(constants, keys, rule)
        saved = list[Any]()
        for stop, end in zip(stops[1:].tolist(), ends.tolist(), strict=True):
            late = np.flatnonzero(lane.numbers[:real, STEP] < stop)
            while late.size:
                indices, first = window.around(int(np.min(lane.numbers[late, STEP])))
                for r in late:
                    run(*(part[r] for part in lane), indices[r], first, stop, end, width, *fixed_part)
                late = late[lane.numbers[late, STEP] < stop]
            error = stated(rule.order, lane.largest[:, 1], lane.numbers[:, COUNT], lane.largest[:, 0]).astype(x.dtype)
            seen: tuple[Any, Any]
            if observe is None:
                seen = outputs_of_weights(read, constants, fixed, lane.c, lane.w, width), None
            else:
                found = (
                    lane.c[:, :width].copy(),
                    rows_of(lane.w, width),
                    lane.diverged.copy(),
                    error,
                    lane.forced.copy(),
                )
                now = Moving(*jax.device_put(found, *constants.x.devices()))
                seen = _record(network, observe, constants, now, fixed)
            saved.append((*seen, error))
        values, observed, error = jax.tree.map(lambda *parts: np.stack(parts, axis=1), *saved)
        return lane, values, error, observed

    return advance


class _Places(threading.local):
    """Large arrays, which a thread keeps from one lane to the next: fresh memory costs page faults."""

    def __init__(self, dtype: np.dtype):
        self._dtype, self._kept = dtype, dict[str, Host]()

    def of(self, name: str, shape: tuple[int, ...]) -> Host:
        """The array of this name, whatever it last held."""
        if name not in self._kept or self._kept[name].shape != shape:
            self._kept[name] = aligned(shape, self._dtype)
        return self._kept[name]


def _begin(rule: Rule, moving: Moving, points: int, places: _Places) -> Lane:
    """Copy a lane's start into tiles."""
    lanes, rank, width = moving.w.shape
    tiles = -(-width // TILE)
    c, w = places.of("c", (lanes, tiles * TILE)), places.of("w", (lanes, tiles, rank * TILE))
    c[:, :width], c[:, width:] = moving.c, 0
    tile_into(w, np.asarray(moving.w))
    rest_c, rest_w = places.of("rest c", (lanes, tiles, TILE)), places.of("rest w", w.shape)
    rest_c[:], rest_w[:] = 0, 0
    # Only order 2 looks back at the parameters.
    shapes = (c.shape, w.shape) if rule.order == 2 else ((lanes, 0), (lanes, 0, 0))
    old_c, old_w = (places.of(f"old {name}", shape) for name, shape in zip("cw", shapes, strict=True))
    numbers = np.zeros((lanes, AGE + 3), np.int64)
    numbers[:, FREE_NOW], numbers[:, LENGTH], numbers[:, LOST] = 1, int(rule.start), -1
    kernels, drift = np.zeros((lanes, 3, points, points), c.dtype), np.zeros((lanes, points), c.dtype)
    return Lane(c, w, rest_c, rest_w, old_c, old_w, kernels, drift, np.zeros((lanes, 2), c.dtype), numbers)


class _Window:
    """Data indices of a lane, drawn some blocks of draws at a time and never all of them."""

    def __init__(self, constants: Constants, keys: RandomKey, rule: Rule):
        self._constants, self._keys = constants, keys
        # A step on all points has no indices, of which there are as many as anybody wants.
        self._empty = np.zeros((keys.shape[0], 4 * int(rule.longest) + 1, 0), np.int32)
        self._empty.setflags(write=False)
        if constants.batch is None:
            return
        self._size = block_steps(constants.batch)
        needed = -(-2 * int(rule.longest) // self._size) + 1
        self._count = min(max(needed, WINDOW // (self._size * constants.batch)), int(rule.total) // self._size + 1)
        self._block, self._indices = -1, np.zeros(0)

    def around(self, step: int) -> tuple[Host, int]:
        """Indices [lanes, steps, batch] from a step on (or a few before it), and the first step they are for."""
        if self._constants.batch is None:
            return self._empty, step
        if self._block != step // self._size:
            self._block = step // self._size
            drawn = _draw(self._constants, self._keys, jnp.asarray(self._block, jnp.int32), self._count)
            self._indices = np.asarray(drawn)
        return self._indices, self._block * self._size


@eqx.filter_jit
def _draw(constants: Constants, keys: RandomKey, first: Array, count: int) -> Int[Array, "lanes steps batch"]:
    """`count` blocks of draws for every replica."""
    blocks = jax.vmap(
        lambda key: jax.vmap(lambda b: indices_of(constants, key, b))(first + jnp.arange(count, dtype=jnp.int32))
    )(keys)
    return blocks.reshape(keys.shape[0], -1, constants.batch)
