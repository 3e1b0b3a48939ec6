"""A folder is this sweep's, or it is refused; and where nothing can be written it is said what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxlimit import sweeps
from jaxlimit.sweeps import Blocks, Store, SweepSpec
from tests.sweeps import work
from tests.sweeps.stores import blocks, contents, done, flipped, spec

RUNNER = Path(__file__).with_name("runner.py")
BOUNDED = """
import resource, runpy, sys

_, bound, *sys.argv = sys.argv
resource.setrlimit(resource.RLIMIT_FSIZE, (int(bound), int(bound)))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_store_is_made_once_and_opened_as_often_as_one_likes(tmp_path):
    store = Store.create(tmp_path / "a" / "b", spec())
    before = contents(store.folder)
    assert list(before) == ["spec.json"]
    assert Store.create(store.folder, spec()).spec == Store.open(str(store.folder)).spec == spec()
    assert contents(store.folder) == before
    assert SweepSpec.from_text(before["spec.json"].decode()) == spec()
    assert json.loads(before["spec.json"])["spec_id"] == spec().spec_id


def test_another_spec_is_refused_and_both_are_named(tmp_path):
    Store.create(tmp_path, spec())
    other = spec(seed=4)
    said = f"it has spec {spec().spec_id[:12]} and this one is {other.spec_id[:12]}; take another folder"
    with pytest.raises(ValueError, match=said):
        Store.create(tmp_path, other)
    assert Store.open(tmp_path).spec == spec()


def test_a_folder_of_a_newer_version_is_refused(tmp_path):
    store = done(tmp_path)
    path = store.folder / "spec.json"
    path.write_text(path.read_text().replace('"schema":1', '"schema":2'))
    before = contents(tmp_path)
    for use in (Store.open, lambda folder: Store.create(folder, spec()), sweeps.verify, sweeps.dataset):
        with pytest.raises(ValueError, match="but its schema is 2: update jaxlimit"):
            use(tmp_path)
    assert contents(tmp_path) == before


def test_every_flipped_bit_of_the_spec_is_found(tmp_path):
    path = Store.create(tmp_path, spec()).folder / "spec.json"
    sound = path.read_bytes()
    for bit in range(0, 8 * len(sound), 5):
        path.write_bytes(flipped(sound, bit))
        with pytest.raises(ValueError, match="Argument"):
            Store.open(tmp_path)
    path.write_bytes(sound)
    assert Store.open(tmp_path).spec == spec()


