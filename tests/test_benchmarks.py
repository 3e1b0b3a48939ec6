"""What the benchmark of accelerators says it measured is what it measured, whatever happens on the way."""

import itertools
import json
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from benchmarks import _chains, _record
from benchmarks._record import Record, timed

KEY, NUMBERS = ("method", "width"), ("replicas", "ns")


def written(path):
    return json.loads(path.read_text(encoding="utf-8"))["tables"]


def test_the_file_has_what_the_table_has(tmp_path, capsys):
    record = Record({"device_kind": "none"}, tmp_path / "kept.json")
    record.table("chain", KEY, NUMBERS, "ns")
    record.measure({"method": "A", "width": 64}, lambda: {"replicas": 8, "ns": 0.123456})
    record.measure({"method": "B", "width": 128}, lambda: {"ns": None, "note": "nothing"})
    record.table("other", ("what",), ("s",))
    record.measure({"what": "C"}, lambda: {"s": 2.0})
    kept = written(tmp_path / "kept.json")
    assert kept == {
        "chain": [
            {"method": "A", "width": 64, "replicas": 8, "ns": 0.123456},
            {"method": "B", "width": 128, "note": "nothing"},
        ],
        "other": [{"what": "C", "s": 2.0}],
    }
    printed = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    names = [[*KEY, *NUMBERS, "note"], ["what", "s", "note"]]
    assert printed == [
        ["chain"], names[0], ["A", "64", "8", "0.123"], ["B", "128", "nothing"], ["other"], names[1], ["C", "2"]
    ]  # fmt: skip


def test_a_number_without_a_column_is_refused():
    record = Record({})
    record.table("chain", KEY, NUMBERS)
    with pytest.raises(RuntimeError, match="no column for speed"):
        record.measure({"method": "A", "width": 64}, lambda: {"speed": 1.0})


def test_what_is_no_number_is_kept_as_a_word(tmp_path):
    record = Record({}, tmp_path / "kept.json")
    record.table("chain", KEY, NUMBERS)
    record.measure({"method": "A", "width": 64}, lambda: {"ns": math.nan})
    assert written(tmp_path / "kept.json")["chain"][0]["ns"] == "nan"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 85899345920 bytes."),
        ValueError("Argument `width` must fit into the 1 MB that gpu:0 has free, but …; `lanes=3` would fit"),
    ],
)
def test_what_does_not_fit_is_a_row_and_no_failure(error, tmp_path):
    def case():
        raise error

    record = Record({}, tmp_path / "kept.json")
    record.table("chain", KEY, NUMBERS)
    assert record.measure({"method": "A", "width": 64}, case) is None
    record.measure({"method": "A", "width": 32}, lambda: {"ns": 1.0})
    record.finish()
    large, fits = written(tmp_path / "kept.json")["chain"]
    assert large["note"].startswith("out of memory: ")
    assert fits["ns"] == 1.0


def test_a_failure_stops_no_other_case_and_is_raised_at_the_end(tmp_path):
    record = Record({}, tmp_path / "kept.json")
    record.table("chain", KEY, NUMBERS)
    record.measure({"method": "A", "width": 64}, lambda: {"ns": 1 / 0})
    record.measure({"method": "A", "width": 32}, lambda: {"ns": 1.0})
    record.part(lambda: [].pop())
    failed, fits = written(tmp_path / "kept.json")["chain"]
    assert failed["note"] == "FAILED: ZeroDivisionError: division by zero"
    assert fits["ns"] == 1.0
    with pytest.raises(RuntimeError, match=r"(?s)2 failed:.*ZeroDivisionError.*IndexError"):
        record.finish()


def test_costs_are_compared_with_the_least_of_the_same_question(tmp_path):
    there = Record({}, tmp_path / "there.json")
    there.table("chain", KEY, NUMBERS, "ns")
    for replicas, ns in ((8, 6.0), (16, 4.0), (32, 5.0)):
        there.measure({"method": "A", "width": 64}, lambda r=replicas, n=ns: {"replicas": r, "ns": n})
    there.measure({"method": "A", "width": 128}, lambda: {"ns": 1.0})
    there.measure({"method": "B", "width": 64}, lambda: {"note": "out of memory"})
    here = Record({}, tmp_path / "here.json", tmp_path / "there.json")
    here.table("chain", KEY, NUMBERS, "ns")
    here.measure({"method": "A", "width": 64}, lambda: {"replicas": 1024, "ns": 0.2})
    here.measure({"method": "B", "width": 64}, lambda: {"ns": 0.2})
    here.measure({"method": "A", "width": 256}, lambda: {"ns": 0.2})
    assert [row.get("times_against") for row in written(tmp_path / "here.json")["chain"]] == [20.0, None, None]


def test_nothing_begins_after_the_time_is_over(tmp_path):
    record = Record({}, tmp_path / "kept.json", minutes=-1.0)
    record.table("chain", KEY, NUMBERS)
    assert record.measure({"method": "A", "width": 64}, lambda: {"ns": 1 / 0}) is None
    assert written(tmp_path / "kept.json")["chain"][0]["note"].startswith("not begun")
    record.finish()


def test_the_first_call_is_kept_apart_from_the_median_of_the_others(monkeypatch):
    ticks = itertools.accumulate(itertools.chain.from_iterable((0.0, took) for took in (5.0, 1.0, 3.0, 2.0)))
    monkeypatch.setattr(_record.time, "perf_counter", lambda: next(ticks))
    assert timed(lambda: None, 3) == (3.0, 2.0)


@pytest.mark.parametrize(("memory", "each", "lanes"), [(80e9, 10**7, 4096), (80e9, 10**8, 512), (1e6, 10**7, 1)])
def test_a_full_lane_takes_up_to_four_fifths_of_the_memory(memory, each, lanes, monkeypatch):
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": memory})
    monkeypatch.setattr(_chains.jax, "local_devices", lambda: [device])
    assert _chains.full(each) == lanes


def test_the_plain_loop_is_the_same_chain():
    """Or its time would be compared with that of something else."""
    problem, key = _chains.problem_of(5), jax.random.key(1)
    drawn = [jl.simulation.draws(problem, 32, key, r, 16) for r in range(3)]
    c, w, indices = (jnp.asarray(np.stack(part)) for part in zip(*drawn, strict=True))
    ours = jl.simulate(problem, 32, [0.5], replicas=3, key=key, method=jl.Stepwise(native=False)).values[:, 0]
    start = jl.simulate(problem, 32, [0.0], replicas=3, key=key, method=jl.Stepwise(native=False)).values[:, 0]
    assert np.allclose(_chains.plain(problem, 32)(c, w, indices), ours, rtol=0, atol=1e-6)
    assert np.max(np.abs(ours - start)) > 1e-3
