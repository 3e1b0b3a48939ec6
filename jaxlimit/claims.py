"""What a study says: claims with their evidence, and a verdict that is never stronger than the evidence."""

import enum
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any

import equinox as eqx


class Verdict(enum.Enum):
    """HOLDS and VIOLATED are statistical or proved statements; everything short of them is UNDECIDED."""

    HOLDS = "HOLDS"
    VIOLATED = "VIOLATED"
    UNDECIDED = "UNDECIDED"


class Claim(eqx.Module):
    """One statement put to the test.

    `expected` and `observed` are short texts or numbers; `error` says how far to trust `observed`
    (a standard error, a bound or an interval, in words); `reason` says why the verdict is what it is.
    """

    name: str = eqx.field(static=True)
    statement: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    expected: str = eqx.field(static=True)
    observed: str = eqx.field(static=True)
    error: str = eqx.field(static=True)
    verdict: Verdict = eqx.field(static=True)
    reason: str = eqx.field(static=True, default="")

    def as_dict(self) -> dict[str, str]:
        """Plain strings, ready for JSON."""
        return {
            "name": self.name,
            "statement": self.statement,
            "source": self.source,
            "expected": self.expected,
            "observed": self.observed,
            "error": self.error,
            "verdict": self.verdict.value,
            "reason": self.reason,
        }


class Remark(eqx.Module):
    """Something found where the theorem says nothing: no claim, and so no verdict.

    `found` says in a few words what is known now; `observed`, `error` and `reason` as in a claim.
    """

    name: str = eqx.field(static=True)
    found: str = eqx.field(static=True)
    observed: str = eqx.field(static=True)
    error: str = eqx.field(static=True)
    reason: str = eqx.field(static=True, default="")

    def as_dict(self) -> dict[str, str]:
        """Plain strings, ready for JSON."""
        return {
            "name": self.name,
            "found": self.found,
            "observed": self.observed,
            "error": self.error,
            "reason": self.reason,
        }


class Panel(eqx.Module):
    """One figure of a report: `draw(ax)` paints it on Matplotlib axes when somebody wants to see it."""

    name: str = eqx.field(static=True)
    caption: str = eqx.field(static=True)
    draw: Callable[[Any], Any] = eqx.field(static=True)


class Report(eqx.Module):
    """The outcome of a study: claims, the panels that show them, the arrays behind them, the configuration.

    `remarks` are what the study found beyond the theorem, apart from the claims.
    """

    title: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    claims: tuple[Claim, ...]
    panels: tuple[Panel, ...]
    arrays: dict[str, Any]
    configuration: dict[str, Any] = eqx.field(static=True)
    remarks: tuple[Remark, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """Number of claims with this verdict."""
        return sum(claim.verdict is verdict for claim in self.claims)

    @property
    def violated(self) -> bool:
        """Whether any claim is VIOLATED."""
        return self.count(Verdict.VIOLATED) > 0


def below(value: float, digits: int = 6) -> str:
    """A lower bound as text: rounded down, so that what is printed is a lower bound too.

    >>> import jaxlimit as jl
    >>> jl.claims.below(0.0255368572, 4), jl.claims.above(0.0255368572, 4)
    ('0.02553', '0.02554')
    """
    return _rounded(value, digits, ROUND_FLOOR)


def above(value: float, digits: int = 6) -> str:
    """An upper bound as text: rounded up, so that what is printed is an upper bound too."""
    return _rounded(value, digits, ROUND_CEILING)


def enclosure(lower: float, upper: float) -> tuple[str, str]:
    """The ends of an interval as text, rounded outwards to a place at least ten times finer than their distance.

    So the text is at most a fifth wider than the interval. At least four digits and at most fifteen, which float64
    keeps.

        >>> import jaxlimit as jl
        >>> jl.claims.enclosure(0.5, 0.5 + 2.0**-20)
        ('0.5', '0.50000096')
        >>> jl.claims.enclosure(0.25, 0.5)
        ('0.25', '0.5')
    """
    size, apart = max(abs(lower), abs(upper)), upper - lower
    known = math.isfinite(apart) and math.isfinite(size) and apart > 0
    places = math.floor(math.log10(size)) - math.floor(math.log10(apart)) + 2 if known else 4 if apart else 15
    digits = min(15, max(4, places))
    return below(lower, digits), above(upper, digits)


def _rounded(value: float, digits: int, rounding: str) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{float(Context(prec=digits, rounding=rounding).create_decimal(value)):.{digits}g}"


def number(value: float, digits: int = 3) -> str:
    """A number as text: fixed digits in the ordinary range, scientific outside it."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}"
