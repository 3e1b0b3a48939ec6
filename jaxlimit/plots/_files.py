"""Figures as files, without dates: the same data give the same bytes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxlimit.plots._canvas import Figure, figure


def png_bytes(draw: Callable[[Any], Any]) -> bytes:
    """The PNG (200 dots per inch) of what `draw(ax)` paints on fresh axes; the same data give the same bytes.

    >>> import jaxlimit as jl
    >>> jl.plots.png_bytes(lambda ax: ax.plot([0, 1], [0, 1]))[1:4]
    b'PNG'
    """
    sheet = figure()
    draw(sheet.subplots())
    return _rendered(sheet, "png")


def save(draw: Callable[[Any], Any], path_without_suffix: str | Path) -> list[Path]:
    """Write what `draw(ax)` paints as PNG and as PDF; returns the two paths. Missing folders are made.

    The files carry no date and no name of a machine: the same data and the same Matplotlib give the
    same bytes.

        >>> import tempfile, jaxlimit as jl
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [p.name for p in jl.plots.save(lambda ax: ax.plot([0, 1], [0, 1]), f"{folder}/line")]
        ['line.png', 'line.pdf']
    """
    stem = Path(path_without_suffix)
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in ("png", "pdf"):
        sheet = figure()
        draw(sheet.subplots())
        path = stem.with_name(f"{stem.name}.{kind}")  # with_suffix would cut a name such as gamma_0.5
        path.write_bytes(_rendered(sheet, kind))
        written.append(path)
    return written


def _rendered(sheet: Figure, kind: str) -> bytes:
    from matplotlib import rc_context

    metadata: dict[str, Any] = {"Software": None} if kind == "png" else {"CreationDate": None, "Creator": "jaxlimit"}
    buffer = io.BytesIO()
    with rc_context({"pdf.fonttype": 42}):  # TrueType: journals refuse Type 3
        sheet.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()
