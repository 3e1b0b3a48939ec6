"""The figures of the multilayer study. Plots are imported when a panel is drawn, never before."""

from typing import Any

import numpy as np

from jaxlimit.claims import Panel
from jaxlimit.studies._multilayer_evidence import Evidence, Measured


def panels(evidence: Evidence, measured: Measured) -> tuple[Panel, ...]:
    """Rates in n and in 1/ε, diversity, losses and the smallest eigenvalues, each with its caption."""

    def series(ax: Any, name: str, grid: tuple[int, ...], ylabel: str, predicted: dict[str, float]) -> Any:
        from jaxlimit import plots

        for quantity, fitted in measured.rates[name].items():
            # Where too few networks are left there is no distance, and a logarithmic axis has no zero.
            seen = [(n, e) for n, e in zip(grid, measured.errors[name][quantity], strict=True) if e.distance > 0]
            if not seen:
                continue
            sizes, errors = zip(*seen, strict=True)
            plots.rate(
                sizes,
                [e.distance for e in errors],
                [e.standard_error for e in errors],
                fitted.exponent,
                fitted.low,
                fitted.high,
                predicted[quantity],
                fitted.coefficient,
                ax,
                ylabel=ylabel,
                label=quantity,
                widths_used=fitted.widths_used,
            )
        return ax

    def coupling(ax: Any) -> Any:
        names = evidence.coupling.names
        ax = series(ax, "coupling", evidence.coupling.grid, "RMS distance to the limit", dict.fromkeys(names, -0.5))
        ax.set_xlabel("width $n$")
        return ax

    def steps(ax: Any, name: str, predicted: float) -> Any:
        one = evidence.steps[name]
        ax = series(ax, name, one.grid, "RMS distance to the flow", dict.fromkeys(one.names, predicted))
        ax.set_xlabel(r"steps per unit of limit time, $1/\epsilon$")
        return ax

    def diversity(ax: Any) -> Any:
        slopes = {name: -0.5 if name == "independent, 4 layers" else 0.0 for name in evidence.spreads}
        ax = series(ax, "diversity", evidence.spread_widths, "std over neurons of $H_2$", slopes)
        ax.set_xlabel("width $n$")
        return ax

    def loss(ax: Any, k: int) -> Any:
        from jaxlimit import plots

        losses, speeds = measured.losses[k], measured.speeds[k]
        return plots.vanishing(
            evidence.trainings[k].samples.ts,
            {"loss": losses, r"max $|\partial_t w_L|$": speeds},
            ax,
        )

    def features(ax: Any) -> Any:
        from jaxlimit import plots

        bounds = measured.eigenvalues[0]
        names = {f"layer {i + 1}": bounds[:, :, i] for i in range(bounds.shape[2])}
        label = r"certified lower bound of $\lambda_{\min}$"
        return plots.vanishing(evidence.trainings[0].samples.ts, names, ax, ylabel=label)

    found = [
        Panel("coupling", "Distance of every layer's weights and of the output to the limit.", coupling),
        Panel("sgd", "Distance to the flow of the same neurons, fresh samples.", lambda ax: steps(ax, "SGD", -0.5)),
        Panel(
            "full_batch",
            "Distance to the flow of the same neurons, all points at every step.",
            lambda ax: steps(ax, "full batch", -1.0),
        ),
        Panel("diversity", "How much H_2 differs between neurons after training (3 layers: its change).", diversity),
    ]
    for k, training in enumerate(evidence.trainings):
        if not (measured.losses[k].size and np.all(measured.losses[k] > 0) and np.all(measured.speeds[k] > 0)):
            continue
        name = type(training.problem.loss).__name__
        caption = f"Loss {name} and the fastest last weight along training, every network."
        found.append(Panel(f"loss_{k}_{name}", caption, lambda ax, k=k: loss(ax, k)))  # type: ignore[misc]
    if measured.eigenvalues[0].size and np.all(measured.eigenvalues[0] > 0):
        caption = "Certified lower bounds of the smallest eigenvalue of feature Gram matrices, every network."
        found.append(Panel("features", caption, features))
    return tuple(found)
