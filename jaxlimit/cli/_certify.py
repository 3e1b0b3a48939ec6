"""``jaxlimit certify`` and ``jaxlimit run definiteness``: proofs about a matrix, a kernel, or the theorem's border."""

import json as encoder
import math
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from jaxlimit import kernels, studies
from jaxlimit._arguments import real_array, require
from jaxlimit._typing import Host
from jaxlimit.claims import Report
from jaxlimit.cli._app import Flag, Many, Whole, app, require_rule, runs, settings_from, table
from jaxlimit.cli._output import prepare, print_json, print_table, write
from jaxlimit.cli._points import loaded, points_from, points_table

PAIR = ["Erf", "Relu"]
POINTS = "points [points, inputs] need --activation, as in --activation Erf Relu"


@app.command
def certify(
    file: Path | None = None,
    *,
    config: Path | None = None,
    data: str | None = None,
    activation: Annotated[list[str] | None, Many] = None,
    rule: str | None = None,
    c: str | None = None,
    w: str | None = None,
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
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    data
        A function of jaxlimit.data: digits, diabetes, sphere, teacher.
    activation
        Activations, such as Erf Hermite:degree=2; for given points the default is Erf Relu.
    rule
        Quadrature, for activations without a closed form (those with one have that, and each row says so); or
        MonteCarlo:neurons=10000, for all. Monte Carlo proves nothing: it gives 95% confidence bounds from 64
        networks of so many neurons.
    c
        Law of the output weights, as in Rademacher or Uniform:low=-1,high=1.
    w
        Law of a neuron's input weights, as in Normal:std=2; others than Gaussian need --rule MonteCarlo.
    points
        Number of data points; the default is 20.
    inputs
        Number of inputs, for data that are made: sphere and teacher.
    bias
        Append a coordinate 1 to every point.
    out
        Folder for figures, report.html, arrays and JSON; nothing is written without it.
    json
        Print one JSON object instead of text.
    """
    if file is not None and activation is None and config is None:
        given = {"data": data, "rule": rule, "c": c, "w": w, "points": points, "inputs": inputs, "bias": bias or None}
        extra = sorted(name for name, value in given.items() if value is not None)
        require(not extra, "activation", "be given for a file of points", f"there is none, with {extra}")
        return _matrix(file, out, json)
    given = {} if config is None else settings_from(config)
    chosen = points_table(given.get("data"), file, data, points, inputs, bias)
    alone = file is None and data is None and "data" not in given
    defaults = {} if alone else {"activation": [table("activation", name) for name in PAIR], "variants": False}
    return _study({**defaults, **given, **_objects(activation, rule, c, w), "data": chosen}, out, json)


@runs.command
def definiteness(
    *,
    config: Path | None = None,
    data: str | None = None,
    activation: Annotated[list[str] | None, Many] = None,
    rule: str | None = None,
    c: str | None = None,
    w: str | None = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    out: Path = Path("jaxlimit-definiteness"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test the theorem on positive definiteness at its border: repeated, opposite, parallel points, polynomials.

    Proves, for every activation and every variant of the data, that the kernel is positive definite or not,
    compares with what the theorem foretells, prints a table and writes figures and a report. Cases on which
    the theorem is silent stand in a table of their own.

    Parameters
    ----------
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    data
        A function of jaxlimit.data: digits (the default), diabetes, sphere, teacher.
    activation
        Activations, such as Erf Hermite:degree=2.
    rule
        Quadrature, for activations without a closed form; those with one have that, and each row says so.
    c
        Law of the output weights, as in Rademacher or Uniform:low=-1,high=1.
    w
        Law of a neuron's input weights, a centred Gaussian, as in Normal:std=2.
    points
        Number of data points; the default is 20.
    inputs
        Number of inputs, for data that are made: sphere and teacher.
    bias
        Append a coordinate 1 to every point.
    out
        Folder for the results; files of an earlier run are replaced.
    json
        Print one JSON object instead of the table.
    """
    given = {} if config is None else settings_from(config)
    chosen = points_table(given.get("data"), None, data, points, inputs, bias)
    return _study({**given, **_objects(activation, rule, c, w), "data": chosen}, out, json)


def _objects(activation: list[str] | None, rule: str | None, c: str | None, w: str | None) -> dict[str, Any]:
    """Tables of the objects that flags name."""
    found = {
        "activation": None if activation is None else [table("activation", one) for one in activation],
        "rule": None if rule is None else table("rule", rule),
        "c": None if c is None else table("c", c, "law"),
        "w": None if w is None else table("w", w, "law"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _matrix(file: Path, out: Path | None, json: bool) -> int:
    array, source = loaded(file)
    matrix = real_array("file", array, 2)
    square = matrix.shape[0] == matrix.shape[1]
    require(square, "file", "hold a square matrix", f"its shape is {matrix.shape}; {POINTS}")
    symmetric = np.array_equal(matrix, matrix.T)
    require(symmetric, "file", "hold an exactly symmetric matrix", f"it differs from its mirror image; {POINTS}")
    if out is not None:
        prepare(out)
    certificate = kernels.certify(array)
    bounds = {name: getattr(certificate, name) for name in ("estimate", "lower", "upper", "floor")}
    found = {
        "status": certificate.status.value,
        **{name: value if math.isfinite(value) else None for name, value in bounds.items()},
        "reason": certificate.reason,
        "assumptions": list(certificate.assumptions),
    }
    text = encoder.dumps({**source, "certificate": found}, indent=2, ensure_ascii=False)
    if out is not None:
        (out / "certificate.json").write_text(text + "\n", encoding="utf-8")
    print(text if json else certificate)
    return int(certificate.status is kernels.CertificateStatus.PROVED_NOT_PD)


def _study(given: dict[str, Any], out: Path | None, json: bool) -> int:
    settings = studies.definiteness_settings(given)
    try:
        x, settings["data"] = points_from(settings["data"])
        studies.definiteness_arguments(settings)  # what is wrong with them is said in its words
        settings = studies.complete_settings(settings)
        arguments = studies.definiteness_arguments(settings)
    except (TypeError, AttributeError, LookupError) as error:  # a value of the wrong kind in a settings file
        raise ValueError(f"Argument `config` must have values of the right kind, but {error}.") from error
    require_rule(arguments["activations"], arguments["initial"], arguments["rule"])
    if out is not None:
        prepare(out)
    try:
        outcome = _outcome(x, arguments)
    except ValueError as error:
        if "file" in settings["data"]:  # the points are those of FILE, and nobody has typed an `x`
            raise ValueError(str(error).replace("Argument `x`", "Argument `file`")) from error
        raise
    if out is not None:
        write(outcome, settings, out)
    if json:
        print_json(outcome, settings)
    else:
        print_table(outcome, out)
    return int(outcome.violated)


def _outcome(x: Host, arguments: dict[str, Any]) -> Report:
    """Proofs; or, with a Monte Carlo rule, confidence bounds."""
    rule, variants = arguments["rule"], arguments["variants"]
    if isinstance(rule, kernels.MonteCarlo) and not variants:
        return studies.sampled_definiteness(
            x,
            key=jax.random.key(rule.seed),
            activations=arguments["activations"],
            neurons=rule.neurons,
            initial=arguments["initial"],
        )
    return studies.definiteness(x, **arguments)
