"""``jaxlimit report``: verdicts again from what a store has."""

import hashlib
import json as encoder
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax

from jaxlimit import studies
from jaxlimit._arguments import require
from jaxlimit.claims import Report
from jaxlimit.cli._app import Flag, app
from jaxlimit.cli._output import plain, prepare, print_table, write
from jaxlimit.cli._study import STUDIES, outcome_of, right_kinds

SPEC = "spec.json"
"""What the folder of a sweep has."""
SHORT = 12
"""Digits of a spec_id in names of folders."""


@app.command
def report(
    store: Path,
    *,
    spec: str | None = None,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Make the claims and figures of studies again from their store, without simulating what is there.

    Networks that are missing, because a run was stopped, are simulated. For the folder of a sweep its claims are made.

    Parameters
    ----------
    store
        Folder of `jaxlimit run STUDY --store`, or of a sweep.
    spec
        Beginning of the spec_id of the one study to report; the default is all of them.
    out
        Folder for figures, report.html, samples.npz, config.json and claims.json, one below it for each study;
        nothing is written without it.
    json
        Print one JSON list, with an object for every study as `jaxlimit run --json` prints it.
    """
    require(store.is_dir(), "store", "be a folder", f"there is no {store}")
    if (store / SPEC).is_file():
        require(spec is None, "spec", "be left out for the folder of a sweep", f"it is {spec}")
        settings = encoder.loads((store / SPEC).read_bytes())
        return _said([(studies.sweep_report(store), settings)], ["sweep"], out, json)
    found = _chosen(store, spec)
    kept = studies.RunStore(store)
    outcomes = []
    for study in found:
        if study.settings.get("dtype") == "float64":
            jax.config.update("jax_enable_x64", True)  # this process is ours
        outcomes.append((outcome_of(study, kept), study.settings))
    return _said(outcomes, [f"{study.name}-{study.spec_id[:SHORT]}" for study in found], out, json)


def _chosen(store: Path, spec: str | None) -> list[studies.Study]:
    """The studies of a store whose spec_id begins so, those in float32 first."""
    paths = sorted((store / STUDIES).glob("*.json"))
    require(bool(paths), "store", "be one of `jaxlimit run STUDY --store`", f"{store} has no study")
    names = [path for path in paths if path.stem.startswith(spec or "")]
    listed = ", ".join(path.stem[:SHORT] for path in paths)
    require(bool(names), "spec", f"begin one of {listed}", f"it is {spec!r}")
    require(spec is None or len(names) == 1, "spec", "begin a single spec_id", f"{spec!r} begins {len(names)}")
    return sorted((_study(path) for path in names), key=lambda study: study.settings.get("dtype") == "float64")


def _study(path: Path) -> studies.Study:
    data = path.read_bytes()
    sound = hashlib.sha256(data).hexdigest() == path.stem
    require(sound, "store", "have the settings that were written", f"those of {path.name} were changed")
    tree: dict[str, Any] = encoder.loads(data)
    make: Callable[[dict[str, Any]], studies.Study] | None = getattr(studies, f"{tree['study']}_from", None)
    if make is None:
        raise ValueError(f"Argument `store` must have known studies, but {tree['study']!r} is none of this version.")
    with right_kinds():
        return make(tree["settings"])


def _said(outcomes: list[tuple[Report, dict[str, Any]]], names: list[str], out: Path | None, json: bool) -> int:
    """Write files and print outcomes, and say whether a claim is VIOLATED."""
    for (outcome, settings), name in zip(outcomes, names, strict=True):
        folder = None if out is None else out / name
        if folder is not None:
            prepare(folder)
            write(outcome, settings, folder)
        if not json:
            print_table(outcome, folder)
    if json:
        print(encoder.dumps([plain(*one) for one in outcomes], indent=2, ensure_ascii=False))
    return int(any(outcome.violated for outcome, _ in outcomes))
