"""Simulations through a store: the very same samples, whatever was there, was killed, damaged, or made elsewhere."""

import dataclasses
import importlib.util
import json
import threading
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.studies import RunStore, _call, _pinned
from jaxlimit.studies._call import Call
from jaxlimit.studies._xavier import Observable

KEY = jax.random.key(5)
NETWORK = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
PROBLEM = jl.Problem(jl.data.sphere(4, 3), NETWORK)
METHOD = jl.Stepwise(lanes=2, native=False)
ONE = jax.devices()[:1]
"""Every device compiles its own program."""


def spread(parameters, start):
    """An observable of whole and real numbers, under names."""
    return {"positive": jnp.sum(parameters.c > 0), "moved": parameters.c - start.c}


SETTINGS = {"key": KEY, "method": METHOD, "devices": ONE, "observe": spread}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of four replicas on a machine with two workers or more."""
    plan = jl.simulation.plan
    monkeypatch.setattr(_pinned, "MOST", 4)
    monkeypatch.setattr(
        _call, "plan", lambda *args, **settings: dataclasses.replace(plan(*args, **settings), workers=2)
    )


@pytest.fixture
def calls(monkeypatch):
    """The (first, number) of replicas of every simulation."""
    made, simulate = [], jl.simulation.simulate

    def counted(*arguments, **settings):
        made.append((settings.get("first", 0), settings["replicas"]))
        return simulate(*arguments, **settings)

    monkeypatch.setattr(_call, "simulate", counted)
    return made


def through(store, replicas=10, width=16, problem=PROBLEM, **changes):
    return store.simulate(problem, width, [0.0, 1.0], replicas=replicas, **{**SETTINGS, **changes})


def direct(replicas=10, width=16, problem=PROBLEM, **changes):
    return jl.simulate(problem, width, [0.0, 1.0], replicas=replicas, **{**SETTINGS, **changes})


def same(left, right):
    """Equal trees, types, dtypes and bits."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert type(one) is type(other)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_samples_are_those_of_simulate_bit_for_bit_and_the_second_time_nothing_is_simulated(tmp_path, calls):
    store = RunStore(tmp_path)
    first = through(store)
    assert calls == [(0, 4), (4, 4), (8, 2)]
    again = through(RunStore(str(tmp_path)))
    assert len(calls) == 3
    same(first, direct())
    same(again, first)
    assert first.values.flags.writeable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "width", "changes"),
    [
        (PROBLEM, 64, {"method": jl.SStep(block=8, lanes=2, native=False), "at": PROBLEM.data.x[:1] + 0.5}),
        (PROBLEM, 64, {"method": None, "observe": None}),
        (PROBLEM, 16, {"method": jl.Stepwise(lanes=2, native=False, product=jl.simulation.RoundedProduct(10))}),
        (dataclasses.replace(PROBLEM, network=jl.networks.Linearised(NETWORK)), 16, {"batch": None}),
        (
            jl.Problem(
                PROBLEM.data,
                jl.networks.Multilayer(
                    (jl.activations.Tanh(),) * 2, jl.initial.IndependentLayers((jl.initial.Normal(0, 1),) * 3)
                ),
                jl.LayerwiseMeanField(0.1),
            ),
            (4, 3),
            {"observe": None, "dtype": jnp.float64},
        ),
    ],
    ids=["sstep with extra points", "chosen method", "short products", "linearised", "multilayer"],
)
def test_every_kind_of_run_comes_back_bit_for_bit(tmp_path, calls, problem, width, changes):
    arguments = {"problem": problem, "width": width, "replicas": 6, **changes}
    first = through(RunStore(tmp_path), **arguments)
    done = len(calls)
    same(through(RunStore(tmp_path), **arguments), first)
    assert len(calls) == done
    same(first, direct(**arguments))


def test_more_replicas_and_other_widths_reuse_all_full_blocks_and_fewer_replicas_need_nothing(tmp_path, calls):
    store = RunStore(tmp_path)
    through(store)
    calls.clear()
    same(through(store, replicas=12), direct(12))
    assert calls == [(8, 4)]
    same(through(store, replicas=11), direct(11))
    same(through(store, replicas=3), direct(3))
    assert len(calls) == 1
    sizes = [Call(PROBLEM, width, [0.0, 1.0], 4, **SETTINGS) for width in (8, 16)]
    calls.clear()
    assert [samples.width for samples in store.each(sizes)] == [8, 16]
    assert calls == [(0, 4)]


class StoppedError(Exception):
    """Somebody pulled the plug."""


