"""A symmetry of the law of neurons, as a law: what accelerators and CPUs are held against, with the core alone."""

import jax.numpy as jnp
import numpy as np

from jaxlimit.initial import AbstractLaw


class Transformed(AbstractLaw):
    """sign·z for z from another law, the neurons in another order and w multiplied by an orthogonal matrix.

    In the precision of that matrix; all of it is data to one compiled program.
    """

    law: AbstractLaw
    sign: np.ndarray
    order: np.ndarray
    turn: np.ndarray

    def sample(self, key, shape):
        values = self.sign * jnp.asarray(self.law.sample(key, shape), self.turn.dtype)[self.order]
        return jnp.matmul(values, self.turn.T, precision="highest") if values.ndim == 2 else values

    @property
    def mean(self):
        return 0.0

    @property
    def second_moment(self):
        return self.law.second_moment