def test_a_folder_with_files_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(ValueError, match=r"must be new or empty, but .* holds thesis.tex"):
        Store.create(tmp_path, spec())
    assert list(contents(tmp_path)) == ["thesis.tex"]
    with pytest.raises(ValueError, match=r"must be that of a sweep, but .* has no spec.json"):
        Store.open(tmp_path)
    with pytest.raises(ValueError, match="must be the folder of a sweep, but there is no"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must be one to write in"):
        Store.create(tmp_path / "thesis.tex", spec())
    with pytest.raises(ValueError, match="Argument `spec` must be a SweepSpec"):
        Store.create(tmp_path / "new", spec().text)


def test_a_spec_that_was_lost_is_written_again_from_the_same_settings_and_from_no_others(tmp_path):
    store = done(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "spec.json").unlink()
    with pytest.raises(ValueError, match=r"must have no blocks of another sweep, but .* has 4 cells of one"):
        Store.create(tmp_path, spec(seed=4))
    assert Store.create(tmp_path, store.spec).status().complete
    assert contents(tmp_path) == before


def test_what_is_being_written_by_another_process_is_no_file_of_somebody_else(tmp_path):
    (tmp_path / ".spec.json.0123.tmp").write_text("{")
    assert Store.create(tmp_path, spec()).spec == spec()


def test_a_folder_in_which_nothing_can_be_written_is_named(tmp_path, monkeypatch):
    """Permissions stop nobody who is root, as tests in containers are: the system call says no instead."""
    store = Store.create(tmp_path, spec())

    def refuse(path, *arguments, **named):
        raise OSError(30, "Read-only file system", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        patched.setattr(Path, "mkdir", refuse)
        with pytest.raises(ValueError, match=r"must be one to write in, but .*Read-only file system"):
            Store.create(tmp_path / "new", spec())
        with pytest.raises(sweeps.SweepError, match=r"Nothing can be written in .*Read-only.* run the sweep again"):
            sweeps.run(store, work.numbers)
    assert sweeps.run(store, work.numbers).blocks == 12


def test_progress_of_a_store(tmp_path):
    store = done(tmp_path)
    assert store.status()[:4] == (12, 12, 40, 40)
    assert store.status().complete
    assert store.missing() == []
    gone = store.present()[5]
    store.path(gone).unlink()
    assert store.missing() == [gone]
    assert store.status()[:4] == (11, 12, 40 - (gone.stop - gone.first), 40)
    assert 0 < store.status().seconds < 60
    assert not store.status().complete


def test_a_larger_sweep_adopts_the_blocks_of_a_smaller_one(tmp_path):
    small = done(tmp_path / "small")
    damaged = small.path(small.present()[0])
    damaged.write_bytes(flipped(damaged.read_bytes(), 1000))
    larger = Store.create(tmp_path / "larger", spec({"width": [16, 32, 64], "gamma": [0.5, 1.0]}, replicas=16))
    # Of 4 cells, the 2 whole blocks of each are blocks of the larger one too, and one of them is damaged.
    assert larger.adopt(small) == 7
    assert larger.adopt(small) == 0
    assert sweeps.run(larger, work.numbers).blocks == 6 * 4 - 7
    fresh = Store.create(tmp_path / "fresh", larger.spec)
    sweeps.run(fresh, work.numbers)
    assert contents(fresh.folder, "blocks/**/*") == contents(larger.folder, "blocks/**/*")
    assert sweeps.verify(larger.folder) == []
    assert len(sweeps.environments(larger.folder)) == 1


def test_a_store_that_has_everything_by_adoption_is_a_sound_one(tmp_path):
    small = done(tmp_path / "small")
    part = Store.create(tmp_path / "part", spec({"width": [32]}, gamma=1.0))
    assert part.adopt(small) == 3
    assert part.status().complete
    assert sweeps.verify(part.folder) == []


def test_a_block_computed_twice_with_other_bits_is_warned_of_and_the_first_stays(tmp_path):
    found, cell = Blocks(tmp_path), "ab" * 32
    found.write(cell, 0, 2, {"u": (("replica",), np.zeros(2))})
    before = blocks(tmp_path)
    found.write(cell, 0, 2, {"u": (("replica",), np.zeros(2))})
    with pytest.warns(UserWarning, match="was computed twice with different results, of which the first stays"):
        found.write(cell, 0, 2, {"u": (("replica",), np.ones(2))})
    assert blocks(tmp_path) == before


def test_a_full_disk_stops_with_the_name_of_the_block_and_the_sweep_goes_on_when_there_is_room(tmp_path):
    """Files may not grow beyond a limit that the spec fits in and a block does not; root is not above it."""
    store = Store.create(tmp_path / "store", spec(replicas=200, block=100))

    def run(bound):
        arguments = [sys.executable, "-c", BOUNDED, str(bound), RUNNER, store.folder, "numbers"]
        return subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)

    full = run(2000)
    assert full.returncode == 1
    assert "Replicas 0 to 99 of cell 0 (width 16, gamma 0.5) could not be computed or written: OSError" in full.stderr
    assert "File too large" in full.stderr
    assert "remove the cause and run the sweep again" in full.stderr
    assert [name for name in contents(store.folder) if name.endswith((".tmp", ".block"))] == []
    assert sweeps.verify(store.folder) == []
    assert run(10**6).returncode == 0
    assert store.status().complete
    whole = Store.create(tmp_path / "whole", store.spec)
    sweeps.run(whole, work.numbers)
    assert blocks(whole.folder) == blocks(store.folder)


def test_stale_temporary_files_are_removed_and_fresh_ones_left(tmp_path):
    store = done(tmp_path)
    block = store.path(store.present()[0])
    unfinished = block.with_name(block.name.replace("0", "9"))
    made = {
        block.with_name(f".{block.name}.01.tmp"): 4000,
        block.with_name(f".{block.name}.02.tmp"): 0,
        tmp_path / ".consolidated.zarr.03.tmp" / "values" / "c" / "0": 4000,
        tmp_path / ".consolidated.zarr.04.tmp" / "values" / "c" / "0": 0,
        block.with_name(f".{block.name}.7.part"): 0,  # its block is finished
        block.with_name(f".{unfinished.name}.7.part"): 9000,
    }
    for path, age in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"...")
        then = path.stat().st_mtime - age
        for each in [path, *(path.parents[:3] if ".zarr." in str(path) else [])]:
            os.utime(each, (then, then))
    sweeps.run(store, work.numbers)
    assert [path.exists() for path in made] == [False, True, False, True, False, True]
    assert not (tmp_path / ".consolidated.zarr.03.tmp").exists()
    assert sweeps.verify(tmp_path) == []
