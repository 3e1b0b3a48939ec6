"""Docstrings as they are written, made into Markdown: an extension of Griffe, which reads the package for the site.

A docstring is plain prose with indented formulas and doctests. Doctests become code blocks, what Markdown would take
for emphasis or HTML is escaped, and a cited key becomes a link to its entry in the references.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import griffe

QUOTED = re.compile(r"(``?[^`]+``?)")
CITED = re.compile(r"(references:?\s+)((?:`?[a-z][\w-]*`?(?:,\s*)?)+)")
KEY = re.compile(r"`?([a-z][\w-]*)`?")


def markdown(docstring: str) -> str:
    """The docstring as Markdown: prose, formulas and doctests in turn."""
    return "\n\n".join(_paragraphs(docstring))


def _paragraphs(docstring: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", docstring.strip("\n")):
        plain = textwrap.dedent(paragraph)
        if plain.startswith(">>>"):
            yield f"```pycon\n{plain}\n```"
        elif re.match(r" {4}", paragraph):
            yield f"```text\n{plain}\n```"
        else:
            yield prose(paragraph)


def prose(paragraph: str) -> str:
    """A paragraph with its links, and with everything else that is not quoted taken literally."""
    linked = CITED.sub(lambda m: m[1] + KEY.sub(r"`@\1`", m[2]), paragraph)
    parts = QUOTED.split(linked)
    return "".join(_quoted(part) if part.startswith("`") else _literal(part) for part in parts)


def _literal(part: str) -> str:
    return re.sub(r"([*>|\\\[\]])", r"\\\1", part.replace("&", "&amp;").replace("<", "&lt;"))


def _quoted(part: str) -> str:
    key = part.strip("`")
    return f"[`{key[1:]}`][{key[1:]}]" if key.startswith("@") else part


class Docstrings(griffe.Extension):
    """Rewrites every docstring as Griffe meets it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
