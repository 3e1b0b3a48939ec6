"""Control variates: the limit started at each network's own h_0 removes the noise that the two share."""

import equinox as eqx
import numpy as np
import scipy.special
from jaxtyping import Bool, Float

from jaxlimit._arguments import real_array, require
from jaxlimit._numerics import UNIT
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.statistics._base import probability

FEWEST = 3
"""The mean and the coefficient take one degree of freedom each, and one must be left for the error."""


class Controlled(eqx.Module):
    """A controlled mean [*shape], component by component, with what is needed to doubt it.

    `reduction` is the number of times more replicas that plain Monte Carlo would need for the same
    `standard_error`: 1 where the control is of no use, below 1 where it does harm, infinite where the
    error is zero. `control_shift` is how far the control's own mean lies from the mean it is said to
    have, in standard errors of that difference: beyond about 5 the stated mean is wrong, and so is
    the estimate; infinite where a control that does not vary has another mean. `freedom` are the
    degrees of freedom left to the error.
    """

    mean: Float[Host, "*shape"]
    standard_error: Float[Host, "*shape"]
    coefficient: Float[Host, "*shape"]
    reduction: Float[Host, "*shape"]
    control_shift: Float[Host, "*shape"]
    freedom: Float[Host, "*shape"]
    replicas: int = eqx.field(static=True)

    def interval(self, level: float = 0.95) -> tuple[Float[Host, "*shape"], Float[Host, "*shape"]]:
        """(low, high): mean ± t·standard_error at confidence `level`, each component on its own."""
        reach = student(self.freedom, level) * self.standard_error
        return self.mean - reach, self.mean + reach


def control_variate(
    values: ArrayLike, control: ArrayLike, control_mean: ArrayLike, control_error: ArrayLike | None = None
) -> Controlled:
    """The mean of `values`, corrected by what the control's known mean says about these very draws.

    mean = v̄ − β(c̄ − E c), β = Σ(v_r − v̄)(c_r − c̄)/S, S = Σ(c_r − c̄)²; β = 0 where the control varies
    by no more than rounding, which is plain Monte Carlo. With R replicas and ε_r the residuals of the regression,

        standard_error² = Σ_r [(1/R − (c_r − c̄)(c̄ − E c)/S) · ε_r/(1 − h_r)]² + (β·control_error)²

    where ε_r/(1 − h_r), h_r = 1/R + (c_r − c̄)²/S, is the error that the line fitted to the other
    replicas makes at replica r; Σ h_r = 2 are the two degrees of freedom lost to v̄ and β. Unlike the
    textbook residual variance it does not suppose that ε is equally large for all c. It is infinite
    where one replica alone decides β.

    `values` and `control` [replicas, *shape] are paired draws: f(h^N_t) of a network, and f of the
    limit started at that network's own h_0. `control_mean` [*shape] is E c, `control_error` [*shape]
    its standard error where it was estimated from other, independent draws (None: exact).

    Asymptotically reduction = 1/(1 − ρ²), ρ the correlation of the pair. Estimating β biases the mean
    by −Cov(ε, (c − E c)²)/(R Var c): nothing for Gaussian pairs, else of order 1/R and so below the
    standard error by a factor of order √R. Coverage of the 95% interval by simulation: 96% at 20
    replicas and 95% from 200 on for Gaussian pairs; 94–95% from 20 on where v depends on c quadratically.

    Raises ``ValueError`` for fewer than 3 replicas, for shapes that do not fit, for values that are
    not finite and for negative errors. Source: references `control_variates`, `mackinnon1985`.

        >>> import numpy as np
        >>> from jaxlimit.statistics import control_variate
        >>> start, noise = np.random.default_rng(0).standard_normal((2, 1000))
        >>> result = control_variate(2.0 + start + 0.1 * noise, start, 0.0)
        >>> low, high = result.interval(level=0.9999)
        >>> bool(low < 2.0 < high), bool(result.standard_error < 0.004), bool(result.reduction > 80)
        (True, True, True)
    """
    v, c = real_array("values", values, None), real_array("control", control, None)
    require(v.ndim >= 1 and v.size > 0, "values", "have shape [replicas, …]", f"its shape is {v.shape}")
    require(c.shape == v.shape, "control", f"have the shape {v.shape} of `values`", f"it is {c.shape}")
    replicas, shape = v.shape[0], v.shape[1:]
    require(replicas >= FEWEST, "values", f"hold at least {FEWEST} replicas", f"it holds {replicas}")
    known = _component("control_mean", control_mean, shape)
    doubt = np.zeros(shape) if control_error is None else _component("control_error", control_error, shape)
    require(bool(np.all(doubt >= 0)), "control_error", "not be negative", f"its smallest entry is {np.min(doubt):g}")

    useful = varies(c)
    v_bar, c_bar = np.mean(v, axis=0), np.mean(c, axis=0)
    dv, dc = v - v_bar, np.where(useful, c - c_bar, 0.0)
    spread = np.where(useful, np.sum(dc * dc, axis=0), 1.0)
    coefficient = np.sum(dv * dc, axis=0) / spread
    gap = np.where(useful, c_bar - known, 0.0)
    off = np.abs(c_bar - known) > 16 * UNIT * np.maximum(np.abs(c_bar), np.abs(known))
    plain = np.sum(dv * dv, axis=0) / (replicas * (replicas - 1))
    squared = np.where(useful, _leave_one_out(dv - coefficient * dc, dc, gap, spread), plain)
    squared = squared + np.square(coefficient * doubt)
    own = np.sqrt(np.sum(dc * dc, axis=0) / (replicas * (replicas - 1)) + doubt**2)
    return Controlled(
        mean=np.asarray(v_bar - coefficient * gap),
        standard_error=np.asarray(np.sqrt(squared)),
        coefficient=np.asarray(coefficient),
        reduction=np.asarray(times_more(plain, squared)),
        control_shift=np.divide(gap, own, out=np.where(off, np.inf, 0.0), where=own > 0),
        freedom=np.asarray(replicas - 1.0 - useful),
        replicas=replicas,
    )


