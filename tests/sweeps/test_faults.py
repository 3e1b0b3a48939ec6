"""Files that are not what was written: found, moved aside, computed again; and a sound store is called sound."""

import random
import shutil
import warnings

import pytest

from jaxlimit import sweeps
from jaxlimit.sweeps import DamagedError, Store, consolidate, dataset, run, verify
from tests.sweeps import work
from tests.sweeps.stores import blocks, contents, done, flipped, spec


def truncated(path, elsewhere):
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path, elsewhere):
    path.write_bytes(b"")


def one_bit(path, elsewhere):
    data = path.read_bytes()
    path.write_bytes(flipped(data, 4 * len(data)))


def of_another_cell(path, elsewhere):
    other = next(place for place in path.parent.parent.iterdir() if place != path.parent)
    shutil.copy(other / path.name, path)


def of_other_replicas(path, elsewhere):
    shutil.copy(sorted(path.parent.glob("*.block"))[1], path)


def of_another_store(path, elsewhere):
    other = min((elsewhere / "blocks").iterdir())
    shutil.copy(other / path.name, path)


FAULTS = [truncated, emptied, one_bit, of_another_cell, of_other_replicas, of_another_store]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_block_that_is_not_what_was_written_is_found_moved_aside_and_computed_again(tmp_path, fault):
    store, other = done(tmp_path / "store"), done(tmp_path / "other", {"gamma": [0.5]}, seed=9)
    before = blocks(store.folder)
    path = store.path(store.spec.cells[2].jobs[0])
    name = path.relative_to(store.folder).as_posix()
    fault(path, other.folder)
    assert [line.split(":")[0] for line in verify(store.folder)] == [name]
    with pytest.raises(DamagedError, match=rf"{path.parent.name}/{path.name}: .*computes it again"):
        dataset(store.folder)["values"].isel(width=1).load()
    with pytest.warns(UserWarning, match="1 damaged blocks were moved to .*quarantine and are computed again"):
        ran = run(store, work.numbers)
    assert ran.blocks == len(ran.quarantined) == store.status().quarantined == 1
    assert ran.quarantined[0].exists()
    assert blocks(store.folder) == before
    assert verify(store.folder) == []


def test_a_block_that_was_deleted_is_computed_again(tmp_path):
    store = done(tmp_path)
    before = blocks(tmp_path)
    store.path(store.present()[4]).unlink()
    shutil.rmtree(store.blocks.of(store.spec.cells[3].cell_id))
    assert verify(tmp_path) == []
    assert run(store, work.numbers).blocks == 4
    assert blocks(tmp_path) == before


def test_several_damages_of_one_block_are_all_kept_for_inspection(tmp_path):
    store = done(tmp_path)
    path = store.path(store.present()[0])
    for kept in (1, 2, 3):
        one_bit(path, None)
        with pytest.warns(UserWarning, match="1 damaged blocks"):
            run(store, work.numbers)
        assert store.status().quarantined == kept


