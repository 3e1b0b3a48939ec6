"""What commands that run a study share: settings from a file and from flags, and what is printed at the end."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxlimit import studies
from jaxlimit._arguments import require
from jaxlimit.claims import Report
from jaxlimit.cli._app import settings_from, table
from jaxlimit.cli._output import print_json, print_table, write
from jaxlimit.cli._points import points_table, require_inputs

TABLES = {"activation": "name", "rule": "name", "c": "law", "w": "law", "loss": "name", "losses": "name"}
"""Flags that stand for a table, or for a list of them, with the key of its name."""


def merged(
    resolved: Callable[[Mapping[str, Any]], dict[str, Any]], config: Path | None, flags: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The defaults of a study, over them the file's settings, over them the flags that are not None; and the file's.

    float64 is switched on where it is asked for.
    """
    given = {} if config is None else settings_from(config)
    settings = resolved({**given, **{key: _typed(key, value) for key, value in flags.items() if value is not None}})
    if settings.get("dtype") == "float64":
        jax.config.update("jax_enable_x64", True)  # this process is ours, and nothing has been computed yet
    return settings, given


def settings_for(
    resolved: Callable[[Mapping[str, Any]], dict[str, Any]],
    config: Path | None,
    flags: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """`merged` for a study whose data are digits unless told otherwise.

    `data` holds the flags data, classes, points, inputs and bias.
    """
    settings, given = merged(resolved, config, flags)
    settings["data"] = points_table(given.get("data"), None, data["data"], data["points"], data["inputs"], data["bias"])
    if data["classes"] is not None:
        source = settings["data"].get("source")
        require(source == "digits", "classes", f"be left out for {source} data", f"it is {data['classes']}")
        settings["data"]["classes"] = list(data["classes"])
    return settings


@contextlib.contextmanager
def right_kinds() -> Iterator[None]:
    """A value of the wrong kind in a settings file, which Python stumbles over, is said to be one."""
    try:
        yield
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"Argument `config` must have values of the right kind, but {error}.") from error


def built(settings: dict[str, Any], make: Callable[[dict[str, Any]], Any]) -> tuple[Any, dict[str, Any]]:
    """What `make` builds from the settings, and the settings with every default written out."""
    with right_kinds():
        require_inputs(settings["data"])
        settings["data"] = studies.data_settings(settings["data"])
        found = make(settings)
        full = studies.complete_settings({"rule": None, **settings})
    return found, {key: full[key] for key in settings}


def _typed(key: str, value: Any) -> Any:
    """What the text of a flag stands for."""
    if key not in TABLES:
        return value
    return (
        [table(key, one, TABLES[key]) for one in value] if isinstance(value, list) else table(key, value, TABLES[key])
    )


def finish(outcome: Report, settings: dict[str, Any], out: Path, json: bool) -> int:
    """Write the files, print the outcome, and say whether a claim is VIOLATED."""
    write(outcome, settings, out)
    if json:
        print_json(outcome, settings)
    else:
        print_table(outcome, out)
    return int(outcome.violated)
