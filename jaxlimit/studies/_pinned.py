"""What a machine decides of a simulation, decided once for a store: method, lanes, blocks."""

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from jaxlimit._arguments import require
from jaxlimit.simulation import AbstractMethod, AbstractProduct
from jaxlimit.studies._call import Call
from jaxlimit.studies._described import described, found
from jaxlimit.sweeps import canonical, digest, identity, write_whole

BLOCK_SECONDS = 5.0
"""About how long a block takes by the cost model: long against writing it, short against what a kill may cost."""
MOST, MOST_BYTES = 2**12, 2**28
"""Replicas of a block, and bytes of its results, at most."""


class Pinned(NamedTuple):
    """By which method and in which blocks a call is computed, whatever machine goes on with it.

    `devices` are the kinds of those that it was begun on.
    """

    method: AbstractMethod
    name: str
    lanes: int
    block: int
    result_bytes: int
    devices: str

    def described(self) -> dict[str, Any]:
        """What belongs to the identity of the samples."""
        return {"pinned": described("method", self.method), "lanes": self.lanes, "block": self.block}

    def require_here(self, call: Call) -> None:
        """Raise ``ValueError`` where this machine cannot compute what is missing."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # said when it was chosen
                call.foreseen(self.method)
        except ValueError as error:
            raise ValueError(
                f"Some of the networks of width {call.width} are missing in the store, which was begun with "
                f"{self.method}, and this machine refuses it: {error} Compute them on one like the first, or begin "
                "another store."
            ) from error


def pinned_of(folder: Path, settings: dict[str, Any], call: Call) -> Pinned:
    """What was chosen when the call was first made in this folder; else what is chosen here, and kept."""
    path = folder / "calls" / f"{identity(settings)}.json"
    kept = _kept(path)
    if kept is None:
        path.parent.mkdir(exist_ok=True)
        tree = {"call": settings, "chosen": _chosen(call)}
        write_whole(path, canonical({**tree, "sha256": digest(tree)}).encode())
        # Where two processes begin at once, the later file counts for both.
        kept = _kept(path)
    if kept is None:
        raise OSError(f"{path} is not what was just written.")
    return kept


def _chosen(call: Call) -> dict[str, Any]:
    plan = call.foreseen(call.method)
    # Whole lanes for all workers, or some of them would be idle at the end of a block.
    turn = plan.lanes * plan.workers
    wanted = min(BLOCK_SECONDS * plan.workers / max(plan.seconds, 1e-9), MOST, MOST_BYTES / plan.result_bytes)
    return {
        "method": described("method", plan.method),
        "name": plan.name,
        "lanes": plan.lanes,
        "block": turn * max(1, int(wanted / turn)),
        "result_bytes": plan.result_bytes,
        "devices": plan.devices,
    }


def _kept(path: Path) -> Pinned | None:
    """What the file says; None where there is none, or it is not what was written."""
    try:
        tree = json.loads(path.read_bytes())
        sound = tree.pop("sha256") == digest(tree)
    except (FileNotFoundError, ValueError, KeyError, AttributeError):
        return None
    if not sound:
        return None
    chosen = tree["chosen"]
    method = _made(chosen["method"])
    return Pinned(method, *(chosen[name] for name in ("name", "lanes", "block", "result_bytes", "devices")))


def _made(tree: Any) -> Any:
    """The method of a description, with the way in which it multiplies."""
    if not isinstance(tree, dict):
        return tree
    fields = {name: _made(inner) for name, inner in tree.items()}
    module, _, name = fields.pop("class").rpartition(".")
    kind = found(module, name)
    known = isinstance(kind, type) and issubclass(kind, AbstractMethod | AbstractProduct)
    require(known, "store", "have methods that can be imported here", f"{module}.{name} cannot")
    return kind(**fields)