def test_a_run_that_trusts_does_not_look(tmp_path):
    store = done(tmp_path)
    one_bit(store.path(store.present()[0]), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(store, work.numbers, verify=False)[:2] == (0, 0)
    assert len(verify(tmp_path)) == 1


def test_a_shard_looks_at_its_own_blocks_and_all_of_them_at_all(tmp_path):
    store = done(tmp_path)
    for job in store.present():
        one_bit(store.path(job), None)
    for part in (0, 1, 2):
        with pytest.warns(UserWarning, match="4 damaged blocks"):
            assert run(store, work.numbers, shard=(part, 3)).blocks == 4
    assert verify(tmp_path) == []


def test_a_sound_block_that_another_process_has_put_there_meanwhile_is_put_back(tmp_path):
    store = done(tmp_path)
    path = store.path(store.present()[0])
    before = contents(tmp_path)
    assert store.blocks.quarantine(path) is None
    assert contents(tmp_path) == before
    path.unlink()
    assert store.blocks.quarantine(path) is None


def test_blocks_of_nobody_are_named(tmp_path):
    store, other = done(tmp_path / "store"), done(tmp_path / "other", {"gamma": [0.5]}, seed=9)
    strange = min((other.folder / "blocks").iterdir())
    shutil.copytree(strange, store.folder / "blocks" / strange.name)
    first = store.path(store.present()[0])
    shutil.copy(first, first.with_name("copy.block"))
    larger = Store.create(tmp_path / "larger", spec(replicas=12))
    run(larger, work.numbers)
    last = larger.path(larger.spec.cells[0].jobs[-1])
    shutil.copy(last, store.folder / last.relative_to(larger.folder))
    found = {line.rpartition("/")[2] for line in verify(store.folder)}
    assert found == {
        *(f"{path.name}: it belongs to no cell of the spec" for path in strange.glob("*.block")),
        "copy.block: it does not have the name of a block",
        f"{last.name}: it is no block of the spec",
    }
    assert len(store.present()) == 12
    assert dataset(store.folder)["values"].shape == (2, 2, 10, 3, 2)


def test_what_describes_a_cell_must_be_there(tmp_path):
    store = done(tmp_path)
    path = store.blocks.of(store.spec.cells[0].cell_id) / "cell.json"
    path.unlink()
    (found,) = verify(tmp_path)
    assert found.startswith(f"blocks/{path.parent.name}/cell.json: it cannot be read")
    one_bit(min(path.parent.parent.glob("*/cell.json")), None)
    assert len(verify(tmp_path)) == 2
    assert run(store, work.numbers).blocks == 0
    assert verify(tmp_path) == []


def test_every_single_flipped_bit_of_a_store_is_found_and_a_sound_store_is_called_sound(tmp_path):
    store = done(tmp_path, seconds=0.5)
    one_bit(store.path(store.present()[0]), None)
    with pytest.warns(UserWarning, match="1 damaged blocks"):
        run(store, work.numbers)
    consolidate(store)
    assert verify(tmp_path) == []
    draw = random.Random(40)
    files = {name: data for name, data in contents(tmp_path).items() if not name.startswith("quarantine") and data}
    # One of each kind at least, and the others by their lengths.
    kinds = ["spec.json", "cell.json", ".block", ".jsonl", "values/zarr.json", "values/c/", "SHA256SUMS", "complete/c/"]
    names = [draw.choice(sorted(name for name in files if kind in name)) for kind in kinds for _ in range(5)]
    assert len(names) == 40
    for name in names:
        path, data = tmp_path / name, files[name]
        path.write_bytes(flipped(data, draw.randrange(8 * len(data))))
        if name == "spec.json":
            with pytest.raises(ValueError, match="Argument"):
                verify(tmp_path)
        else:
            (found,) = verify(tmp_path)[:1]
            assert path.name in found or path.name == "SHA256SUMS", (name, found)
        path.write_bytes(data)
    assert verify(tmp_path) == []


@pytest.mark.parametrize("name", ["SHA256SUMS", "runs"])
def test_flipped_bits_of_what_is_a_text_are_found_where_letters_and_lines_end_above_all(tmp_path, name):
    store = done(tmp_path, {"width": [16]}, replicas=4)
    consolidate(store)
    (path,) = (tmp_path / "runs").iterdir() if name == "runs" else [tmp_path / "consolidated.zarr" / name]
    data = path.read_bytes()
    found = sweeps._journal.damaged_notes if name == "runs" else lambda at: sweeps._consolidate.wrong_sums(path.parent)
    assert found(tmp_path) == []
    ends = [at for at, byte in enumerate(data) if byte in b"\n"]
    near = {8 * at + bit for at in [*ends[:2], *ends[-2:]] for bit in range(-24, 24)}  # hexadecimal digits before it
    for bit in sorted(near.intersection(range(8 * len(data)))) + list(range(0, 8 * len(data), 211)):
        path.write_bytes(flipped(data, bit))
        assert found(tmp_path), (bit, data[bit // 8 - 9 : bit // 8 + 9])


def test_files_of_the_consolidated_store_that_are_gone_or_new_are_named(tmp_path):
    store = done(tmp_path)
    path = consolidate(store)
    (path / "values" / "c" / "0" / "0" / "0" / "0" / "0").unlink()
    (path / "new").write_text("!")
    assert verify(tmp_path) == [
        "consolidated.zarr/new: it is not what was written",
        "consolidated.zarr/values/c/0/0/0/0/0: it is not what was written",
    ]


def test_a_plain_reader_of_zarr_finds_flips_in_a_chunk(tmp_path):
    import zarr

    path = consolidate(done(tmp_path))
    chunk = path / "values" / "c" / "1" / "0" / "0" / "0" / "0"
    data, sound = chunk.read_bytes(), zarr.open_group(path, mode="r")["values"][1, 0]
    for bit in range(0, 8 * len(data), 31):
        chunk.write_bytes(flipped(data, bit))
        with pytest.raises(Exception, match=r"(?i)crc32c|checksum"):
            zarr.open_group(path, mode="r")["values"][1, 0]
    chunk.write_bytes(data)
    assert (zarr.open_group(path, mode="r")["values"][1, 0] == sound).all()
