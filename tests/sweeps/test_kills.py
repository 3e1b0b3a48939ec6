"""Processes are killed at any time, and nothing that was finished is lost: what comes out are the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from jaxlimit import sweeps
from jaxlimit.sweeps import Store, SweepSpec
from tests.sweeps import work
from tests.sweeps.stores import blocks, contents

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")

RUNNER = Path(__file__).with_name("runner.py")
SETTINGS = {"width": 16, "replicas": 160, "block": 3, "seed": 1, "seconds": 0.01}
AXES = {"width": [16, 32, 64, 128, 256, 512], "gamma": [0.5, 1.0]}


def spec(**settings):
    return SweepSpec({**SETTINGS, "gamma": 0.5, **settings}, AXES)


def start(store, *choice, work="slow"):
    """A process that works on a sweep, with this environment, outside of any repository."""
    return subprocess.Popen(
        [sys.executable, RUNNER, store.folder, work, *map(str, choice)],
        cwd=store.folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid):
    """The processes that it has started; the tracker of multiprocessing's semaphores is one of them."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in found}
    except FileNotFoundError:  # one of them ended at this moment
        return []
    return [child for child, line in lines.items() if "spawn_main" in line]


def gone(pid):
    """Whether a process has ended; one that nobody has asked for its exit code has ended as well."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def count(store):
    """Blocks that are there."""
    return sum(len(store.blocks.ranges(cell.cell_id)) for cell in store.spec.cells)


def wait_until(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def uninterrupted(folder, wanted, monkeypatch):
    """The consolidated sweep as it comes from one quiet process; the folder says which revision has made it: none."""
    monkeypatch.chdir(folder.parent)
    store = Store.create(folder, wanted)
    sweeps.run(store, work.numbers)
    return contents(sweeps.consolidate(store)), blocks(folder)


@pytest.mark.slow
def test_thirty_kills_lose_nothing_and_change_no_byte(tmp_path, monkeypatch):
    """Two spawned workers; the parent is killed, or one of the workers, while starting, computing or writing."""
    whole, parts = uninterrupted(tmp_path / "quiet", spec(), monkeypatch)
    store, draw = Store.create(tmp_path / "killed", spec()), random.Random(20261126)
    counts = [0]
    for kill in range(30):
        process = start(store, 2)
        # While it starts, or some blocks later, within one or between two of them: however busy the machine is.
        starting = kill % 4 == 0
        wanted, delay = counts[-1] + draw.randint(1, 12), draw.uniform(0.0, 1.0 if starting else 0.03)
        if not starting:
            wait_until(lambda wanted=wanted: count(store) >= wanted)
        time.sleep(delay)
        assert process.poll() is None, process.communicate()
        workers = children(process.pid)
        victim = workers[-1] if workers and kill % 3 == 1 else process.pid
        os.kill(victim, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        assert victim == process.pid or "BrokenProcessPool" in said
        wait_until(lambda workers=workers: all(gone(worker) for worker in workers))
        counts.append(count(store))
        assert counts[-1] >= wanted or starting
    assert not store.status().complete
    assert sweeps.verify(store.folder) == []
    finished = start(store, 2)
    said, trouble = finished.communicate(timeout=120)
    assert finished.returncode == 0, trouble
    assert f"blocks={len(store.spec.jobs) - counts[-1]}" in said
    assert blocks(store.folder) == parts
    assert contents(sweeps.consolidate(store)) == whole


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_told_to_stop_leaves_a_sound_folder_and_no_process(tmp_path, number):
    store = Store.create(tmp_path / "store", spec(seconds=0.05))
    process = start(store, 2)
    wait_until(lambda: count(store) > 2)
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == -number
    wait_until(lambda: all(gone(worker) for worker in workers))
    before = blocks(store.folder)
    assert 2 < len(before) < len(store.spec.jobs)
    assert sweeps.verify(store.folder) == []
    assert all(store.blocks.damage(store.folder / path) == "" for path in before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices", [[()] * 2, [(0, part, 4, part % 2) for part in range(4)], [(0, 1, 3, 1), (0, 2, 3, 1)]]
)
def test_runs_that_know_nothing_of_each_other_share_a_folder(tmp_path, monkeypatch, choices):
    wanted = spec(replicas=24)
    whole, parts = uninterrupted(tmp_path / "quiet", wanted, monkeypatch)
    store = Store.create(tmp_path / "store", wanted)
    processes = [start(store, *choice) for choice in choices]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert said == ""  # above all no warning of blocks that differ
    assert blocks(store.folder) == parts
    assert sweeps.verify(store.folder) == []
    assert contents(sweeps.consolidate(store)) == whole


def test_a_worker_that_is_killed_stops_the_run_which_names_the_block_and_the_next_one_goes_on(tmp_path):
    store = Store.create(
        tmp_path / "store", SweepSpec({**SETTINGS, "replicas": 12, "mark": str(tmp_path / "mark")}, {})
    )
    process = start(store, 1, work="dies_once")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "of cell 0 (the only one) could not be computed or written: BrokenProcessPool" in said
    assert len(blocks(store.folder)) == 1
    process = start(store, 1, work="dies_once")
    said, _ = process.communicate(timeout=30)
    assert "Ran(blocks=3, replicas=9" in said


@pytest.mark.slow
def test_a_killed_block_goes_on_from_the_state_that_it_has_kept(tmp_path):
    mark = tmp_path / "mark"
    store = Store.create(tmp_path / "store", SweepSpec({"replicas": 2, "block": 2, "mark": str(mark)}, {}))
    process = start(store, work="waits")
    wait_until(mark.exists)
    process.kill()
    process.communicate()
    assert blocks(store.folder) == {}
    assert any(path.endswith(".part") for path in contents(store.folder))
    again = start(store, work="waits")
    assert "blocks=1" in again.communicate(timeout=30)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sweeps.dataset(store.folder).resumed_at.values.tolist() == [7, 7]
    assert not any(path.endswith(".part") for path in contents(store.folder))
