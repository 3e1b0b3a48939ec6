"""A process that works on a sweep, to be killed: `python runner.py STORE WORK [workers [i n [steal]]]`.

As a program it sees the room alone, as if that had been published without the rest of the package: a process starts in
half a second, and so do those that it spawns, which import this file as well.
"""

import signal
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
if __name__ in ("__main__", "__mp_main__"):  # and not where pytest looks for doctests
    alone = types.ModuleType("jaxlimit")
    alone.__path__ = [str(ROOT / "jaxlimit")]
    sys.modules["jaxlimit"] = alone

from jaxlimit import sweeps  # noqa: E402
from tests.sweeps import work  # noqa: E402


def main(folder, name, workers=0, part=0, parts=1, steal=False):
    store, choice = sweeps.Store.open(folder), {"shard": (part, parts), "steal": steal}
    if not workers:
        return sweeps.run(store, getattr(work, name), **choice)
    with sweeps.processes(workers) as executor:
        return sweeps.run(store, getattr(work, name), executor=executor, **choice)


if __name__ == "__main__":
    # A shell that starts the tests in the background has them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
    except sweeps.SweepError as error:
        sys.exit(f"SweepError: {error}")
