"""Data: a law π with finite support (x_m, y_m) and weights π_m, kept in float64 on the host."""

from jaxlimit.data._aligned import aligned as aligned
from jaxlimit.data._bundled import diabetes as diabetes
from jaxlimit.data._bundled import digits as digits
from jaxlimit.data._data import Data as Data
from jaxlimit.data._synthetic import polynomial as polynomial
from jaxlimit.data._synthetic import sphere as sphere
from jaxlimit.data._synthetic import teacher as teacher
