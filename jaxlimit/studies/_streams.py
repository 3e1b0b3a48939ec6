"""Random streams by what they are for, and not by where it stands in a list: further widths change no others."""

import jax
import numpy as np

from jaxlimit._typing import RandomKey


def stream(key: RandomKey, *labels: float) -> RandomKey:
    """A key of its own for every sequence of labels: whole numbers below 2³², and real ones by their bits.

    >>> import jax
    >>> from jaxlimit.studies._streams import stream
    >>> key = jax.random.key(0)
    >>> bool(stream(key, 1) == jax.random.fold_in(key, 1)), bool(stream(key, 0.5) == stream(key, 0.25))
    (True, False)
    """
    for label in labels:
        for word in np.array([label]).view(np.uint32) if isinstance(label, float) else (label,):
            key = jax.random.fold_in(key, word)
    return key
