"""Two classes on opposite sides of the origin: y_i y_j x_i·x_j > 0 for all pairs, as the early stage asks for."""

import numpy as np

import jaxlimit as jl


def aligned_data(points=20, inputs=10, seed=0):
    """y_i x_i are unit vectors of the positive orthant."""
    rng = np.random.default_rng(seed)
    z = np.abs(rng.standard_normal((points, inputs)))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    y = rng.choice([-1.0, 1.0], points)
    return jl.Data(z * y[:, None], y)


def signed_problem(loss, std, eta, data=None):
    """f = Σ_k a_k relu(b_k·x) with a_k = ±N^{−1/2} and b_k ~ N(0, std² I), both trained with step η."""
    law = jl.Initial(jl.initial.Rademacher(), jl.initial.Normal(0.0, std), width_power=-0.5)
    network = jl.networks.Shallow(jl.activations.Relu(), law)
    return jl.Problem(data or aligned_data(), network, jl.FixedStep(eta, gamma=0.0), loss)
