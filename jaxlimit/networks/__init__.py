"""Networks: families indexed by the width, which is an argument of `simulate` and not a field here."""

from jaxlimit.networks._base import AbstractNetwork as AbstractNetwork
from jaxlimit.networks._linearised import Linearised as Linearised
from jaxlimit.networks._linearised import Tangent as Tangent
from jaxlimit.networks._multilayer import Layers as Layers
from jaxlimit.networks._multilayer import Multilayer as Multilayer
from jaxlimit.networks._shallow import Neurons as Neurons
from jaxlimit.networks._shallow import Shallow as Shallow
