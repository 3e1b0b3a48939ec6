"""Checks of what users pass in. Every message reads: Argument `x` must …, but ….

They run before any compute starts and look at concrete values only; nothing here is traced.
"""

import inspect
import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")

STEP_LIMIT = 2**31 - 1024
"""Step counters are 32-bit integers on the device, and are rounded up to blocks of 1024."""


def require(condition: bool, name: str, must: str, but: str) -> None:
    """Raise ``ValueError`` with "Argument `name` must …, but …" unless the condition holds."""
    if not condition:
        raise ValueError(f"Argument `{name}` must {must}, but {but}.")


def instance(name: str, value: Any, kind: type[T] | Callable[..., T], must: str | None = None) -> T:
    """The value, if it is of this kind; `must` replaces "be a <kind>" in the message."""
    wanted = cast(type, kind)
    if isinstance(value, type) or inspect.isfunction(value):
        made = value if isinstance(value, type) else inspect.signature(value).return_annotation
        hint = f" (call it: {value.__name__}())" if _made_of_nothing(value, made, wanted) else ""
        found = f"the {'class' if isinstance(value, type) else 'function'} {value.__name__}{hint}"
    else:
        found = _with_article(type(value).__name__)
    require(isinstance(value, wanted), name, must or f"be {_with_article(kind.__name__)}", f"it is {found}")
    return cast(T, value)


def _made_of_nothing(maker: Callable[..., Any], made: Any, wanted: type) -> bool:
    """Whether a call without arguments makes what is wanted."""
    fits = isinstance(made, type) and issubclass(made, wanted) and not inspect.isabstract(made)
    return fits and all(p.default is not inspect.Parameter.empty for p in inspect.signature(maker).parameters.values())


def _with_article(name: str) -> str:
    """A Relu, an Erf, a Uniform."""
    vowel = name[:1].lower() in {*"aeio"} or (name[:1].lower() == "u" and not name.lower().startswith("uni"))
    return f"{'an' if vowel else 'a'} {name}"


def items(name: str, value: Any, kind: str) -> tuple[Any, ...]:
    """The members of anything that can be iterated over; `kind` says in the message what they should be."""
    try:
        members = tuple(value)
    except TypeError:
        raise ValueError(f"Argument `{name}` must be a sequence of {kind}, but it is {value!r}.") from None
    return members


def natural_number(name: str, value: Any) -> int:
    """A Python int ≥ 0; booleans and non-integral numbers are refused."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0
    require(whole, name, "be a non-negative integer", f"it is {value!r}")
    return int(value)


def positive_integer(name: str, value: Any) -> int:
    """A Python int ≥ 1; booleans, non-integral numbers and arrays (which cannot be hashed) are refused."""
    refused = isinstance(value, (bool, np.bool_, np.ndarray, jax.Array))
    try:
        number = 0 if refused else operator.index(value)
    except TypeError:
        number, refused = 0, True
    require(not refused and number >= 1, name, "be a positive integer", f"it is {value!r}")
    return number


def optional_positive_integer(name: str, value: Any) -> int | None:
    """A Python int ≥ 1, or None for a choice left to the package."""
    return None if value is None else positive_integer(name, value)


def plain(value: Any) -> Any:
    """A NumPy scalar as the Python number that it is, anything else as it comes: for the static fields of a module."""
    return value.item() if isinstance(value, np.generic) else value


def finite_number(name: str, value: Any, wanted: str = "be a finite number") -> float:
    """A finite float; booleans, text and arrays are refused."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        number = float(value) if real else math.nan
    except OverflowError:  # a Python integer beyond float64
        number = math.inf
    require(math.isfinite(number), name, wanted, f"it is {value!r}")
    return number


def positive_number(name: str, value: Any, zero: bool = False) -> float:
    """A finite float > 0 (or ≥ 0 where `zero` is allowed)."""
    wanted = "be a finite number " + ("≥ 0" if zero else "> 0")
    number = finite_number(name, value, wanted)
    require(number > 0 or (zero and number == 0), name, wanted, f"it is {value!r}")
    return number


