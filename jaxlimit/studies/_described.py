"""What determines a simulation as plain values, so that its result can be found again."""

import dataclasses
import enum
import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import require

EXACT = 2.0**53
"""Whole numbers below are the same as integers and as floats."""


def described(where: str, value: Any) -> Any:
    """The tree of plain values that tells an object from every other one; `where` names it in refusals.

    Modules, dataclasses and named tuples by the public name of their class and their fields, arrays by shape, dtype and
    SHA-256, keys by their data, functions, classes and methods by the name under which they can be imported. Raises
    ``ValueError`` for anything else: a lambda, a closure, or what a script or notebook defines itself, has no name that
    another process could know it by.

        >>> import jaxlimit as jl
        >>> from jaxlimit.studies._described import described
        >>> described("scaling", jl.FixedStep(0.5))
        {'class': 'jaxlimit.scalings.FixedStep', 'eta': 0.5, 'gamma': 0.5}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, jax.Array | np.ndarray):
        return _array(where, value)
    if isinstance(value, enum.Enum):
        return {"class": public_name(where, type(value)), "member": value.name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(where, value, [field.name for field in dataclasses.fields(value)])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _fields(where, value, value._fields)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"table": {key: described(f"{where}.{key}", inner) for key, inner in value.items()}}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [described(f"{where}[{i}]", inner) for i, inner in enumerate(value)]
    if inspect.ismethod(value):
        return {"method": value.__name__, "of": described(where, value.__self__)}
    return {"name": public_name(where, value)}


def public_name(where: str, value: Any) -> str:
    """The name under which a function or class can be imported, without private modules where a public one offers it.

    Raises ``ValueError`` where there is none.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    known = isinstance(module, str) and isinstance(name, str)
    shown = f"{module}.{name}" if known else repr(value)
    imported = known and module != "__main__" and found(str(module), str(name)) is value
    must = "be made of functions and classes that can be imported from a module, by which a store knows them again"
    require(imported, where, must, f"it is {shown}")
    parts = str(module).split(".")
    for length in range(len(parts) - 1, 0, -1):
        if not parts[length].startswith("_"):
            break
        package = ".".join(parts[:length])
        if package in sys.modules and found(package, str(name)) is value:
            return f"{package}.{name}"
    return shown


def found(module: str, name: str) -> Any:
    """What this name stands for in the module; None where it stands for nothing."""
    try:
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError):
        return None
    return value


def _number(value: float) -> Any:
    if not math.isfinite(value):
        return {"float": repr(value)}
    # 1 and 1.0 make the same network.
    return int(value) if value.is_integer() and abs(value) < EXACT else value


def _fields(where: str, value: Any, names: Sequence[str]) -> dict[str, Any]:
    fields = {name: described(f"{where}.{name}", getattr(value, name)) for name in names}
    return {"class": public_name(where, type(value)), **fields}


def _array(where: str, value: Any) -> dict[str, Any]:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"key": str(jax.random.key_impl(value)), "data": np.asarray(jax.random.key_data(value)).tolist()}
    array = np.asarray(value)
    plain = array.dtype.kind in "biufc"
    require(plain, where, "have arrays of plain numbers, by which a store knows them again", f"{array.dtype} is none")
    little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    sha256 = hashlib.sha256(little.tobytes()).hexdigest()
    return {"dtype": little.dtype.str, "shape": list(array.shape), "sha256": sha256}
