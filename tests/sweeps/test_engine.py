"""What is missing is done, once, by whoever comes; what fails is named and leaves the rest alone."""

import itertools
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest

from jaxlimit import sweeps
from jaxlimit._devices import DeviceMemoryError
from jaxlimit.sweeps import SweepError, run
from tests.sweeps import work
from tests.sweeps.stores import blocks, done, spec


def empty(folder, axes=None, **settings):
    return sweeps.Store.create(folder, spec(axes, **settings))


def counting(made):
    """The work, with a list of what it was asked for."""

    def counted(settings, first, stop, checkpoint):
        made.append((settings["width"], settings["gamma"], first))
        return work.numbers(settings, first, stop)

    return counted


def test_a_second_run_does_nothing(tmp_path):
    store, made = empty(tmp_path), []
    assert run(store, counting(made)).replicas == 40
    assert len(set(made)) == len(made) == 12
    before = blocks(tmp_path)
    notes = len(list((tmp_path / "runs").iterdir()))
    again = run(store, counting(made))
    assert again[:2] == (0, 0)
    assert len(made) == 12
    assert blocks(tmp_path) == before
    assert len(list((tmp_path / "runs").iterdir())) == notes


def test_the_cells_of_a_sweep_that_is_stopped_have_equal_shares(tmp_path):
    store = empty(tmp_path, replicas=40)
    for times in range(5):
        left = itertools.count()

        def stops(settings, first, last, checkpoint, left=left):
            if next(left) == 7:
                raise KeyboardInterrupt
            return work.numbers(settings, first, last)

        with pytest.raises(KeyboardInterrupt):
            run(store, stops, cost=lambda cell: -cell.settings["width"])
        shares = [sum(stop - first for first, stop in store.blocks.ranges(cell.cell_id)) for cell in store.spec.cells]
        assert sum(shares) == 28 * (times + 1)
        assert max(shares) - min(shares) <= 4
        assert shares[3] >= shares[0]  # cells that cost less go first
    assert run(store, work.numbers).blocks == 5


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 16])
def test_shards_partition_the_blocks_exactly_whatever_each_machine_thinks_they_cost(tmp_path, parts):
    store, made = empty(tmp_path), []
    for part in range(parts):
        before = len(made)
        run(store, counting(made), shard=(part, parts), cost=lambda cell, part=part: (cell.number * 7 + part) % 5 + 1.0)
        assert abs(len(made) - before - 12 / parts) < 1
    assert len(set(made)) == len(made) == 12
    assert store.status().complete


def test_no_shard_has_all_the_dear_cells(tmp_path):
    """With as many shards as cells, every n-th block would be one cell for each shard."""
    store = empty(tmp_path, replicas=64, block=1)
    run(store, work.numbers, shard=(0, 4))
    shares = [len(store.blocks.ranges(cell.cell_id)) for cell in store.spec.cells]
    assert sum(shares) == 64
    assert min(shares) > 6


def test_a_shard_that_steals_does_what_the_others_have_not_done(tmp_path):
    store, made = empty(tmp_path), []
    assert run(store, counting(made), shard=(1, 3)).blocks == 4
    own = list(made)
    assert run(store, counting(made), shard=(0, 3), steal=True).blocks == 8
    assert len(set(made)) == len(made) == 12
    assert set(made[:4]) == set(own)
    assert store.status().complete


