"""Grids of networks: what belongs to the identity of a sweep, and that its blocks are those networks and no others."""

import json
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation import _pieces
from jaxlimit.studies import sweep_block, sweep_run, sweep_samples, sweep_spec

SPHERE = {"source": "sphere", "points": 3, "inputs": 2}
STEPWISE = {"name": "Stepwise", "lanes": 4, "native": False}
SMALL = {"data": SPHERE, "replicas": 6, "block": 4, "width": 8, "ts": [0.0, 1.0], "method": STEPWISE}
KINDS = {
    "shallow": {},
    "full batch": {"batch": "population"},
    "an optimiser": {"optimiser": {"name": "optax.sgd", "learning_rate": 0.1}},
    "a tangent": {"linearised": True},
    "inner weights alone": {"train_output": False},
    "several layers": {
        "layers": {"middle": {"law": "Normal", "mean": 0.5}},
        "width": [4, 3],
        "scaling": {"name": "LayerwiseMeanField", "epsilon": 0.1},
    },
}


class Mine(jl.activations.AbstractActivation):
    """An activation that no other process can find by a name of the package."""

    smooth = odd = homogeneous = bounded = polynomial = False

    def __call__(self, u):
        return jnp.tanh(u)


def first(settings):
    """The settings of the first cell."""
    return sweep_spec(settings).cells[0].settings


def values(settings, start=0, stop=4):
    """Outputs of these replicas."""
    return sweep_block(first(settings), start, stop)["values"][1]


def test_defaults_written_out_are_the_defaults_themselves():
    plain = sweep_spec(SMALL)
    full = {**SMALL, "activation": {"name": "Erf"}, "w": {"law": "Normal"}, "learning_rate": 1, "batch": 1}
    assert sweep_spec(full) == plain
    objects = {"activation": jl.activations.Erf(), "method": jl.Stepwise(lanes=4, native=False), "scaling": jl.Xavier()}
    assert sweep_spec({**SMALL, **objects, "w": jl.initial.Normal()}) == plain
    seen = {**SMALL, "observe": [jl.diagnostics.movement]}
    assert sweep_spec(seen) == sweep_spec({**SMALL, "observe": ["movement"]})
    assert sweep_spec(plain.settings | {"axes": {}}).cells[0].settings == plain.cells[0].settings


def test_a_toml_file_and_python_make_one_sweep():
    text = """
    replicas = 6
    block = 4
    ts = [0, 1]
    method = {name = "Stepwise", lanes = 4, native = false}
    [data]
    source = "sphere"
    points = 3
    inputs = 2
    [axes]
    width = [8, 16]
    "scaling.gamma" = [0.5, 1]
    """
    python = {**SMALL, "axes": {"width": (8, 16), "scaling.gamma": (0.5, 1.0)}}
    assert (
        sweep_spec(tomllib.loads(text)).spec_id == sweep_spec({k: v for k, v in python.items() if k != "width"}).spec_id
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"method": {**STEPWISE, "lanes": 8}},
        {"method": {"name": "SStep", "block": 2, "lanes": 4, "native": False}},
        {"dtype": "float64"},
        {"seed": 1},
        {"learning_rate": 0.5},
        {"block": 8},
        {"observe": ["movement"]},
        {"data": {**SPHERE, "points": 4}},
    ],
    ids=lambda changed: next(iter(changed)) + " " + str(next(iter(changed.values())))[:20],
)
def test_whatever_changes_a_bit_changes_the_identity(changed):
    mine, other = sweep_spec(SMALL), sweep_spec({**SMALL, **changed})
    assert mine.spec_id != other.spec_id
    assert mine.cells[0].cell_id != other.cells[0].cell_id


def test_more_replicas_are_another_sweep_of_the_same_cell():
    mine, more = sweep_spec(SMALL), sweep_spec({**SMALL, "replicas": 60})
    assert mine.spec_id != more.spec_id
    assert mine.cells[0].cell_id == more.cells[0].cell_id


