"""Losses ℓ(g, y) of a scalar prediction g and a target y, with the derivative in g that SGD follows.

To add one, subclass `AbstractLoss` in a file of its own, export it here and add a line to `tests/cases.py`.
"""

from jaxlimit.losses._base import AbstractLoss as AbstractLoss
from jaxlimit.losses._bounded_quadratic import BoundedQuadratic as BoundedQuadratic
from jaxlimit.losses._exponential import Exponential as Exponential
from jaxlimit.losses._huber import Huber as Huber
from jaxlimit.losses._logistic import Logistic as Logistic
from jaxlimit.losses._pseudo_huber import PseudoHuber as PseudoHuber
from jaxlimit.losses._squared_error import SquaredError as SquaredError
