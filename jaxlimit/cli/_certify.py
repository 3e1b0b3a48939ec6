"""``jaxlimit certify`` and ``jaxlimit run definiteness``: proofs about a matrix, a kernel, or the theorem's border."""

import json as encoder
import math
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np

from jaxlimit import kernels, studies
from jaxlimit._arguments import require
from jaxlimit._numerics import with_bias
from jaxlimit._typing import Host
from jaxlimit.claims import Report
from jaxlimit.cli._app import Many, Whole, app, runs
from jaxlimit.cli._output import prepare, print_json, print_table, write

Flag = cyclopts.Parameter(negative=())
FEW = 20


@app.command
def certify(
    file: Path | None = None,
    *,
    data: str | None = None,
    activation: Annotated[list[str] | None, Many] = None,
    rule: str | None = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Prove that a matrix, or the kernel of the limit on given points, is positive definite, or refute it.

    FILE.npy alone is a symmetric matrix, whose certificate is printed; the exit code is 1 if it is proved
    not positive definite. With --activation, FILE.npy holds points [points, inputs], and --data names a
    set of them; the theorem's word on each activation is compared with the proof. With neither,
    the study of the theorem's border is run on digits, as by `jaxlimit run definiteness`.

    Parameters
    ----------
    file
        A .npy file: a symmetric matrix, or points where an activation is given.
    data
        A function of jaxlimit.data: digits, diabetes, sphere, teacher.
    activation
        Names of activations, such as Erf Relu; with --data the default is Erf Relu.
    rule
        ClosedForm or Quadrature, for all activations; the default is the closed form.
    points
        Number of data points; the default is 20.
    inputs
        Number of inputs, for data that are made up.
    bias
        Append a coordinate 1 to every point.
    out
        Folder for figures, report.html, arrays and JSON; nothing is written without it.
    json
        Print one JSON object instead of text.
    """
    if file is not None and activation is None:
        given = {"data": data, "rule": rule, "points": points, "inputs": inputs, "bias": bias or None}
        extra = sorted(name for name, value in given.items() if value is not None)
        require(not extra, "activation", "be given for a file of points", f"there is none, with {extra}")
        return _matrix(file, out, json)
    alone = file is None and data is None
    x = _points(file, data, points, inputs, bias)
    names = ["Erf", "Relu"] if activation is None and not alone else activation
    return _study(x, names, rule, out, json, variants=alone)


@runs.command
def definiteness(
    *,
    data: str | None = None,
    activation: Annotated[list[str] | None, Many] = None,
    rule: str | None = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    out: Path = Path("jaxlimit-definiteness"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test the theorem on positive definiteness at its border: repeated, opposite, parallel points, polynomials.

    Proves, for every activation and every variant of the data, that the kernel is positive definite or not,
    compares with what the theorem foretells, prints a table and writes figures and a report.

    Parameters
    ----------
    data
        A function of jaxlimit.data: digits (the default), diabetes, sphere, teacher.
    activation
        Names of activations, such as Erf Relu.
    rule
        ClosedForm or Quadrature, for all activations; the default is the closed form.
    points
        Number of data points; the default is 20.
    inputs
        Number of inputs, for data that are made up.
    bias
        Append a coordinate 1 to every point.
    out
        Folder for the results; files of an earlier run are replaced.
    json
        Print one JSON object instead of the table.
    """
    return _study(_points(None, data, points, inputs, bias), activation, rule, out, json, variants=True)


def _points(file: Path | None, data: str | None, points: int | None, inputs: int | None, bias: bool) -> Host:
    if file is not None:
        given = [name for name, value in (("data", data), ("points", points), ("inputs", inputs)) if value is not None]
        require(not given, "file", "stand alone", f"there is also {given}")
        x = np.asarray(_loaded(file))
        require(x.ndim == 2, "file", "hold points [points, inputs]", f"its shape is {x.shape}")
    else:
        table: dict[str, Any] = {"source": data or "digits", "points": FEW if points is None else points}
        x = studies.data_from(table if inputs is None else {**table, "inputs": inputs}).x
    return with_bias(x) if bias else x


def _loaded(file: Path) -> Any:
    """A plain array; nothing is unpickled."""
    try:
        with file.open("rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"Argument `file` must be a .npy file of numbers, but {file}: {error}.") from error


def _matrix(file: Path, out: Path | None, json: bool) -> int:
    certificate = kernels.certify(_loaded(file))
    bounds = {name: getattr(certificate, name) for name in ("estimate", "lower", "upper", "floor")}
    found = {
        "status": certificate.status.value,
        **{name: value if math.isfinite(value) else None for name, value in bounds.items()},
        "reason": certificate.reason,
        "assumptions": list(certificate.assumptions),
    }
    text = encoder.dumps({"file": str(file), "certificate": found}, indent=2, ensure_ascii=False)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "certificate.json").write_text(text + "\n", encoding="utf-8")
    print(text if json else certificate)
    return int(certificate.status is kernels.CertificateStatus.PROVED_NOT_PD)


def _study(x: Host, names: list[str] | None, rule: str | None, out: Path | None, json: bool, variants: bool) -> int:
    chosen: dict[str, Any] = {} if names is None else {"activations": [studies.activation_from(n) for n in names]}
    given = None if rule is None else studies.rule_from({"name": rule})
    if out is not None:
        prepare(out)
    outcome: Report = studies.definiteness(x, rule=given, variants=variants, **chosen)
    settings = {"activation": names, "rule": rule, "variants": variants}
    if out is not None:
        write(outcome, settings, out)
    if json:
        print_json(outcome, settings)
    else:
        print_table(outcome, out)
    return int(outcome.violated)
