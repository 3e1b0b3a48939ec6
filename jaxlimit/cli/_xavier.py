"""``jaxlimit run xavier``."""

from pathlib import Path
from typing import Annotated, Any

import jax

from jaxlimit import studies
from jaxlimit._arguments import require
from jaxlimit.cli._app import Flag, Many, Whole, Wholes, require_rule, runs, settings_from, table
from jaxlimit.cli._output import prepare, print_json, print_table, progress_bar, write
from jaxlimit.cli._points import points_table, require_inputs


@runs.command
def xavier(
    *,
    config: Path | None = None,
    widths: Annotated[list[int] | None, Wholes] = None,
    replicas: Annotated[int | None, Whole] = None,
    path_replicas: Annotated[int | None, Whole] = None,
    law_width: Annotated[int | None, Whole] = None,
    ts: Annotated[list[float] | None, Many] = None,
    data: str | None = None,
    classes: Annotated[tuple[int, int] | None, Whole] = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    activation: str | None = None,
    rule: str | None = None,
    c: str | None = None,
    w: str | None = None,
    learning_rate: float | None = None,
    seed: Annotated[int | None, Whole] = None,
    dtype: str | None = None,
    out: Path = Path("jaxlimit-xavier"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test the Xavier limit theorem (arXiv 1907.04108), on handwritten digits unless told otherwise.

    Simulates SGD at several widths, solves the limit, proves the kernel positive definite, tests the
    convergence, prints a table of claims and writes figures, report.html, samples.npz and config.json.

    Parameters
    ----------
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    widths
        Widths N over which rates are fitted, increasing.
    replicas
        Networks for the tests of the law (at least 4096 for a verdict).
    path_replicas
        Networks per width for the rates (at the widest; more at narrower widths).
    law_width
        Width at which the law is tested.
    ts
        Save times in limit time, starting at 0.
    data
        A function of jaxlimit.data: digits (the default), diabetes, sphere, teacher.
    classes
        The two digits; for digits only.
    points
        Number of data points; the default is 20.
    inputs
        Number of inputs, for data that are made: sphere and teacher.
    bias
        Append a coordinate 1 to every point.
    activation
        An activation, as in Erf or Hermite:degree=3 (Tanh needs --rule Quadrature).
    rule
        ClosedForm, Quadrature, or MonteCarlo:neurons=10000, with which nothing is proved.
    c
        Law of the output weights, as in Rademacher or Uniform:low=-1,high=1.
    w
        Law of a neuron's input weights, as in Normal:std=2 (others than Gaussian need --rule MonteCarlo).
    learning_rate
        α, in limit time.
    seed
        Seed of all randomness.
    dtype
        float32 or float64.
    out
        Folder for the results; files of an earlier run are replaced.
    json
        Print one JSON object instead of the table.
    """
    flags: dict[str, Any] = {
        "widths": widths,
        "replicas": replicas,
        "path_replicas": path_replicas,
        "law_width": law_width,
        "ts": ts,
        "learning_rate": learning_rate,
        "seed": seed,
        "dtype": dtype,
        "activation": None if activation is None else table("activation", activation),
        "rule": None if rule is None else table("rule", rule),
        "c": None if c is None else table("c", c, "law"),
        "w": None if w is None else table("w", w, "law"),
    }
    given = {} if config is None else settings_from(config)
    settings = studies.resolved_settings({**given, **{key: value for key, value in flags.items() if value is not None}})
    settings["data"] = points_table(given.get("data"), None, data, points, inputs, bias)
    if classes is not None:
        source = settings["data"].get("source")
        require(source == "digits", "classes", f"be left out for {source} data", f"it is {classes}")
        settings["data"]["classes"] = list(classes)
    if settings["dtype"] == "float64":
        jax.config.update("jax_enable_x64", True)  # this process is ours, and nothing has been computed yet
    try:
        require_inputs(settings["data"])
        settings["data"] = studies.data_settings(settings["data"])
        problem, arguments = studies.problem_from(settings), studies.xavier_arguments(settings)
        settings = studies.complete_settings(settings)
    except (TypeError, AttributeError, LookupError) as error:  # a value of the wrong kind in a settings file
        raise ValueError(f"Argument `config` must have values of the right kind, but {error}.") from error
    network = studies.network_from(settings)
    require_rule([network.activation], network.initial, arguments["rule"])
    prepare(out)
    with progress_bar("simulating") as progress:
        outcome = studies.xavier(problem, **arguments, progress=progress)
    write(outcome, settings, out)
    if json:
        print_json(outcome, settings)
    else:
        print_table(outcome, out)
    return int(outcome.violated)
