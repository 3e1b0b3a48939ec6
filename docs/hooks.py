"""Runs every example when the site is built, and makes a page of its text, its code, and what that printed and drew.

An example is a Python file. Its docstring, whose first line is the title, and the comments right below a `# %%` are
its text; what stands between two `# %%` is one cell. A page shows what each cell prints below it, and then the
figures that the cell saved in the current folder. Nothing of that is part of the repository: if it is on the page, this
very package has made it.

`python docs/hooks.py EXAMPLE` runs one example in the current folder and prints its cells as JSON.
"""

import ast
import concurrent.futures
import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
KEPT = ROOT / "build" / "examples"
CORES = 2
"""Examples run at the same time."""


class Cell(NamedTuple):
    """A piece of an example: text above, code, and where the code begins in the file."""

    text: str
    code: str
    line: int


class Shown(NamedTuple):
    """A cell that has run: what it printed, and the names of the PNG files it left."""

    text: str
    code: str
    printed: str
    figures: list[str]


def cells(source: str) -> list[Cell]:
    """The cells of an example, the docstring's first."""
    docstring = ast.parse(source).body[0]
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant), "an example begins with its docstring"
    title, _, rest = str(docstring.value.value).strip().partition("\n")
    found = [Cell(f"# {title}\n{rest}", "", 0)]
    lines = source.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("# %%")]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        heading = lines[start].removeprefix("# %%").strip()
        first = start + 1
        while first < stop and lines[first].startswith("#"):
            first += 1
        text = [f"## {heading}\n"] if heading else []
        text += [line.removeprefix("#").removeprefix(" ") for line in lines[start + 1 : first]]
        while first < stop and not lines[first].strip():
            first += 1
        found.append(Cell("\n".join(text), "\n".join(lines[first:stop]).rstrip(), first))
    return found


def run(path: Path, smaller: Mapping[str, Any] | None = None) -> list[Shown]:
    """Run an example in the current folder; `smaller` replaces what it assigns to constants of these names."""
    namespace: dict[str, Any] = {"__name__": "example"}
    shown, before = [], set(Path().glob("*.png"))
    for cell in cells(path.read_text(encoding="utf-8")):
        module = ast.parse(cell.code)
        for node in module.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in (smaller or {}):
                    node.value = ast.parse(repr(smaller[name]), mode="eval").body
        ast.increment_lineno(module, cell.line)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.fix_missing_locations(module), str(path), "exec"), namespace)
        now = set(Path().glob("*.png"))
        shown.append(Shown(cell.text, cell.code, printed.getvalue(), sorted(p.name for p in now - before)))
        before = now
    return shown


def page(shown: list[Shown], source: str) -> str:
    """The example as Markdown."""
    return "\n\n".join(_parts(shown, source)) + "\n"


def _parts(shown: list[Shown], source: str) -> Iterator[str]:
    for cell in shown:
        yield cell.text.strip()
        if cell.code:
            yield f"```python\n{cell.code}\n```"
        if cell.printed:
            yield f"```text\n{cell.printed.rstrip()}\n```"
        yield from (f"![{Path(name).stem}]({name}){{ width=560 }}" for name in cell.figures)
    yield f"All of it in one file: [{source}]({source})."


def executed(path: Path) -> tuple[Path, list[Shown], dict[str, bytes]]:
    """The example run by a fresh interpreter that sees no JAX settings, in an empty folder, and its figures.

    What it gave is kept under `KEPT` until the example, the package, or a library changes: the build of the site and
    the tests then run it once between them.
    """
    kept = KEPT / f"{path.stem}-{state(path)}"
    if not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        plain = {k: value for k, value in os.environ.items() if not k.startswith("JAX_") or k == "JAX_PLATFORMS"}
        with tempfile.TemporaryDirectory(dir=KEPT) as room:
            folder, program = Path(room, "run"), [sys.executable, __file__, str(path)]
            folder.mkdir()
            done = subprocess.run(program, capture_output=True, text=True, cwd=folder, env=plain, timeout=300)
            if done.returncode:
                raise RuntimeError(f"{path.name} fails:\n{done.stderr}")
            (folder / "cells.json").write_text(done.stdout.splitlines()[-1], encoding="utf-8")
            with contextlib.suppress(OSError):  # another process was first, with the same
                folder.rename(kept)
    shown = [Shown(*cell) for cell in json.loads((kept / "cells.json").read_text(encoding="utf-8"))]
    return path, shown, {name: (kept / name).read_bytes() for cell in shown for name in cell.figures}


def state(path: Path) -> str:
    """A digest of all that an example depends on: its text, this file, the package, and the versions of libraries."""
    digest = hashlib.sha256(repr(sorted((d.name, d.version) for d in importlib.metadata.distributions())).encode())
    package = ROOT / "jaxlimit"
    for file in (path, Path(__file__), *sorted(package.rglob("*.py"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def on_files(files: Any, config: Any) -> Any:
    """MkDocs calls this when it has listed the files: the examples' pages and figures join them."""
    from mkdocs.structure.files import File

    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        for path, shown, figures in pool.map(executed, sorted(EXAMPLES.glob("*.py"))):
            text = page(shown, path.name)
            files.append(File.generated(config, f"examples/{path.stem}.md", content=text))
            for name, content in figures.items():
                files.append(File.generated(config, f"examples/{name}", content=content))
    return files


if __name__ == "__main__":
    import warnings

    import jaxlimit  # noqa: F401 - what other packages warn about on import is not the example's doing

    warnings.simplefilter("error")
    print(json.dumps(run(Path(sys.argv[1]))))
