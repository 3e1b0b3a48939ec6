"""The figures of the mean-field study. Plots are imported when a panel is drawn, never before."""

from typing import Any

import numpy as np

from jaxlimit.claims import Panel
from jaxlimit.studies._diverged import finite
from jaxlimit.studies._mean_field_claims import Evidence, Measured


def panels(evidence: Evidence, measured: Measured) -> tuple[Panel, ...]:
    """Paths, rate, movement of the measure and QQ, each with its caption."""
    samples, point = evidence.law_samples, 0
    kept = finite(samples)
    ts, mean = evidence.solution.ts, np.asarray(evidence.solution.values, np.float64)
    sd = evidence.fluctuation.law.standard_deviation / np.sqrt(samples.width)

    def paths(ax: Any) -> Any:
        from jaxlimit import plots

        y = float(evidence.limit.flow.problem.data.y[point])
        values = samples.values[:, :, point]
        return plots.paths(ts, values, mean[:, point], sd[:, point], ax, label="$g^N_t$", target=y)

    def series(ax: Any, name: str, widths: tuple[int, ...], label: str, ylabel: str, predicted: float) -> Any:
        from jaxlimit import plots

        # Where too few networks are left there is no distance, and a logarithmic axis has no zero.
        seen = [(n, e) for n, e in zip(widths, measured.errors[name], strict=True) if e.distance > 0]
        if not seen:
            return ax
        fitted, (sizes, errors) = measured.rates[name], zip(*seen, strict=True)
        return plots.rate(
            sizes,
            [e.distance for e in errors],
            [e.standard_error for e in errors],
            fitted.exponent,
            fitted.low,
            fitted.high,
            predicted,
            fitted.coefficient,
            ax,
            ylabel=ylabel,
            label=label,
            widths_used=fitted.widths_used,
        )

    def error(ax: Any) -> Any:
        return series(ax, "large numbers", evidence.widths, "outputs", "RMS $|g^N_t - g_t|$", -0.5)

    def movement(ax: Any) -> Any:
        for name, predicted in (("mean field", 0.0), ("Xavier", -0.5)):
            if name in measured.rates:
                series(ax, name, evidence.measure_widths, name, r"$W_2(\mu^N_T, \mu^N_0)$", predicted)
        return ax

    def qq(ax: Any) -> Any:
        from jaxlimit import plots

        return plots.qq(samples.values[kept, -1, point], float(mean[-1, point]), float(sd[-1, point]), ax)

    caption = f"Outputs at one data point at width {samples.width}: the limit, ± its predicted spread."
    found = [Panel("paths", caption, paths)] if np.any(kept) else []
    found += [
        Panel("error", "Distance of a network's output to the limit.", error),
        Panel("movement", "How far the law of the neurons moves, in two scalings.", movement),
    ]
    if sd[-1, point] > 0 and np.any(kept):
        found.append(Panel("qq", f"Outputs at t = {ts[-1]:g} against the quantiles of the predicted law.", qq))
    return tuple(found)
