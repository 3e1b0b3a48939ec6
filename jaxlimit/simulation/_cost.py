"""What a step costs, to choose a method and to cut runs into calls; on CPUs held against time by a benchmark.

Nanoseconds on one core of a CPU of 2023, and figures of data sheets on accelerators, which nobody has held against time
yet. Ratios between methods matter and carry over; absolute times need not.
"""

import math

from jaxlimit._devices import facts
from jaxlimit.simulation._control import LEAP, Rule
from jaxlimit.simulation._memory import LAUNCHES, PASSES, features, parameters
from jaxlimit.simulation._state import Run

OF_A_BLOCK, OF_A_CHUNK, OF_A_CORRECTION, CORRECTIONS = 30, 12, 8, 6
"""Kernels of a block, of a chunk of its steps and of one correction of their errors, as read off programs compiled for
an H100; and corrections of a chunk."""

OF_FEATURES, OF_ERRORS = 6, 4
"""How often a block reads or writes the features of its points, and a correction the errors of its steps by point."""

OF_AN_ACTIVATION = 40
"""Operations for σ and σ' of one number."""


def stepwise_seconds(run: Run, native: bool, lanes: int) -> float:
    """Seconds per step and replica of the exact chain: a pass over w, and an activation.

    Steps on all points are products of matrices, which read w once for all of them. On an accelerator the step of a
    lane takes its launches and what moves, or the operations if they take longer.
    """
    if not run.on_cpus:
        known, numbers = facts(run.devices), run.numbers(run.rank)
        moved = PASSES * (parameters(run) + features(run, run.samples)) / known.bandwidth
        operations = run.samples * (4 * numbers + OF_AN_ACTIVATION * run.neurons) / known.operations
        return LAUNCHES * known.launch / lanes + max(moved, operations)
    one = 0.055 * run.rank + 0.45 if native else 0.12 * run.rank + 1.8
    each = one if run.batch is not None else 0.035 * run.rank + 0.9
    return 1e-9 * run.width * run.samples * each


def sstep_seconds(run: Run, rule: Rule, length: int, native: bool, lanes: int) -> float:
    """Seconds per step and replica of the chain in blocks of this length: products at some 80 operations a nanosecond.

    A block takes features (at order 2 at two places) and one move; kernels are shared by several blocks, except
    by the first (half of a kernel follows by symmetry in native code). Blocks that grow begin with shorter ones.
    The recursion over the steps runs in the outputs.
    """
    points, steps = rule.rows or run.points, max(1, run.steps)
    grown = math.log(max(1.0, length / int(rule.start)), LEAP)
    blocks = math.ceil(steps / length) + math.ceil(grown)
    kernels = min(blocks, rule.order + 1 + blocks / (rule.keep if rule.allowance > 0 else rule.renew))
    if not run.on_cpus:
        return _on_device(run, rule, points, blocks, lanes) / steps
    # At order 2 parameters and features of two places compete for the caches.
    each = 0.013 if rule.order == 1 else 0.017
    features_ = each * (2 * rule.order + 2) * points * run.rank + (0.6 if native else 1.2) * rule.order * points
    kernel = each * (2 if native else 4) * points**2
    # A step on all points is a product with the kernel.
    a_sample = (40 if native else 60) + 0.1 * points
    recursion = run.batch * a_sample if run.batch else (20 if native else 500) + (3 + 0.1 * points) * points
    return 1e-9 * (run.width * (blocks * features_ + kernels * kernel) / steps + recursion)


def _on_device(run: Run, rule: Rule, points: int, blocks: float, lanes: int) -> float:
    """Seconds per replica of all blocks on an accelerator: launches shared by the lane, and what moves or is computed.

    A chunk of steps is as many rows of the kernel, gone over by every correction. Every block computes its kernel:
    replicas that advance together cannot skip it one by one.
    """
    known, size = facts(run.devices), run.dtype.itemsize
    chunks = blocks + max(1, run.steps) / rule.chunk
    launches = blocks * OF_A_BLOCK + chunks * (OF_A_CHUNK + CORRECTIONS * OF_A_CORRECTION)
    of_features = rule.order * points * (4 * run.rank + OF_AN_ACTIVATION)
    operations = run.width * blocks * (of_features + 4 * points**2)
    moved = blocks * OF_FEATURES * (parameters(run) + features(run, 2 * rule.order * points))
    moved += chunks * CORRECTIONS * OF_ERRORS * size * rule.chunk * points
    return launches * known.launch / lanes + max(operations / known.operations, moved / known.bandwidth)
