"""What an accumulator takes from a batch of samples: its finite replicas, if they belong to the same run."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, require
from jaxlimit._typing import Host
from jaxlimit.paths import Samples


class Run(NamedTuple):
    """What all batches of one run have in common. `width` is None where nothing has been added yet."""

    ts: Float[Host, " times"]
    points: int
    width: Any

    def require_same(self, name: str, other: "Run") -> None:
        """Raise ``ValueError`` where the other run has other save times, points or width."""
        # Times that went through float32 still count as the same times.
        same = self.ts.shape == other.ts.shape and np.allclose(self.ts, other.ts, rtol=1e-6, atol=0.0)
        wanted, found = f"have the save times {self.ts.tolist()} of what it is added to", f"it has {other.ts.tolist()}"
        require(bool(same), name, wanted, found)
        wanted = f"have {self.points} points like what it is added to"
        require(self.points == other.points, name, wanted, f"it has {other.points}")
        free = self.width is None or other.width is None
        wanted, found = f"have the width {self.width} of what it is added to", f"its width is {other.width}"
        require(free or self.width == other.width, name, wanted, found)


class Batch(NamedTuple):
    """The finite replicas of a batch, laid out for sums over replicas, and how many were left out."""

    run: Run
    values: Float[Host, "times points replicas"]
    diverged: int


def finite_batch(samples: Samples) -> Batch:
    """The replicas that stayed finite; a diverged replica is left out at all times, also before it diverged."""
    instance("samples", samples, Samples)
    values, diverged_at = np.asarray(samples.values), np.asarray(samples.diverged_at)
    require(values.ndim == 3, "samples", "hold values [replicas, times, points]", f"their shape is {values.shape}")
    replicas, times, points = values.shape
    ts = np.asarray(samples.ts, dtype=np.float64)
    fits = ts.shape == (times,) and diverged_at.shape == (replicas,)
    found = f"they are of {ts.shape} and {diverged_at.shape}, its values of {values.shape}"
    require(fits, "samples", "have save times and diverged_at that fit its values", found)
    kept = (diverged_at < 0) & np.all(np.isfinite(values), axis=(1, 2))
    values = values if bool(np.all(kept)) else values[kept]
    columns = np.ascontiguousarray(np.moveaxis(values, 0, 2), dtype=np.float64)
    return Batch(Run(ts, points, samples.width), columns, replicas - values.shape[0])
