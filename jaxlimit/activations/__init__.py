"""Activations σ. `jaxlimit.activations.Erf()` is an object; calling it applies σ elementwise.

To add one, subclass `AbstractActivation` (or `AbstractClosedFormActivation`) in a file of its own,
export it here and add a line to `tests/cases.py`.
"""

from jaxlimit.activations._base import AbstractActivation as AbstractActivation
from jaxlimit.activations._base import AbstractClosedFormActivation as AbstractClosedFormActivation
from jaxlimit.activations._cos import Cos as Cos
from jaxlimit.activations._erf import Erf as Erf
from jaxlimit.activations._gaussian_bump import GaussianBump as GaussianBump
from jaxlimit.activations._gelu import Gelu as Gelu
from jaxlimit.activations._hermite import Hermite as Hermite
from jaxlimit.activations._identity import Identity as Identity
from jaxlimit.activations._logistic import Logistic as Logistic
from jaxlimit.activations._probit import Probit as Probit
from jaxlimit.activations._relu import Relu as Relu
from jaxlimit.activations._sin import Sin as Sin
from jaxlimit.activations._sin_cos import SinCos as SinCos
from jaxlimit.activations._softplus import Softplus as Softplus
from jaxlimit.activations._tanh import Tanh as Tanh
