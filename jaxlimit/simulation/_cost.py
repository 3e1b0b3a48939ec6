"""What a step costs, to choose a method and to cut runs into calls; measured, and checked by a benchmark.

Nanoseconds on one core of a CPU of 2023. Ratios between methods matter and carry over; absolute times need not.
"""

from jaxlimit.simulation._control import Rule
from jaxlimit.simulation._state import Run


def stepwise_seconds(run: Run, native: bool) -> float:
    """Seconds per step and replica of the exact chain, on one core."""
    each = 0.11 * run.rank + 0.45 if native else 0.2 * run.rank + 1.0
    return 1e-9 * run.width * run.batch * each


def sstep_seconds(run: Run, rule: Rule, native: bool) -> float:
    """Seconds per step and replica of the chain in blocks of the longest length, on one core."""
    points = rule.rows or run.points
    products = (2 * rule.order + 2) * points * run.rank + (2 if native else 4) * points**2 / rule.keep
    each = products / (55 if native else 40) + 0.35 * points * rule.order
    return 1e-9 * (run.width * each / int(rule.longest) + (10 if native else 40) * run.batch)
