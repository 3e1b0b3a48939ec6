"""A sweep is foreseen: more of anything costs more, what is done costs nothing, and clocks correct the model."""

import math

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.studies import _sweep_plan as planning
from jaxlimit.studies import sweep_block, sweep_cost, sweep_plan, sweep_spec

SMALL = {
    "data": {"source": "sphere", "points": 3, "inputs": 2},
    "replicas": 24,
    "block": 8,
    "width": 8,
    "ts": [0.0, 1.0],
    "method": {"name": "Stepwise", "lanes": 2, "native": False},
}
SPEC = sweep_spec({**SMALL, "axes": {"width": [8, 32, 128], "scaling.gamma": [0.5, 1.0]}})


def seconds(**changes):
    """The seconds of a sweep of one cell."""
    return sweep_plan(sweep_spec({**SMALL, **changes}), calibrate=False).seconds


@pytest.fixture
def clock(monkeypatch):
    """A machine on which everything takes `factor` times what the model says, and compiling 5 seconds more."""

    class Clock:
        now, factor, jitter, begun = 0.0, 3.0, 0.0, frozenset()
        calls = 0

    def takes(settings, first, stop):
        program, Clock.calls = str(settings), Clock.calls + 1
        Clock.now += Clock.factor * planning._turns(stop - first, planning._plan(settings))
        Clock.now += Clock.jitter * (Clock.calls % 4) + (5.0 if program not in Clock.begun else 0.0)
        Clock.begun = Clock.begun | {program}

    monkeypatch.setattr(planning, "sweep_block", takes)
    monkeypatch.setattr(planning.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_wider_longer_and_more_networks_take_more_seconds():
    assert seconds() < seconds(width=16) < seconds(width=64)
    assert seconds() < seconds(ts=[0.0, 2.0])
    assert seconds(replicas=48) == pytest.approx(2 * seconds())
    assert sweep_cost(SPEC.cells[0]) < sweep_cost(SPEC.cells[-1])


def test_a_lane_that_is_not_full_takes_as_long_as_a_full_one():
    assert seconds(replicas=1, block=1) == seconds(replicas=2, block=2)


def test_a_plan_has_a_row_for_every_cell_and_their_sums():
    plan = sweep_plan(SPEC, calibrate=False)
    assert [row.number for row in plan.cells] == list(range(6))
    assert (plan.blocks, plan.missing_blocks) == (18, 18)
    assert plan.seconds == plan.missing_seconds == pytest.approx(sum(row.seconds for row in plan.cells))
    assert all(row.seconds == pytest.approx(3 * row.block_seconds) for row in plan.cells)
    assert math.isnan(plan.uncertainty)
    assert plan.compile_seconds == 0
    assert plan.memory > plan.workers * max(row.lane_bytes for row in plan.cells)


def test_what_is_done_is_not_missing(tmp_path):
    def nothing(settings, first, stop, checkpoint):
        return {"values": (("replica",), np.zeros(stop - first))}

    store = jl.sweeps.Store.create(tmp_path / "store", SPEC)
    jl.sweeps.run(store, nothing, shard=(0, 3))
    plan = sweep_plan(SPEC, done=store, calibrate=False)
    assert (plan.blocks, plan.missing_blocks) == (18, 12)
    assert sum(row.missing for row in plan.cells) == 12 * 8
    assert plan.missing_seconds == pytest.approx(sum(row.block_seconds * row.missing_blocks for row in plan.cells))
    assert plan.missing_seconds < plan.seconds
    jl.sweeps.run(store, nothing)
    over = sweep_plan(SPEC, done=store, calibrate=False)
    assert (over.missing_blocks, over.missing_seconds, over.missing_compile_seconds) == (0, 0, 0)


@pytest.mark.slow
def test_bytes_on_disk_are_those_foreseen(tmp_path):
    spec = sweep_spec(SMALL)
    store = jl.sweeps.Store.create(tmp_path / "store", spec)
    jl.sweeps.run(store, sweep_block)
    whole = sum(path.stat().st_size for path in store.blocks.every())
    assert sweep_plan(spec, calibrate=False).result_bytes == pytest.approx(whole, rel=0.2)


def test_short_runs_correct_the_model_and_tell_compiling_from_running(clock):
    model, plan = sweep_plan(SPEC, calibrate=False), sweep_plan(SPEC)
    assert plan.seconds - plan.compile_seconds == pytest.approx(3 * model.seconds)
    # γ is a number in a program: three widths, three programs.
    assert plan.compile_seconds == pytest.approx(15.0)
    assert plan.uncertainty == pytest.approx(0.0, abs=1e-9 * plan.seconds)
    assert clock.calls == 2 * (1 + planning.REPEATS)


def test_clocks_that_scatter_make_the_plan_uncertain(clock):
    clock.jitter = 0.1
    assert sweep_plan(SPEC).uncertainty > 0


def test_between_the_cells_that_were_run_the_correction_is_interpolated(monkeypatch):
    first, *_, last = sorted(SPEC.cells, key=sweep_cost)
    ratios = {first.number: (2.0, 0.1, 7.0), last.number: (8.0, 0.3, 4.0)}
    monkeypatch.setattr(planning, "_measured", lambda cell: ratios[cell.number])
    plan, model = sweep_plan(SPEC), sweep_plan(SPEC, calibrate=False)
    found = [row.seconds / other.seconds for row, other in zip(plan.cells, model.cells, strict=True)]
    assert (found[first.number], found[last.number]) == (pytest.approx(2.0), pytest.approx(8.0))
    assert 2.0 < found[2] < 8.0
    assert 0.1 < plan.cells[2].scatter < 0.3
    assert plan.compile_seconds == pytest.approx(3 * 4.0 + 3.0)


def test_a_lane_that_takes_longer_than_a_second_is_run_over_a_shorter_time(monkeypatch):
    cell = SPEC.cells[-1]
    lane = 2 * sweep_cost(cell)
    monkeypatch.setattr(planning, "SAMPLE_SECONDS", lane / 4)
    settings, replicas = planning._shortened(cell)
    assert settings["ts"] == [0.25]
    assert replicas == 2 * planning._foreseen(cell.text).workers
    monkeypatch.setattr(planning, "SAMPLE_SECONDS", lane * 100)
    settings, replicas = planning._shortened(cell)
    assert settings["ts"] == [0.0, 1.0]
    assert 8 <= replicas < 8 + 2 * planning._foreseen(cell.text).workers


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("spec", lambda path: sweep_plan("spec")),
        ("spec", lambda path: sweep_plan(jl.sweeps.SweepSpec({"replicas": 1, "block": 1}, {}))),
        ("done", lambda path: sweep_plan(SPEC, done=path)),
        ("done", lambda path: sweep_plan(SPEC, done=jl.sweeps.Store.create(path / "a", sweep_spec(SMALL)))),
        ("cell", lambda path: sweep_cost({"width": 8})),
    ],
)
def test_what_is_no_sweep_of_networks_is_refused_by_name(name, call, tmp_path):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call(tmp_path)
