"""Names of array axes and the array types used in signatures.

Axes, everywhere in the package: `points` (data), `inputs` (coordinates of a data point),
`neurons` (the width), `replicas` (independent networks), `times` (save times).
"""

from typing import Any

import numpy as np
from jaxtyping import Array, Key

Host = np.ndarray
"""A float64 NumPy array: certificates and spectral limits compute on the host."""

ArrayLike = Any
"""NumPy or JAX array, or nested sequences of numbers."""

RandomKey = Key[Array, ""]
"""One typed key, as made by ``jax.random.key``."""