def test_two_thieves_do_not_begin_with_the_same_block(tmp_path):
    orders = []
    for part in (0, 1, 2):
        store, made = empty(tmp_path / str(part), replicas=40), []
        run(store, counting(made), shard=(part, 3), steal=True)
        assert len(made) == 40
        orders.append(made[14:])
    assert not set(orders[0][:2]) & set(orders[1][:2])
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("steal", [False, True])
def test_progress_is_monotone_and_ends_at_the_total(tmp_path, threads, steal):
    store, moments = empty(tmp_path), []
    run(store, work.numbers, shard=(0, 4))
    shard = (1, 2)
    choice = {"shard": shard, "steal": steal, "progress": moments.append, "cost": lambda cell: cell.settings["width"]}
    if threads:
        with ThreadPoolExecutor(threads) as executor:
            ran = run(store, work.numbers, executor=executor, **choice)
    else:
        ran = run(store, work.numbers, **choice)
    assert ran.blocks == len(moments) > 0
    for name in ("replicas", "work", "seconds"):
        values = [getattr(moment, name) for moment in moments]
        assert values == sorted(values)
    last = moments[-1]
    assert last.replicas == last.all_replicas == ran.replicas
    assert last.work == pytest.approx(last.all_work, rel=1e-12)
    assert len({(moment.all_replicas, moment.all_work) for moment in moments}) == 1


def test_what_others_have_done_meanwhile_counts_as_done(tmp_path):
    store, moments = empty(tmp_path), []

    def joined(settings, first, stop, checkpoint):
        if not moments:
            run(store, work.numbers, shard=(0, 2))
        return work.numbers(settings, first, stop)

    ran = run(store, joined, progress=moments.append)
    assert ran.blocks in (6, 7)  # the block under way may be one that the other has done
    assert len(moments) == 12
    assert moments[-1].replicas == moments[-1].all_replicas == 40


@pytest.mark.parametrize("threads", [0, 2])
def test_a_cell_that_fails_leaves_the_others_and_is_named_with_the_remedy(tmp_path, threads):
    store = empty(tmp_path)
    with ThreadPoolExecutor(threads or 1) as executor, pytest.raises(SweepError) as caught:
        run(store, work.fails_at_32, executor=executor if threads else None)
    said = str(caught.value)
    assert said.startswith("2 of 4 cells failed; all others are done.\n")
    for number, gamma in ((2, 0.5), (3, 1.0)):
        name = f"Replicas 0 to 3 of cell {number} (width 32, gamma {gamma})"
        assert f"{name}: ArithmeticError: a width of 32 is too much for me" in said
    assert said.endswith("Blocks that are finished are kept: remove the cause and run the sweep again.")
    assert isinstance(caught.value.__cause__, ArithmeticError)
    assert sorted({job.cell for job in store.present()}) == [0, 1]
    assert store.status()[:4] == (6, 12, 20, 40)
    assert run(store, work.numbers).blocks == 6


def test_a_cell_that_fails_does_not_hide_what_comes_after_it(tmp_path):
    """Ten thousand blocks of the cell that fails lie between two of the other one."""
    sizes = [{"width": 32, "replicas": 3000}, {"width": 16, "replicas": 3}]
    store = empty(tmp_path, {"size": sizes}, block=1)
    with ThreadPoolExecutor(2) as executor, pytest.raises(SweepError, match="1 of 2 cells failed"):
        run(store, work.fails_at_32, executor=executor)
    assert len(store.present()) == 3


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError("no memory")])
def test_what_concerns_the_machine_stops_at_once_and_is_named(tmp_path, threads, error):
    store, made = empty(tmp_path, replicas=400), []

    def fails(settings, first, stop, checkpoint):
        made.append(first)
        if len(made) == 6:
            raise error
        return work.numbers(settings, first, stop)

    said = rf"Replicas 4 to 7 of cell 1 .* could not be computed or written: {type(error).__name__}: .*{error.args[-1]}"
    with ThreadPoolExecutor(1) as executor, pytest.raises(SweepError, match=said + ".* run the sweep again"):
        run(store, fails, executor=executor if threads else None)
    assert 5 <= len(store.present()) <= len(made) < 400


def lacks_memory_at_32(settings, first, stop, checkpoint):
    if settings["width"] == 32:
        raise DeviceMemoryError("take `lanes=4`")
    return work.numbers(settings, first, stop)


def test_a_device_too_small_for_one_cell_does_not_stop_the_others(tmp_path):
    store = empty(tmp_path, {"width": [32, 16]}, replicas=8)
    with pytest.raises(SweepError, match=r"1 of 2 cells failed[\s\S]*take `lanes=4`"):
        run(store, lacks_memory_at_32)
    assert len(store.present()) == 2


