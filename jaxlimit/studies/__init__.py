"""Studies: one theorem each, put to the test from simulation to verdict."""

from jaxlimit.studies._xavier import xavier as xavier
