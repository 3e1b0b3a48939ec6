"""What happens beside a run: folders that move, processes that race, files that cannot be read."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxlimit import sweeps
from jaxlimit.sweeps import _consolidate
from tests.sweeps import work
from tests.sweeps.stores import blocks, done, spec


def test_a_store_stays_where_it_is_when_the_process_goes_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store = sweeps.Store.create("mine", spec())
    os.chdir(tmp_path / "there")
    sweeps.run(store, work.numbers)
    assert list((tmp_path / "there").iterdir()) == []
    assert len(blocks(tmp_path / "here" / "mine")) == 12


def test_a_folder_that_is_moved_under_a_run_stops_it_and_no_second_one_is_made(tmp_path):
    store = sweeps.Store.create(tmp_path / "before", spec())

    def moved(settings, first, stop, checkpoint):
        (tmp_path / "before").rename(tmp_path / "after")
        raise ArithmeticError("this cell is done with")

    with pytest.raises(sweeps.SweepError, match="was it moved"):
        sweeps.run(store, moved)
    assert not (tmp_path / "before").exists()


def test_of_two_specs_that_are_made_at_the_same_moment_the_second_is_refused(tmp_path, monkeypatch):
    from jaxlimit.sweeps import _store

    write = _store.write_new

    def late(path, data):
        monkeypatch.setattr(_store, "write_new", write)
        sweeps.Store.create(tmp_path / "store", spec(seed=4))
        return write(path, data)

    monkeypatch.setattr(_store, "write_new", late)
    with pytest.raises(ValueError, match="have no sweep or this very one"):
        sweeps.Store.create(tmp_path / "store", spec())
    assert sweeps.Store.open(tmp_path / "store").spec == spec(seed=4)


def test_adopting_leaves_a_block_that_has_come_meanwhile(tmp_path):
    other = done(tmp_path / "other")
    store = sweeps.Store.create(tmp_path / "store", spec())
    job = store.missing()[0]
    cell = store.cell(job).cell_id
    store.blocks.write(cell, job.first, job.stop, {"mine": (("replica",), np.arange(job.first, job.stop))})
    missing = store.missing
    store.missing = lambda: [job, *missing()]
    with pytest.warns(UserWarning, match="computed twice with different results"):
        store.adopt(other)
    assert "mine" in store.blocks.read(cell, job.first, job.stop)


def test_a_block_that_cannot_be_read_is_not_damaged_for_that(tmp_path, monkeypatch):
    store = done(tmp_path / "store")
    path, before, read = store.path(store.spec.jobs[3]), blocks(store.folder), Path.read_bytes

    def broken(self):
        if self == path:
            raise OSError(5, "Input/output error")
        return read(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        with pytest.raises(sweeps.SweepError, match="could not be read or moved"):
            sweeps.run(store, work.numbers)
        assert any("cannot be read" in line for line in sweeps.verify(store.folder))
    assert blocks(store.folder) == before
    assert not (store.folder / "quarantine").exists()


def test_a_chunk_that_is_gone_is_not_read_as_one_in_which_nothing_was_computed(tmp_path):
    store = done(tmp_path / "store")
    path = sweeps.consolidate(store)
    next(file for file in sorted((path / "values").rglob("*")) if file.is_file() and file.name != "zarr.json").unlink()
    with pytest.raises(ValueError, match="as it was written"):
        sweeps.dataset(store.folder)


def test_what_is_complete_belongs_to_the_arrays_that_were_opened(tmp_path):
    store = sweeps.Store.create(tmp_path / "store", spec())
    sweeps.run(store, work.numbers, shard=(0, 2))
    sweeps.consolidate(store)
    opened = sweeps.dataset(store.folder)
    seen = opened["values"].load()
    sweeps.run(store, work.numbers)
    sweeps.consolidate(store)
    np.testing.assert_array_equal(np.isfinite(seen.values).all(axis=(-1, -2)), opened["complete"].values)


def test_of_two_that_consolidate_at_the_same_moment_one_is_enough(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "name").write_text(folder.name, encoding="utf-8")
    looked = iter([False, True])  # it was not there when this one looked
    monkeypatch.setattr(Path, "exists", lambda self: next(looked) if self == old else os.path.exists(self))
    _consolidate._replace(new, old)
    monkeypatch.undo()
    assert (old / "name").read_text(encoding="utf-8") == "old"
    assert not new.exists()


def test_labels_are_the_same_whether_a_spec_was_made_or_read(tmp_path):
    tables = [{"law": "Uniform", "low": low, "high": 1.0} for low in (-1.0, 0.0)]
    made = spec({"c": tables}, c=tables[0])
    assert made.labels == sweeps.SweepSpec.from_text(made.text).labels
    assert spec({"flag": [True, "true"]}, flag=True).labels == {"flag": ["true", '"true"']}


@pytest.mark.parametrize("name", ["a/b", "", "n" * 101], ids=["a slash", "nothing", "long"])
def test_names_that_no_format_takes_are_refused_before_the_work(tmp_path, name):
    with pytest.raises(ValueError, match="without a slash"):
        spec({name: [{"width": 1}, {"width": 2}]})
    store = sweeps.Store.create(tmp_path / "store", spec())
    wrong = lambda settings, first, stop, _: {name: (("replica",), np.arange(first, stop))}  # noqa: E731
    with pytest.raises(sweeps.SweepError, match="without a slash"):
        sweeps.run(store, wrong)


def test_where_one_worked_is_no_other_environment(tmp_path, monkeypatch):
    from jaxlimit.sweeps import _journal

    store = sweeps.Store.create(tmp_path / "store", spec())
    for part, revision in enumerate(["0123abcd", None]):
        monkeypatch.setattr(_journal, "_revision", lambda revision=revision: revision)
        sweeps.run(store, work.numbers, shard=(part, 2))
    assert len(sweeps.environments(store.folder)) == 1
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    (store.path(store.spec.jobs[0])).unlink()
    sweeps.run(store, work.numbers)
    assert len(sweeps.environments(store.folder)) == 2
