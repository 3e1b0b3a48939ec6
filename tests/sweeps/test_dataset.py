"""A sweep as a Dataset is the dense array that one would have made of it, read no further than it is asked for."""

import random
import shutil

import numpy as np
import pytest

from jaxlimit import sweeps
from jaxlimit.sweeps import SweepSpec, consolidate, dataset, run
from tests.sweeps import work
from tests.sweeps.stores import blocks, done, spec

xarray = pytest.importorskip("xarray")

CELLS = [
    {"replicas": 10, "block": 4, "times": 3, "points": 2, "dtype": "f4"},
    {"replicas": 7, "block": 3, "times": 1, "points": 4, "dtype": "f8"},
    {"replicas": 20, "block": 20, "times": 4, "points": 1, "dtype": "f4"},
]


def ragged(folder):
    settings = {"replicas": 1, "block": 1, "times": 1, "points": 1, "dtype": "f4"}
    made = sweeps.Store.create(folder, SweepSpec({**settings, "lr": 0.1}, {"cell": CELLS, "lr": [0.1, 0.2]}))
    run(made, work.ragged)
    return made


def dense(store, name, dtype, nothing):
    """All that is there of a variable, by calls of the work and loops over everything."""
    cells, there = store.spec.cells, store.present()
    parts = {job: work.ragged(store.cell(job).settings, job.first, job.stop) for job in there}
    sizes = {dim: 0 for part in parts.values() for dim in part.get(name, ((),))[0][1:]}
    for dims, array in (variable for part in parts.values() for variable in part.values()):
        sizes.update({dim: max(size, sizes[dim]) for dim, size in zip(dims, array.shape, strict=True) if dim in sizes})
    shape = sizes.values()  # a dim has one length, whichever variable needs it
    whole = np.full((*store.spec.shape, max(cell.replicas for cell in cells), *shape), nothing, dtype)
    for job, part in parts.items():
        if name in part:
            for index in np.ndindex(*part[name][1].shape):
                whole[(*store.cell(job).position, index[0] + job.first, *index[1:])] = part[name][1][index]
    return whole


EXPECTED = [
    ("values", "f8", np.nan),
    ("large", "?", False),
    ("steps", "i8", np.iinfo(np.int64).min),
]


@pytest.fixture(params=["blocks", "consolidated"])
def opened(request):
    """How a store is opened: its blocks, or the consolidated store."""

    def open_it(store):
        if request.param == "consolidated":
            consolidate(store)
        return dataset(store.folder)

    return open_it


def test_cells_of_all_shapes_lie_in_one_array_and_the_rest_is_nothing(tmp_path, opened):
    store = ragged(tmp_path)
    found = opened(store)
    for name, dtype, nothing in EXPECTED:
        whole = dense(store, name, dtype, nothing)
        assert found[name].dtype == dtype
        assert found[name].shape == whole.shape
        np.testing.assert_array_equal(found[name].values, whole)
    assert found["values"].dims == ("cell", "lr", "replica", "time", "point")
    assert found["ts"].dims == ("cell", "lr", "time")
    np.testing.assert_array_equal(found["ts"].values[1, 0], [0.0, np.nan, np.nan, np.nan])
    assert found["wanted"].values.tolist() == [[10, 10], [7, 7], [20, 20]]
    assert found["complete"].sum("replica").values.tolist() == [[10, 10], [7, 7], [20, 20]]
    assert found["times"].values.tolist() == [[3, 3], [1, 1], [4, 4]]  # a setting that differs is a coordinate
    assert found["lr"].values.tolist() == [0.1, 0.2]
    assert set(found.coords) >= {"cell", "lr", "complete", "wanted", "times", "points"}


def test_a_sweep_that_is_not_finished_is_a_smaller_one_of_every_cell(tmp_path, opened):
    store = ragged(tmp_path)
    draw = random.Random(1)
    for job in draw.sample(store.present(), 9):
        store.path(job).unlink()
    for job in store.spec.cells[2].jobs:
        store.path(job).unlink(missing_ok=True)
    found = opened(store)
    for name, dtype, nothing in EXPECTED:
        np.testing.assert_array_equal(found[name].values, dense(store, name, dtype, nothing))
    complete = np.zeros(found["complete"].shape, bool)
    for job in store.present():
        complete[(*store.cell(job).position, slice(job.first, job.stop))] = True
    np.testing.assert_array_equal(found["complete"].values, complete)
    assert np.isnan(found["values"].values[~complete]).all()
    assert found.attrs["replicas_done"] == complete.sum() < found.attrs["replicas_wanted"] == 74