class Breaks(Executor):
    """A pool that breaks, in a worker or before."""

    def __init__(self, at_submission):
        self._at_submission = at_submission

    def submit(self, fn, /, *args, **kwargs):
        if self._at_submission:
            raise BrokenExecutor("a worker was killed")
        future = Future()
        future.set_exception(BrokenExecutor("a worker was killed"))
        return future


@pytest.mark.parametrize("at_submission", [False, True])
def test_a_pool_that_breaks_is_no_fault_of_a_cell(tmp_path, at_submission):
    store = empty(tmp_path)
    with pytest.raises(
        SweepError, match=r"could not be computed .*BrokenExecutor: a worker was killed\. Blocks that are"
    ):
        run(store, work.numbers, executor=Breaks(at_submission))
    assert run(store, work.numbers).blocks == 12


def test_an_interrupt_cancels_what_has_not_begun(tmp_path):
    store = empty(tmp_path, replicas=400)

    def interrupts(moment):
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        run(store, work.numbers, executor=executor, progress=interrupts)
    assert 1 <= len(store.present()) < 100
    assert sweeps.verify(tmp_path) == []


def test_a_progress_that_raises_is_no_fault_of_a_cell(tmp_path):
    def broken(moment):
        raise BrokenPipeError("nobody looks")

    with pytest.raises(BrokenPipeError):
        run(empty(tmp_path), work.numbers, progress=broken)


def test_notes_that_cannot_be_written_cost_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps._journal.Journal, "note", lambda *_: (_ for _ in ()).throw(OSError("full")))
    monkeypatch.setattr(sweeps._journal.Journal, "__init__", lambda *_: None)
    assert run(empty(tmp_path), work.numbers).blocks == 12


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"complete": (("replica",), np.zeros(4))}, r"leave the names .* to the sweep, but it returns \['complete'\]"),
        ({"gamma": (("replica",), np.zeros(4))}, r"leave the names width, gamma, .* but it returns \['gamma'\]"),
        (
            {"u": (("replica", "width"), np.zeros((4, 2)))},
            r"have dims that are not axes of the sweep, but .*\['width'\]",
        ),
        ({"u": (("replica",), np.zeros(3))}, "Variable `u` must have 4 replicas first"),
        ([1, 2], "Argument `work` must return a table of variables, but it is list"),
        (None, "Argument `work` must return a table of variables, but it is NoneType"),
    ],
)
def test_work_that_returns_no_variables_is_told_so(tmp_path, variables, said):
    with pytest.raises(SweepError, match=said):
        run(empty(tmp_path, gamma=0.5), lambda *_: variables)
    assert blocks(tmp_path) == {}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"shard": (2, 2)}, "Argument `shard` must have i < n, but it is 2/2"),
        ({"shard": (-1, 2)}, "Argument `shard` must be a non-negative integer"),
        ({"shard": 1}, "Argument `shard` must be a pair"),
        ({"executor": 4}, "Argument `executor` must be a concurrent.futures.Executor, but it is a int"),
        ({"work": "sweep_block"}, "Argument `work` must be a function, but it is a str"),
        ({"store": "folder"}, "Argument `store` must be a Store"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_done(tmp_path, choice, said):
    arguments = {"store": empty(tmp_path), "work": work.numbers, **choice}
    with pytest.raises(ValueError, match=said):
        run(arguments.pop("store"), arguments.pop("work"), **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["spec.json"]


def test_who_computed_what_is_noted_beside_the_blocks_and_not_in_them(tmp_path):
    store = done(tmp_path)
    notes = list(sweeps._journal.notes(tmp_path))
    assert {"versions", "devices", "machine", "git_revision"} <= notes[0]["provenance"].keys()
    noted = {(note["cell"], note["first"], note["stop"]) for note in notes[1:]}
    assert noted == {(store.cell(job).cell_id, job.first, job.stop) for job in store.spec.jobs}
    assert sweeps.environments(tmp_path) == [notes[0]["provenance"]]
