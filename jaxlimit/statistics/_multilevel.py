"""Multilevel Monte Carlo over widths: most replicas at small widths, few at the width of interest."""

import math
from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import items, positive_number, real_array, require
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.statistics._control_variate import student, times_more


class Multilevel(eqx.Module):
    """The mean at the last level's width [*shape], with its error and its price.

    `variances` [levels, *shape] are those of one replica of each level, as `allocation` takes them;
    `plain_variance` [*shape] is that of one network of the last width, from the replicas of the last
    level alone (for Gaussian values its relative error is √(2/replicas)). `cost` is Σ R_l C_l, and
    `reduction` [*shape] how many times more plain Monte Carlo at the last width would cost for the
    same `standard_error`; it inherits the doubt of `plain_variance`. `freedom` [*shape] are the
    degrees of freedom of the error.
    """

    mean: Float[Host, "*shape"]
    standard_error: Float[Host, "*shape"]
    means: Float[Host, " levels *shape"]
    variances: Float[Host, " levels *shape"]
    plain_variance: Float[Host, "*shape"]
    reduction: Float[Host, "*shape"]
    freedom: Float[Host, "*shape"]
    cost: float = eqx.field(static=True)
    replicas: tuple[int, ...] = eqx.field(static=True)

    def interval(self, level: float = 0.95) -> tuple[Float[Host, "*shape"], Float[Host, "*shape"]]:
        """(low, high): mean ± t·standard_error at confidence `level`, each component on its own."""
        reach = student(self.freedom, level) * self.standard_error
        return self.mean - reach, self.mean + reach


def multilevel(levels: Sequence[ArrayLike], costs: ArrayLike, finest_cost: float) -> Multilevel:
    """The mean at the largest width as that of the smallest plus the corrections from width to width.

    mean = Σ_l Ȳ_l, Y_0 = f(h^{N_0}), Y_l = f(h^{N_l}) − ½[f(h¹) + f(h²)],

    where h¹ and h² are the two networks of half the width that share the neurons and samples of the
    fine one (antithetic: the parts of f in which they differ to first order cancel). Its expectation is
    E f(h^{N_L}) exactly, if the halves of one level are distributed like the fine networks of the
    level below. The levels must be independent of each other:

        standard_error² = Σ_l s²_l/R_l,   freedom = standard_error⁴ / Σ_l (s²_l/R_l)²/(R_l − 1)

    with s²_l the sample variance of Y_l (Welch and Satterthwaite's degrees of freedom). Coverage of the
    95% interval by simulation, Gaussian levels: 95% from 5 replicas a level on, 94% where the level of
    most variance has 3.

    `levels` holds first the values [replicas, *shape] at the smallest width, then for each further
    width a pair (fine, coarse), each [replicas, *shape], coarse being already the average over the two
    halves; replicas may differ from level to level. `costs` [levels] is what one replica of each level
    costs, its coarse networks included; `finest_cost` what ONE network of the last width costs, in
    the same unit. Raises ``ValueError`` for fewer than 2 replicas at a level, for shapes that do not
    fit, for values that are not finite and for costs that are not positive.
    Source: references `multilevel`, `antithetic`.

        >>> import numpy as np
        >>> from jaxlimit.statistics import multilevel
        >>> rng = np.random.default_rng(0)
        >>> narrow, wide = rng.standard_normal(4000), rng.standard_normal(100)
        >>> result = multilevel([narrow, (wide + 0.5, wide + 0.1 * rng.standard_normal(100))], [1.0, 20.0], 10.0)
        >>> low, high = result.interval(level=0.9999)
        >>> bool(low < 0.5 < high), result.cost, bool(result.reduction > 3)
        (True, 6000.0, True)
    """
    given = items("levels", levels, "values and pairs (fine, coarse)")
    require(len(given) > 0, "levels", "hold at least one level", "it is empty")
    fine = _values("levels[0]", given[0], None)
    draws = [fine]
    for number, pair in enumerate(given[1:], start=1):
        both = items(f"levels[{number}]", pair, "two arrays (fine, coarse)")
        require(len(both) == 2, f"levels[{number}]", "be a pair (fine, coarse)", f"it has {len(both)} members")
        fine = _values(f"levels[{number}]", both[0], draws[0].shape[1:])
        coarse = _values(f"levels[{number}]", both[1], draws[0].shape[1:])
        wanted, found = "hold as many fine as coarse replicas", f"it holds {fine.shape[0]} and {coarse.shape[0]}"
        require(fine.shape == coarse.shape, f"levels[{number}]", wanted, found)
        draws.append(fine - coarse)
    prices, finest = _costs(costs, len(draws)), positive_number("finest_cost", finest_cost)

    replicas = tuple(level.shape[0] for level in draws)
    cost = float(sum(price * count for price, count in zip(prices, replicas, strict=True)))
    means = np.stack([np.mean(level, axis=0) for level in draws])
    variances = np.stack([np.var(level, axis=0, ddof=1) for level in draws])
    counts = np.array(replicas, dtype=np.float64).reshape(-1, *[1] * (variances.ndim - 1))
    shares = variances / counts
    squared = np.asarray(np.sum(shares, axis=0))
    spread = np.sum(np.square(shares) / (counts - 1.0), axis=0)
    plain = np.asarray(np.var(fine, axis=0, ddof=1))
    # No variance, no error: any number of degrees of freedom will do.
    most = np.full(squared.shape, float(sum(replicas) - len(draws)))
    freedom = np.divide(squared**2, spread, out=most, where=spread > 0)
    return Multilevel(
        mean=np.asarray(np.sum(means, axis=0)),
        standard_error=np.asarray(np.sqrt(squared)),
        means=means,
        variances=variances,
        plain_variance=plain,
        reduction=times_more(plain * finest, squared * cost),
        freedom=freedom,
        cost=cost,
        replicas=replicas,
    )


