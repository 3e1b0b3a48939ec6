"""Every byte of a store held against what was written."""

from pathlib import Path

from jaxlimit.sweeps._blocks import SUFFIX
from jaxlimit.sweeps._consolidate import wrong_sums
from jaxlimit.sweeps._format import DamagedError
from jaxlimit.sweeps._journal import damaged_notes
from jaxlimit.sweeps._store import CONSOLIDATED, Store


def verify(folder: str | Path) -> list[str]:
    """What is wrong with a store: one line per file, empty where every byte is as it was written.

    Blocks, and what describes cells, by SHA-256; blocks that belong to no cell of the spec; the notes of runs by
    CRC-32; every file of the consolidated store by SHA-256. Temporary files and states of blocks that are not finished
    are not looked at. Nothing is changed: `run` moves damaged blocks aside and computes them again. Raises
    ``ValueError`` if there is no store, or its spec itself was changed.

        >>> import tempfile
        >>> from jaxlimit.sweeps import Store, SweepSpec, verify
        >>> verify(Store.create(tempfile.mkdtemp(), SweepSpec({"replicas": 8, "block": 4}, {})).folder)
        []
    """
    store = Store.open(folder)
    found, blocks = [], store.blocks
    cells = {blocks.of(cell.cell_id).name: cell for cell in store.spec.cells}
    wanted = {name: {(job.first, job.stop) for job in cell.jobs} for name, cell in cells.items()}
    for place in sorted((store.folder / "blocks").glob("*/")):
        cell = cells.get(place.name)
        for path in sorted(place.glob(f"*{SUFFIX}")):
            try:
                why = blocks.damage(path, cell.cell_id) if cell else "it belongs to no cell of the spec"
            except OSError as error:
                why = f"it cannot be read ({error})"
            if cell and not why and blocks.numbered(path) not in wanted[place.name]:
                why = "it is no block of the spec"
            if why:
                found.append(f"{path.relative_to(store.folder).as_posix()}: {why}")
        try:
            blocks.description(place)
        except DamagedError as error:
            found.append(f"{(place / 'cell.json').relative_to(store.folder).as_posix()}: {error}")
    found += [
        f"runs/{path.name}: a line was torn or changed, on which no result depends"
        for path in damaged_notes(store.folder)
    ]
    if (store.folder / CONSOLIDATED).is_dir():
        names = wrong_sums(store.folder / CONSOLIDATED)
        found += [f"{CONSOLIDATED}/{name}: it is not what was written" for name in names]
    return found
