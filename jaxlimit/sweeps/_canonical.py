"""One text for one tree of plain values, and the digest by which it is known."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlimit._arguments import require


def plain(name: str, value: Any) -> Any:
    """The tree of JSON values that `value` is: tables, lists, text, numbers, booleans and None, all copied.

    NumPy scalars become Python's, tuples lists. Raises ``ValueError`` for everything else, naming where it stands: a
    function or an array has no text that tells it from every other one.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        require(math.isfinite(value), name, "be finite", f"it is {value}")
        return value + 0.0  # −0.0 is 0.0, and has one text
    if isinstance(value, Mapping):
        texts = all(isinstance(key, str) for key in value)
        require(texts, name, "have text for its keys", f"they are {list(value)}")
        return {key: plain(f"{name}.{key}" if name else key, inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(f"{name}[{i}]", inner) for i, inner in enumerate(value)]
    raise ValueError(
        f"Argument `{name}` must be a plain value (table, list, text, number, true or false), but it is "
        f"{type(value).__name__}: functions go by their public name, arrays by a file and its hash."
    )


def canonical(tree: Any) -> str:
    """JSON with sorted keys and no blanks: equal trees have equal texts."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(tree: Any) -> str:
    """SHA-256 of the canonical text, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(tree).encode()).hexdigest()
