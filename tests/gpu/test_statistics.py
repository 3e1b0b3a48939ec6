"""Statistics on the device, up to a million samples: features of distances, and verdicts of two laws."""

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.statistics._characteristic import mean_features
from tests.gpu.sizes import KEY, sizes


@pytest.mark.parametrize("replicas", sizes(1500, 10**6))
def test_features_of_distances_between_laws_are_means_of_cosines_and_sines(replicas):
    """What statistics compute on the device: float32 terms, whose rounding is far below the noise 1/√n."""
    z = np.random.default_rng(0).standard_normal((replicas, 3))
    at, weight = jl.statistics.EnergyDistance().frequencies(3)
    at, weight = at[:24], weight[:24]
    found = mean_features(z, at, weight)
    angles = z @ at.T
    expected = np.sqrt(weight) * np.array([np.cos(angles).mean(axis=0), np.sin(angles).mean(axis=0)])
    # An angle of many turns is known to a float32 rounding unit of itself.
    allowed = np.sqrt(weight) * 4 * float(np.finfo(np.float32).eps) * (4 + np.max(np.abs(angles), axis=0))
    assert np.all(np.abs(found - expected) <= allowed)


@pytest.mark.parametrize("replicas", sizes(128, 10**6))
def test_samples_of_the_law_agree_with_it_and_others_are_told_apart(replicas):
    """False alarms at one in a million; the other law has its mean moved by eight standard errors and more."""
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    z = np.random.default_rng(1).multivariate_normal(np.zeros(2), covariance, replicas)[:, None]
    law = jl.paths.GaussianPath(np.zeros(1), np.zeros((1, 2)), covariance[None])
    for shift, agrees in ((0.0, True), (12.0 / np.sqrt(replicas), False)):
        intact = np.full(replicas, -1)
        samples = jl.paths.Samples(np.zeros(1), z + shift, None, np.zeros(1, int), intact, "none", 1, 1)
        found = jl.compare(samples, law, jl.statistics.EnergyDistance(), key=KEY)
        assert bool(found.p_value[0] > 1e-6) is agrees
