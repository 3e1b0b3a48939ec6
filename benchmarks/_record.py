"""Measurements as tables on stdout, and as one file of JSON with the same numbers under the same names."""

import json
import math
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

NARROW, WIDE, WORDS = 8, 26, ("what", "who", "method")
"""Characters of a column, of those of `WORDS` more."""

MEMORY = ("memory", "resource_exhausted", "would fit")
"""Words of errors which say that something is too large: ours, NumPy's and XLA's."""


class Timing(NamedTuple):
    """`compile_s`: what the first call took beyond a later one. `call_s`: median of the later ones."""

    compile_s: float
    call_s: float


def timed(run: Callable[[], object], repeats: int) -> Timing:
    """Seconds of a call that ends when its results are there."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    later = median(times[1:])
    return Timing(max(0.0, times[0] - later), later)


def per(amount: float, seconds: float) -> float | None:
    """A rate; None where a difference of two times is lost in their noise."""
    return amount / seconds if seconds > 0 else None


class Record:
    """Tables of rows with named numbers, units in the names.

    A case that does not fit into the memory, that fails, or that would begin after `minutes` is a row that says so.
    `against` is the file of another run: where a table has a cost, `times_against` is the least cost of the rows
    there that agree in the table's key, over the cost here. The file is written anew with every row, so that a run
    which is cut short leaves what it knew.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        file: str | Path | None = None,
        against: str | Path | None = None,
        minutes: float = 60.0,
    ):
        self.about = dict(about)
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.failures: list[str] = []
        self._file = None if file is None else Path(file)
        self._other = {} if against is None else json.loads(Path(against).read_text(encoding="utf-8"))["tables"]
        self._start, self._minutes = time.monotonic(), minutes
        self._columns: tuple[str, ...] = ()
        self._key: tuple[str, ...] = ()
        self._cost: str | None = None

    def table(self, name: str, key: tuple[str, ...], numbers: tuple[str, ...], cost: str | None = None) -> None:
        """Begin a table; rows with equal `key` ask the same of two machines, and `cost` is one of the numbers."""
        compared = ("times_against",) if cost and self._other else ()
        self._key, self._columns, self._cost = key, (*key, *numbers, *compared, "note"), cost
        self.tables[name] = []
        print(f"\n{name}\n" + " ".join(f"{column:>{_width(column)}s}" for column in self._columns), flush=True)

    def measure(self, known: Mapping[str, Any], case: Callable[[], Mapping[str, Any]]) -> dict[str, Any] | None:
        """One row: what is `known` beforehand, and what the case finds. None where there was nothing to find."""
        if time.monotonic() - self._start > 60.0 * self._minutes:
            self._add({**known, "note": f"not begun: {self._minutes:g} minutes are over"})
            return None
        try:
            found = {**known, **case()}
        except Exception as error:
            # Not the error itself: its frames would hold on to what fills the device.
            text = f"{type(error).__name__}: {error}"
            large = isinstance(error, MemoryError) or any(word in text.lower() for word in MEMORY)
            if not large:
                self.failures.append(traceback.format_exc())
            note = f"{'out of memory' if large else 'FAILED'}: {text.splitlines()[0][:160]}"
            self._add({**known, "note": note})
            return None
        return self._add(found)

    def part(self, run: Callable[[], object]) -> None:
        """Run tables that others do not need: what keeps them from being made stops nothing else."""
        try:
            run()
        except Exception:
            self.failures.append(traceback.format_exc())
            print("FAILED", flush=True)

    def finish(self) -> None:
        """Raise ``RuntimeError`` if a case failed, after all the others."""
        if self.failures:
            raise RuntimeError(f"{len(self.failures)} failed:\n\n" + "\n".join(self.failures))

    def _add(self, row: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(row.keys() - set(self._columns))
        if unknown:
            raise RuntimeError(f"no column for {', '.join(unknown)}")
        name = list(self.tables)[-1]
        if "times_against" in self._columns:
            row = {**row, "times_against": self._times(name, row)}
        # What is no number is no JSON either, and is kept as a word.
        plain = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        row = {column: plain[column] for column in self._columns if plain.get(column) is not None}
        self.tables[name].append(row)
        print(" ".join(f"{_text(row.get(column)):>{_width(column)}s}" for column in self._columns), flush=True)
        if self._file is not None:
            content = {**self.about, "seconds": time.monotonic() - self._start, "tables": self.tables}
            self._file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return row

    def _times(self, name: str, row: Mapping[str, Any]) -> float | None:
        """How many times less it costs here than at best there."""
        cost, rows = self._cost, self._other.get(name, [])
        same = [r[cost] for r in rows if cost in r and all(r.get(k) == row.get(k) for k in self._key)]
        return min(same) / row[cost] if same and cost in row and row[cost] > 0 else None


def _width(column: str) -> int:
    return 0 if column == "note" else WIDE if column in WORDS else max(NARROW, len(column))


def _text(value: Any) -> str:
    """Three digits of a number; whole numbers, words and nothing as they are."""
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
