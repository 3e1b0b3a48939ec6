"""A study as settings describe it: what it is called, and what it is given."""

from typing import Any, NamedTuple

from jaxlimit.problem import Problem
from jaxlimit.sweeps import canonical, digest


class Study(NamedTuple):
    """A study before it is run: ``getattr(jaxlimit.studies, name)(problem, **arguments)`` runs it.

    `settings` have every default written out, and `spec_id` is their SHA-256 with the name's, by which a result is
    cited: equal ones mean the same computation. `xavier_from` and its like make one of settings.

        >>> import jaxlimit as jl
        >>> made = {"data": {"source": "sphere", "points": 3, "inputs": 2}}
        >>> study = jl.studies.xavier_from(jl.studies.resolved_settings(made))
        >>> study.name, study.settings["data"]["seed"], study.spec_id == jl.sweeps.digest(study.tree)
        ('xavier', 0, True)
    """

    name: str
    settings: dict[str, Any]
    problem: Problem
    arguments: dict[str, Any]

    @property
    def tree(self) -> dict[str, Any]:
        """Name and settings."""
        return {"study": self.name, "settings": self.settings}

    @property
    def text(self) -> str:
        """The canonical text of both: equal studies have equal texts."""
        return canonical(self.tree)

    @property
    def spec_id(self) -> str:
        """SHA-256 of the text, 64 hexadecimal digits."""
        return digest(self.tree)
