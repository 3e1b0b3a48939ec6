"""What must be refused is refused, before any compute, with "Argument `x` must …, but …" and the right name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.initial import AbstractLaw
from jaxlimit.networks import AbstractNetwork
from jaxlimit.scalings import AbstractScaling

X, Y = [[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5]
DATA = jl.Data(X, Y)
ERF = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
TANH = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
RELU = jl.networks.Shallow(jl.activations.Relu(), jl.Initial())
UNIFORM_W = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(w=jl.initial.Uniform()))
SHIFTED_W = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(w=jl.initial.Normal(0.1)))
BIASED = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(c=jl.initial.Uniform(0.0, 1.0)))
PROBLEM = jl.Problem(DATA, ERF)
KEY = jax.random.key(0)


class OtherNetwork(AbstractNetwork):
    """A network that is not Shallow."""

    def init(self, width, inputs, key):
        return jnp.zeros(width)

    def apply(self, parameters, x):
        return jnp.zeros(x.shape[0])


class OtherScaling(AbstractScaling):
    """A scaling that is no power of the width."""

    def output(self, width):
        return 1.0

    def learning_rate(self, width):
        return 1.0

    def steps(self, t, width):
        return int(t * width)


class OtherLoss(jl.losses.AbstractLoss):
    """A loss that is not the squared error."""

    def value(self, prediction, target):
        return jnp.abs(prediction - target)

    def derivative(self, prediction, target):
        return jnp.sign(prediction - target)


def simulate(problem=PROBLEM, width=16, ts=(0.0, 1.0), **settings):
    return jl.simulate(problem, width, ts, **{"replicas": 2, "key": KEY, **settings})


def with_scaling(scaling, network=ERF, **settings):
    return jl.Problem(DATA, network, scaling, **settings)


REJECTED = {
    # data
    "NaN in x": ("x", lambda: jl.Data([[np.nan, 0.0], [1.0, 0.0]], [1.0, 2.0])),
    "infinite y": ("y", lambda: jl.Data(X, [np.inf, 0.0, 0.0])),
    "empty x": ("x", lambda: jl.Data(np.zeros((0, 2)), [])),
    "no inputs": ("x", lambda: jl.Data(np.zeros((3, 0)), Y)),
    "complex x": ("x", lambda: jl.Data(np.array(X) * 1j, Y)),
    "object x": ("x", lambda: jl.Data(np.array([[object()]] * 3), Y)),
    "text y": ("y", lambda: jl.Data(X, ["a", "b", "c"])),
    "ragged x": ("x", lambda: jl.Data([[1.0], [1.0, 2.0], [3.0]], Y)),
    "one-dimensional x": ("x", lambda: jl.Data([1.0, 2.0, 3.0], Y)),
    "y as a column": ("y", lambda: jl.Data(X, [[1.0], [2.0], [3.0]])),
    "fewer y than x": ("y", lambda: jl.Data(X, [1.0, 2.0])),
    "fewer weights than x": ("weights", lambda: jl.Data(X, Y, [1.0, 2.0])),
    "two targets at one input": ("y", lambda: jl.Data([X[0], X[1], X[0]], Y)),
    "zero weight": ("weights", lambda: jl.Data(X, Y, [1.0, 0.0, 1.0])),
    "a weight beside which another vanishes": ("weights", lambda: jl.Data(X, Y, [1e300, 1.0, 1e-300])),
    "negative weight": ("weights", lambda: jl.Data(X, Y, [1.0, -1.0, 1.0])),
    "NaN weight": ("weights", lambda: jl.Data(X, Y, [1.0, np.nan, 1.0])),
    "no points on the sphere": ("points", lambda: jl.data.sphere(0, 3)),
    "half an input": ("inputs", lambda: jl.data.sphere(3, 1.5)),
    "text for the seed of a set": ("seed", lambda: jl.data.sphere(3, 2, "a")),
    "one class of digits": ("classes", lambda: jl.data.digits(classes=3)),
    "text for a unit norm": ("unit_norm", lambda: jl.data.digits(unit_norm="no")),
    # networks
    "the class for the activation": ("activation", lambda: jl.networks.Shallow(jl.activations.Erf)),
    "text for a frozen output layer": (
        "train_output",
        lambda: jl.networks.Shallow(jl.activations.Erf(), train_output="no"),
    ),
    # problem
    "arrays for data": ("data", lambda: jl.Problem(np.array(X), ERF)),
    "activation for network": ("network", lambda: jl.Problem(DATA, jl.activations.Erf())),
    "number for scaling": ("scaling", lambda: jl.Problem(DATA, ERF, 0.5)),
    "function for loss": ("loss", lambda: jl.Problem(DATA, ERF, loss=lambda g, y: g - y)),
    "negative α": ("learning_rate", lambda: jl.Problem(DATA, ERF, learning_rate=-0.1)),
    "NaN α": ("learning_rate", lambda: jl.Problem(DATA, ERF, learning_rate=np.nan)),
    "infinite α": ("learning_rate", lambda: jl.Problem(DATA, ERF, learning_rate=np.inf)),
    "text α": ("learning_rate", lambda: jl.Problem(DATA, ERF, learning_rate="1")),
    "γ below 1/2": ("gamma", lambda: jl.PowerScaling(0.49)),
    "γ above 1": ("gamma", lambda: jl.PowerScaling(1.01)),
    "NaN γ": ("gamma", lambda: jl.PowerScaling(np.nan)),
    # simulate
    "network for problem": ("problem", lambda: simulate(ERF)),
    "a network that is not shallow": ("problem", lambda: simulate(jl.Problem(DATA, OtherNetwork()))),
    "width 0": ("width", lambda: simulate(width=0)),
    "negative width": ("width", lambda: simulate(width=-4)),
    "boolean width": ("width", lambda: simulate(width=True)),
    "fractional width": ("width", lambda: simulate(width=16.0)),
    "an array for the width": ("width", lambda: simulate(width=jnp.array(16))),
    "tuple of widths": ("width", lambda: simulate(width=(16, 16))),
    "no replicas": ("replicas", lambda: simulate(replicas=0)),
    "boolean replicas": ("replicas", lambda: simulate(replicas=True)),
    "2³² replicas and one": ("replicas", lambda: simulate(replicas=2**32 + 1)),
    "no samples in a batch": ("batch", lambda: simulate(batch=0)),
    "half a sample": ("batch", lambda: simulate(batch=0.5)),
    "noise of a teacher below zero": ("noise", lambda: jl.data.teacher(3, 2, noise=-1.0)),
    "text for a teacher's unit norm": ("unit_norm", lambda: jl.data.teacher(3, 2, unit_norm="no")),
    "unsorted ts": ("ts", lambda: simulate(ts=[1.0, 0.5])),
    "repeated ts": ("ts", lambda: simulate(ts=[0.5, 0.5])),
    "negative ts": ("ts", lambda: simulate(ts=[-1.0, 0.0])),
    "empty ts": ("ts", lambda: simulate(ts=[])),
    "NaN in ts": ("ts", lambda: simulate(ts=[0.0, np.nan])),
    "a number for ts": ("ts", lambda: simulate(ts=1.0)),
    "2³¹ steps": ("ts", lambda: simulate(ts=[0.0, 2.0**27], width=16)),
    "a legacy key": ("key", lambda: simulate(key=jax.random.PRNGKey(0))),
    "a seed for a key": ("key", lambda: simulate(key=0)),
    "a batch of keys": ("key", lambda: simulate(key=jax.random.split(KEY, 2))),
    "a name for the method": ("method", lambda: simulate(method="stepwise")),
    "the class for the method": ("method", lambda: simulate(method=jl.Stepwise)),
    "lanes 0": ("lanes", lambda: jl.Stepwise(lanes=0)),
    "an array for the lanes": ("lanes", lambda: jl.Stepwise(lanes=jnp.array(3))),
    "extra points with other inputs": ("at", lambda: simulate(at=[[1.0, 2.0, 3.0]])),
    "one-dimensional extra points": ("at", lambda: simulate(at=[1.0, 2.0])),
    "NaN in extra points": ("at", lambda: simulate(at=[[1.0, np.nan]])),
    "a name to observe": ("observe", lambda: simulate(observe="w")),
    "text observed": ("observe", lambda: simulate(observe=lambda now, start: "text")),
    "text observed by XLA": (
        "observe",
        lambda: simulate(observe=lambda now, start: {"a": (now.c, "b")}, method=jl.Stepwise(native=False)),
    ),
    "a function observed": ("observe", lambda: simulate(observe=lambda now, start: jnp.sum)),
    "an array of text observed": ("observe", lambda: simulate(observe=lambda now, start: np.array("text"))),
    "a key observed": ("observe", lambda: simulate(observe=lambda now, start: KEY)),
    "a number for the progress": ("progress", lambda: simulate(progress=3)),
    "inputs beyond float32": ("problem.data.x", lambda: simulate(jl.Problem(jl.Data([[1e39, 0.0]], [1.0]), ERF))),
    "inputs that vanish in float32": (
        "problem.data.x",
        lambda: simulate(jl.Problem(jl.Data([[1.0, 0.0], [1e-50, 1e-46]], [1.0, 0.5]), ERF)),
    ),
    "targets beyond float32": ("problem.data.y", lambda: simulate(jl.Problem(jl.Data(X, [1.0, 0.0, -1e39]), ERF))),
    "extra points beyond float32": ("at", lambda: simulate(at=[[1.0, 1e39]])),
    "half precision": ("dtype", lambda: simulate(dtype=jnp.float16)),
    "integers": ("dtype", lambda: simulate(dtype=jnp.int32)),
    "a name that is no precision": ("dtype", lambda: simulate(dtype="foo")),
    "no precision": ("dtype", lambda: simulate(dtype=None)),
    "no devices": ("devices", lambda: simulate(devices=[])),
    "a device for a sequence of them": ("devices", lambda: simulate(devices=jax.devices()[0])),
    "a name for a device": ("devices", lambda: simulate(devices=["cpu"])),
    "one device twice": ("devices", lambda: simulate(devices=[jax.devices()[0]] * 2)),
    "a step beyond stability": ("learning_rate", lambda: simulate(jl.Problem(DATA, ERF, learning_rate=100.0))),
    "a step beyond stability, relu": (
        "learning_rate",
        lambda: simulate(jl.Problem(jl.Data(10 * np.array(X), Y), RELU, learning_rate=1.0), width=8),
    ),
    # draws
    "negative replica": ("replica", lambda: jl.simulation.draws(PROBLEM, 8, KEY, -1, 5)),
    "boolean replica": ("replica", lambda: jl.simulation.draws(PROBLEM, 8, KEY, True, 5)),
    "negative steps": ("steps", lambda: jl.simulation.draws(PROBLEM, 8, KEY, 0, -5)),
    "no width": ("width", lambda: jl.simulation.draws(PROBLEM, 0, KEY, 0, 5)),
    # kernels
    "no closed form": ("rule", lambda: jl.gram(TANH, X)),
    "closed form asked of tanh": ("rule", lambda: jl.gram(TANH, X, rule=jl.kernels.ClosedForm())),
    "quadrature of a kink": ("rule", lambda: jl.gram(RELU, X, rule=jl.kernels.Quadrature())),
    "a name for the rule": ("rule", lambda: jl.gram(ERF, X, rule="closed form")),
    "no closed form for uniform w": ("rule", lambda: jl.gram(UNIFORM_W, X)),
    "closed form asked for uniform w": ("network", lambda: jl.gram(UNIFORM_W, X, rule=jl.kernels.ClosedForm())),
    "quadrature asked for uniform w": ("network", lambda: jl.gram(UNIFORM_W, X, rule=jl.kernels.Quadrature())),
    "closed form asked for E w ≠ 0": ("network", lambda: jl.gram(SHIFTED_W, X, rule=jl.kernels.ClosedForm())),
    "a tolerance of zero": ("tolerance", lambda: jl.kernels.Quadrature(0.0)),
    "a tolerance beyond float64": ("rule", lambda: jl.gram(TANH, X, rule=jl.kernels.Quadrature(1e-19))),
    "NaN in a kernel's points": ("x", lambda: jl.gram(ERF, [[np.nan, 1.0]])),
    "points with other inputs": ("x2", lambda: jl.gram(ERF, X, [[1.0, 2.0, 3.0]])),
    "a kernel of another network": ("network", lambda: jl.gram(OtherNetwork(), X)),
    "an empirical kernel of another network": ("network", lambda: jl.empirical_gram(OtherNetwork(), None, X)),
    # limits
    "the spectral limit at γ = 1": ("problem", lambda: jl.SpectralLimit(with_scaling(jl.MeanField()))),
    "the solver's limit at γ = 1": ("problem", lambda: jl.OdeLimit(with_scaling(jl.MeanField()))),
    "a scaling without a limit": ("problem", lambda: jl.SpectralLimit(with_scaling(OtherScaling()))),
    "E c ≠ 0 at γ = 1/2": ("problem", lambda: jl.SpectralLimit(with_scaling(jl.Xavier(), BIASED))),
    "E c ≠ 0 at γ = 3/4": ("problem", lambda: jl.OdeLimit(with_scaling(jl.PowerScaling(0.75), BIASED))),
    "a limit of another network": ("problem", lambda: jl.SpectralLimit(jl.Problem(DATA, OtherNetwork()))),
    "a limit of no problem": ("problem", lambda: jl.SpectralLimit(DATA)),
    "another loss for the spectral limit": (
        "problem",
        lambda: jl.SpectralLimit(with_scaling(jl.Xavier(), loss=OtherLoss())),
    ),
    "a limit without a rule": ("rule", lambda: jl.SpectralLimit(jl.Problem(DATA, TANH))),
    "unsorted ts of a law": ("ts", lambda: jl.SpectralLimit(PROBLEM).law([1.0, 0.0])),
    "extra points of a law": ("at", lambda: jl.SpectralLimit(PROBLEM).law([1.0], at=[[1.0]])),
    "a start of another size": ("h0", lambda: jl.SpectralLimit(PROBLEM).path([0.0, 0.0], [1.0])),
    "a start that is a number": ("h0", lambda: jl.OdeLimit(PROBLEM).path(0.0, [1.0])),
    "NaN in a start": ("h0", lambda: jl.SpectralLimit(PROBLEM).path([np.nan, 0.0, 0.0], [1.0])),
    "NaN in one start of several": ("h0", lambda: jl.OdeLimit(PROBLEM).path([[0.0, np.nan, 0.0], [0.0] * 3], [1.0])),
    "text for a start": ("h0", lambda: jl.SpectralLimit(PROBLEM).path(["a", "b", "c"], [1.0])),
    "an infinite start at extra points": (
        "h0_at",
        lambda: jl.OdeLimit(PROBLEM).path(np.zeros(3), [1.0], at=X[:1], h0_at=[np.inf]),
    ),
    "extra points without their start": ("h0_at", lambda: jl.SpectralLimit(PROBLEM).path(np.zeros(3), [1.0], at=X)),
    "a start without its extra points": ("h0_at", lambda: jl.OdeLimit(PROBLEM).path(np.zeros(3), [1.0], h0_at=[0.0])),
    "a start for other extra points": (
        "h0_at",
        lambda: jl.SpectralLimit(PROBLEM).path(np.zeros((2, 3)), [1.0], at=X[:1], h0_at=np.zeros((3, 1))),
    ),
    "a solver without tolerance": ("tolerance", lambda: jl.OdeLimit(PROBLEM, tolerance=0.0)),
    "text for a tolerance": ("tolerance", lambda: jl.OdeLimit(PROBLEM, tolerance="tight")),
    "a solver without precision": ("dtype", lambda: jl.OdeLimit(PROBLEM, dtype=None)),
    "a solver without steps": ("max_steps", lambda: jl.OdeLimit(PROBLEM, max_steps=0)),
    "no sampled paths": ("replicas", lambda: jl.OdeLimit(PROBLEM).sample([1.0], 0, KEY)),
    "paths from a legacy key": ("key", lambda: jl.OdeLimit(PROBLEM).sample([1.0], 2, jax.random.PRNGKey(0))),
    # laws at given times
    "a law with NaN in its mean": (
        "mean, covariance",
        lambda: jl.paths.GaussianPath(np.zeros(1), np.array([[np.nan, 0.0]]), np.eye(2)[None]),
    ),
    "a law with an infinite covariance": (
        "mean, covariance",
        lambda: jl.paths.GaussianPath(np.zeros(1), np.zeros((1, 2)), np.full((1, 2, 2), np.inf)),
    ),
    "a law without times": ("mean", lambda: jl.paths.GaussianPath(np.zeros(1), np.zeros(2), np.eye(2)[None])),
    # certificates
    "a matrix that is not square": ("gram", lambda: jl.certify(np.ones((2, 3)))),
    "a matrix that is not symmetric": ("gram", lambda: jl.certify(np.array([[1.0, 0.5], [0.25, 1.0]]))),
}


@pytest.mark.filterwarnings("ignore:A JAX array is being set as static")  # Equinox's word for the array of lanes
@pytest.mark.parametrize("what", REJECTED)
def test_it_is_refused_by_name(what):
    name, attempt = REJECTED[what]
    with pytest.raises(ValueError, match=rf"^Argument `{name}` must .+, but .+\.$"):
        attempt()


def test_the_message_about_a_missing_rule_names_the_alternative():
    with pytest.raises(ValueError, match=r"jaxlimit\.kernels\.Quadrature\(\)"):
        jl.gram(TANH, X)


def test_the_message_about_stability_says_what_to_do():
    with pytest.raises(ValueError, match="lower it or widen the network"):
        simulate(jl.Problem(DATA, ERF, learning_rate=100.0))


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_stability_limit_is_where_it_is_stated(share):
    """α max B/N = 2, with B estimated to a few per cent."""
    largest = float(np.max(np.diag(jl.gram(ERF, X).value)))
    problem = jl.Problem(DATA, ERF, learning_rate=share * 2.0 * 64 / largest)
    if share < 1:
        assert simulate(problem, width=64, ts=[0.0]).values.shape == (2, 1, 3)
    else:
        with pytest.raises(ValueError, match="Argument `learning_rate` must"):
            simulate(problem, width=64, ts=[0.0])


def test_abstract_pieces_cannot_be_made():
    for kind in (AbstractLaw, AbstractNetwork, AbstractScaling, jl.losses.AbstractLoss, jl.kernels.AbstractRule):
        with pytest.raises(TypeError):
            kind()
