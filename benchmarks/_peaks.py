"""What a device can do at most, measured: the shares of a benchmark are shares of this."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import Precision

from benchmarks._record import Record, per, timed

CHAINS, LENGTH = 8, 64
"""Multiply-adds on every number: so many chains, each of which waits for itself, of so many."""

POINTS = 20, 200
"""Points of the kernels whose products are timed."""

NUMBERS, STEPS = 1024, 20_000
"""Numbers that an empty step touches, and how many such steps there are."""


class Peaks(NamedTuple):
    """Bytes and operations a second, seconds of an empty step; NaN where nothing was measured."""

    bandwidth: float
    multiply_add: float
    product: float
    step: float


def peaks(record: Record, array: int, side: int, width: int, repeats: int) -> Peaks:
    """Passes over `array` numbers, products of square matrices of this side, kernels of networks of this width."""
    numbers = "compile_s", "turn_s", "GB_per_s", "Gflop_per_s", "us_per_step"
    record.table("peaks", ("what", "size"), numbers)
    half, shift = jnp.float32(0.5), jnp.float32(0.1)

    def passes(touched: int, body: Callable[..., Any], *others: int) -> dict[str, Any]:
        """`touched` arrays are read or written in a turn."""
        constants = [jnp.ones(size, jnp.float32) for size in others]
        compile_s, turn_s = _turn(_turns(body, *constants), jnp.ones(array, jnp.float32), 2, 10, repeats)
        return {"compile_s": compile_s, "turn_s": turn_s, "GB_per_s": per(4e-9 * touched * array, turn_s)}

    def multiply_adds(count: int) -> dict[str, Any]:
        def body(a: jax.Array) -> jax.Array:
            each = [a + jnp.float32(k) for k in range(CHAINS)]
            for _ in range(LENGTH):
                each = [e * half + shift for e in each]
            return sum(each[1:], start=each[0]) / jnp.float32(CHAINS)

        compile_s, turn_s = _turn(_turns(body), jnp.ones(count, jnp.float32), 2, 10, repeats)
        return {"compile_s": compile_s, "turn_s": turn_s, "Gflop_per_s": per(2e-9 * CHAINS * LENGTH * count, turn_s)}

    def square(precision: Precision) -> dict[str, Any]:
        a = jax.random.normal(jax.random.key(0), (side, side), jnp.float32) / jnp.float32(side**0.5)
        run = _turns(lambda x, a: jnp.matmul(x, a, precision=precision), a)
        compile_s, turn_s = _turn(run, a, 1, 4, repeats)
        return {"compile_s": compile_s, "turn_s": turn_s, "Gflop_per_s": per(2e-9 * side**3, turn_s)}

    def kernels(points: int) -> dict[str, Any]:
        """Products of the shape of a kernel, many at once, each number of the features read once."""
        h = jnp.ones((max(1, array // (points * width)), points, width), jnp.float32)
        run = jax.jit(lambda h: jnp.einsum("lpn,lqn->lpq", h, h, precision=Precision.HIGHEST))
        time = timed(lambda: jax.block_until_ready(run(h)), repeats)
        rates = {"GB_per_s": per(4e-9 * h.size, time.call_s), "Gflop_per_s": per(2e-9 * h.size * points, time.call_s)}
        return {"compile_s": time.compile_s, "turn_s": time.call_s, **rates}

    def empty(known: bool) -> dict[str, Any]:
        """Where the number of steps is data, some devices ask the host after each whether there is another."""
        step, start = lambda s: s * half + shift, jnp.ones(NUMBERS, jnp.float32)
        fixed = jax.jit(lambda s: lax.fori_loop(0, STEPS, lambda _, s: step(s), s))
        run = partial(fixed, start) if known else partial(_turns(step), start, jnp.int32(STEPS))
        time = timed(lambda: jax.block_until_ready(run()), repeats)
        return {"compile_s": time.compile_s, "us_per_step": 1e6 * time.call_s / STEPS}

    def measured(what: str, size: str, case: Callable[[], dict[str, Any]], number: str) -> float:
        row = record.measure({"what": what, "size": size}, case) or {}
        return float(row.get(number, math.nan))

    megas, few = f"{array / 2**20:g} Mi", max(2**18, array // 16)
    bandwidths = (
        measured("scale in place", megas, lambda: passes(2, lambda a: a * half), "GB_per_s"),
        measured("triad", megas, lambda: passes(3, lambda a, b: a + shift * b, array), "GB_per_s"),
    )
    fma = measured("multiply-adds", f"{few / 2**20:g} Mi", lambda: multiply_adds(few), "Gflop_per_s")
    product = measured("product, highest", str(side), lambda: square(Precision.HIGHEST), "Gflop_per_s")
    measured("product, default", str(side), lambda: square(Precision.DEFAULT), "Gflop_per_s")
    for points in POINTS:
        measured("kernels, highest", f"{points} x {width}", lambda p=points: kernels(p), "Gflop_per_s")
    step = measured("empty step, number known", str(NUMBERS), lambda: empty(known=True), "us_per_step")
    measured("empty step, number is data", str(NUMBERS), lambda: empty(known=False), "us_per_step")
    return Peaks(1e9 * float(np.fmax(*bandwidths)), 1e9 * fma, 1e9 * product, 1e-6 * step)


def _turns(body: Callable[..., Any], *constants: jax.Array) -> Callable[[Any, Any], Any]:
    """`body(carry, *constants)` so many times in one program; the number is data, so that no loop is unrolled."""

    @jax.jit
    def run(start: Any, count: Any, *constants: jax.Array) -> Any:
        return lax.fori_loop(jnp.int32(0), count, lambda _, carry: body(carry, *constants), start)

    return lambda start, count: run(start, count, *constants)


def _turn(run: Callable[[Any, Any], Any], start: Any, few: int, many: int, repeats: int) -> tuple[float, float]:
    """Seconds of the compilation, and of one turn: what a call costs whatever the number of turns drops out."""
    short, long = (timed(lambda n=n: jax.block_until_ready(run(start, jnp.int32(n))), repeats) for n in (few, many))
    return short.compile_s, (long.call_s - short.call_s) / (many - few)
