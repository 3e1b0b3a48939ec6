"""What a study says: claims with their evidence, and a verdict that is never stronger than the evidence."""

import enum
import math
from collections.abc import Callable
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


class Panel(eqx.Module):
    """One figure of a report: `draw(ax)` paints it on Matplotlib axes when somebody wants to see it."""

    name: str = eqx.field(static=True)
    caption: str = eqx.field(static=True)
    draw: Callable[[Any], Any] = eqx.field(static=True)


class Report(eqx.Module):
    """The outcome of a study: claims, the panels that show them, the arrays behind them, the configuration."""

    title: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    claims: tuple[Claim, ...]
    panels: tuple[Panel, ...]
    arrays: dict[str, Any]
    configuration: dict[str, Any] = eqx.field(static=True)

    def count(self, verdict: Verdict) -> int:
        """Number of claims with this verdict."""
        return sum(claim.verdict is verdict for claim in self.claims)

    @property
    def violated(self) -> bool:
        """Whether any claim is VIOLATED."""
        return self.count(Verdict.VIOLATED) > 0


def number(value: float, digits: int = 3) -> str:
    """A number as text: fixed digits in the ordinary range, scientific outside it."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}"
