"""What a sweep says so far: claims where theory speaks, numbers everywhere."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlimit._arguments import require
from jaxlimit.claims import Remark, Report, number
from jaxlimit.studies._sweep_claims import claims
from jaxlimit.studies._sweep_found import CellFound, families, found_in, where
from jaxlimit.studies._sweep_panels import panels
from jaxlimit.sweeps import Store, environments


def sweep_report(store: Store | str | Path) -> Report:
    """Claims, numbers and figures from the blocks that are there: an unfinished sweep is a smaller Monte Carlo.

    Claims are made where theory speaks, for cells that differ in width alone: shallow networks in the scaling N^{−γ}
    with squared error, E c = 0 and plain SGD. Over three widths and more, that the variance of the outputs on the data
    at the last time goes like N^{1−2γ} (HOLDS where the 95% interval of the exponent lies within ± 0.1 of that). For
    γ < 1, where the kernel has a closed form, that it is N^{1−2γ}a + b/N with the a of the limit, within 10%: b, of the
    noise of SGD and of the kernel, bends the slope of narrow networks. At γ = 1/2, that the law at the widest width is
    that of the limit, by the default margins and from 4096 networks on. With fewer than 1000 networks at a width the
    first two are UNDECIDED, and so is every claim on networks some of which diverged.

    For every cell there are E_π E|h_T − ŷ|², E_π Var h_T and the share of held-out points with the wrong sign, with
    standard errors over networks: as remarks, and as `arrays` over the grid. The configuration says which sweep this
    is (`spec_id`), what it asks for, what made it, and how much of it is there. Raises ``ValueError`` for a folder
    without a sweep of `sweep_spec` or without any block, `DamagedError` for a block that is not what was written.

        >>> import tempfile, jaxlimit as jl
        >>> made = {"data": {"source": "sphere", "points": 3, "inputs": 2}, "replicas": 8, "block": 4, "width": 8}
        >>> store = jl.sweeps.Store.create(tempfile.mkdtemp(), jl.studies.sweep_spec(made))
        >>> _ = jl.sweeps.run(store, jl.studies.sweep_block)
        >>> report = jl.studies.sweep_report(store)
        >>> [claim.name for claim in report.claims], report.arrays["replicas"].tolist()
        (['law, all widths'], 8)
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    spec = opened.spec
    for cell in spec.cells:
        networks = {"scaling", "method", "ts", "dtype"} <= set(cell.settings)
        require(networks, "store", "be a sweep of `studies.sweep_spec`", "its cells are no networks")
    seen = {cell.number: found_in(opened, cell) for cell in spec.cells}
    found = {position: one for position, one in seen.items() if one is not None}
    require(bool(found), "store", "hold at least one block", f"{opened.folder} has none: run the sweep first")
    groups = families(spec, found)
    status = opened.status()
    return Report(
        title="A sweep of networks",
        source=f"spec_id {spec.spec_id}",
        claims=tuple(claim for family in groups for claim in claims(opened, family)),
        panels=panels(groups, list(spec.axes), spec.dims),
        arrays=_arrays(opened, found),
        configuration={
            "study": "sweep",
            "spec_id": spec.spec_id,
            "spec": {"settings": spec.settings, "axes": spec.axes},
            "provenance": environments(opened.folder),
            "replicas_done": status.replicas,
            "replicas_wanted": status.all_replicas,
        },
        remarks=tuple(_remark(opened, position, found) for position in range(len(spec.cells))),
    )


def _arrays(store: Store, found: Mapping[int, CellFound]) -> dict[str, Any]:
    """Everything over the grid, and the labels of its axes."""
    spec = store.spec
    arrays: dict[str, Any] = {f"axis_{dim}": np.array(labels) for dim, labels in spec.labels.items()}
    for name in ("error", "variance", "wrong"):
        numbers = [getattr(found[k], name) if k in found else (math.nan, math.nan) for k in range(len(spec.cells))]
        value, error = np.array(numbers).T
        arrays[name], arrays[f"{name}_standard_error"] = value.reshape(spec.shape), error.reshape(spec.shape)
    for name in ("replicas", "diverged"):
        counts = [getattr(found[k], name) if k in found else 0 for k in range(len(spec.cells))]
        arrays[name] = np.array(counts).reshape(spec.shape)
    return arrays


def _remark(store: Store, position: int, found: Mapping[int, CellFound]) -> Remark:
    cell = store.spec.cells[position]
    name = ", ".join(f"{dim} {label}" for dim, label in where(store.spec, cell).items()) or "the only cell"
    if position not in found:
        return Remark(name, f"0 of {cell.replicas} networks", "nothing yet", "", "run the sweep again")
    one = found[position]
    named = {"error": one.error, "variance": one.variance, "wrong sign": one.wrong}
    known = {label: seen for label, seen in named.items() if math.isfinite(seen.error)}
    lost = f"{one.diverged} diverged and are left out" if one.diverged else ""
    return Remark(
        name,
        f"{one.replicas} of {cell.replicas} networks",
        ", ".join(f"{label} {number(seen.value, 4)}" for label, seen in known.items()) or "too few networks",
        "± " + ", ".join(number(seen.error, 2) for seen in known.values()) + " (standard errors)" if known else "",
        lost,
    )
