"""Stepwise: the SGD chain itself, one step after the other, exactly as defined."""

from dataclasses import replace

import equinox as eqx

from jaxlimit._arguments import optional_positive_integer, require
from jaxlimit.simulation._base import AbstractMethod, audited, left_to_xla
from jaxlimit.simulation._families import family
from jaxlimit.simulation._product import AbstractProduct
from jaxlimit.simulation._state import Chain, Run


class Stepwise(AbstractMethod):
    """The exact chain. With e = −∂ℓ/∂g at one fresh sample (x, y) ~ π, and the OLD c on the right,

        c_i ← c_i + α N^{γ−2}·e σ(w_i·x),      w_i ← w_i + α N^{γ−2}·e c_i σ'(w_i·x) x .

    With more samples a step the increments are their mean, with `batch=None` the mean over all points with their
    weights π. With an optimiser of optax the same gradients go through it.

    `lanes` is the number of replicas computed together, None for a width that suits the device: small
    enough on a CPU that a lane's state stays in cache, large on an accelerator. Bits depend on it.

    `native` says who compiles the loop. False: XLA, on every device. True: numba (the extra `numba`), for
    CPUs only; it needs one pass over w per step where XLA needs two, and is about twice as fast. None: numba
    where it is installed, every device is a CPU, the run is float32, a step of SGD takes one sample, and activation
    and loss offer their `scalar` form; else XLA. `Samples.method` says which it was; the two agree to rounding.

    `product` is how matrices are multiplied: None means at full precision, and anything else, an `AbstractProduct`, is
    for audits, leaves the loop to XLA, and is named in `Samples.method`.

    Raises ``ValueError`` for lanes < 1, and from `simulate` where `native=True` cannot be had.
    Source: references `xavier`, `normalisation`.

        >>> import jaxlimit as jl
        >>> jl.Stepwise(native=False)
        Stepwise(native=False)
    """

    lanes: int | None = eqx.field(static=True, default=None)
    native: bool | None = eqx.field(static=True, default=None)
    product: AbstractProduct | None = None

    def __check_init__(self) -> None:
        """Lanes are counted in whole replicas; `native` is yes, no or undecided."""
        optional_positive_integer("lanes", self.lanes)
        left_to_xla(self.native, self.product)
        known = self.native is None or isinstance(self.native, bool)
        require(known, "native", "be True, False or None", f"it is {self.native!r}")

    def chain(self, run: Run) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""
        native = left_to_xla(self.native, self.product)
        run = run._replace(product=self.product)
        return audited(family(run.network).stepwise(run, self.lanes, native), self.product)

    def pinned(self, chain: Chain) -> "Stepwise":
        """The same chain, in its lanes and by its compiler."""
        return replace(self, lanes=chain.lanes, native=chain.native)
