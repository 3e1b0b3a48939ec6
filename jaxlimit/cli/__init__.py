"""The command line: ``jaxlimit run xavier``, ``jaxlimit certify``, ``jaxlimit list``, ``jaxlimit doctor``.

Results go to stdout, progress to stderr. Exit codes: 0 when no claim is VIOLATED, 1 when one is, 2 for
usage, 3 for an unexpected error, 4 when blocks of a sweep failed or are damaged, 130 when interrupted, 143 when told to
end.
"""

import os
import signal
import sys
import traceback

try:
    import cyclopts
    import rich.console
except ImportError as error:  # the light core has no command line
    raise SystemExit("jaxlimit's command line needs an extra: pip install 'jaxlimit[cli]'") from error

# Importing a command registers it.
from jaxlimit.cli import _about as _about
from jaxlimit.cli import _certify as _certify
from jaxlimit.cli import _doctor as _doctor
from jaxlimit.cli import _mean_field as _mean_field
from jaxlimit.cli import _mild as _mild
from jaxlimit.cli import _min_norm as _min_norm
from jaxlimit.cli import _multilayer as _multilayer
from jaxlimit.cli import _normalisation as _normalisation
from jaxlimit.cli import _report as _report
from jaxlimit.cli import _sweep as _sweep
from jaxlimit.cli import _sweep_status as _sweep_status
from jaxlimit.cli import _xavier as _xavier
from jaxlimit.cli._app import app


def main() -> None:
    """Run the command line and exit with its code."""
    # Results are written at the end, so leaving at once loses nothing; an exception raised inside a compilation
    # would be swallowed there.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        code = app(exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        rich.console.Console(stderr=True).print(f"{error}\nTry `jaxlimit --help`.", markup=False)
        sys.exit(2)
    except (ValueError, ImportError, OSError, MemoryError) as error:  # bad values, missing extras, no room
        rich.console.Console(stderr=True).print(str(error), markup=False)
        sys.exit(2)
    except Exception:  # not a verdict: 1 is kept for VIOLATED
        traceback.print_exc()
        sys.exit(3)
    sys.exit(code if isinstance(code, int) else 0)
