"""Diagnostics: what of a network's parameters a theorem's assumptions and conclusions speak of."""

from jaxlimit.diagnostics._diversity import Covering as Covering
from jaxlimit.diagnostics._diversity import Spread as Spread
from jaxlimit.diagnostics._diversity import covering_radius as covering_radius
from jaxlimit.diagnostics._diversity import feature_gram as feature_gram
from jaxlimit.diagnostics._diversity import neuron_spread as neuron_spread
