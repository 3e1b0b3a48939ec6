"""Statistics: how far apart are sampled paths and a Gaussian law, and is that within a margin?

`compare` measures a distance at every save time, `equivalence` turns it into HOLDS, VIOLATED or
UNDECIDED, `pathwise` measures coupled paths, `rate` fits the order of convergence in the width and
`rate_verdict` judges it. "Not rejected" is never read as "equal": a verdict needs a stated margin.

For more from the same replicas, `control_variate` and `controlled_moments` subtract the noise that a
network shares with its limit, and `multilevel` spreads replicas over widths. `Moments` and `Quantiles`
take any number of replicas, batch by batch.

To add a statistic, subclass `AbstractMarginalStatistic` (a null law known at each point) or
`AbstractStatistic` in a file of its own, export it here and add a line to `STATISTICS` in `tests/cases.py`.
"""

from jaxlimit.statistics._base import AbstractMarginalStatistic as AbstractMarginalStatistic
from jaxlimit.statistics._base import AbstractStatistic as AbstractStatistic
from jaxlimit.statistics._base import Reading as Reading
from jaxlimit.statistics._bootstrap_rate import bootstrap_rate as bootstrap_rate
from jaxlimit.statistics._bures_wasserstein import BuresWasserstein as BuresWasserstein
from jaxlimit.statistics._characteristic import AbstractCharacteristicDistance as AbstractCharacteristicDistance
from jaxlimit.statistics._chi_squares import ChiSquares as ChiSquares
from jaxlimit.statistics._compare import Comparison as Comparison
from jaxlimit.statistics._compare import compare as compare
from jaxlimit.statistics._compare_samples import AbstractTwoSampleStatistic as AbstractTwoSampleStatistic
from jaxlimit.statistics._compare_samples import compare_samples as compare_samples
from jaxlimit.statistics._control_variate import Controlled as Controlled
from jaxlimit.statistics._control_variate import control_variate as control_variate
from jaxlimit.statistics._controlled_moments import ControlledMoments as ControlledMoments
from jaxlimit.statistics._controlled_moments import controlled_moments as controlled_moments
from jaxlimit.statistics._energy import EnergyDistance as EnergyDistance
from jaxlimit.statistics._equivalence import Equivalence as Equivalence
from jaxlimit.statistics._equivalence import curve_equivalence as curve_equivalence
from jaxlimit.statistics._equivalence import equivalence as equivalence
from jaxlimit.statistics._equivalence import rate_verdict as rate_verdict
from jaxlimit.statistics._kernel import KernelDiscrepancy as KernelDiscrepancy
from jaxlimit.statistics._kolmogorov_smirnov import KolmogorovSmirnov as KolmogorovSmirnov
from jaxlimit.statistics._moments import MeanShift as MeanShift
from jaxlimit.statistics._moments import VarianceRatio as VarianceRatio
from jaxlimit.statistics._multilevel import Multilevel as Multilevel
from jaxlimit.statistics._multilevel import allocation as allocation
from jaxlimit.statistics._multilevel import multilevel as multilevel
from jaxlimit.statistics._multivariate import AbstractMultivariateStatistic as AbstractMultivariateStatistic
from jaxlimit.statistics._multivariate import Estimate as Estimate
from jaxlimit.statistics._pathwise import PathError as PathError
from jaxlimit.statistics._pathwise import pathwise as pathwise
from jaxlimit.statistics._rate import ErrorAtWidth as ErrorAtWidth
from jaxlimit.statistics._rate import Rate as Rate
from jaxlimit.statistics._rate import rate as rate
from jaxlimit.statistics._running_moments import Moments as Moments
from jaxlimit.statistics._running_quantiles import DistanceBounds as DistanceBounds
from jaxlimit.statistics._running_quantiles import QuantileBounds as QuantileBounds
from jaxlimit.statistics._running_quantiles import Quantiles as Quantiles
from jaxlimit.statistics._sliced import Sliced as Sliced
from jaxlimit.statistics._whitened_moments import WhitenedMoments as WhitenedMoments
