"""Figures: the only home of Matplotlib, which is imported when something is drawn and not before.

Every function paints on the Matplotlib axes `ax`, or on those of a new figure, and returns them.
Figures are made without pyplot: no backend is chosen, no window opens, no global setting changes.
One colour has one meaning throughout: blue is simulated at width N, vermillion is the limit, green is
proved, black is given.
"""

from jaxlimit.plots._against_gamma import against_gamma as against_gamma
from jaxlimit.plots._definiteness import approach as approach
from jaxlimit.plots._definiteness import definiteness as definiteness
from jaxlimit.plots._files import png_bytes as png_bytes
from jaxlimit.plots._files import save as save
from jaxlimit.plots._loss import loss as loss
from jaxlimit.plots._partition import partition as partition
from jaxlimit.plots._paths import paths as paths
from jaxlimit.plots._qq import qq as qq
from jaxlimit.plots._rate import rate as rate
from jaxlimit.plots._spectrum import lambda_min_along_training as lambda_min_along_training
from jaxlimit.plots._spectrum import spectrum as spectrum
from jaxlimit.plots._sweep import against_width as against_width
from jaxlimit.plots._sweep import mosaic as mosaic
from jaxlimit.plots._vanishing import vanishing as vanishing
