"""The documentation is true: its Python runs, what it prints is what it says, its links lead somewhere.

Blocks marked `python` of one page run from top to bottom in one namespace, like a session; a block marked `text`
that follows one is its output, word for word. The pages run in a process of their own, with JAX as a reader finds
it and not as `conftest.py` sets it, and a warning is an error there too.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


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
        if not target.exists() or (fragment and fragment not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def name(page):
    """The page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def main():
    """Run every page; the last line on stdout maps each to its traceback, or to nothing where it is true."""
    import jaxlimit  # noqa: F401 - what other packages warn about on import is not the page's doing

    warnings.simplefilter("error")
    failures = {}
    for page in PAGES:
        try:
            run(page.read_text(encoding="utf-8"), name(page))
        except Exception:
            failures[name(page)] = traceback.format_exc()
    print(json.dumps(failures))


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """What went wrong in each page, in one fresh interpreter that sees no JAX settings."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("JAX_") or key == "JAX_PLATFORMS"}
    program = [sys.executable, __file__]
    folder = tmp_path_factory.mktemp("reader")
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, cwd=folder, env=plain)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_code_of_the_page_runs_and_prints_what_the_page_says(page, failures):
    assert name(page) not in failures, failures[name(page)]


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


if __name__ == "__main__":
    main()
