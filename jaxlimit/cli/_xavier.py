"""``jaxlimit run xavier``."""

import json as encoder
import tomllib
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import jax

from jaxlimit import studies
from jaxlimit.cli._app import Many, Whole, Wholes, runs
from jaxlimit.cli._output import prepare, print_json, print_table, progress_bar, write


@runs.command
def xavier(
    *,
    config: Path | None = None,
    widths: Annotated[list[int] | None, Wholes] = None,
    replicas: Annotated[int | None, Whole] = None,
    path_replicas: Annotated[int | None, Whole] = None,
    law_width: Annotated[int | None, Whole] = None,
    ts: Annotated[list[float] | None, Many] = None,
    classes: Annotated[tuple[int, int] | None, Whole] = None,
    points: Annotated[int | None, Whole] = None,
    activation: str | None = None,
    rule: str | None = None,
    learning_rate: float | None = None,
    seed: Annotated[int | None, Whole] = None,
    dtype: str | None = None,
    out: Path = Path("jaxlimit-xavier"),
    json: Annotated[bool, cyclopts.Parameter(negative=())] = False,
) -> int:
    """Test the Xavier limit theorem (arXiv 1907.04108) on handwritten digits.

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
    classes
        The two digits.
    points
        Number of data points.
    activation
        Erf, Relu or Tanh (Tanh needs --rule Quadrature).
    rule
        ClosedForm or Quadrature.
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
        "activation": None if activation is None else {"name": activation},
        "rule": None if rule is None else {"name": rule},
    }
    given = {} if config is None else _read(config)
    settings = studies.resolved_settings({**given, **{key: value for key, value in flags.items() if value is not None}})
    pair = None if classes is None else list(classes)
    chosen = {key: value for key, value in (("classes", pair), ("points", points)) if value is not None}
    if settings["dtype"] == "float64":
        jax.config.update("jax_enable_x64", True)  # this process is ours, and nothing has been computed yet
    try:
        settings["data"] = {**settings["data"], **chosen}
        problem, arguments = studies.problem_from(settings), studies.xavier_arguments(settings)
    except (TypeError, AttributeError, LookupError) as error:  # a value of the wrong kind in a settings file
        raise ValueError(f"Argument `config` must have values of the right kind, but {error}.") from error
    prepare(out)
    with progress_bar("simulating") as progress:
        outcome = studies.xavier(problem, **arguments, progress=progress)
    write(outcome, settings, out)
    if json:
        print_json(outcome, settings)
    else:
        print_table(outcome, out)
    return int(outcome.violated)


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        settings = encoder.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(
            f"Argument `config` must be valid {path.suffix[1:] or 'TOML'}, but {path}: {error}."
        ) from error
    if not isinstance(settings, dict):
        raise ValueError(f"Argument `config` must hold a table, but {path} holds {type(settings).__name__}.")
    return settings
