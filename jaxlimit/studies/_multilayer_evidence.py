"""What the multilayer study computes: distances to the limit neuron by neuron, and networks trained to the end."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._typing import Host, RandomKey
from jaxlimit.limits import MultilayerLimit
from jaxlimit.networks import Layers
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation import start_key
from jaxlimit.studies._diverged import finite

TOLERANCE = 1e-6
"""Of the limit's solver: the errors of 1e-5 would show beside those of Euler's scheme at the smallest steps."""


class Coupling(NamedTuple):
    """Mean squares over neurons and times of the distance to the limit."""

    grid: tuple[int, ...]
    """Widths, or steps per unit of time."""
    squares: list[Host]
    """[quantities, replicas] for every member of the grid, NaN for networks that diverged."""
    names: tuple[str, ...]
    """w_1, …, w_L and the output."""


class Training(NamedTuple):
    """Networks of one loss trained to the end, with their parameters at every save time."""

    problem: Problem
    samples: Samples


class Measured(NamedTuple):
    """What claims and panels share: rates with their errors, by series and quantity; losses; rates of change."""

    rates: dict[str, dict[str, Any]]
    errors: dict[str, dict[str, list[Any]]]
    losses: list[Host]
    """Mean loss [replicas, times] of the networks that stayed finite, a member per loss; so are the following."""
    speeds: list[Host]
    """max |∂_t w_L| [replicas, times]."""
    eigenvalues: list[Host]
    """Certified lower bounds of λ_min [replicas, times, hidden layers]."""
    coverings: list[Host]
    """Covering radius of the rows of w_1 in the unit ball [replicas, times]."""


class Evidence(NamedTuple):
    """Everything the study computed."""

    problem: Problem
    coupling: Coupling
    steps: dict[str, Coupling]
    spread_widths: tuple[int, ...]
    spreads: dict[str, list[tuple[Host, Host]]]
    """Of H_2 and of its change since the start, [replicas, start and end, points], per width; NaN as in `Coupling`."""
    trainings: tuple[Training, ...]
    reference: int
    step_width: int
    key: RandomKey
    """For probes."""

    def arrays(self, measured: Measured) -> dict[str, Any]:
        """What the figures and verdicts rest on, ready for an .npz file."""
        found: dict[str, Any] = {}
        for name, series in (("widths", self.coupling), *self.steps.items()):
            for size, squares in zip(series.grid, series.squares, strict=True):
                found[f"squares_{name.replace(' ', '_')}_{size}"] = squares
        for name, spreads in self.spreads.items():
            for width, (now, moved) in zip(self.spread_widths, spreads, strict=True):
                label = name.replace(",", "").replace(" ", "_")
                found[f"spread_{label}_{width}"], found[f"spread_of_change_{label}_{width}"] = now, moved
        for k, training in enumerate(self.trainings):
            label = f"{k}_{type(training.problem.loss).__name__}"
            found[f"ts_{label}"] = training.samples.ts
            found[f"loss_{label}"], found[f"speed_{label}"] = measured.losses[k], measured.speeds[k]
            found[f"lambda_min_{label}"] = measured.eigenvalues[k]
            found[f"covering_radius_{label}"] = measured.coverings[k]
        return found


def everything(parameters: Layers, start: Layers) -> Layers:
    """All parameters, as an observable."""
    return parameters


def distances(
    problem: Problem, samples: Sequence[Samples], neurons: tuple[int, ...], ts: Host, key: RandomKey
) -> tuple[list[Host], tuple[str, ...]]:
    """Mean squares [quantities, replicas] of networks of each width, and the names of the quantities.

    Replica r starts from the first neurons of its own limit. Where the limit has more neurons than the network, N
    against n, an average over n of its neurons differs from that over all by the share 1 − n/N of the variance that
    independent neurons would have: it is divided out. NaN where the network diverged.
    """
    widths, replicas = [found.width[0] for found in samples], samples[0].replicas
    squares = [np.zeros((problem.network.layers + 1, replicas)) for _ in widths]  # type: ignore[attr-defined]
    kept = [finite(found) for found in samples]
    x = jnp.asarray(problem.data.x, jnp.float32)
    for r in range(replicas):
        limit = MultilayerLimit(problem, neurons, key=start_key(key, r), tolerance=TOLERANCE)
        exact = limit.parameters(ts)
        outputs = np.asarray(_outputs(limit.network, jax.tree.map(jnp.asarray, exact), x), np.float64)
        for n, found, fine, sum_ in zip(widths, samples, kept, squares, strict=True):
            if not fine[r]:
                sum_[:, r] = np.nan
                continue
            share = 1.0 - n / neurons[0] if n < neurons[0] else 1.0
            for i, w in enumerate(found.observed.weights):
                wide = exact.weights[i]
                part = wide[:, :n] if i in (0, len(exact.weights) - 1) else wide[:, :n, :n]
                sum_[i, r] = np.mean((np.asarray(w[r, 1:], np.float64) - part[1:]) ** 2) / share
            sum_[-1, r] = np.mean((np.asarray(found.values[r, 1:], np.float64) - outputs[1:]) ** 2) / share
    names = (*(f"$w_{i + 1}$" for i in range(len(squares[0]) - 1)), "output")
    return squares, names


@eqx.filter_jit
def _outputs(network: Any, parameters: Layers, x: Any) -> Any:
    """Outputs [times, points] of parameters at several times."""
    return jax.lax.map(lambda one: network.apply(one, x), parameters)