INDICES = [
    {"replica": 3},
    {"replica": -1, "time": 0},
    {"replica": slice(2, 9)},
    {"replica": slice(None, None, 3)},
    {"replica": slice(None, None, -2), "time": slice(None, None, -1)},
    {"replica": [5, 0, 5, 19, 2]},
    {"replica": np.arange(20) % 4 == 1},
    {"replica": slice(5, 5)},
    {"replica": []},
    {"cell": 1},
    {"cell": [2, 0], "lr": 1, "point": slice(1, None)},
    {"cell": slice(None, None, -1), "replica": [19, 1], "time": [3, 0], "point": -1},
    {"lr": [True, False], "time": 2},
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_what_is_indexed_is_what_the_dense_array_has_there(tmp_path_factory, index, ragged_once):
    found, whole = ragged_once
    expected = xarray.DataArray(whole, dims=found["values"].dims).isel(index)
    picked = found["values"].isel(index)
    assert picked.dims == expected.dims
    np.testing.assert_array_equal(picked.values, expected.values)


@pytest.fixture(scope="module")
def ragged_once(tmp_path_factory):
    store = ragged(tmp_path_factory.mktemp("ragged"))
    found = dataset(store.folder)
    return found, dense(store, "values", "f8", np.nan)


@pytest.fixture
def reads(monkeypatch):
    """The blocks whose arrays are read, in order."""
    made = []
    real = sweeps.Blocks.read

    def counted(self, cell, first, stop):
        made.append((cell, first, stop))
        return real(self, cell, first, stop)

    monkeypatch.setattr(sweeps.Blocks, "read", counted)
    return made


def test_opening_reads_no_array_of_replicas_and_indexing_no_block_that_is_not_asked_for(tmp_path, reads):
    store = done(tmp_path)
    found = dataset(store.folder)
    assert found["ts"].values.tolist() == [0.0, 0.5, 1.0]
    assert bool(found["complete"].all())
    assert repr(found)
    assert reads == []
    cell = store.spec.cells[2].cell_id
    found["values"].isel(width=1, gamma=0, replica=9, time=0).load()
    assert reads == [(cell, 8, 10)]
    found["diverged_at"].isel(width=1, gamma=0, replica=slice(8, None)).load()
    assert reads == [(cell, 8, 10)]  # the block is still known
    found["values"].isel(width=1, gamma=0, replica=[0, 9]).load()
    assert reads == [(cell, 8, 10), (cell, 0, 4)]


def test_consolidating_reads_every_block_once(tmp_path, reads):
    store = ragged(tmp_path)
    consolidate(store)
    assert len(reads) == len(set(reads)) == len(store.spec.jobs)
    reads.clear()
    assert dataset(store.folder)["values"].load().shape == (3, 2, 20, 4, 4)
    assert reads == []


def test_a_grid_without_axes_is_one_cell(tmp_path, opened):
    store = done(tmp_path, {})
    found = opened(store)
    assert found["values"].dims == ("replica", "time", "point")
    expected = work.numbers(store.spec.cells[0].settings, 0, 10)["values"][1]
    np.testing.assert_array_equal(found["values"].values, expected)
    np.testing.assert_array_equal(found["values"][7, 1:].values, expected[7, 1:])
    assert found["complete"].values.tolist() == [True] * 10
    assert int(found["wanted"]) == 10


def test_axes_that_are_no_numbers_have_texts_for_labels(tmp_path, opened):
    names = [{"name": "Erf"}, {"name": "Relu"}, {"name": "Bump", "at": 2}]
    store = done(tmp_path, {"activation": names, "on": [True, False]}, activation=names[0], on=True)
    found = opened(store)
    assert [str(label) for label in found["activation"].values] == ["Erf", "Relu", "Bump(at=2)"]
    picked = found["values"].sel(activation="Relu", on="false")
    np.testing.assert_array_equal(picked.values, work.numbers(store.spec.cells[3].settings, 0, 10)["values"][1])


def test_what_made_a_dataset_is_written_on_it(tmp_path, opened):
    store = done(tmp_path)
    attributes = opened(store).attrs
    assert attributes["spec_id"] == store.spec.spec_id
    assert SweepSpec.from_text(attributes["spec"]) == store.spec
    assert '"versions":{' in attributes["provenance"]


def test_a_consolidated_store_that_has_not_all_the_blocks_is_not_used(tmp_path, reads):
    store = done(tmp_path)
    for job in store.present()[::2]:
        store.path(job).unlink()
    consolidate(store)
    run(store, work.numbers)
    reads.clear()
    found = dataset(store.folder)
    assert bool(found["complete"].all())
    assert not np.isnan(found["values"].values).any()
    assert len(reads) == 12
    assert consolidate(store) == tmp_path / "consolidated.zarr"
    assert bool(dataset(store.folder)["complete"].all())
    assert not list(tmp_path.glob(".*"))


def test_a_consolidated_store_is_enough(tmp_path):
    store = done(tmp_path)
    expected = dataset(tmp_path).load()
    consolidate(store)
    shutil.rmtree(tmp_path / "blocks")
    found = dataset(tmp_path)
    assert list(found.data_vars) == list(expected.data_vars)
    for name in [*expected.data_vars, *expected.coords]:
        np.testing.assert_array_equal(found[name].values, expected[name].values)
    assert sweeps.verify(tmp_path) == []


def test_the_consolidated_store_of_another_sweep_is_refused(tmp_path):
    store, other = done(tmp_path / "store"), done(tmp_path / "other", seed=4)
    shutil.copytree(consolidate(other), store.folder / "consolidated.zarr")
    with pytest.raises(ValueError, match=r"must have a consolidated.zarr of its own sweep"):
        dataset(store.folder)


def test_metadata_of_the_consolidated_store_that_were_changed_are_refused(tmp_path):
    path = consolidate(done(tmp_path)) / "values" / "zarr.json"
    path.write_text(path.read_text().replace("float32", "float64"))
    with pytest.raises(ValueError, match=r"values/zarr.json of .* differ: remove it and consolidate again"):
        dataset(tmp_path)


def test_damaged_blocks_are_left_out_and_warned_of(tmp_path):
    store = done(tmp_path)
    expected = dataset(tmp_path)["values"].values.copy()
    first, inner = store.path(store.spec.cells[0].jobs[0]), store.path(store.spec.cells[1].jobs[1])
    first.write_bytes(first.read_bytes()[:100])  # its header is read before anything else
    data = bytearray(inner.read_bytes())
    data[-100] ^= 1
    inner.write_bytes(data)
    with pytest.warns(UserWarning, match="2 damaged blocks were moved to quarantine and are left out"):
        consolidate(store)
    found = dataset(tmp_path)
    expected[0, 0, :4] = expected[0, 1, 4:8] = np.nan
    np.testing.assert_array_equal(found["values"].values, expected)
    np.testing.assert_array_equal(found["complete"].values, ~np.isnan(expected[..., 0, 0]))
    assert sweeps.verify(tmp_path) == []
    assert run(store, work.numbers).blocks == 2


def test_consolidating_twice_gives_equal_bytes_and_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    store = done(tmp_path)
    path = consolidate(store)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    consolidate(store)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consolidate(store, progress=stop)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert not list(tmp_path.glob(".*"))


def test_progress_of_consolidating_counts_cells(tmp_path):
    moments = []
    consolidate(done(tmp_path), progress=lambda *moment: moments.append(moment))
    assert moments == [(1.0, 4.0), (2.0, 4.0), (3.0, 4.0), (4.0, 4.0)]


def test_a_sweep_without_a_block_says_that_it_must_be_run(tmp_path):
    store = sweeps.Store.create(tmp_path, spec())
    for use in (lambda: dataset(tmp_path), lambda: consolidate(store)):
        with pytest.raises(ValueError, match=r"must hold at least one block, but .* has none: run the sweep first"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["spec.json"]


def test_work_that_is_not_the_same_for_all_blocks_of_a_cell_is_refused(tmp_path):
    store = sweeps.Store.create(tmp_path, spec({}))

    def changing(settings, first, stop, checkpoint):
        return {"u": (("replica", "time"), np.zeros((stop - first, 3 if first else 2)))}

    run(store, changing)
    said = (
        "return the same variables, dims and types for all blocks of a cell, but 0000000004-0000000008.block of cell 0"
    )
    for use in (lambda: dataset(tmp_path)["u"].load(), lambda: consolidate(store)):
        with pytest.raises(ValueError, match=said):
            use()


def test_netcdf_has_everything_that_the_dataset_has(tmp_path):
    pytest.importorskip("netCDF4")
    names = [{"name": "Erf"}, {"name": "Relu"}]
    store = done(tmp_path / "store", {"activation": names, "width": [16, 32]}, activation=names[0])
    store.path(store.present()[3]).unlink()
    for found in (dataset(store.folder), dataset(consolidate(store).parent)):
        path = sweeps.export(store.folder, tmp_path / "sweep.nc")
        with xarray.open_dataset(path) as written:
            xarray.testing.assert_equal(written.load(), found.load())
            assert written["values"].dtype == np.float32
            assert written["diverged_at"].dtype == np.int64
            assert written["complete"].dtype == bool
            assert written.attrs["spec_id"] == store.spec.spec_id
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(ValueError, match="Argument `path` must be a file to write"):
        sweeps.export(store.folder, tmp_path / "nowhere" / "sweep.nc")


def test_a_type_that_netcdf_has_not_is_named(tmp_path):
    pytest.importorskip("netCDF4")
    store = sweeps.Store.create(tmp_path / "store", spec({}))
    run(store, lambda settings, first, stop, _: {"u": (("replica",), np.ones(stop - first) * 1j)})
    assert dataset(store.folder)["u"].dtype == complex
    with pytest.raises(ValueError, match="`u` is complex128"):
        sweeps.export(store.folder, tmp_path / "sweep.nc")
    assert blocks(store.folder)
