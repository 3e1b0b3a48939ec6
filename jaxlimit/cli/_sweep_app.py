"""What the commands of ``jaxlimit sweep`` share: their application, flags, signals, the bar, and how they print."""

import contextlib
import inspect
import json as text_of
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import cyclopts
import jax
import rich.console

from jaxlimit import sweeps
from jaxlimit._arguments import require
from jaxlimit.cli._app import app, table
from jaxlimit.cli._output import described_bar

sweep = cyclopts.App(
    name="sweep",
    help="Large Monte Carlo over widths, scalings, activations and seeds: resumable, shared, exact.",
    result_action="return_value",
)
app.command(sweep)

FAILED = 4
"""Exit code where blocks could not be computed; 1 is kept for a claim that is VIOLATED."""


def executor_from(text: str) -> contextlib.AbstractContextManager[Executor]:
    """The executor that a flag names: a function of jaxlimit.sweeps that makes one, with its arguments."""
    arguments = table("executor", text)
    name = arguments.pop("name")
    function = getattr(sweeps, name, None) if not name.startswith("_") else None
    makes = inspect.isfunction(function) and "Executor" in str(inspect.signature(function).return_annotation)
    choices = sorted(
        other
        for other, one in vars(sweeps).items()
        if inspect.isfunction(one) and "Executor" in str(inspect.signature(one).return_annotation)
    )
    require(makes, "executor", f"be one of {', '.join(choices)}", f"it is {name!r}")
    known = inspect.signature(function).parameters  # type: ignore[arg-type]
    unknown = sorted(set(arguments) - set(known))
    require(not unknown, "executor", f"have arguments among {list(known)}", f"it also has {unknown}")
    return function(**arguments)  # type: ignore[misc]


def shard_from(text: str | None) -> tuple[int, int]:
    """i/n, as typed."""
    if text is None:
        return 0, 1
    first, _, second = text.partition("/")
    whole = first.isdecimal() and second.isdecimal()
    require(whole, "shard", "read i/n, as in 0/16", f"it is {text!r}")
    part, parts = int(first), int(second)
    require(part < parts, "shard", "have i from 0 to n − 1", f"it is {text}")
    return part, parts


def wide(settings: dict[str, Any]) -> None:
    """float64 is switched on where a cell asks for it, here and in the processes that this one starts."""
    # Wherever it stands: an axis, or a table of settings on one.
    if settings.get("x64") or '"float64"' in text_of.dumps(settings):
        os.environ["JAX_ENABLE_X64"] = "1"
        jax.config.update("jax_enable_x64", True)


def stop_kindly(store: Path) -> None:
    """Ctrl-C and SIGTERM drop the block under way; everything else is on disk already."""

    def stop(code: int) -> Callable[..., None]:
        def leave(*_: Any) -> None:
            os.write(2, f"\nStopped. What is finished is kept: `jaxlimit sweep run {store}` goes on.\n".encode())
            os._exit(code)

        return leave

    signal.signal(signal.SIGINT, stop(130))
    signal.signal(signal.SIGTERM, stop(143))


@contextlib.contextmanager
def replica_bar(unit: str = "networks") -> Iterator[Callable[[sweeps.Moment], None]]:
    """A bar with networks a second and the remaining time on stderr; nothing where stderr is not a terminal."""
    with described_bar("beginning") as update:

        def show_moment(moment: sweeps.Moment) -> None:
            speed = f", {moment.replicas / moment.seconds:.3g} a second" if moment.seconds > 0 else ""
            described = f"{moment.replicas} of {moment.all_replicas} {unit}{speed}"
            update(moment.work / max(moment.all_work, 1e-300), described)

        yield show_moment


def show(json: bool, tree: dict[str, Any], sentence: str) -> None:
    """One object for programs, or one sentence for people."""
    if json:
        print(text_of.dumps(tree, indent=2, ensure_ascii=False))
    else:
        rich.console.Console().print(sentence, markup=False)


def span(seconds: float) -> str:
    """A time as people say it."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s"


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
