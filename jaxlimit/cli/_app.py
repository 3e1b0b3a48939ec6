"""The application that commands register with, and how their arguments are read."""

from typing import Any

import cyclopts

from jaxlimit import __version__

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
