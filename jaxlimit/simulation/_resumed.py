"""A lane between two of its pieces as plain arrays, and the lane again from them.

Leaves are kept by number: a method is free in what it carries from piece to piece, and structure never has to be
written down, because a call of no steps makes it anew.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.simulation._pieces import Piece

STILL = Piece(np.zeros(2, np.int32), np.zeros(1, np.int32))
"""A call of no steps, with the shapes of every other call of a run in several pieces: nothing is compiled for it."""

PLAIN = "biufc"
"""Kinds of numbers that NumPy has by itself."""


class Place(NamedTuple):
    """Where a lane is: so many pieces are done, `moving` is what the next one gets, `saved` what has been recorded."""

    done: int
    moving: Any
    saved: list[Any]


def digest(host: Any, settings: tuple[Any, ...]) -> Host:
    """32 bytes that tell one run from another: by its data, its factors and these settings."""
    found = hashlib.sha256(repr(settings).encode())
    for leaf in jax.tree.leaves(host):
        found.update(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes())
    return np.frombuffer(found.digest(), np.uint8)


class Passport(NamedTuple):
    """What a state must have in common with the lane it is kept for: the run's `digest`, its pieces, the keys of its
    replicas, of which the first `real` are wanted."""

    run: Host
    pieces: Sequence[Piece]
    keys: RandomKey
    real: int

    def state(self, place: Place) -> dict[str, Host]:
        """All of a lane at this place, copied to the host."""
        leaves = _numbered(place.moving, joined(place.saved) if place.saved else ())
        return self._own(place.done) | {name: _kept(leaf) for name, leaf in leaves.items()}

    def place(self, lane: int, kept: Mapping[str, Host], still: Callable[[], tuple[Any, Any]]) -> Place:
        """Where the lane was when `kept` was copied; `still` makes `moving` and what is recorded by a call of no steps.

        Raises ``ValueError`` where `kept` is not of this lane.
        """

        def fits(right: bool, but: str) -> None:
            must = "have of a lane what it was offered in a run with these very arguments"
            require(right, "checkpoint", must, f"of lane {lane} {but}")

        done = int(np.ravel(kept["pieces"])[0]) if np.size(kept.get("pieces", ())) else 0
        fits(0 < done < len(self.pieces), f"it has no piece to go on from ({len(self.pieces)} pieces in all)")
        for name, own in self._own(done).items():
            fits(name in kept and np.array_equal(kept[name], own), f"its `{name}` differ")
        saves = sum(len(piece.ends) for piece in self.pieces[:done] if piece.saves)
        moving, found = still()
        blank = moving, found if saves else ()
        leaves = _numbered(*blank)
        fits({*leaves, *self._own(done)} == set(kept), "its names differ")
        for name, leaf in leaves.items():
            like = _kept(leaf)
            # A call of no steps records once.
            shape = (len(like), saves, *like.shape[2:]) if name.startswith("saved") else like.shape
            fits(kept[name].shape == shape and kept[name].dtype == like.dtype, f"its `{name}` differ in shape or type")
        same = [_again(leaf, kept[name]) for name, leaf in leaves.items()]
        moving, found = jax.tree.unflatten(jax.tree.structure(blank), same)
        return Place(done, moving, [found] if saves else [])

    def _own(self, done: int) -> dict[str, Host]:
        """What is the lane's own; a replica that only pads it is left out: in another run it may be wanted."""
        where = np.array([done, len(self.pieces), int(self.pieces[done - 1].stops[-1])], np.int64)
        return {"run": self.run, "pieces": where, "keys": np.asarray(jax.random.key_data(self.keys))[: self.real]}


def joined(saved: Sequence[Any]) -> Any:
    """What pieces recorded, one after the other."""
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *saved)


def _numbered(moving: Any, saved: Any) -> dict[str, Any]:
    """The leaves of both, in the order of `jax.tree.leaves`."""
    parts = ("moving", moving), ("saved", saved)
    return {f"{part} {n}": leaf for part, tree in parts for n, leaf in enumerate(jax.tree.leaves(tree))}


def _kept(leaf: Any) -> Host:
    """A copy that every file format takes: keys as their bits, numbers that only JAX knows as their bytes."""
    array = np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf, order="C")
    return array if array.dtype.kind in PLAIN else array[..., None].view(np.uint8)


def _again(leaf: Any, kept: Host) -> Any:
    """These numbers as an array like `leaf`: on its device, of its kind, and in its place where loops write into it."""
    array = np.array(kept, order="C")
    if _is_key(leaf):
        bits = jax.device_put(array, jax.random.key_data(leaf).sharding)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
    if leaf.dtype.kind not in PLAIN:
        array = array.view(leaf.dtype)[..., 0]
    if isinstance(leaf, np.ndarray):
        if leaf.shape != array.shape or not leaf.flags.writeable:
            return array
        leaf[...] = array
        return leaf
    # A number of Python in the state of an optimiser stays one for the promotion of types.
    return leaf.at[...].set(array) if leaf.weak_type else jax.device_put(array, leaf.sharding)


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
