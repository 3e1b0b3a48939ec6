"""The documentation is true: its Python runs, what it prints is what it says, its links lead somewhere.

Pages that compile many programs run with the slow tests, and so do the examples: one with small numbers, and all in
full, as the build of the site runs them, where the verdicts are read that the text around them speaks of. Every public
name that any page or example uses is looked up each time.

Blocks marked `python` of one page run from top to bottom in one namespace, like a session; a block marked `text`
that follows one is its output, word for word. The pages run in processes of their own, with JAX as a reader finds
it and not as `conftest.py` sets it, and a warning is an error there too.
"""

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
NATIVE = "extending.md"
"""The page that shows native code; numba is kept from the others."""

LONG = [page for page in PAGES if page.name in (NATIVE, "fewer-replicas.md")]
SHORT = [page for page in PAGES if page not in LONG]
QUICK = ROOT / "docs" / "examples" / "theorem.py"
SMALLER = {"REPLICAS": 16, "WIDTHS": (16, 32, 64)}
"""What the examples' constants are when nobody looks at the verdicts."""


def hooks():
    """docs/hooks.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(text):
    """(language, first line number, code) of every fenced block."""
    return [(m[1], text[: m.start(2)].count("\n"), m[2]) for m in BLOCK.finditer(text)]


def run(text, filename="page"):
    """Run the page; raises AssertionError where a block prints something else than the page says."""
    namespace = {"__name__": "page"}
    printed, where = None, 0
    for language, line, code in blocks(text):
        if language == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                # Blank lines in front, so that a traceback names the line of the page.
                exec(compile("\n" * line + code, filename, "exec"), namespace)
            printed, where = stream.getvalue(), line
        elif language == "text" and printed is not None:
            assert printed.strip() == code.strip(), f"{filename}:{where}: the block prints\n{printed}"
            printed = None


def anchors(text):
    """The fragments under which a page's headings can be linked."""
    titles = re.findall(r"^#+ +(.+?)\s*$", re.sub(BLOCK, "", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(text, folder):
    """Relative links of a page in this folder that lead nowhere."""
    found = []
    for link in LINK.findall(re.sub(BLOCK, "", text)):
        path, _, fragment = link.partition("#")
        target = folder / path
        if "://" in link or not path or path.startswith("mailto:"):
            continue
        if target.parent.name == "examples" and target.with_suffix(".py").exists():
            continue  # the build makes the page
        if not target.exists() or (fragment and fragment not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def name(page):
    """The page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def shares(pages):
    """The pages in two lists of about the same work, for two processes."""
    ranked = sorted(
        pages, key=lambda page: sum(len(code) for kind, _, code in blocks(page.read_text()) if kind == "python")
    )
    return ranked[::2], ranked[1::2]


def main(paths):
    """Run these pages; the last line on stdout maps each to its traceback, or to nothing where it is true."""
    import jaxlimit  # noqa: F401 - what other packages warn about on import is not the page's doing

    warnings.simplefilter("error")
    failures = {}
    for path in map(Path, paths):
        # XLA gives the same numbers, and numba takes long to compile what the pages ask for.
        if path.name == NATIVE:
            sys.modules.pop("numba", None)
        else:
            sys.modules["numba"] = None
        try:
            if path == QUICK:
                hooks().run(path, SMALLER)
            else:
                run(path.read_text(encoding="utf-8"), name(path))
        except Exception:
            failures[name(path)] = traceback.format_exc()
    print(json.dumps(failures))


def read(shares, folder):
    """What went wrong in each page, in fresh interpreters: one for each share.

    They see no JAX settings but the platform and where compiled programs are kept.
    """
    kept = "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_", "JAX_PERSISTENT_CACHE_"
    plain = {key: value for key, value in os.environ.items() if not key.startswith("JAX_") or key.startswith(kept)}

    def reader(paths):
        program = [sys.executable, __file__, *map(str, paths)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=600, cwd=folder, env=plain)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor() as pool:
        return {page: text for found in pool.map(reader, shares) for page, text in found.items()}


@pytest.fixture(scope="module")
def short_failures(tmp_path_factory):
    return read(shares(SHORT), tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def long_failures(tmp_path_factory):
    return read([[page] for page in [*LONG, QUICK]], tmp_path_factory.mktemp("reader"))


@pytest.mark.parametrize("page", SHORT, ids=name)
def test_the_code_of_the_page_runs_and_prints_what_the_page_says(page, short_failures):
    assert name(page) not in short_failures, short_failures[name(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", [*LONG, QUICK], ids=name)
def test_the_code_of_the_long_page_runs_and_prints_what_the_page_says(page, long_failures):
    assert name(page) not in long_failures, long_failures[name(page)]


def dotted(node):
    """The parts of a.b.c; of anything else, none."""
    if isinstance(node, ast.Name):
        return [node.id]
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return [*inner, node.attr] if inner else []


def missing(code):
    """Names after `jl.`, and after what is imported from jaxlimit, that the package does not have."""
    import jaxlimit

    module = ast.parse(code)
    rooms = {"jl": jaxlimit, "jaxlimit": jaxlimit}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxlimit":
            rooms |= {alias.asname or alias.name: getattr(jaxlimit, alias.name) for alias in node.names}
    found = []
    for node in ast.walk(module):
        parts = dotted(node) if isinstance(node, ast.Attribute) else []
        here = rooms.get(parts[0]) if parts else None
        for part in parts[1:] if here is not None else []:
            if not hasattr(here, part):
                found.append(".".join(parts))
                break
            here = getattr(here, part)
            if not isinstance(here, ModuleType | type):
                break
    return sorted(set(found))


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=name)
def test_every_name_of_the_package_in_the_code_is_there(page):
    text = page.read_text(encoding="utf-8")
    codes = [text] if page.suffix == ".py" else [code for kind, _, code in blocks(text) if kind == "python"]
    assert missing("\n".join(codes)) == []


def test_a_name_that_is_not_there_is_found():
    code = "from jaxlimit import statistics\njl.data.nobody(3)\njl.Data([1]).x\nstatistics.rate\nstatistics.none"
    assert missing(code) == ["jl.data.nobody", "statistics.none"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_the_page_lead_somewhere(page):
    assert broken(page.read_text(encoding="utf-8"), page.parent) == []


def test_every_guide_page_has_code_that_runs():
    guides = [page for page in PAGES if page.parent.name == "guide"]
    assert len(guides) >= 4
    for page in guides:
        assert any(language == "python" for language, _, _ in blocks(page.read_text(encoding="utf-8"))), page


def test_a_page_with_an_error_or_a_wrong_output_fails():
    run("```python\nx = 1\n```\n\ntext\n\n```python\nprint(x)\n```\n\n```text\n1\n```\n")
    with pytest.raises(AssertionError, match="prints"):
        run("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(ZeroDivisionError):
        run("```python\n1 / 0\n```\n")


def test_a_broken_link_is_found():
    text = "[a](references.md#xavier) [b](references.md#nobody) [c](nowhere.md) [d](https://example.org)"
    assert broken(text, ROOT / "docs") == ["references.md#nobody", "nowhere.md"]


VERDICTS = {
    "theorem": ["PROVED_PD", "HOLDS", "HOLDS", "HOLDS", "HOLDS"],
    "activation": ["PROVED_PD", "HOLDS", "HOLDS", "HOLDS", "HOLDS"],
    "failure": ["PROVED_NOT_PD", "HOLDS", "PROVED_NOT_PD", "HOLDS", "PROVED_PD", "PROVED_PD"],
    "regression": ["PROVED_PD", "HOLDS", "HOLDS", "HOLDS", "VIOLATED"],
    "mean_field": ["HOLDS", "HOLDS"],
    "mild": ["HOLDS"],
    "min_norm": [],
    "multilayer": [],
    "normalisation": [],
}
"""The verdicts of each example, in order; its text takes them for granted."""


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_the_verdicts_of_the_example_are_those_its_text_speaks_of(example):
    _, shown, figures = hooks().executed(example)
    printed = " ".join(cell.printed for cell in shown)
    assert re.findall(r"PROVED_PD|PROVED_NOT_PD|HOLDS|VIOLATED|UNDECIDED", printed) == VERDICTS[example.stem]
    assert len(figures) >= 1


def test_an_example_is_text_code_and_what_the_code_printed():
    source = '"""Title\n\nText.\n"""\n\n# %% Part\n# Why.\n\nN = 3\n\n# %%\nprint(N)  # %% is no cell\n'
    found = hooks().cells(source)
    assert [cell.text.split() for cell in found] == [["#", "Title", "Text."], ["##", "Part", "Why."], []]
    assert [cell.code for cell in found] == ["", "N = 3", "print(N)  # %% is no cell"]
    assert [source.splitlines()[cell.line].strip() for cell in found[1:]] == ["N = 3", "print(N)  # %% is no cell"]


def test_an_example_runs_with_smaller_numbers_and_shows_what_it_draws(tmp_path, monkeypatch):
    example = tmp_path / "example.py"
    code = "from pathlib import Path\n\nN = 3\nprint(N)\nPath('a.png').write_bytes(b'')\n"
    example.write_text(f'"""Title"""\n\n# %%\n{code}')
    monkeypatch.chdir(tmp_path)
    shown = hooks().run(example, {"N": 2})
    assert [(cell.printed, cell.figures) for cell in shown] == [("", []), ("2\n", ["a.png"])]
    assert "```text\n2\n```\n\n![a](a.png)" in hooks().page(shown, "example.py")


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_the_example_uses_public_names_only_and_can_be_made_smaller(example):
    module = ast.parse(example.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(module) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {"jax", "numpy", "jaxlimit"}
    attributes = {node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    assert {a for a in attributes if a.startswith("_") and not a.startswith("__")} == set()
    constants = {getattr(node.targets[0], "id", "") for node in module.body if isinstance(node, ast.Assign)}
    assert constants & SMALLER.keys()


def public(room):
    """The names a room offers: what a folder re-exports, what a module defines."""
    folder = ROOT / "jaxlimit" / room / "__init__.py"
    path = folder if folder.exists() else folder.parent.with_suffix(".py")
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if path == folder:
        found |= {a.asname for node in body if isinstance(node, ast.ImportFrom) for a in node.names if a.asname}
    return {n for n in found if not n.startswith("_")}


ROOMS = sorted({path.stem for path in (ROOT / "jaxlimit").iterdir() if not path.stem.startswith("_")} - {"py"})


def listed(text):
    """What an API page shows of its room."""
    room, members = re.search(
        r"^::: jaxlimit\.(\w+)\n    options:\n      members:\n((?: +- \w+\n)+)", text, re.MULTILINE
    ).groups()
    return room, re.findall(r"- (\w+)", members)


@pytest.mark.parametrize("room", ROOMS)
def test_the_page_of_the_room_shows_each_of_its_public_names_once(room):
    shown, members = listed((ROOT / "docs" / "api" / f"{room}.md").read_text(encoding="utf-8"))
    assert shown == room
    assert sorted(members) == sorted(public(room)), f"docs/api/{room}.md must list what `jaxlimit.{room}` offers"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / ".mkdocs.yml").read_text(encoding="utf-8")
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.name != "README.md"}
    pages |= {f"examples/{example.stem}.md" for example in EXAMPLES}
    assert set(re.findall(r"[\w/-]+\.md$", navigation, re.MULTILINE)) == pages
    assert {f"api/{room}.md" for room in ROOMS} <= pages


if __name__ == "__main__":
    main(sys.argv[1:])
