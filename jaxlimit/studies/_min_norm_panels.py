"""The figures of the minimum-norm study. Plots are imported when a panel is drawn, never before."""

import math
from typing import Any

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.claims import Panel
from jaxlimit.studies._min_norm_claims import Measured, exponent_of
from jaxlimit.studies._min_norm_evidence import Evidence
from jaxlimit.studies._min_norm_frozen import FROZEN, largest_gaps
from jaxlimit.studies._min_norm_rates import Fit
from jaxlimit.studies._scatter import mean_of


def panels(evidence: Evidence, measured: Measured) -> tuple[Panel, ...]:
    """Rates in the width, the two Lyapunov functions and the loss along training, the bound against label noise."""
    own, steps, points = evidence.own.paths, evidence.steps, evidence.problem.data.points

    def series(ax: Any, squares: list[Host], given: Fit, predicted: float, ylabel: str, label: str) -> Any:
        from jaxlimit import plots

        seen, fit = [mean_of(one) for one in squares], given.whole
        ax = plots.rate(
            evidence.widths,
            [one.distance for one in seen],
            [one.standard_error for one in seen],
            fit.exponent,
            fit.low,
            fit.high,
            predicted,
            None if math.isnan(fit.exponent) else fit.coefficient,
            ax,
            ylabel=ylabel,
            label=label,
        )
        ax.set_xlabel("width $m$")
        return ax

    def orthogonal(ax: Any) -> Any:
        for one, fit in zip(evidence.series, measured.orthogonal, strict=True):
            squares = [paths.along.orthogonal[:, -1] for paths in one.paths]
            ax = series(ax, squares, fit, exponent_of(one), r"$|P_\perp(w-w^*)|^2$ after training", one.name)
        return ax

    def movement(ax: Any) -> Any:
        moves = [one.along.largest_move[:, -1] for one in own]
        return series(ax, moves, measured.largest, -0.5, r"$\max_k|w_k-w_k(0)|$", evidence.own.name)

    def lyapunov(ax: Any) -> Any:
        from jaxlimit import plots

        # One step stays in the range of F_0: until then the orthogonal part is rounding.
        along, later = own[-1].along, steps > 1
        names = {r"$|P(w-w^*)|^2$": along.parallel[:, later], r"$|P_\perp(w-w^*)|^2$": along.orthogonal[:, later]}
        ax = plots.vanishing(steps[later], names, ax, ylabel=f"squared distance, $m={own[-1].width}$")
        return _log_steps(ax)

    def loss(ax: Any) -> Any:
        from jaxlimit import plots

        mean, error = measured.squares.value[-1], measured.squares.error[-1]
        ax = plots.loss(
            steps[1:],
            mean[1:] / (2 * points),
            error[1:] / (2 * points),
            measured.predicted_squares.value[-1][1:] / (2 * points),
            None,
            ax,
            width=own[-1].width,
        )
        ax.set_ylabel("mean loss", fontsize=9)
        return _log_steps(ax)

    def kernel(ax: Any) -> Any:
        for one, fit in zip(evidence.series, measured.kernels, strict=True):
            moves = [paths.kernel[:, -1] for paths in one.paths]
            ax = series(ax, moves, fit, FROZEN, r"$\|A_t-A_0\|/\|A_0\|$ after training", one.name)
        return ax

    def tangent(ax: Any) -> Any:
        gaps, label = [np.sqrt(one) for one in largest_gaps(evidence)], "largest RMS distance to the tangent twin"
        return series(ax, gaps, measured.twin, FROZEN, label, evidence.own.name)

    def frozen(ax: Any) -> Any:
        from jaxlimit import plots

        seen = {name: one[:, moved] for name, one in along.items()}
        ax = plots.vanishing(steps[moved], seen, ax, ylabel=f"along training, $m={own[-1].width}$")
        return _log_steps(ax)

    def regression(ax: Any) -> Any:
        distances = [np.sqrt(one) for one in measured.distances]
        label = "RMS distance on held-out points"
        return series(ax, distances, measured.outputs, 0.5 * exponent_of(evidence.own), label, evidence.own.name)

    def generalisation(ax: Any) -> Any:
        from jaxlimit import plots

        noise = evidence.noise
        ax = plots.against_gamma(
            [one.share for one in noise],
            [one.loss for one in noise],
            [one.error for one in noise],
            [one.bound.value for one in noise],
            [one.bound.trivial for one in noise],
            ax,
            ylabel=r"loss $\min(|f-y|, 1)$ on held-out points",
            label="kernel regression",
            predicted_label=r"$\sqrt{2y^{\top}H^{-1}y/n}$",
            limit_label="predicting 0",
            log=True,
        )
        ax.set_xlabel("share of labels drawn anew", fontsize=9)
        return ax

    found = []
    if all(len(one.values) > 1 for each in evidence.series for one in each.paths):
        found += [
            Panel("orthogonal", "What the solution nearest to the start leaves out, against the width.", orthogonal),
            Panel("movement", "Movement of the neuron that moves most, against the width.", movement),
            Panel("loss", "Loss along training, and what the spectrum of H and the targets make of it.", loss),
        ]
        if steps[-1] > 1:
            found.append(Panel("lyapunov", "Both parts of the distance to w* along training, every network.", lyapunov))
        # No neuron of a narrow network need change sides in the first steps, and a log axis has no zero.
        if all(np.any(one.kernel[:, -1]) for each in evidence.series for one in each.paths):
            caption = "What training changes of the network's own kernel; the bound falls like m^(−1/2)."
            found.append(Panel("kernel", caption, kernel))
        if measured.gaps and all(np.any(one) for one in measured.gaps):
            caption = "Distance to the network linearised at its start; the bound falls like m^(−1/2)."
            found.append(Panel("tangent", caption, tangent))
        along = _frozen(evidence, measured)
        moved = np.all([np.all(one > 0, axis=0) for one in along.values()], axis=0)
        if np.any(moved):
            caption = "The kernel beside its start and the limit's, and the tangent twin."
            found.append(Panel("frozen", caption, frozen))
        if measured.distances:
            found.append(Panel("kernel_regression", "Distance to kernel regression at new points.", regression))
    if evidence.noise:
        caption = "Test loss of kernel regression and the proved bound against the share of labels drawn anew."
        found.append(Panel("generalisation", caption, generalisation))
    return tuple(found)


def _frozen(evidence: Evidence, measured: Measured) -> dict[str, Host]:
    """What should stay small along training, of the widest networks [replicas, times]."""
    last = evidence.own.paths[-1]
    found = {r"$\|A_t-A_0\|/\|A_0\|$": last.kernel}
    if last.off is not None:
        found[r"$\|A_t-H\|/\|H\|$"] = last.off
    if measured.gaps:
        found["RMS distance to the twin"] = measured.gaps[-1]
    return found


def _log_steps(ax: Any) -> Any:
    ax.set_xscale("log")
    ax.set_xlabel("steps", fontsize=9)
    return ax
