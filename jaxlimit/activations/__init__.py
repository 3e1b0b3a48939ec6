"""Activations σ. `jaxlimit.activations.Erf()` is an object; calling it applies σ elementwise.

To add one, subclass `AbstractActivation` (or `AbstractClosedFormActivation`) in a file of its own,
export it here and add a line to `tests/cases.py`.
"""

from jaxlimit.activations._base import AbstractActivation as AbstractActivation
from jaxlimit.activations._base import AbstractClosedFormActivation as AbstractClosedFormActivation
from jaxlimit.activations._erf import Erf as Erf
from jaxlimit.activations._relu import Relu as Relu
from jaxlimit.activations._tanh import Tanh as Tanh
