"""Which family a network belongs to: the one place that knows all of them."""

from functools import singledispatch
from typing import Any

from jaxlimit.networks import Linearised, Multilayer, Shallow
from jaxlimit.simulation._family import AbstractFamily
from jaxlimit.simulation._linearised import LinearisedFamily
from jaxlimit.simulation._multilayer import MultilayerFamily
from jaxlimit.simulation._shallow import ShallowFamily


@singledispatch
def family(network: Any) -> AbstractFamily:
    """What a run must know of this kind of networks; ``ValueError`` for kinds that no method trains."""
    raise ValueError(
        "Argument `problem` must have a Shallow, a Linearised or a Multilayer network, but it is a "
        f"{type(network).__name__}."
    )


@family.register
def _(network: Shallow) -> AbstractFamily:
    return ShallowFamily()


@family.register
def _(network: Linearised) -> AbstractFamily:
    return LinearisedFamily()


@family.register
def _(network: Multilayer) -> AbstractFamily:
    return MultilayerFamily()
