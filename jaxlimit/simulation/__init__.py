"""Simulation: SGD of networks of finite width, thousands at once."""

from jaxlimit._lanes import Checkpoint as Checkpoint
from jaxlimit.simulation._antithetic import Antithetic as Antithetic
from jaxlimit.simulation._antithetic import antithetic as antithetic
from jaxlimit.simulation._base import AbstractMethod as AbstractMethod
from jaxlimit.simulation._draws import draws as draws
from jaxlimit.simulation._draws import start_key as start_key
from jaxlimit.simulation._plan import Plan as Plan
from jaxlimit.simulation._plan import plan as plan
from jaxlimit.simulation._product import AbstractProduct as AbstractProduct
from jaxlimit.simulation._product import DeviceProduct as DeviceProduct
from jaxlimit.simulation._product import FullProduct as FullProduct
from jaxlimit.simulation._product import RoundedProduct as RoundedProduct
from jaxlimit.simulation._simulate import simulate as simulate
from jaxlimit.simulation._sstep import SStep as SStep
from jaxlimit.simulation._stepwise import Stepwise as Stepwise
