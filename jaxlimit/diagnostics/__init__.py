"""Diagnostics: what of a network's parameters a theorem's assumptions and conclusions speak of."""

from jaxlimit.diagnostics._diversity import Covering as Covering
from jaxlimit.diagnostics._diversity import Spread as Spread
from jaxlimit.diagnostics._diversity import covering_radius as covering_radius
from jaxlimit.diagnostics._diversity import feature_gram as feature_gram
from jaxlimit.diagnostics._diversity import neuron_spread as neuron_spread
from jaxlimit.diagnostics._generalisation import GeneralisationBound as GeneralisationBound
from jaxlimit.diagnostics._generalisation import generalisation_bound as generalisation_bound
from jaxlimit.diagnostics._kernel_regression import KernelRegression as KernelRegression
from jaxlimit.diagnostics._kernel_regression import TrainingCurve as TrainingCurve
from jaxlimit.diagnostics._kernel_regression import kernel_regression as kernel_regression
from jaxlimit.diagnostics._kernel_regression import training_curve as training_curve
from jaxlimit.diagnostics._min_norm import Lyapunov as Lyapunov
from jaxlimit.diagnostics._min_norm import MinNormSolution as MinNormSolution
from jaxlimit.diagnostics._min_norm import min_norm_solution as min_norm_solution
