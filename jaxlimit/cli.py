"""The command line: ``jaxlimit run xavier``, ``jaxlimit list``, ``jaxlimit doctor``.

Results go to stdout, progress to stderr. Exit codes: 0 when no claim is VIOLATED, 1 when one is, 2 for
usage, 3 for an unexpected error, 130 when interrupted.
"""

import contextlib
import json
import os
import signal
import sys
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from jaxlimit import __version__, plots, report, studies
from jaxlimit._lanes import Progress
from jaxlimit.claims import Report, Verdict
from jaxlimit.doctor import diagnose

try:
    import cyclopts
    import rich.console
    import rich.progress
    import rich.table
except ImportError as error:  # the light core has no command line
    raise SystemExit("jaxlimit's command line needs an extra: pip install 'jaxlimit[cli]'") from error

app = cyclopts.App(
    name="jaxlimit",
    help="Put scaling-limit theorems of deep learning to the test.",
    version=__version__,
    result_action="return_value",
)
runs = cyclopts.App(name="run", help="Run a study; see `jaxlimit list`.", result_action="return_value")
app.command(runs)


def _whole(kind: Any, tokens: Any) -> Any:
    """Integers exactly as typed: 3.5 is refused, not rounded."""
    numbers = [int(token.value) for token in tokens]
    return numbers if "list" in str(kind) else tuple(numbers) if "tuple" in str(kind) else numbers[0]


Whole = cyclopts.Parameter(converter=_whole)
Wholes = cyclopts.Parameter(converter=_whole, consume_multiple=True, negative=())
Many = cyclopts.Parameter(consume_multiple=True, negative=())
COLOURS = {Verdict.HOLDS: "green", Verdict.VIOLATED: "red", Verdict.UNDECIDED: "yellow"}


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
    _prepare(out)
    with _progress("simulating") as progress:
        outcome = studies.xavier(problem, **arguments, progress=progress)
    _write(outcome, settings, out)
    if json:
        _print_json(outcome, settings)
    else:
        _print_table(outcome, out)
    return int(outcome.violated)


@app.command(name="list")
def list_studies() -> int:
    """List the studies that `jaxlimit run` knows."""
    table = rich.table.Table("study", "theorem", "source", box=None)
    table.add_row(
        "xavier", "networks with 1/√N converge to a random linear ODE with a positive definite kernel", "1907.04108"
    )
    rich.console.Console().print(table)
    return 0


@app.command
def doctor() -> int:
    """Versions, devices, precision, and a self-check that results do not depend on how lanes are run."""
    findings = diagnose()
    table = rich.table.Table("check", "finding", "", box=None)
    for finding in findings:
        mark = "" if finding.ok is None else ("[green]ok[/]" if finding.ok else "[red]FAILED[/]")
        table.add_row(finding.name, finding.text, mark)
    rich.console.Console().print(table)
    return int(any(finding.ok is False for finding in findings))


def main() -> None:
    """Run the command line and exit with its code."""
    # Results are written at the end, so leaving at once loses nothing; an exception raised inside a compilation
    # would be swallowed there.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        code = app(exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        rich.console.Console(stderr=True).print(f"{error}\nTry `jaxlimit --help`.", markup=False)
        sys.exit(2)
    except (ValueError, ImportError, OSError) as error:  # bad values, missing extras, unusable folders
        rich.console.Console(stderr=True).print(str(error), markup=False)
        sys.exit(2)
    except Exception:  # not a verdict: 1 is kept for VIOLATED
        traceback.print_exc()
        sys.exit(3)
    sys.exit(code if isinstance(code, int) else 0)


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        settings = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(
            f"Argument `config` must be valid {path.suffix[1:] or 'TOML'}, but {path}: {error}."
        ) from error
    if not isinstance(settings, dict):
        raise ValueError(f"Argument `config` must hold a table, but {path} holds {type(settings).__name__}.")
    return settings


def _prepare(out: Path) -> None:
    """Find out that the folder cannot be used, or figures cannot be drawn, before the work and not after it."""
    out.mkdir(parents=True, exist_ok=True)
    probe = out / ".writable"
    probe.touch()
    probe.unlink()
    plots.png_bytes(lambda ax: ax)


def _write(outcome: Report, settings: dict[str, Any], out: Path) -> None:
    images = {}
    for panel in outcome.panels:
        paths = plots.save(panel.draw, out / panel.name)
        images[panel.name] = next(path for path in paths if path.suffix == ".png").read_bytes()
    (out / "report.html").write_text(report.html(outcome, images), encoding="utf-8")
    np.savez_compressed(out / "samples.npz", **outcome.arrays)
    (out / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (out / "claims.json").write_text(json.dumps(_plain(outcome, settings), indent=2) + "\n", encoding="utf-8")


def _plain(outcome: Report, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": outcome.title,
        "source": outcome.source,
        "claims": [claim.as_dict() for claim in outcome.claims],
        "configuration": outcome.configuration,
        "settings": settings,
    }


def _print_json(outcome: Report, settings: dict[str, Any]) -> None:
    print(json.dumps(_plain(outcome, settings), indent=2, ensure_ascii=False))


def _print_table(outcome: Report, out: Path) -> None:
    console = rich.console.Console()
    table = rich.table.Table("verdict", "claim", "expected", "observed", "error", title=outcome.title, show_lines=True)
    for claim in outcome.claims:
        cells = (claim.name, claim.expected, claim.observed, claim.error)
        coloured = f"[{COLOURS[claim.verdict]}]{claim.verdict.value}[/]"
        table.add_row(coloured, *(cell.replace("[", "\\[") for cell in cells))
    console.print(table)
    for claim in outcome.claims:
        if claim.verdict is not Verdict.HOLDS:
            console.print(f"{claim.verdict.value} {claim.name}: {claim.reason}", markup=False)
    counts = ", ".join(f"{outcome.count(verdict)} {verdict.value}" for verdict in Verdict)
    console.print(f"{counts}. Figures, report.html, samples.npz and config.json are in {out}.", markup=False)


@contextlib.contextmanager
def _progress(label: str) -> Iterator[Progress]:
    """A bar with the remaining time on stderr; nothing where stderr is not a terminal."""
    console = rich.console.Console(stderr=True)
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda done, total: bar.update(task, completed=done / total)
