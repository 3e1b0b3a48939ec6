"""One progress bar over several runs."""

from collections.abc import Sequence

from jaxlimit._lanes import Progress


class Shares:
    """The progress of several runs as one, weighted by their work."""

    def __init__(self, progress: Progress | None, work: Sequence[float]):
        self._progress, self._work = progress, work

    def part(self, position: int) -> Progress | None:
        """The progress function of one run."""
        overall = self._progress
        if overall is None:
            return None
        before, total = sum(self._work[:position]), sum(self._work)
        return lambda done, of: overall(before + self._work[position] * done / of, total)
