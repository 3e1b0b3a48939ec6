"""The figures of the normalisation study. Plots are imported when a panel is drawn, never before."""

import math
from typing import Any

import numpy as np

from jaxlimit.claims import Panel
from jaxlimit.studies._normalisation_claims import Evidence, Measured

SHOWN = 4
"""Series that one figure can bear."""


def panels(evidence: Evidence, measured: Measured) -> tuple[Panel, ...]:
    """Variance and bias, what finite N adds, movement and test error, each against γ and with its caption."""
    gammas, width, end = evidence.gammas, evidence.law_samples[0].width, evidence.predictions.ts[-1]
    spreads = measured.spreads

    def bias_variance(ax: Any) -> Any:
        from jaxlimit import plots

        variances = [s.variance for s in spreads]
        ax = plots.against_gamma(
            gammas,
            [v.distance for v in variances],
            [v.standard_error for v in variances],
            [s.predicted for s in spreads],
            [s.limit for s in spreads],
            ax,
            ylabel=f"on the data at $t = {end:g}$",
            label="variance",
            predicted_label="variance, predicted",
            limit_label=r"$N^{1-2\gamma}e^{-At}\Sigma e^{-A^{\top}t}$ alone",
            log=True,
        )
        return plots.against_gamma(
            gammas,
            [b.value[-1] for b in measured.biases],
            [b.error[-1] for b in measured.biases],
            [b.value[-1] for b in measured.predicted_biases],
            None,
            ax,
            ylabel=f"on the data at $t = {end:g}$",
            label="squared bias",
            predicted_label="squared bias, predicted",
            log=True,
        )

    def finite_width(ax: Any) -> Any:
        from jaxlimit import plots

        return plots.against_gamma(
            gammas,
            [s.variance.distance / s.limit for s in spreads],
            [s.variance.standard_error / s.limit for s in spreads],
            [s.predicted / s.limit for s in spreads],
            np.ones(len(gammas)),
            ax,
            ylabel=r"$N^{2\gamma-1}\,$Var$\,h^N_t$ over its limit",
            label=f"width $N={width}$",
            predicted_label="predicted with finite $N$",
            log=True,
        )

    def movement(ax: Any) -> Any:
        from jaxlimit import plots

        rates = measured.rates
        bars = [[r.exponent - r.low for r in rates], [r.high - r.exponent for r in rates]]
        return plots.against_gamma(
            gammas,
            [r.exponent for r in rates],
            bars,
            [g - 1.0 for g in gammas],
            None,
            ax,
            ylabel="exponent of a neuron's movement in $N$",
            label="fitted, 95% interval",
            predicted_label=r"$\gamma-1$",
        )

    def test_error(ax: Any) -> Any:
        from jaxlimit import plots

        chosen = np.unique(np.linspace(0, len(evidence.widths) - 1, SHOWN).round().astype(int))
        for i in chosen:
            seen, wanted = measured.test_errors[i], measured.predicted_test_errors[i]
            ax = plots.against_gamma(
                gammas,
                [100 * e.distance for e in seen],
                [100 * e.standard_error for e in seen],
                [100 * float(p.value) for p in wanted],
                None,
                ax,
                ylabel="held-out points with the wrong sign (%)",
                label=f"$N={evidence.widths[i]}$",
                predicted_label="",
            )
        return ax

    found = []
    if all(s.predicted > 0 and s.limit > 0 for s in spreads):
        found += [
            Panel("bias_variance", f"Variance and squared bias of networks of width {width} against γ.", bias_variance),
            Panel("finite_width", "Variance over its limit: what finite N adds, by the noise of SGD.", finite_width),
        ]
    if not any(math.isnan(r.exponent) for r in measured.rates):
        found.append(Panel("movement", "Exponent of a neuron's movement in the width, against γ.", movement))
    if measured.test_errors:
        caption = "Held-out points with the wrong sign against γ: networks (dots) and prediction (lines), by width."
        if evidence.predictions.unpredicted:
            caption += " The prediction leaves out the noise of SGD."
        found.append(Panel("test_error", caption, test_error))
    return tuple(found)
