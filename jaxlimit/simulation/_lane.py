"""One lane of a run on one device: the programs that make its start and advance it, and their path through its pieces.

Everything that a device computes of a run is in `Programs`. A lane is begun by one program and advanced by one call
for each piece; nothing is sent or fetched within a call.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.profiler import TraceAnnotation

from jaxlimit._lanes import Checkpoint
from jaxlimit._typing import Host, RandomKey
from jaxlimit.simulation._draws import replica_key, thresholds
from jaxlimit.simulation._memory import shortage_named
from jaxlimit.simulation._pieces import Piece, pieces
from jaxlimit.simulation._prepared import Prepared
from jaxlimit.simulation._resumed import STILL, Passport, Place, digest, joined
from jaxlimit.simulation._state import Constants


def shared(given: Prepared, half: int | None) -> dict[str, Any]:
    """The arrays of `Constants`, in the precision of the run."""
    run, reduced, data, kind = given.run, given.reduced, given.run.problem.data, given.run.dtype
    factors = given.networks.factors(run.problem, run.width)
    cast = partial(jax.tree.map, lambda array: np.array(array, kind))
    numbers = {"x": reduced.x, "y": data.y, "at": reduced.at, "basis": reduced.basis, "remainder": reduced.remainder}
    numbers |= {"output": factors.output, "increment": factors.increment}
    weights = data.weights if run.batch is None else None
    half_ = None if half is None else np.asarray(half, np.int32)
    return cast({**numbers, "weights": weights}) | {"bounds": thresholds(data.weights), "half": half_}


def constants(given: Prepared, arrays: dict[str, Any]) -> Constants:
    """`shared` arrays, wherever they are now, with what is no array."""
    run = given.run
    return Constants(
        **arrays, batch=run.batch, inputs=run.problem.data.inputs, product=given.chain.product, together=not run.on_cpus
    )


lane_keys = jax.jit(jax.vmap(replica_key, in_axes=(None, 0)))
"""(key of the run, numbers of replicas [lanes]) → their keys."""


class Programs(NamedTuple):
    """What a device computes of a lane: functions of arrays alone, compiled once for each shape."""

    given: Prepared
    constants: Constants

    def begun(self, keys: RandomKey, wanted: Any) -> tuple[Any, Any]:
        """What steps change and what they do not, at the start; `wanted` replicas do not merely pad the lane."""
        run, seen = self.given.run, self.given.observe is not None
        together = self.constants.together
        return self.given.networks.begin(run.network, self.constants, keys, wanted, run.width, seen, together)

    def advanced(self, keys: RandomKey, moving: Any, fixed: Any, piece: Piece) -> tuple[Any, tuple[Any, Any, Any]]:
        """The lane after a piece, and the outputs, stated errors and observables at its stops."""
        after, *found = self.given.chain.advance(*self.arguments(keys, moving, fixed, piece))
        return after, tuple(found)

    def arguments(self, keys: RandomKey, moving: Any, fixed: Any, piece: Piece) -> tuple[Any, ...]:
        """Those of `Advance`."""
        given = self.given
        return given.run.network, given.run.problem.loss, given.observe, self.constants, keys, moving, fixed, *piece

    def lane_bytes(self, keys: RandomKey, moving: Any, fixed: Any, piece: Piece) -> int | None:
        """Bytes of the compiled program for this lane with all that it is given and returns; None where unknown."""
        if self.given.chain.native:
            return None
        advance: Any = self.given.chain.advance
        function: Any
        function, first = (advance.func, advance.args) if isinstance(advance, partial) else (advance, ())
        lowered = function.lower(*first, *self.arguments(keys, moving, fixed, piece))
        try:
            found = lowered.compile().compiled.memory_analysis()
        except (NotImplementedError, jax.errors.JaxRuntimeError):  # a compiler that does not tell, or lacks memory too
            return None
        if found is None:
            return None
        taken = found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes
        return int(taken - found.alias_size_in_bytes)


class Lanes(NamedTuple):
    """The lanes of a run on one device: `cut` are their pieces, `there` the same as arrays on the device.

    `base` is the key of the run, there too; `identity` is what a checkpoint knows the run by, and `report` is told of
    steps that are done.
    """

    programs: Programs
    device: jax.Device
    base: RandomKey
    cut: list[Piece]
    there: list[Piece]
    identity: Host
    checkpoint: Checkpoint | None
    report: Callable[[float], None]

    def through(self, number: int, check: Callable[[], None]) -> Any:
        """Lane `number` from its start, or from where the checkpoint has it, to the last of its pieces."""
        given, device = self.programs.given, self.device
        first, wide = given.first + number * given.chain.lanes, given.chain.lanes
        wanted = min(wide, given.first + given.replicas - first)
        numbers = jax.device_put(np.asarray(first + np.arange(wide), np.uint32), device)
        keys = lane_keys(self.base, numbers)

        def advance(moving: Any, piece: Piece) -> tuple[Any, tuple[Any, Any, Any]]:
            arguments = keys, moving, fixed, piece
            with shortage_named(given.run, given.chain, device, lambda: self.programs.lane_bytes(*arguments)):
                after, found = self.programs.advanced(*arguments)
                jax.block_until_ready(found)
            return after, found

        with TraceAnnotation("begin", lane=number), shortage_named(given.run, given.chain, device, lambda: None):
            moving, fixed = self.programs.begun(keys, jax.device_put(np.int32(wanted), device))
        # The start is held by its place alone, and goes when the first piece is done.
        passport, place = Passport(self.identity, self.cut, keys, wanted), Place(0, moving, [])
        del moving
        kept = None if self.checkpoint is None else self.checkpoint.load(number)
        if kept is not None:
            place = passport.place(number, kept, lambda: advance(place.moving, STILL))
            self.report(float(self.cut[place.done - 1].stops[-1]))
        while place.done < len(self.cut):
            check()
            piece = self.cut[place.done]
            with TraceAnnotation("advance", lane=number, piece=place.done):
                after, found = advance(place.moving, self.there[place.done])
            self.report(float(piece.stops[-1] - piece.stops[0]))
            with TraceAnnotation("fetch", lane=number, piece=place.done):
                saved = [*place.saved, jax.device_get(found)] if piece.saves else place.saved
            place = Place(place.done + 1, after, saved)
            if self.checkpoint is not None and place.done < len(self.cut):
                self.checkpoint.offer(number, partial(passport.state, place))
        diverged, forced = jax.device_get((place.moving.diverged, place.moving.forced))
        return *joined(place.saved), np.array(diverged), np.array(forced)


def lanes_of(
    given: Prepared, half: int | None, checkpoint: Checkpoint | None, report: Callable[[float], None]
) -> Callable[[jax.Device], Lanes]:
    """What prepares a device for its lanes: the data and all numbers of the run are sent there once."""
    host, cut, chain = shared(given, half), pieces(given.steps, given.chain), given.chain
    run, kinds = given.run, (type(given.run.network).__name__, type(given.run.problem.loss).__name__)
    settings = chain.name, chain.lanes, run.width, run.batch, given.steps.tolist(), *kinds
    # Hashing the data takes a moment where there are many, and is for checkpoints alone.
    identity = np.zeros(0, np.uint8) if checkpoint is None else digest(host, settings)

    def prepare(device: jax.Device) -> Lanes:
        programs = Programs(given, constants(given, jax.device_put(host, device)))
        # Native loops read their stops on the host.
        there = cut if chain.native else [Piece(*jax.device_put(tuple(piece), device)) for piece in cut]
        base = jax.device_put(given.key, device)
        return Lanes(programs, device, base, cut, there, identity, checkpoint, report)

    return prepare
