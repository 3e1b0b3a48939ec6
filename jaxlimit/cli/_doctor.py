"""``jaxlimit doctor``: does this machine keep its promises, and which digits do they rest on?"""

import json as encoder
from typing import Annotated

import jax
import rich.console
import rich.markup
import rich.table

from jaxlimit import doctor as checks
from jaxlimit._arguments import require
from jaxlimit.cli._app import Flag, Whole, app
from jaxlimit.cli._output import progress_bar


@app.command
def doctor(
    *,
    precision: Annotated[bool, Flag] = False,
    width: Annotated[int | None, Whole] = None,
    replicas: Annotated[int | None, Whole] = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Versions, devices, precision, and a self-check that results do not depend on how lanes are run.

    With --precision the same networks are trained in float64, in float32, and in float32 with the shorter products of
    accelerators, and the table says which digits of the conclusion survive: a minute or two. The exit code is 1 where a
    check fails, or where float32 with full products loses a conclusion.

    Parameters
    ----------
    precision
        Run the audit of precision.
    width
        Width of its networks; the default is 512.
    replicas
        Number of its networks in each arithmetic; the default is 1024.
    json
        Print one JSON object instead of text.
    """
    if precision:
        return _precision(width, replicas, json)
    given = sorted(name for name, value in {"width": width, "replicas": replicas}.items() if value is not None)
    require(not given, "precision", f"be given with {' and '.join(given)}", "it is not")
    findings = checks.diagnose()
    if json:
        print(encoder.dumps({"findings": [finding._asdict() for finding in findings]}, indent=2, ensure_ascii=False))
    else:
        table = rich.table.Table("check", "finding", "", box=None)
        for finding in findings:
            mark = "" if finding.ok is None else ("[green]ok[/]" if finding.ok else "[red]FAILED[/]")
            table.add_row(*map(rich.markup.escape, (finding.name, finding.text)), mark)
        rich.console.Console().print(table)
    return int(any(finding.ok is False for finding in findings))


def _precision(width: int | None, replicas: int | None, json: bool) -> int:
    # The reference is in float64, and nothing has been computed so far.
    jax.config.update("jax_enable_x64", True)
    given = {name: value for name, value in {"width": width, "replicas": replicas}.items() if value is not None}
    with progress_bar("precision") as progress:
        audit = checks.precision(**given, progress=progress)  # type: ignore[arg-type]
    if json:
        print(encoder.dumps(audit.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(audit)
    return int(not audit.holds)


WIDE = 140
"""Columns that the table of the audit needs: cut, its rows could not be told apart."""


def _print(audit: checks.Audit) -> None:
    console = rich.console.Console()
    console = rich.console.Console(width=max(console.width, WIDE))
    for title, rows in audit.groups():
        table = rich.table.Table(*audit.headings, title=rich.markup.escape(title), title_justify="left", box=None)
        for row in rows:
            *numbers, said = row.cells()
            colour = "green" if row.survives else "red" if row.full else "yellow"
            table.add_row(*map(rich.markup.escape, numbers), f"[{colour}]{said}[/]")
        console.print(table)
        console.print()
    for text in (audit.legend, *audit.remarks):
        console.print(text, markup=False, highlight=False)