def varies(control: Float[Host, " replicas *shape"]) -> Bool[Host, "*shape"]:
    """Where the control has more than rounding to say; 16 units, as products of matrices round by their shape."""
    return np.std(control, axis=0) > 16 * UNIT * np.max(np.abs(control), axis=0)


def student(freedom: Float[Host, "*shape"], level: float) -> Float[Host, "*shape"]:
    """The Student quantile t with P(|T| ≤ t) = level."""
    tail = 0.5 * (1.0 - probability("level", level))
    return np.asarray(-scipy.special.stdtrit(freedom, tail))


def times_more(plain: Float[Host, "*shape"], reached: Float[Host, "*shape"]) -> Float[Host, "*shape"]:
    """plain/reached for two costs or variances; 1 where both are zero: nothing was there to be reduced."""
    beyond = np.where(plain > 0, np.inf, 1.0)
    return np.divide(plain, reached, out=beyond, where=reached > 0)


def _leave_one_out(residuals: Host, dc: Host, gap: Host, spread: Host) -> Host:
    """Σ [weight_r · ε_r/(1 − h_r)]²: the weight of v_r in the estimate, times an error that v_r did not help hide."""
    replicas = dc.shape[0]
    left = 1.0 - 1.0 / replicas - dc * dc / spread
    # Where nothing is left, the line passes through that replica whatever its value: its error is unknown.
    alone = left < 1e-10
    terms = (1.0 / replicas - dc * gap / spread) * residuals / np.where(alone, 1.0, left)
    return np.where(np.any(alone, axis=0), np.inf, np.sum(terms * terms, axis=0))


def _component(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Host:
    """One finite number for every component of the values."""
    array = real_array(name, value, None)
    require(array.shape == shape, name, f"have the shape {shape} of one replica", f"it is {array.shape}")
    return array
