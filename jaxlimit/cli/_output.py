"""What commands leave behind: tables and JSON on stdout, files in a folder, progress on stderr."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich.console
import rich.progress
import rich.table

from jaxlimit import plots, report
from jaxlimit._lanes import Progress
from jaxlimit.claims import Report, Verdict
from jaxlimit.cli._app import why

COLOURS = {Verdict.HOLDS: "green", Verdict.VIOLATED: "red", Verdict.UNDECIDED: "yellow"}

WIDEST_NUMBER = 22
"""Letters of a number of fifteen digits with sign, exponent and bracket."""

NARROWEST = 8


def prepare(out: Path) -> None:
    """Find out that the folder cannot be used, or figures cannot be drawn, before the work and not after it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"Argument `out` must be a folder to write in, but {out}: {why(error)}.") from error
    plots.png_bytes(lambda ax: ax)


def write(outcome: Report, settings: dict[str, Any], out: Path) -> None:
    """Figures, report.html, samples.npz, config.json and claims.json."""
    images = {}
    for panel in outcome.panels:
        paths = plots.save(panel.draw, out / panel.name)
        images[panel.name] = next(path for path in paths if path.suffix == ".png").read_bytes()
    (out / "report.html").write_text(report.html(outcome, images), encoding="utf-8")
    np.savez_compressed(out / "samples.npz", **outcome.arrays)
    named = {key: outcome.configuration[key] for key in ("spec_id",) if key in outcome.configuration}
    (out / "config.json").write_text(json.dumps({**named, **settings}, indent=2) + "\n", encoding="utf-8")
    (out / "claims.json").write_text(json.dumps(plain(outcome, settings), indent=2) + "\n", encoding="utf-8")


def plain(outcome: Report, settings: dict[str, Any]) -> dict[str, Any]:
    """Claims, remarks, configuration and settings, ready for JSON."""
    return {
        "title": outcome.title,
        "source": outcome.source,
        "claims": [claim.as_dict() for claim in outcome.claims],
        "remarks": [remark.as_dict() for remark in outcome.remarks],
        "configuration": outcome.configuration,
        "settings": settings,
    }


def print_json(outcome: Report, settings: dict[str, Any]) -> None:
    """One object with claims, remarks, configuration and settings."""
    print(json.dumps(plain(outcome, settings), indent=2, ensure_ascii=False))


def print_table(outcome: Report, out: Path | None) -> None:
    """A row per claim and per remark, the reasons of claims that do not hold, and a count."""
    console = rich.console.Console()
    if outcome.claims:
        table = _table(outcome.title, "verdict", "claim", "expected", "observed", "error")
        for claim in outcome.claims:
            coloured = f"[{COLOURS[claim.verdict]}]{claim.verdict.value}[/]"
            table.add_row(coloured, *map(_literal, (claim.name, claim.expected, claim.observed, claim.error)))
        _keep_numbers_whole(console, table, [claim.observed for claim in outcome.claims])
        console.print(table)
    if outcome.remarks:
        table = _table("Beyond the theorem: it says nothing on these cases", "case", "found", "observed", "reason")
        for remark in outcome.remarks:
            observed = f"{remark.observed}; {remark.error}"
            table.add_row(*map(_literal, (remark.name, remark.found, observed, remark.reason)))
        _keep_numbers_whole(console, table, [remark.observed for remark in outcome.remarks])
        console.print(table)
    for claim in outcome.claims:
        if claim.verdict is not Verdict.HOLDS:
            console.print(f"{claim.verdict.value} {claim.name}: {claim.reason}", markup=False)
    counts = ", ".join(f"{outcome.count(verdict)} {verdict.value}" for verdict in Verdict)
    beyond = f", {len(outcome.remarks)} beyond the theorem" if outcome.remarks else ""
    figures = "Figures, report.html" if outcome.panels else "report.html"
    where = "" if out is None else f" {figures}, samples.npz and config.json are in {out}."
    console.print(f"{counts}{beyond}.{where}", markup=False)


def _table(title: str, *columns: str) -> rich.table.Table:
    # Long words are folded, never cut: a name is what one looks for.
    return rich.table.Table(
        *(rich.table.Column(name, overflow="fold") for name in columns), title=title, show_lines=True
    )


def _keep_numbers_whole(console: rich.console.Console, table: rich.table.Table, observed: Sequence[str]) -> None:
    """The other columns leave room for the ends of intervals, which have many digits."""
    longest = min(WIDEST_NUMBER, max((len(word) for text in observed for word in text.split()), default=0))
    others = [column for column in table.columns if column.header not in ("observed", "verdict")]
    borders = 3 * len(table.columns) + 1
    verdict = max(map(len, Verdict.__members__)) if len(others) < len(table.columns) - 1 else 0
    for column in others:
        column.max_width = max(NARROWEST, (console.width - borders - verdict - longest) // len(others))


def _literal(text: str) -> str:
    """Brackets as such, and not as markup."""
    return text.replace("[", "\\[")


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A bar with the remaining time on stderr; nothing where stderr is not a terminal."""
    with described_bar(label) as update:
        yield lambda done, total: update(done / total, label)


@contextlib.contextmanager
def described_bar(label: str) -> Iterator[Callable[[float, str], None]]:
    """The same bar, for a share of the work and what to say of it."""
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
        yield lambda share, text: bar.update(task, completed=share, description=text)
