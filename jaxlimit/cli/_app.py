"""The application that commands register with, and how their arguments are read."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts

from jaxlimit import __version__
from jaxlimit._arguments import require
from jaxlimit.activations import AbstractActivation, AbstractClosedFormActivation
from jaxlimit.initial import Initial
from jaxlimit.kernels import AbstractRule, ClosedForm

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
Flag = cyclopts.Parameter(negative=())


def table(flag: str, text: str, field: str = "name") -> dict[str, Any]:
    """The table of settings that a flag's text stands for: Hermite:degree=2 is {"name": "Hermite", "degree": 2}.

    What follows the colon is the inside of a TOML inline table, so numbers, lists and booleans are typed as in a
    settings file. `field` is the key of the name: "law" for laws.
    """
    name, _, fields = text.partition(":")
    try:
        read = tomllib.loads(f"fields = {{{fields}}}")
    except tomllib.TOMLDecodeError as error:
        read = {"error": error}
    fits = set(read) == {"fields"}
    require(fits, flag, "read Name or Name:field=value,field=value, with values as in TOML", f"it is {text!r}")
    require(field not in read["fields"], flag, f"give `{field}` once, before the colon", f"it is {text!r}")
    return {field: name, **read["fields"]}


def why(error: Exception) -> str:
    """What the system says of a file, without its number and name: "No such file or directory"."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def require_rule(chosen: Sequence[AbstractActivation], law: Initial, rule: AbstractRule | None) -> None:
    """Without a rule every activation needs a closed form; said by the flag's name, before any work."""
    for activation in chosen:
        exact = isinstance(activation, AbstractClosedFormActivation) and law.w.gaussian
        must = f"be given for {activation!r}, as --rule Quadrature or --rule MonteCarlo:neurons=10000"
        approximate = rule is not None and not isinstance(rule, ClosedForm)
        require(approximate or exact, "rule", must, f"no closed form is known for it with w drawn from {law.w}")


def settings_from(path: Path) -> dict[str, Any]:
    """The settings in a TOML or JSON file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Argument `config` must be a text file, but {path}: {why(error)}.") from error
    try:
        settings = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = path.suffix[1:] or "TOML"
        raise ValueError(f"Argument `config` must be valid {kind}, but {path}: {error}.") from error
    require(isinstance(settings, dict), "config", "hold a table", f"{path} holds {type(settings).__name__}")
    return dict(settings)
