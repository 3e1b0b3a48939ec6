"""How the output and the learning rate shrink with the width, and how steps become limit time.

Networks of several hidden layers have a factor per layer: `jaxlimit.scalings.AbstractLayerwiseScaling`.
"""

from jaxlimit.scalings._base import AbstractScaling as AbstractScaling
from jaxlimit.scalings._deep_power import DeepPowerScaling as DeepPowerScaling
from jaxlimit.scalings._fixed_step import FixedStep as FixedStep
from jaxlimit.scalings._layerwise import AbstractLayerwiseScaling as AbstractLayerwiseScaling
from jaxlimit.scalings._layerwise import LayerwiseMeanField as LayerwiseMeanField
from jaxlimit.scalings._power import MeanField as MeanField
from jaxlimit.scalings._power import PowerScaling as PowerScaling
from jaxlimit.scalings._power import Xavier as Xavier
