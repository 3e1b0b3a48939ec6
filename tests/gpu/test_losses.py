"""A network that is its own linearisation: blocks of any length are then the chain itself, whatever the loss.

With σ(u) = u and fixed output weights the kernel c² x·x' does not move, so what an accelerator guesses and corrects
within a block must come out as the steps one after the other, to rounding.
"""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.losses import AbstractLoss
from tests.gpu.sizes import KEY, TOLERANCE, data, initial, named, run
from tests.oracle import assert_same, largest_difference, replay

LINEAR = SimpleNamespace(sigma=lambda u: u, slope=np.ones_like)

LOSSES = {
    "squared error": (jl.SquaredError(), lambda g, y: g - y),
    "Huber": (jl.Huber(0.7), lambda g, y: np.clip(g - y, -0.7, 0.7)),
    "pseudo-Huber": (jl.PseudoHuber(0.7), lambda g, y: (g - y) / np.sqrt(1 + ((g - y) / 0.7) ** 2)),
    "logistic": (jl.Logistic(), lambda g, y: -y / (1 + np.exp(y * g))),
    "exponential": (jl.Exponential(), lambda g, y: -y * np.exp(-y * g)),
    "bounded quadratic": (jl.BoundedQuadratic(), lambda g, y: 2 * (g - y) / (1 + (y - g) ** 2) ** 2),
}
"""ℓ and ∂ℓ/∂g; all of them are good for labels ±1."""


def test_no_loss_is_missing():
    public = {one for one in vars(jl.losses).values() if isinstance(one, type) and issubclass(one, AbstractLoss)}
    assert public - {AbstractLoss} == {type(loss) for loss, _ in LOSSES.values()}


@pytest.mark.parametrize(("name", "size"), named(LOSSES, quick=("exponential",)))
def test_blocks_of_a_linear_network_are_the_chain_of_every_loss(name, size):
    """Two samples a step, and a coupling of steps that takes several corrections."""
    size, (loss, derivative), ts = size._replace(block=max(16, size.block)), LOSSES[name], (0.0, 0.5, 6.0)
    points = data(size)
    signs = jl.Data(points.x, np.where(np.arange(size.points) % 3, 1.0, -1.0), points.weights)
    network = jl.networks.Shallow(jl.activations.Identity(), initial(size), train_output=False)
    question, method = jl.Problem(signs, network, loss=loss, learning_rate=2.0), jl.SStep(size.block, lanes=size.lanes)
    samples = run(question, size, method, ts=ts, at=None, observe=None, replicas=2, batch=2)
    for replica in range(2):
        path = replay(question, LINEAR, size.width, KEY, replica, ts, derivative=derivative, batch=2)
        assert_same(samples.values[replica], path.values, TOLERANCE[jnp.float32])
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.05