def test_a_run_that_is_stopped_goes_on_where_it_was(tmp_path, calls):
    def stop(done, total):
        if done > 0.5 * total:
            raise StoppedError

    with pytest.raises(StoppedError):
        through(RunStore(tmp_path), progress=stop)
    kept = {path.name for path in jl.sweeps.Blocks(tmp_path).every()}
    assert kept == {"0000000000-0000000004.block"}
    calls.clear()
    seen = []
    same(through(RunStore(tmp_path), progress=lambda done, total: seen.append(done / total)), direct())
    assert calls == [(4, 4), (8, 2)]
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_a_damaged_block_is_moved_aside_and_computed_again(tmp_path, calls):
    through(RunStore(tmp_path))
    block = list(jl.sweeps.Blocks(tmp_path).every())[1]
    data = bytearray(block.read_bytes())
    data[len(data) // 2] ^= 1
    block.write_bytes(data)
    calls.clear()
    with pytest.warns(UserWarning, match="damaged block was moved"):
        found = through(RunStore(tmp_path))
    same(found, direct())
    assert calls == [(4, 4)]
    assert len(list((tmp_path / "quarantine").iterdir())) == 1


def test_a_file_of_choices_that_was_changed_counts_for_nothing(tmp_path):
    through(RunStore(tmp_path))
    (path,) = (tmp_path / "calls").iterdir()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"block":4', '"block":6'), encoding="utf-8")
    same(through(RunStore(tmp_path)), direct())
    assert path.read_text(encoding="utf-8") == text


def test_two_shards_share_the_blocks_and_both_end_with_everything(tmp_path, calls):
    """Each begins with its own; the second waits in its first block until the first has done its share."""
    sizes = [Call(PROBLEM, width, [0.0, 1.0], 8, **SETTINGS) for width in (8, 16)]
    first, second = (RunStore(tmp_path, shard=(i, 2)) for i in range(2))
    done, ended, found = threading.Event(), [], {}

    def held(part, total):
        assert done.wait(60)

    def other():
        found[1] = list(second.each(sizes, held))

    def see(part, total):
        ended.append(part)
        if len({round(one, 9) for one in ended}) >= 2:
            done.set()

    thread = threading.Thread(target=other)
    thread.start()
    found[0] = list(first.each(sizes, see))
    thread.join()
    for samples, size in zip(zip(found[0], found[1], strict=True), (8, 16), strict=True):
        same(*samples)
        same(samples[0], direct(8, size))
    assert {(first, count) for first, count in calls} == {(0, 4), (4, 4)}


def test_what_has_no_public_name_is_refused_before_anything_is_simulated(tmp_path, calls):
    store = RunStore(tmp_path)

    def inner(parameters, start):
        return parameters.c

    for observe in (lambda parameters, start: parameters.c, inner):
        fine = Call(PROBLEM, 8, [1.0], 4, **SETTINGS)
        with pytest.raises(ValueError, match="Argument `observe` must be made of functions and classes that can be"):
            list(store.each([fine, fine._replace(observe=observe)]))

    class Mine(eqx.Module):
        scale: float = 1.0

        def __call__(self, parameters, start):
            return parameters.c

    with pytest.raises(ValueError, match=r"can be imported.* but it is .*<locals>\.Mine"):
        through(store, observe=Mine())
    assert not calls


def test_identity_is_what_bits_depend_on_and_nothing_else(tmp_path, calls):
    store = RunStore(tmp_path)
    through(store)
    calls.clear()
    through(store, problem=dataclasses.replace(PROBLEM, learning_rate=1), width=np.int64(16), devices=jax.devices()[:1])
    assert not calls
    for changes in (
        {"key": jax.random.key(6)},
        {"batch": 2},
        {"dtype": jnp.float64},
        {"method": jl.Stepwise(lanes=4, native=False)},
        {"observe": Observable(NETWORK, PROBLEM.data.x)},
        {"at": PROBLEM.data.x[:1] + 1.0},
        {"problem": dataclasses.replace(PROBLEM, data=jl.Data(PROBLEM.data.x, PROBLEM.data.y + 1e-9))},
    ):
        calls.clear()
        call = Call(**{"problem": PROBLEM, "width": 16, "ts": [0.0, 1.0], "replicas": 10, **SETTINGS, **changes})
        assert store._there(_first_job(store, call)) is None, changes


def _first_job(store, call):
    from jaxlimit.studies._run_store import _Job

    cell = store._cell(call)
    return _Job(cell, *cell.blocks[0])


def test_replicas_that_diverged_are_warned_of_once_as_without_a_store(tmp_path, monkeypatch):
    """Blow the residuals up by the loss: the same words, from simulation and from blocks."""
    problem = dataclasses.replace(PROBLEM, loss=jl.losses.Exponential(), learning_rate=60.0)
    said = []
    for run in (direct, lambda **settings: through(RunStore(tmp_path), **settings)):
        for _ in range(2):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                samples = run(problem=problem)
            said.append([str(one.message) for one in caught])
    assert samples.diverged
    assert said[0] == said[1] == said[3]
    assert said[2] == said[0]


@pytest.mark.slow
def test_a_store_made_with_numba_is_read_without_it_and_says_what_it_cannot_compute(tmp_path, calls, monkeypatch):
    arguments = {"method": None, "dtype": jnp.float32, "observe": None}
    made = through(RunStore(tmp_path), **arguments)
    assert "native=True" in made.method
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    calls.clear()
    same(through(RunStore(tmp_path), **arguments), made)
    assert not calls
    with pytest.raises(ValueError, match=r"are missing in the store, which was begun with Stepwise\(lanes=.*numba"):
        through(RunStore(tmp_path), **arguments, replicas=30)


def test_folders_and_shards_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "spec.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="Argument `store` must be a folder to write in"):
        RunStore(tmp_path / "file")
    with pytest.raises(ValueError, match="is that of a sweep"):
        RunStore(tmp_path / "sweep")
    for shard in ((2, 2), (0, 0), (-1, 2), 3):
        with pytest.raises(ValueError, match="Argument `shard` must"):
            RunStore(tmp_path, shard=shard)