def allocation(variances: ArrayLike, costs: ArrayLike, standard_error: ArrayLike) -> tuple[int, ...]:
    """The cheapest numbers of replicas, level by level, that reach a standard error.

    R_l = ⌈ standard_error⁻² √(V_l/C_l) Σ_k √(V_k C_k) ⌉, at least 2: it minimises Σ R_l C_l subject to
    Σ V_l/R_l ≤ standard_error². With several components, each level takes the largest number that
    any of them asks for, so that all reach their standard error.

    `variances` [levels, *shape] come from a pilot, as `Multilevel.variances`, and are estimates: a
    pilot of R_l replicas leaves R_l uncertain by about √(2/R_l). `costs` [levels] in any one unit;
    `standard_error` is one number or [*shape]. Raises ``ValueError`` for negative variances, for costs
    or standard errors that are not positive, and for shapes that do not fit.
    Source: references `multilevel`.

        >>> from jaxlimit.statistics import allocation
        >>> allocation([1.0, 0.01], [1.0, 4.0], standard_error=0.01)
        (12000, 600)
    """
    v = real_array("variances", variances, None)
    require(v.ndim >= 1 and v.size > 0, "variances", "have shape [levels, …]", f"its shape is {v.shape}")
    require(bool(np.all(v >= 0)), "variances", "not be negative", f"its smallest entry is {v.min():g}")
    prices = _costs(costs, v.shape[0]).reshape(-1, *[1] * (v.ndim - 1))
    target = real_array("standard_error", standard_error, None)
    fits = target.shape in ((), v.shape[1:])
    require(fits, "standard_error", f"be a number or have shape {v.shape[1:]}", f"its shape is {target.shape}")
    require(bool(np.all(target > 0)), "standard_error", "be positive", f"its smallest entry is {target.min():g}")
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        wanted = np.sqrt(v / prices) * np.sum(np.sqrt(v * prices), axis=0) / target**2
    countable = bool(np.all(wanted < 2.0**63))
    found = "it asks for more replicas than can be counted"
    require(countable, "standard_error", "be within reach of the variances and costs", found)
    # 1e-9: what rounding leaves above a whole number is not another replica.
    return tuple(max(2, math.ceil(np.max(level) * (1.0 - 1e-9))) for level in wanted)


def _values(name: str, value: ArrayLike, shape: tuple[int, ...] | None) -> Host:
    """[replicas, *shape] with at least 2 replicas; None takes any shape."""
    array = real_array(name, value, None)
    require(array.ndim >= 1 and array.size > 0, name, "have shape [replicas, …]", f"its shape is {array.shape}")
    require(array.shape[0] >= 2, name, "hold at least 2 replicas", f"it holds {array.shape[0]}")
    same = shape is None or array.shape[1:] == shape
    wanted = f"have the shape {shape} of a replica of the first level"
    require(same, name, wanted, f"one of its replicas has {array.shape[1:]}")
    return array


def _costs(costs: ArrayLike, levels: int) -> Host:
    """One positive cost for each level."""
    prices = real_array("costs", costs, 1)
    require(prices.size == levels, "costs", f"hold one entry per level ({levels})", f"it holds {prices.size}")
    require(bool(np.all(prices > 0)), "costs", "be positive", f"its smallest entry is {prices.min():g}")
    return prices
