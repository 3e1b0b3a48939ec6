"""The tests of lowered programs see what they are to see: each foreign thing, planted by itself, is found and named."""

import re
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from tests.cases import each
from tests.lowering import DEVICE_SIDE, PLATFORMS, counters, exported, findings, foreign

X = jnp.ones((4, 3), jnp.float32)
LIKE_X = jax.ShapeDtypeStruct(X.shape, X.dtype)
ALGORITHM = jax.lax.DotAlgorithmPreset.TF32_TF32_F32


def scalar_of_numpy(x):
    with jax.numpy_dtype_promotion("standard"):
        return (x * np.float64(1.5)).astype(jnp.float32)


def printed(x):
    jax.debug.print("{}", x)
    return x


def watched(x):
    jax.debug.callback(print, x)
    return x


def summed(x):
    """Over two devices, which share the rows."""
    automatic = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((2,), ("rows",), automatic, devices=jax.devices()[:2])
    rows, everywhere = jax.sharding.PartitionSpec("rows"), jax.sharding.PartitionSpec()
    return jax.shard_map(lambda part: jax.lax.psum(part, "rows"), mesh=mesh, in_specs=rows, out_specs=everywhere)(x)


PLANTS = {
    "float64 and back": (lambda x: jnp.sin(x.astype(jnp.float64)).astype(jnp.float32), "computes in float64: .*sine"),
    "a scalar of NumPy": (scalar_of_numpy, "computes in float64: .*multiply"),
    "one of two numbers of Python": (
        lambda x: x * jnp.where(x > 0, 0.5, 1).astype(jnp.float32),
        "computes in float64: .*select",
    ),
    "a float64 result": (lambda x: x.astype(jnp.float64), "carries float64: .*func.func public"),
    "a float64 constant": (
        lambda x: x + jnp.asarray(np.full(3, 0.1)).astype(jnp.float32),
        r"carries float64: .*constant.*tensor<3xf64>",
    ),
    "complex128": (lambda x: jnp.real(x.astype(jnp.complex128)).astype(jnp.float32), "computes in float64"),
    "a sum of flags": (lambda x: jnp.sum(x > 0, axis=0).astype(jnp.float32), "int64: .*reduce"),
    "one of two whole numbers": (lambda x: x * jnp.where(x > 0, 4, 1).astype(jnp.float32), "int64: .*select"),
    "indices": (lambda x: x[jnp.argmax(x, axis=0)], "int64: .*argmax"),
    "a range": (lambda x: x * jnp.arange(3).astype(jnp.float32), "int64: .*iota"),
    "a product": (lambda x: x @ x.T, "short products: .*dot_general"),
    "einsum": (lambda x: jnp.einsum("ij,kj->ik", x, x), "short products: .*dot_general"),
    "a product that is nearly exact": (partial(jnp.matmul, X.T, precision="high"), "short products: .*HIGH"),
    "a product by an algorithm": (lambda x: jnp.matmul(x, x.T, precision=ALGORITHM), "short products: .*dot_general"),
    "one operand cut": (
        lambda x: jnp.matmul(x, x.T, precision=(jax.lax.Precision.HIGHEST, jax.lax.Precision.DEFAULT)),
        "short products: .*dot_general",
    ),
    "a convolution": (lambda x: jnp.convolve(x[:, 0], x[:, 1]), "short products: .*convolution"),
    "a gradient's product": (jax.grad(lambda x: jnp.sum(x @ x.T)), "short products: .*dot_general"),
    "NumPy": (lambda x: jax.pure_callback(np.sin, LIKE_X, x), "is refused"),
    "input and output": (lambda x: io_callback(np.sin, LIKE_X, x), "is refused"),
    "print": (printed, "is refused"),
    "a callback": (watched, "is refused"),
    "a callback in an unlikely branch": (
        lambda x: jax.lax.cond(x[0, 0] > 9, lambda: jax.pure_callback(np.sin, LIKE_X, x), lambda: x),
        "is refused",
    ),
    "an error raised by equinox": (lambda x: eqx.error_if(x, jnp.any(x > 9), "must not be"), "is refused"),
    "a decomposition": (lambda x: jnp.linalg.svd(x, compute_uv=False), r"calls (cusolver_gesvdj_ffi|Qr)"),
    "other devices": (summed, "talks to other devices: all_reduce"),
}


@pytest.mark.parametrize("plant", each(PLANTS))
def test_what_is_planted_is_found_on_every_platform(plant):
    function, name = plant
    found = foreign(function, jnp.float32, X)
    for platform in PLATFORMS:
        assert any(re.match(f"{platform}: {name}", finding) for finding in found), found


