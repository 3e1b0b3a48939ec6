"""jaxlimit: put scaling-limit theorems of deep learning to the test."""

from jaxlimit import activations as activations
from jaxlimit import claims as claims
from jaxlimit import data as data
from jaxlimit import doctor as doctor
from jaxlimit import initial as initial
from jaxlimit import kernels as kernels
from jaxlimit import limits as limits
from jaxlimit import losses as losses
from jaxlimit import networks as networks
from jaxlimit import paths as paths
from jaxlimit import plots as plots
from jaxlimit import report as report
from jaxlimit import scalings as scalings
from jaxlimit import simulation as simulation
from jaxlimit import statistics as statistics
from jaxlimit import studies as studies
from jaxlimit.data import Data as Data
from jaxlimit.initial import Initial as Initial
from jaxlimit.kernels import certify as certify
from jaxlimit.kernels import empirical_gram as empirical_gram
from jaxlimit.kernels import gram as gram
from jaxlimit.limits import EpsilonFlow as EpsilonFlow
from jaxlimit.limits import KrylovLimit as KrylovLimit
from jaxlimit.limits import MeanFieldLimit as MeanFieldLimit
from jaxlimit.limits import OdeLimit as OdeLimit
from jaxlimit.limits import SpectralLimit as SpectralLimit
from jaxlimit.losses import BoundedQuadratic as BoundedQuadratic
from jaxlimit.losses import Exponential as Exponential
from jaxlimit.losses import Huber as Huber
from jaxlimit.losses import Logistic as Logistic
from jaxlimit.losses import PseudoHuber as PseudoHuber
from jaxlimit.losses import SquaredError as SquaredError
from jaxlimit.paths import Samples as Samples
from jaxlimit.problem import Problem as Problem
from jaxlimit.scalings import MeanField as MeanField
from jaxlimit.scalings import PowerScaling as PowerScaling
from jaxlimit.scalings import Xavier as Xavier
from jaxlimit.simulation import SStep as SStep
from jaxlimit.simulation import Stepwise as Stepwise
from jaxlimit.simulation import simulate as simulate
from jaxlimit.statistics import compare as compare
from jaxlimit.statistics import rate as rate

__version__ = "0.1.0"
