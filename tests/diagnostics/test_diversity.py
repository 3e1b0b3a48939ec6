"""Diagnostics of diversity against NumPy written out, and their doubts against repeated draws."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from tests import multilayer_oracle as oracle
from tests import systems
from tests.layer_cases import EMBEDDINGS

TANH = jl.activations.Tanh()
NETWORK = jl.networks.Multilayer((TANH,) * 3, EMBEDDINGS["independent, biases"])
TWO = jl.initial.IndependentLayers((jl.initial.Normal(), jl.initial.Normal(1.0, 1.0)))
WIDTH, X = (40, 30, 20), systems.FULL_X
PARAMETERS = NETWORK.init(WIDTH, 3, jax.random.key(2))


def hidden():
    weights, biases = ([np.asarray(a, np.float64) for a in part] for part in PARAMETERS)
    functions = (oracle.TANH,) * 3 + (oracle.IDENTITY,)
    return oracle.outputs(X, weights, biases, functions, [1 / n for n in WIDTH])[0]


def test_spread_and_gram_are_those_of_the_hidden_layers():
    spreads = jl.diagnostics.neuron_spread(NETWORK, PARAMETERS, X)
    for layer, (spread, values) in enumerate(zip(spreads, hidden()[:-1], strict=True), 1):
        assert np.allclose(spread.value, np.std(values, axis=1, ddof=1), rtol=1e-12)
        gram = jl.diagnostics.feature_gram(NETWORK, PARAMETERS, X, layer)
        features = np.tanh(values)
        expected = np.array([[np.mean(a * b) for b in features] for a in features])
        assert np.allclose(gram, expected, rtol=1e-12)
        assert jl.certify(gram).status.name == "PROVED_PD"


def test_the_network_says_the_same_of_its_hidden_layers():
    for mine, theirs in zip(NETWORK.hidden(PARAMETERS, X.astype(np.float32)), hidden(), strict=True):
        assert np.allclose(mine, theirs, atol=1e-5)


def test_repeated_points_have_a_singular_gram():
    gram = jl.diagnostics.feature_gram(NETWORK, PARAMETERS, np.concatenate([X, X[:1]]), 2)
    assert jl.certify(gram).status.name != "PROVED_PD"


def test_the_standard_error_of_a_spread_is_its_spread_over_networks():
    """First layer of 200 networks: 400 neurons with H ~ N(0, |x|²). Ratio of the two within 5 × 1/√(2·200)."""
    law = jl.initial.IndependentLayers((jl.initial.Normal(), jl.initial.Normal(1.0, 1.0)))
    network, x = jl.networks.Multilayer((TANH,), law), np.array([[0.6, 0.8, 0.0]])
    draw = jax.jit(lambda key: network.init((400,), 3, key))
    found = [jl.diagnostics.neuron_spread(network, draw(jax.random.key(s)), x)[0] for s in range(200)]
    actual = np.std([spread.value[0] for spread in found])
    stated = np.mean([spread.standard_error[0] for spread in found])
    assert abs(actual / stated - 1) < 0.25


def test_the_covering_radius_of_a_grid_is_half_its_diagonal():
    """Points of a square grid of step h leave holes of radius h/√2; 4096 probes of the disc come close to one."""
    axis = np.arange(-2, 2.01, 0.25)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    found = jl.diagnostics.covering_radius(grid, 1.0, key=jax.random.key(0))
    assert 0.9 * 0.25 / np.sqrt(2) < found.radius <= 0.25 / np.sqrt(2) + 1e-6
    assert found.missed == pytest.approx(3.0 / 4096, rel=0.01)


def test_probes_fill_the_ball_uniformly():
    """One neuron at the centre: the largest distance is R, and distances have the law of R u^{1/d}."""
    centre = np.zeros((1, 3))
    found = jl.diagnostics.covering_radius(centre, 2.0, key=jax.random.key(0), probes=1000)
    # P(all of 1000 below 2(1 − s)) = (1 − s)^{3000}: 1e-6 at s = 0.0046.
    assert 2.0 * (1 - 0.0046) < found.radius <= 2.0 + 1e-6


@pytest.mark.parametrize("unit", [1e-25, 1e-300, 1e25, 1e300])
def test_a_covering_radius_has_the_unit_of_its_weights(unit):
    """Squares of 1e-25 are 0 in float32, and those of 1e25 infinite."""
    key, w = jax.random.key(0), np.random.default_rng(0).normal(size=(20, 2))
    found = jl.diagnostics.covering_radius(unit * w, 2.0 * unit, key=key, probes=100).radius
    assert found / unit == pytest.approx(jl.diagnostics.covering_radius(w, 2.0, key=key, probes=100).radius, rel=1e-6)


@pytest.mark.parametrize(("near", "distance"), [(1e25, 1e25), (1.5, 2.5)])
def test_neurons_far_from_the_ball_have_a_finite_distance(near, distance):
    """The farthest of 100 probes of an interval lies within 0.2 of its end: 1 − 0.9^100 = 1 − 3e-5."""
    found = jl.diagnostics.covering_radius([[near], [1e40]], 1.0, key=jax.random.key(0), probes=100)
    assert found.radius == pytest.approx(distance, abs=0.2, rel=1e-6)


def test_one_network_is_taken_out_of_several():
    """By replica and time; biases come along."""
    several = jax.tree.map(lambda a: np.stack([np.stack([0 * a, a]), np.stack([a + 1, a + 2])]), PARAMETERS)
    for mine, theirs in zip(jax.tree.leaves(several.at(0, 1)), jax.tree.leaves(PARAMETERS), strict=True):
        assert np.array_equal(mine, theirs)
    assert [w.shape for w in several.at(-1).weights] == [(2, *w.shape) for w in PARAMETERS.weights]
    for index in ((2,), (0, 2), (0, 0, 0)):
        with pytest.raises(ValueError, match=r"^Argument `index` must lie within the axes in front, \(2, 2\), but"):
            several.at(*index)
    with pytest.raises(ValueError, match=r"^Argument `parameters` must be of one network .*`parameters.at"):
        jl.diagnostics.neuron_spread(NETWORK, several.at(0), X)


REFUSED = {
    "another number of layers": (
        "parameters",
        lambda: jl.diagnostics.neuron_spread(jl.networks.Multilayer((TANH,), TWO), PARAMETERS, X),
    ),
    "a layer too many": ("layer", lambda: jl.diagnostics.feature_gram(NETWORK, PARAMETERS, X, 4)),
    "layer 0": ("layer", lambda: jl.diagnostics.feature_gram(NETWORK, PARAMETERS, X, 0)),
    "inputs": ("x", lambda: jl.diagnostics.neuron_spread(NETWORK, PARAMETERS, X[:, :2])),
    "a network": (
        "network",
        lambda: jl.diagnostics.neuron_spread(jl.networks.Shallow(TANH), PARAMETERS, X),
    ),
    "parameters": ("parameters", lambda: jl.diagnostics.neuron_spread(NETWORK, (1, 2), X)),
    "one neuron": (
        "parameters",
        lambda: jl.diagnostics.neuron_spread(NETWORK, NETWORK.init((1, 2, 2), 3, jax.random.key(0)), X),
    ),
    "a radius": ("radius", lambda: jl.diagnostics.covering_radius(X, 0.0, key=jax.random.key(0))),
    "probes": ("probes", lambda: jl.diagnostics.covering_radius(X, 1.0, key=jax.random.key(0), probes=0)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, attempt = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        attempt()