def real_array(name: str, value: Any, dimensions: int | None, copy: bool = True) -> np.ndarray:
    """A finite float64 NumPy array of the given number of dimensions, not empty; None allows any shape.

    float64 input stays float64: nothing here passes through JAX, whose default would be float32. Without `copy`
    what is a float64 array already comes back itself, to be read only: large matrices.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # NumPy's word for nested sequences of unequal lengths
        wanted = "be an array" if dimensions is None else f"be an array of {dimensions} dimension(s)"
        require(False, name, wanted, "its rows have different lengths")
    kinds = "fiub"
    if array.dtype.kind not in kinds and jnp.issubdtype(array.dtype, jnp.floating):  # bfloat16 and its kin
        array = array.astype(np.float32)
    require(array.dtype.kind in kinds, name, "hold real numbers", f"its dtype is {array.dtype}")
    if dimensions is not None:
        require(array.ndim == dimensions, name, f"have {dimensions} dimension(s)", f"its shape is {array.shape}")
        require(array.size > 0, name, "not be empty", f"its shape is {array.shape}")
    array = np.array(array, dtype=np.float64, copy=True if copy else None)
    bad = int(np.sum(~np.isfinite(array)))
    require(bad == 0, name, "be finite", f"{bad} of its {array.size} entries are NaN or infinite")
    return array


def save_times(ts: Any) -> np.ndarray:
    """Save times in limit time: float64, non-negative, strictly increasing."""
    array = real_array("ts", ts, 1)
    require(bool(array[0] >= 0), "ts", "be non-negative", f"it starts at {array[0]:g}")
    ordered = bool(np.all(np.diff(array) > 0))
    require(ordered, "ts", "be strictly increasing", "it is not sorted or repeats a time")
    return array


def random_key(key: Any) -> jax.Array:
    """One typed key from ``jax.random.key``; legacy uint32 keys and batches of keys are refused."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    require(typed, "key", "be made by jax.random.key(seed)", f"it is {type(key).__name__} (legacy keys are not typed)")
    require(key.shape == (), "key", "be a single key", f"its shape is {key.shape}")
    # Other generators draw for a batch of keys what they draw for no key alone: replicas would depend on their lane.
    kind = str(jax.random.key_impl(key))
    threefry = kind == "threefry2x32"
    require(threefry, "key", 'be a threefry key, as jax.random.key(seed, impl="threefry2x32")', f"it is of {kind}")
    # The promise that a wider network contains the narrower one's draws rests on this JAX default.
    require(
        bool(jax.config.jax_threefry_partitionable),  # type: ignore[attr-defined]
        "key",
        "be used with JAX's partitionable random bits",
        "jax_threefry_partitionable has been switched off",
    )
    return key


def float_dtype(dtype: Any) -> np.dtype:
    """float32 or float64; float64 needs the x64 flag, which this package never sets by itself."""
    try:
        kind = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # what NumPy says of a name or an object that is no dtype
        raise ValueError(f"Argument `dtype` must be float32 or float64, but it is {dtype!r}.") from None
    # NumPy takes None for float64; nobody who writes None means that.
    known = dtype is not None and kind in (np.dtype("float32"), np.dtype("float64"))
    require(known, "dtype", "be float32 or float64", f"it is {dtype if dtype is None else kind}")
    require(
        kind == np.dtype("float32") or bool(jax.config.read("jax_enable_x64")),
        "dtype",
        "be float32 unless JAX runs with 64-bit types (set JAX_ENABLE_X64=1 before starting Python)",
        "it is float64 and JAX would silently truncate it",
    )
    return kind


def widths_in_order(widths: Sequence[int], name: str = "widths") -> tuple[int, ...]:
    """At least one width, strictly increasing; `name` is that of the argument."""
    # The members of a JAX array are arrays again, those of a NumPy array are integers.
    given = items(name, np.asarray(widths) if isinstance(widths, jax.Array) else widths, "positive integers")
    values = tuple(positive_integer(name, w) for w in given)
    increasing = len(values) > 0 and all(a < b for a, b in pairwise(values))
    require(increasing, name, "be strictly increasing", f"it is {values}")
    return values
