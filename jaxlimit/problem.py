"""The problem: one learning question for a whole family of networks."""

import equinox as eqx

from jaxlimit._arguments import instance, plain, positive_number
from jaxlimit.data import Data
from jaxlimit.losses import AbstractLoss, SquaredError
from jaxlimit.networks import AbstractNetwork
from jaxlimit.scalings import AbstractScaling, Xavier


class Problem(eqx.Module):
    """Data, network, scaling, loss and learning rate α (in limit time): everything but the width.

    `simulate` answers it at width N, a limit at N = ∞. Raises ``ValueError`` if a piece is not of its
    kind, the targets do not suit the loss, or α is negative or not finite; α = 0 is allowed and freezes
    the network.

        >>> import jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(points=4, inputs=3), network)
        >>> problem.scaling.gamma, problem.learning_rate
        (0.5, 1.0)
    """

    data: Data
    network: AbstractNetwork
    scaling: AbstractScaling = Xavier()
    loss: AbstractLoss = SquaredError()
    learning_rate: float = eqx.field(static=True, converter=plain, default=1.0)

    def __check_init__(self) -> None:
        """Every piece is of its kind."""
        kinds = (
            ("data", Data),
            ("network", AbstractNetwork),
            ("scaling", AbstractScaling),
            ("loss", AbstractLoss),
        )
        for name, kind in kinds:
            instance(name, getattr(self, name), kind)
        self.loss.require_targets(self.data.y)
        positive_number("learning_rate", self.learning_rate, zero=True)
