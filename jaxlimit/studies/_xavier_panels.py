"""The figures of the Xavier study. Plots are imported when a panel is drawn, never before."""

from typing import Any

import numpy as np

from jaxlimit.claims import Panel
from jaxlimit.studies._xavier_claims import Evidence, Measured


def panels(evidence: Evidence, measured: Measured) -> tuple[Panel, ...]:
    """Paths, error, freezing, spectrum, smallest eigenvalue, loss and QQ, each with its caption."""
    samples, law = evidence.law_samples, evidence.law
    width, last, point = samples.width, float(law.ts[-1]), 0
    sd, widest = law.standard_deviation, evidence.widths[-1]
    assumptions = evidence.certificate.assumptions if evidence.certificate.lower > 0 else ()

    def paths(ax: Any) -> Any:
        from jaxlimit import plots

        y = float(evidence.limit.kernel.problem.data.y[point])
        label = f"$N={width}$, point {point}"
        values, mean = samples.values[:, :, point], law.mean[:, point]
        return plots.paths(law.ts, values, mean, sd[:, point], ax, label=label, target=y)

    def series(ax: Any, name: str, label: str, ylabel: str, size: float | None = None) -> Any:
        from jaxlimit import plots

        fitted, errors = measured.rates[name], measured.errors[name]
        return plots.rate(
            evidence.widths,
            [e.distance for e in errors],
            [e.standard_error for e in errors],
            fitted.exponent,
            fitted.low,
            fitted.high,
            -0.5,
            fitted.coefficient,
            ax,
            ylabel=ylabel,
            label=label,
            widths_used=fitted.widths_used,
            predicted_coefficient=size,
        )

    def error(ax: Any) -> Any:
        prediction = evidence.path_prediction
        size = None if prediction is None else prediction.pooled[0]
        return series(ax, "path-wise rate", "paths", "RMS $|h^N_t - h_t|$", size or None)

    def freezing(ax: Any) -> Any:
        series(ax, "parameters freeze", "parameters", "RMS distance")
        return series(ax, "kernel concentrates", "kernel", "RMS distance")

    def spectrum(ax: Any) -> Any:
        from jaxlimit import plots

        certificate = evidence.certificate
        return plots.spectrum(
            evidence.limit.eigenvalues,
            certificate.lower,
            certificate.upper,
            ax,
            floor=certificate.floor,
            status=certificate.status.name,
            assumptions=assumptions,
        )

    def smallest(ax: Any) -> Any:
        from jaxlimit import plots

        values = measured.lambda_min[-1]
        limit = float(evidence.limit.eigenvalues[0])
        lower = evidence.certificate.lower
        return plots.lambda_min_along_training(law.ts, values, limit, lower, ax, width=widest, assumptions=assumptions)

    def loss(ax: Any) -> Any:
        from jaxlimit import plots

        lower = max(evidence.certificate.lower, 0.0)
        envelope = np.exp(-2 * lower * law.ts) * measured.predicted_loss[0] if lower > 0 else None
        mean, error = measured.loss, measured.loss_error
        return plots.loss(
            law.ts, mean, error, measured.predicted_loss, envelope, ax, width=width, assumptions=assumptions
        )

    def qq(ax: Any) -> Any:
        from jaxlimit import plots

        return plots.qq(samples.values[:, -1, point], float(law.mean[-1, point]), float(sd[-1, point]), ax)

    given = f", given: {'; '.join(assumptions)}" if assumptions else ""
    return (
        Panel("paths", f"Outputs at point {point} of networks of width {width}, against the limit law.", paths),
        Panel("error", "Distance of a network's path to the limit started at the same h_0.", error),
        Panel("freezing", "Movement of a neuron, and distance of the kernel to its limit, along training.", freezing),
        Panel("spectrum", f"Spectrum of A with the proved interval of its smallest eigenvalue{given}.", spectrum),
        Panel("lambda_min", f"Smallest eigenvalue of the kernel along training at width {widest}{given}.", smallest),
        Panel("loss", f"Mean loss over networks, the limit's prediction and the proved envelope{given}.", loss),
        Panel("qq", f"Outputs at point {point} and t = {last:g} against the quantiles of the limit law.", qq),
    )
