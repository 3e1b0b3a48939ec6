"""What commands that run a study share: settings from a file and from flags, and what is printed at the end."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jaxlimit import studies, sweeps
from jaxlimit._arguments import require
from jaxlimit.claims import Report
from jaxlimit.cli._app import settings_from, table
from jaxlimit.cli._output import prepare, print_json, print_table, progress_bar, write
from jaxlimit.cli._points import points_table, require_inputs
from jaxlimit.cli._sweep_app import shard_from

TABLES = {"activation": "name", "rule": "name", "c": "law", "w": "law", "loss": "name", "losses": "name"}
"""Flags that stand for a table, or for a list of them, with the key of its name."""
STUDIES = "studies"
"""The folder within a store that has the settings of its studies."""


def merged(
    resolved: Callable[[Mapping[str, Any]], dict[str, Any]], config: Path | None, flags: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The defaults of a study, over them the file's settings, over them the flags that are not None; and the file's.

    float64 is switched on where it is asked for.
    """
    given = {} if config is None else settings_from(config)
    given.pop("spec_id", None)  # that of an earlier run, whose settings flags may change
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


def built(settings: dict[str, Any], make: Callable[[dict[str, Any]], studies.Study]) -> studies.Study:
    """The study that settings describe; what does not fit is refused by the names of settings and flags."""
    with right_kinds():
        require_inputs(settings["data"])
        return make(settings)


def _typed(key: str, value: Any) -> Any:
    """What the text of a flag stands for."""
    if key not in TABLES:
        return value
    return (
        [table(key, one, TABLES[key]) for one in value] if isinstance(value, list) else table(key, value, TABLES[key])
    )


def outcome_of(study: studies.Study, store: studies.RunStore | None) -> Report:
    """Run a study, with its simulations in the store; the report names its settings by their digest."""
    run: Callable[..., Report] = getattr(studies, study.name)
    with progress_bar("simulating") as progress:
        found = run(study.problem, **study.arguments, store=store, progress=progress)
    return replace(found, configuration={**found.configuration, "spec_id": study.spec_id})


def finish(study: studies.Study, out: Path, json: bool, store: Path | None, shard: str | None) -> int:
    """Run a study, write the files, print the outcome, and say whether a claim is VIOLATED."""
    require(shard is None or store is not None, "shard", "come with --store", "there is none to share")
    share = shard_from(shard)
    kept = None if store is None else studies.RunStore(store, share)
    prepare(out)
    if kept is not None:
        keep(kept.folder, study)
    outcome = outcome_of(study, kept)
    write(outcome, study.settings, out)
    if json:
        print_json(outcome, study.settings)
    else:
        print_table(outcome, out)
    return int(outcome.violated)


def keep(folder: Path, study: studies.Study) -> None:
    """Write the settings of a study into its store, from which `jaxlimit report` makes it again."""
    path = folder / STUDIES / f"{study.spec_id}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        sweeps.write_whole(path, study.text.encode())
