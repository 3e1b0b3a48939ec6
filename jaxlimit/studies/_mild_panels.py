"""The figures of the study of the early stage. Plots are imported when a panel is drawn, never before."""

from typing import Any

import numpy as np

from jaxlimit.claims import Panel
from jaxlimit.diagnostics import training_loss
from jaxlimit.statistics import ErrorAtWidth, Rate
from jaxlimit.studies._mild_claims import Measured
from jaxlimit.studies._mild_evidence import FINER, Early, Evidence, set_shares, step_of

MOST_POINTS = 24
"""Save times that a curve shows."""


def panels(evidence: Evidence, measured: Measured) -> tuple[Panel, ...]:
    """Hitting times over widths and steps, spread of the descent, losses, and the tail, each with its caption."""
    names = [one.name for one in evidence.early]

    def series(ax: Any, name: str, grid: Any, errors: tuple[ErrorAtWidth, ...], fitted: Rate, slope: float) -> Any:
        from jaxlimit import plots

        shown = [k for k, error in enumerate(errors) if error.distance > 0]
        return plots.rate(
            [grid[k] for k in shown],
            [errors[k].distance for k in shown],
            [errors[k].standard_error for k in shown],
            fitted.exponent,
            fitted.low,
            fitted.high,
            slope,
            None,
            ax,
            ylabel=r"$\eta\,T$" if slope == 0 else r"std of $\mathrm{d}L/\mathrm{d}t(0)$",
            label=name,
        )

    def by_width(ax: Any) -> Any:
        for name, hits in zip(names, measured.by_width, strict=True):
            series(ax, name, evidence.widths, hits.errors, hits.rate, 0.0)
        return ax

    def by_eta(ax: Any) -> Any:
        for name, hits in zip(names, measured.by_eta, strict=True):
            series(ax, name, [1.0 / eta for eta in reversed(evidence.etas)], hits.errors, hits.rate, 0.0)
        ax.set_xlabel(r"inverse step $1/\eta$")
        return ax

    def spread(ax: Any) -> Any:
        for name, found in zip(names, measured.descents, strict=True):
            series(ax, name, evidence.widths, found.deviation, found.rate, -0.5)
        return ax

    def loss(ax: Any, one: Early) -> Any:
        from jaxlimit import plots

        samples = {s.width: s for s in (one.by_width[0], one.by_width[-1])}
        steps = one.by_width[-1].steps
        chosen = np.unique(np.linspace(0, len(steps) - 1, MOST_POINTS).astype(int))
        found = {f"$N={width}$": training_loss(one.problem, s)[:, chosen] for width, s in samples.items()}
        ax = plots.vanishing(step_of(one.problem) * steps[chosen], found, ax, ylabel=f"loss $L$, {one.name}")
        ax.set_xlabel(r"time $t = \eta k$")
        return ax

    def sets(ax: Any, one: Early) -> Any:
        from jaxlimit import plots

        ts = step_of(one.problem) / FINER * one.sets.steps
        ax = plots.partition(ts, set_shares(one), ax, ylabel=f"share of neurons, {one.name}")
        ax.set_xlabel(r"time $t = \eta k$")
        return ax

    def tail(ax: Any) -> Any:
        from jaxlimit import plots

        assert measured.tail is not None
        ts, values = measured.tail
        shown = {r"$t\,L\,\log t$": values, r"$t\,L$": values / np.log(ts)}
        ax = plots.vanishing(ts, shown, ax, ylabel="exponential loss, scaled")
        ax.set(xscale="log", xlabel=r"time $t = \eta k$")
        return ax

    found = [
        Panel("hitting_width", "η·T over the widths, T the first step at which the loss is at its level.", by_width),
        Panel("hitting_step", "η·T over the steps η.", by_eta),
        Panel("descent", "How much the first descent varies between networks.", spread),
    ]
    for one in evidence.early:
        caption = f"Neurons in the four sets, mean over the points; N = {one.sets.width}, loss {one.name}."
        found.append(Panel(f"sets_{one.name}", caption, lambda ax, one=one: sets(ax, one)))  # type: ignore[misc]
        caption = f"The loss {one.name} of every network of the narrowest and the widest width, and their medians."
        found.append(Panel(f"loss_{one.name}", caption, lambda ax, one=one: loss(ax, one)))  # type: ignore[misc]
    if measured.tail is not None and np.all(measured.tail[1] > 0):
        found.append(Panel("tail", "The exponential loss late in training, network by network.", tail))
    return tuple(found)