def test_what_the_machine_would_choose_is_chosen_when_the_sweep_is_made():
    cell = first({key: value for key, value in SMALL.items() if key not in ("method", "block")})
    assert cell["method"]["lanes"] >= 1
    assert cell["method"]["native"] in (True, False)
    assert cell["block"] % cell["method"]["lanes"] == 0
    assert sweep_run(cell).arguments["method"].lanes == cell["method"]["lanes"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_the_networks_that_simulate_gives(kind):
    cell = first({**SMALL, **KINDS[kind], "observe": ["movement"]})
    found = sweep_run(cell)
    block = sweep_block(cell, 4, 6)
    straight = jl.simulate(found.problem, found.width, found.ts, replicas=6, **found.arguments)
    np.testing.assert_array_equal(block["values"][1], straight.values[4:])
    np.testing.assert_array_equal(block["observed.movement"][1], straight.observed["movement"][4:])
    assert np.all(straight.observed["movement"][:, 1] > 0)


def test_cells_draw_independently_unless_they_are_told_to_share():
    axes = {"axes": {"learning_rate": [1.0, 0.5]}}
    apart, common = sweep_spec({**SMALL, **axes}), sweep_spec({**SMALL, **axes, "common_draws": True})
    start = lambda cell: sweep_block(cell.settings, 0, 4)["values"][1][:, 0]  # noqa: E731
    assert not np.any(start(apart.cells[0]) == start(apart.cells[1]))
    np.testing.assert_array_equal(start(common.cells[0]), start(common.cells[1]))


def test_precision_method_and_times_look_at_the_same_networks():
    mine = values(SMALL)
    double = values({**SMALL, "dtype": "float64"})
    later = values({**SMALL, "ts": [0.0, 0.5, 1.0]})
    np.testing.assert_allclose(double, mine, atol=1e-5)
    np.testing.assert_allclose(later[:, [0, 2]], mine, atol=1e-6)
    assert double.dtype == np.float64
    assert mine.dtype == np.float32


def test_replicas_are_the_same_in_blocks_of_any_size():
    one = values(SMALL, 0, 8)
    np.testing.assert_array_equal(np.concatenate([values(SMALL, 0, 4), values(SMALL, 4, 8)]), one)


def test_a_store_gives_samples_that_a_limit_can_be_compared_with(tmp_path):
    store = jl.sweeps.Store.create(tmp_path / "store", sweep_spec({**SMALL, "observe": ["EmpiricalKernel"]}))
    jl.sweeps.run(store, sweep_block, shard=(0, 2))
    (job,), partial = store.present(), sweep_samples(store)
    assert partial.replicas == job.stop - job.first
    jl.sweeps.run(store, sweep_block)
    samples, found = sweep_samples(store.folder), sweep_run(store.spec.cells[0].settings)
    straight = jl.simulate(found.problem, 8, found.ts, replicas=6, **found.arguments)
    np.testing.assert_array_equal(samples.values, straight.values)
    np.testing.assert_array_equal(samples.observed["EmpiricalKernel"], straight.observed["EmpiricalKernel"])
    assert (samples.steps.tolist(), samples.lanes, samples.width) == (straight.steps.tolist(), 4, 8)
    assert samples.draws == straight.draws


def test_save_times_may_be_an_axis(tmp_path):
    store = jl.sweeps.Store.create(tmp_path / "store", sweep_spec({**SMALL, "axes": {"ts": [[0, 1], [0, 1, 2]]}}))
    jl.sweeps.run(store, sweep_block)
    found = jl.sweeps.dataset(store.folder)
    np.testing.assert_array_equal(found["t"].values, [[0, 1, np.nan], [0, 1, 2]])
    np.testing.assert_array_equal(found["values"].values[0, :, :2], found["values"].values[1, :, :2])


def test_random_numbers_are_those_of_the_sweep_whatever_a_machine_prefers():
    with jax.default_prng_impl("rbg"):
        cell = first({**SMALL, "seed": 11})
        other = sweep_run(cell).arguments["key"]
    assert jax.random.key_impl(other) == "threefry2x32"


def test_an_optimiser_knows_whether_types_were_wide(monkeypatch):
    cell = first({**SMALL, "optimiser": {"name": "optax.sgd", "learning_rate": 0.1}})
    assert cell["x64"] is True
    assert "x64" not in first(SMALL)
    with pytest.raises(ValueError, match="`optimiser` must be those of the sweep"):
        sweep_run({**cell, "x64": False})


def test_the_text_of_a_function_of_ones_own_belongs_to_the_sweep(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "def seen(now, start):\n    return now.c[0] + {}\n"
    (tmp_path / "observables_of_mine.py").write_text(text.format(0), encoding="utf-8")
    cell = first({**SMALL, "observe": ["observables_of_mine.seen"]})
    assert len(cell["code_sha256"]) == 64
    sweep_run(cell)
    with pytest.raises(ValueError, match="`observe, optimiser` must be those of the sweep"):
        sweep_run({**cell, "code_sha256": "0" * 64})


def test_a_state_that_is_not_of_this_run_does_not_stand_in_the_way(tmp_path):
    cell, path = first(SMALL), tmp_path / "block"
    whole = sweep_block(cell, 0, 4)
    kept = jl.sweeps.BlockCheckpoint(path, "ab" * 32, every=0.0)
    for _ in range(2):
        kept.offer(0, lambda: {"pieces": np.array([1, 9, 3]), "nonsense": np.zeros(3)})
    assert len(list(tmp_path.iterdir())) == 1
    again = sweep_block(cell, 0, 4, jl.sweeps.BlockCheckpoint(path, "ab" * 32))
    np.testing.assert_array_equal(again["values"][1], whole["values"][1])
    assert list(tmp_path.iterdir()) == []


class PlugError(Exception):
    """The plug is pulled."""


@pytest.mark.slow
def test_a_block_that_was_stopped_half_way_goes_on_from_its_state_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)  # a piece per step
    cell = first({**SMALL, "width": 40, "observe": ["movement"]})
    whole = sweep_block(cell, 0, 4)
    path = tmp_path / "block"
    steps = []

    class Counting(jl.sweeps.BlockCheckpoint):
        def load(self, lane):
            found = super().load(lane)
            steps.append(-1 if found is None else int(found["pieces"][2]))
            return found

        def offer(self, lane, state):
            super().offer(lane, state)
            self.offers = getattr(self, "offers", 0) + 1
            if self.offers == 7:
                raise PlugError

    for _ in range(2):
        with pytest.raises(PlugError):
            sweep_block(cell, 0, 4, Counting(path, "ab" * 32, every=0.0))
    resumed = sweep_block(cell, 0, 4, jl.sweeps.BlockCheckpoint(path, "ab" * 32, every=0.0))
    assert -1 < max(steps) < 40
    for name, (_, array) in whole.items():
        np.testing.assert_array_equal(resumed[name][1], array)


def test_a_replica_that_diverges_is_kept_and_recorded():
    cell = first({**SMALL, "loss": {"name": "Exponential"}, "learning_rate": 300.0, "data": {**SPHERE, "points": 2}})
    block = sweep_block(cell, 0, 4)
    assert block["values"][1].shape[0] == 4
    assert np.array_equal(block["diverged_at"][1] >= 0, ~np.isfinite(block["values"][1]).all(axis=(1, 2)))


def test_data_of_a_file_are_known_by_their_numbers(tmp_path):
    x, y = np.eye(3), np.array([1.0, -1.0, 0.5])
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    settings = {**SMALL, "data": {"file": str(tmp_path / "mine.npz")}}
    cell = first(settings)
    np.testing.assert_array_equal(sweep_run(cell).problem.data.y, y)
    np.savez(tmp_path / "mine.npz", x=x, y=2 * y)
    with pytest.raises(ValueError, match="`data` must be those of the sweep"):
        sweep_block(cell, 0, 1)
    assert first(settings)["data_sha256"] != cell["data_sha256"]
    with pytest.raises(ValueError, match=r"`data.file` must be an .npz file"):
        sweep_spec({**SMALL, "data": {"file": str(tmp_path / "none.npz")}})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"widht": 3}, "`config` must have keys among"),
        ({"axes": {"width": [8, 0]}}, r"`width` must be a positive integer.*in the cell width 0"),
        ({"axes": {"learning_rate": [1.0, 1e4]}}, r"`learning_rate` must keep a step stable.*learning_rate 10000"),
        ({"axes": {"width": 8}}, r"`axes.width` must be a list"),
        ({"axes": {"mine": [8, 16]}}, r"`axes.mine` must name a setting"),
        ({"axes": {"activation": [{"name": "Nobody"}]}}, r"`activation.name` must be one of"),
        ({"activation": Mine()}, "`activation` must be of a public class of jaxlimit.activations, but it is a Mine"),
        ({"data": jl.data.sphere(3, 2)}, "`settings.data` must be a plain value.*arrays by a file"),
        ({"observe": [lambda now, start: 0]}, "`observe` must be a public name"),
        ({"observe": ["nobody"]}, r"`observe` must be a name that can be imported.*EmpiricalKernel"),
        ({"observe": ["os._exit"]}, "`observe` must be a public name"),
        ({"optimiser": {"name": "optax.sgd", "nothing": 1}}, "`optimiser` must have the arguments of optax.sgd"),
        ({"optimiser": {"learning_rate": 1}}, r"`optimiser.name` must be public"),
        ({"batch": "all"}, 'be a number of samples or "population"'),
        ({"dtype": "float16"}, "`dtype` must be float32 or float64"),
        ({"replicas": 2**32 + 1}, "`replicas` must be at most 2³²"),
        ({"layers": {}}, "`width` must be a list, one per hidden layer"),
        ({"seed": -1}, "`seed` must be an integer"),
        (
            {"axes": {"size": [{"foo": {"width": 8}}]}},
            r"`axes.size` must hold tables of settings",
        ),
        ({"axes": {"target": [{"width": 8}]}}, "`axes` must not be called one of values"),
        ({"ts": [1.0, 0.5]}, "`ts` must be strictly increasing"),
    ],
    ids=lambda one: str(one)[:30] if isinstance(one, dict) else "",
)
def test_bad_settings_are_named_before_anything_is_simulated(wrong, message):
    with pytest.raises(ValueError, match=message):
        sweep_spec({**SMALL, **wrong})


def test_the_text_of_a_spec_is_all_that_a_worker_needs():
    spec = sweep_spec({**SMALL, "axes": {"scaling.gamma": [0.5, 0.75]}})
    again = jl.sweeps.SweepSpec.from_text(json.dumps(json.loads(spec.text)))
    assert again == spec
    np.testing.assert_array_equal(
        sweep_block(again.cells[1].settings, 0, 2)["values"][1], sweep_block(spec.cells[1].settings, 0, 2)["values"][1]
    )


def test_observables_see_several_layers_too():
    now = jl.networks.Layers((jnp.ones((2, 3)), jnp.zeros(2)), (jnp.zeros(2),))
    start = jax.tree.map(jnp.zeros_like, now)
    assert float(jl.diagnostics.movement(now, start)) == pytest.approx(6 / 10)