ESCAPES = {"infeed": '"stablehlo.infeed"(%0) : (!stablehlo.token) -> tensor<3xf32>'}
ESCAPES |= {name: f"%1 = stablehlo.{name} %0 : tensor<3xf32> loc(#loc)" for name in ("outfeed", "send", "recv")}


@pytest.mark.parametrize("name", ESCAPES)
def test_what_no_function_of_jax_makes_any_more_is_found_in_the_text(name):
    assert findings(ESCAPES[name], jnp.float32) == [f"talks to the host: {name}"]


def test_a_call_of_python_is_named_where_a_platform_has_it():
    """On the CPU of this process callbacks lower."""
    text = jax.jit(PLANTS["NumPy"][0]).lower(X).as_text()
    assert findings(text, jnp.float32) == ["calls xla_ffi_python_cpu_callback"]


def looped(x):
    first, last = jnp.int32(0), jnp.int32(5)
    return jax.lax.fori_loop(first, last, lambda k, now: now + jnp.where(now > 0, 0.5, now), x)


INNOCENT = {
    "numbers of Python": lambda x: jnp.clip(2 * x + 0.5, 0.25, 1),
    "products at full precision": lambda x: jnp.matmul(x, x.T, precision="highest"),
    "their gradients": jax.grad(lambda x: jnp.sum(jnp.matmul(x, x.T, precision="highest"))),
    "a convolution at full precision": lambda x: jnp.convolve(x[:, 0], x[:, 1], precision="highest"),
    "products of integers": lambda x: (
        x * jnp.matmul((x > 0).astype(jnp.int32), np.eye(3, dtype=np.int32)).astype(x.dtype)
    ),
    "random numbers": lambda x: x + jax.random.normal(jax.random.key(0), x.shape, jnp.float32),
    "a range of their own": lambda x: x + jax.random.uniform(jax.random.key(0), x.shape, jnp.float32, -1, 2),
    "eigenvalues": lambda x: jnp.linalg.eigvalsh(jnp.matmul(x, x.T, precision="highest")),
    "linear equations": lambda x: jnp.linalg.solve(x[:3], x[3]),
    "loops": looped,
    "a scan": lambda x: jax.lax.scan(lambda total, row: (total + row, row), x[0], x)[0],
    "rows": lambda x: x[jnp.asarray([0, 2], jnp.int32)] + x[1:3],
}


@pytest.mark.parametrize("function", each(INNOCENT))
def test_what_belongs_there_is_not_found(function):
    assert foreign(function, jnp.float32, X) == []


def halves(first, last):
    return jax.lax.fori_loop(first, last, lambda k, total: total + 0.5, jnp.float32(0))


def of_each(x):
    """A batch of loops with ends of their own."""
    ends = jnp.asarray(x[0], jnp.int32)
    return jax.vmap(halves)(jnp.zeros_like(ends), ends)


LOOPS = {
    "int32 to data": (lambda x: halves(jnp.int32(0), x[0, 0].astype(jnp.int32)), (["i32"], [])),
    "int64 to data": (lambda x: halves(0, x[0, 0].astype(jnp.int64)), (["i64"], [])),
    "a batch": (of_each, (["i32"], [])),
    "a scan": (lambda x: jax.lax.scan(lambda total, row: (total + row, None), x[0], x)[0], ([], ["i64"])),
    "one in the other": (
        lambda x: jax.lax.map(lambda row: halves(jnp.int32(0), row[0].astype(jnp.int32)), x),
        (["i32"], ["i64"]),
    ),
    "none": (jnp.sin, ([], [])),
}


@pytest.mark.parametrize("loop", each(LOOPS))
def test_loops_say_what_they_count_in(loop):
    program, counted = loop
    assert [counters(text) for text in exported(program, X).values()] == [counted] * len(PLATFORMS)


def test_calls_that_are_allowed_are_ones_that_were_met():
    texts = [*exported(INNOCENT["eigenvalues"], X).values(), *exported(INNOCENT["linear equations"], X).values()]
    assert {name for name in DEVICE_SIDE if any(f"@{name}(" in text for text in texts)} == set(DEVICE_SIDE)


def test_a_mistake_in_the_function_itself_is_no_finding():
    with pytest.raises(TypeError, match="dot"):
        foreign(lambda x: jnp.matmul(x, x, precision="highest"), jnp.float32, X)
