"""Laws of the initial parameters: of (c_i, w_i), the same for every neuron, and of all weights of several layers.

Draws are made in float32 whatever the precision of the run and cast exactly, so that a float32 and a
float64 simulation follow the same path. They fill [neurons, inputs] row by row: a wider network begins
with the narrower one's neurons.

To add one, subclass `AbstractLaw`, export it here and add a line to `tests/cases.py`.
"""

from jaxlimit.initial._base import AbstractLaw as AbstractLaw
from jaxlimit.initial._base import Coordinates as Coordinates
from jaxlimit.initial._discrete import Dirac as Dirac
from jaxlimit.initial._discrete import Discrete as Discrete
from jaxlimit.initial._discrete import Rademacher as Rademacher
from jaxlimit.initial._initial import Initial as Initial
from jaxlimit.initial._layers import AbstractEmbedding as AbstractEmbedding
from jaxlimit.initial._layers import CorrelatedLayers as CorrelatedLayers
from jaxlimit.initial._layers import IndependentLayers as IndependentLayers
from jaxlimit.initial._multivariate_normal import MultivariateNormal as MultivariateNormal
from jaxlimit.initial._normal import Normal as Normal
from jaxlimit.initial._uniform import Uniform as Uniform
