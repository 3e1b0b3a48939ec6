"""Limits: the answer to a problem at N = ∞, exactly or by a differential equation solver."""

from jaxlimit.limits._base import AbstractKernelLimit as AbstractKernelLimit
from jaxlimit.limits._base import AbstractLimit as AbstractLimit
from jaxlimit.limits._base import LinearKernel as LinearKernel
from jaxlimit.limits._epsilon import epsilon_at as epsilon_at
from jaxlimit.limits._epsilon_flow import EpsilonFlow as EpsilonFlow
from jaxlimit.limits._fluctuation import FluctuationLimit as FluctuationLimit
from jaxlimit.limits._fluctuation import Shift as Shift
from jaxlimit.limits._influence import Fluctuation as Fluctuation
from jaxlimit.limits._krylov import KrylovLimit as KrylovLimit
from jaxlimit.limits._krylov import KrylovSolution as KrylovSolution
from jaxlimit.limits._mean_field import MeanFieldLimit as MeanFieldLimit
from jaxlimit.limits._mean_field import MeanFieldSolution as MeanFieldSolution
from jaxlimit.limits._multilayer import MultilayerLimit as MultilayerLimit
from jaxlimit.limits._multilayer import MultilayerSolution as MultilayerSolution
from jaxlimit.limits._ode import OdeLimit as OdeLimit
from jaxlimit.limits._ode import OdeSolution as OdeSolution
from jaxlimit.limits._path_error import FiniteWidthError as FiniteWidthError
from jaxlimit.limits._spectral import SpectralLimit as SpectralLimit
