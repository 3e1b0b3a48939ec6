"""Statistics: how far apart are sampled paths and a Gaussian law, and is that within a margin?

`compare` measures a distance at every save time, `equivalence` turns it into HOLDS, VIOLATED or
UNDECIDED, `pathwise` measures coupled paths, `rate` fits the order of convergence in the width and
`rate_verdict` judges it. "Not rejected" is never read as "equal": a verdict needs a stated margin.

To add a statistic, subclass `AbstractMarginalStatistic` (a null law known at each point) or
`AbstractStatistic` in a file of its own, export it here and add it to `STATISTICS` in
`tests/statistics/test_compare.py`.
"""

from jaxlimit.statistics._base import AbstractMarginalStatistic as AbstractMarginalStatistic
from jaxlimit.statistics._base import AbstractStatistic as AbstractStatistic
from jaxlimit.statistics._base import Reading as Reading
from jaxlimit.statistics._compare import Comparison as Comparison
from jaxlimit.statistics._compare import compare as compare
from jaxlimit.statistics._equivalence import Equivalence as Equivalence
from jaxlimit.statistics._equivalence import curve_equivalence as curve_equivalence
from jaxlimit.statistics._equivalence import equivalence as equivalence
from jaxlimit.statistics._equivalence import rate_verdict as rate_verdict
from jaxlimit.statistics._kolmogorov_smirnov import KolmogorovSmirnov as KolmogorovSmirnov
from jaxlimit.statistics._moments import MeanShift as MeanShift
from jaxlimit.statistics._moments import VarianceRatio as VarianceRatio
from jaxlimit.statistics._pathwise import PathError as PathError
from jaxlimit.statistics._pathwise import pathwise as pathwise
from jaxlimit.statistics._rate import ErrorAtWidth as ErrorAtWidth
from jaxlimit.statistics._rate import Rate as Rate
from jaxlimit.statistics._rate import rate as rate
