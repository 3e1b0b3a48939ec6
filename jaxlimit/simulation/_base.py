"""What a method of simulating the chain must offer."""

import warnings
from abc import abstractmethod

import equinox as eqx
import numpy as np

from jaxlimit._arguments import instance, require
from jaxlimit.paths import Samples
from jaxlimit.simulation._product import AbstractProduct
from jaxlimit.simulation._state import Chain, Run


def left_to_xla(native: bool | None, product: AbstractProduct | None) -> bool | None:
    """`native` where matrices are multiplied in another way than by itself: native loops know only the one."""
    if product is None:
        return native
    instance("product", product, AbstractProduct, "be an AbstractProduct or None")
    require(not native, "native", "be False or None here", "native loops multiply at full precision")
    return False


def audited(chain: Chain, product: AbstractProduct | None) -> Chain:
    """The chain with this way to multiply, which its name tells."""
    if product is None:
        return chain
    return chain._replace(name=f"{chain.name.removesuffix(')')}, product={product})", product=product)


class AbstractMethod(eqx.Module):
    """How `simulate` gets from one save time to the next; every method consumes the same draws."""

    lanes: eqx.AbstractVar[int | None]

    @abstractmethod
    def chain(self, run: Run) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""

    @abstractmethod
    def pinned(self, chain: Chain) -> "AbstractMethod":
        """This method with all that `chain` took from the machine written out, so that another machine takes it too."""

    def warn(self, samples: Samples) -> None:
        """Warn of replicas that diverged, and of what `review` finds."""
        if samples.diverged:
            warnings.warn(
                f"{samples.diverged} of {samples.replicas} replicas diverged, the first at step "
                f"{int(np.min(samples.diverged_at[samples.diverged_at >= 0]))}; they are recorded in `diverged_at`.",
                stacklevel=4,
            )
        self.review(samples)

    def review(self, samples: Samples) -> None:
        """Warn of what a user must know before using the samples; nothing, unless a method says more."""
