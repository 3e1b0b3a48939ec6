"""Points and matrices that commands are given: .npy files, and the functions of jaxlimit.data."""

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlimit import data, studies
from jaxlimit._arguments import instance, real_array, require
from jaxlimit._numerics import with_bias
from jaxlimit._typing import Host
from jaxlimit.cli._app import why

FEW = 20
FILE = ("file", "shape", "sha256", "bias")


def loaded(file: Path) -> tuple[Any, dict[str, Any]]:
    """A plain array, nothing being unpickled, and the table that tells this file from every other one."""
    try:
        with file.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"Argument `file` must be a .npy file of numbers, but {file}: {why(error)}.") from error
    return array, {"file": str(file), "shape": list(array.shape), "sha256": digest}


def points_table(
    before: Any, file: Path | None, data: str | None, points: int | None, inputs: int | None, bias: bool
) -> dict[str, Any]:
    """The table `data` of the settings: what flags name, over what a settings file has."""
    flags = {key: value for key, value in (("points", points), ("inputs", inputs)) if value is not None}
    require(before is None or isinstance(before, dict), "data", "be a table", f"it is {before!r}")
    if file is not None:
        given = [*([] if data is None else ["data"]), *flags]
        require(not given, "file", "stand alone", f"there is also {given}")
        chosen: dict[str, Any] = {"file": str(file)}
    elif data is not None or before is None:
        chosen = {"source": data or "digits", "points": FEW, **flags}
    else:
        chosen = {**before, **flags}
    return {**chosen, "bias": True} if bias else chosen


def points_from(table: Mapping[str, Any]) -> tuple[Host, dict[str, Any]]:
    """The points that the table `data` of settings describes, and the table with all that is needed to repeat it."""
    if "file" not in table:
        require_inputs(table)
        full = studies.data_settings(table)
        return studies.data_from(full).x, full
    unknown = sorted(set(table) - set(FILE))
    require(not unknown, "data", f"have keys among {list(FILE)} for a file", f"it also has {unknown}")
    path = Path(instance("data.file", table["file"], str))
    bias = instance("data.bias", table.get("bias", False), bool)
    x, found = loaded(path)
    for key in ("shape", "sha256"):
        same = table.get(key, found[key]) == found[key]
        require(same, f"data.{key}", f"be that of {path}", f"it is {table.get(key)} and the file's is {found[key]}")
    require(x.ndim == 2, "file", "hold points [points, inputs]", f"its shape is {x.shape}")
    real_array("file", x, 2, copy=False)
    return (with_bias(x) if bias else x), {**found, "bias": bias}


def require_inputs(table: Mapping[str, Any]) -> None:
    """Only made data have a number of inputs to choose, and they need it: say so by the flag's name."""
    source = table.get("source")
    function = getattr(data, source, None) if isinstance(source, str) else None
    if inspect.isfunction(function):
        made, given = "inputs" in inspect.signature(function).parameters, "inputs" in table
        require(given or not made, "inputs", f"be given for {source} data, as by --inputs 10", "it is missing")
        require(made or not given, "inputs", f"be left out for {source} data", f"it is {table.get('inputs')}")
