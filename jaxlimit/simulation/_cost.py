"""What a step costs, to choose a method and to cut runs into calls; measured, and held against time by a benchmark.

Nanoseconds on one core of a CPU of 2023. Ratios between methods matter and carry over; absolute times need not.
"""

import math

from jaxlimit.simulation._control import LEAP, Rule
from jaxlimit.simulation._state import Run


def stepwise_seconds(run: Run, native: bool) -> float:
    """Seconds per step and replica of the exact chain: a pass over w, and an activation.

    Steps on all points are products of matrices, which read w once for all of them.
    """
    one = 0.055 * run.rank + 0.45 if native else 0.12 * run.rank + 1.8
    each = one if run.batch is not None else 0.035 * run.rank + 0.9
    return 1e-9 * run.width * run.samples * each


def sstep_seconds(run: Run, rule: Rule, length: int, native: bool) -> float:
    """Seconds per step and replica of the chain in blocks of this length: products at some 80 operations a nanosecond.

    A block takes features (at order 2 at two places) and one move; kernels are shared by several blocks, except
    by the first (half of a kernel follows by symmetry in native code). Blocks that grow begin with shorter ones.
    The recursion over the steps runs in the outputs.
    """
    points, steps = rule.rows or run.points, max(1, run.steps)
    grown = math.log(max(1.0, length / int(rule.start)), LEAP)
    blocks = math.ceil(steps / length) + math.ceil(grown)
    kernels = min(blocks, rule.order + 1 + blocks / (rule.keep if rule.allowance > 0 else rule.renew))
    # At order 2 parameters and features of two places compete for the caches.
    each = 0.013 if rule.order == 1 else 0.017
    features = each * (2 * rule.order + 2) * points * run.rank + (0.6 if native else 1.2) * rule.order * points
    kernel = each * (2 if native else 4) * points**2
    # A step on all points is a product with the kernel.
    a_sample = (40 if native else 60) + 0.1 * points
    recursion = run.batch * a_sample if run.batch else (20 if native else 500) + (3 + 0.1 * points) * points
    return 1e-9 * (run.width * (blocks * features + kernels * kernel) / steps + recursion)
