"""One sweep has one text, and two sweeps never have the same."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxlimit.sweeps import SweepSpec

SETTINGS = {
    "width": 64,
    "replicas": 100,
    "block": 32,
    "dtype": "float32",
    "seed": 0,
    "ts": [0.0, 1.0],
    "scaling": {"name": "PowerScaling", "gamma": 0.5},
    "method": {"name": "Stepwise", "lanes": 8, "native": True},
}
AXES = {"width": [64, 128], "scaling.gamma": [0.5, 0.75, 1.0]}


def test_the_identity_does_not_depend_on_the_process_or_the_order_of_keys():
    backwards = dict(
        reversed([(k, dict(reversed(v.items())) if isinstance(v, dict) else v) for k, v in SETTINGS.items()])
    )
    one, other = SweepSpec(SETTINGS, AXES), SweepSpec(backwards, AXES)
    assert (one.text, one.spec_id) == (other.text, other.spec_id)
    code = (
        "import json, sys; from jaxlimit.sweeps import SweepSpec; "
        "spec = SweepSpec(*json.load(sys.stdin)); print(spec.spec_id, *[cell.cell_id for cell in spec.cells])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([SETTINGS, AXES]),
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [one.spec_id, *(cell.cell_id for cell in one.cells)]


def test_the_text_is_known_for_ever():
    """Sweeps of years ago are opened by what this hash is."""
    spec = SweepSpec({"replicas": 8, "block": 4, "width": 1, "lr": 0.1, "name": "ŷ"}, {"width": [16, 32]})
    assert spec.text == (
        '{"axes":[["width",[16,32]]],"chosen":[],"schema":1,'
        '"settings":{"block":4,"lr":0.1,"name":"ŷ","replicas":8,"width":1}}'
    )
    assert spec.spec_id == "6c810495c6065cb1a4c88ee95b624addea1cd39ad25ed0127aa0a1c6cc44a778"
    assert spec.cells[1].cell_id == "4a7b1c19051c8ea9dbf23ed547287ce1b586b1926e30c8466bb3fda766351568"


def test_the_order_of_axes_is_kept():
    spec, turned = SweepSpec(SETTINGS, AXES), SweepSpec(SETTINGS, dict(reversed(AXES.items())))
    assert (spec.dims, spec.shape, turned.dims, turned.shape) == (
        ("width", "gamma"),
        (2, 3),
        ("gamma", "width"),
        (3, 2),
    )
    assert spec.spec_id != turned.spec_id
    assert SweepSpec.from_text(turned.text).dims == turned.dims
    assert {cell.cell_id for cell in spec.cells} == {cell.cell_id for cell in turned.cells}
    assert [cell.position for cell in spec.cells] == list(itertools.product(range(2), range(3)))


CHANGES = [
    {"replicas": 101},
    {"block": 16},
    {"dtype": "float64"},
    {"seed": 1},
    {"ts": [0.0, 1.5]},
    {"ts": [0.0, 1.0, 2.0]},
    {"width": 65},
    {"scaling": {"name": "PowerScaling", "gamma": 0.5, "more": None}},
    {"method": {"name": "Stepwise", "lanes": 4, "native": True}},
    {"method": {"name": "Stepwise", "lanes": 8, "native": False}},
    {"method": {"name": "SStep", "lanes": 8, "native": True}},
]


def test_one_number_changed_is_another_sweep():
    specs = [SweepSpec({**SETTINGS, **change}, {}) for change in [{}, *CHANGES]]
    assert len({spec.spec_id for spec in specs}) == len(specs)
    assert len(set(specs)) == len(specs)


def test_only_the_number_of_replicas_leaves_a_cell_what_it_is():
    cell = SweepSpec(SETTINGS, {}).cells[0].cell_id
    changed = [SweepSpec({**SETTINGS, **change}, {}).cells[0].cell_id for change in CHANGES]
    assert [one == cell for one in changed] == [True] + [False] * (len(CHANGES) - 1)


def test_a_newer_schema_is_another_sweep_and_is_refused_in_clear_words(monkeypatch):
    spec = SweepSpec(SETTINGS, AXES)
    text = spec.text.replace('"schema":1', '"schema":2')
    with pytest.raises(ValueError, match=r"be of schema 1, .* but its schema is 2: update jaxlimit"):
        SweepSpec.from_text(text)
    monkeypatch.setattr("jaxlimit.sweeps._spec.SCHEMA", 2)
    monkeypatch.setattr("jaxlimit.sweeps._blocks.SCHEMA", 2)
    newer = SweepSpec(SETTINGS, AXES)
    assert newer.spec_id != spec.spec_id
    assert newer.cells[0].cell_id != spec.cells[0].cell_id


TOML = """
width = 64
replicas = 100
block = 32
dtype = "float32"
seed = 0
ts = [0.0, 1.0]
method = {name = "Stepwise", lanes = 8, native = true}
[scaling]
name = "PowerScaling"
gamma = 0.5
[axes]
width = [64, 128]
"scaling.gamma" = [0.5, 0.75, 1.0]
"""


def test_a_file_and_python_make_the_same_sweep():
    assert SweepSpec.from_toml(TOML) == SweepSpec(SETTINGS, AXES)


def test_numbers_of_numpy_tuples_and_a_negative_zero_make_no_difference():
    given = {**SETTINGS, "width": np.int32(64), "ts": (np.float64(-0.0), 1.0), "replicas": np.int64(100)}
    assert SweepSpec(given, {**AXES, "width": np.array([64, 128]).tolist()}) == SweepSpec(SETTINGS, AXES)


def bad(settings=None, axes=None, chosen=()):
    return {**SETTINGS, **(settings or {})}, AXES if axes is None else axes, chosen


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (bad({"activation": np.tanh}), "Argument `settings.activation` must be a plain value.* functions go by"),
        (bad({"data": {"x": np.zeros(2)}}), "Argument `settings.data.x` must be a plain value.* but it is ndarray"),
        (bad({"ts": [0.0, float("nan")]}), r"Argument `settings.ts\[1\]` must be finite, but it is nan"),
        (bad({"width": 1j}), "Argument `settings.width` must be a plain value.* but it is complex"),
        (bad({"scaling": {1: 2}}), "Argument `settings.scaling` must have text for its keys"),
        (bad(axes={"width": [64, 64]}), "Argument `axes.width` must not repeat a value, but it repeats 64"),
        (bad(axes={"width": []}), "Argument `axes.width` must be a list of at least one value"),
        (bad(axes={"width": 64}), "Argument `axes.width` must be a list of at least one value"),
        (bad(axes={"depth": [1, 2]}), "Argument `axes.depth` must name a setting.* there is no setting `depth`"),
        (bad(axes={"scaling.delta": [1]}), "there is no setting `scaling.delta`"),
        (bad({"time": 1}, {"time": [1, 2]}), "Argument `axes.time` must not be called one of"),
        (bad({"a": {"replica": 1}}, {"a.replica": [1]}), "Argument `axes.a.replica` must not be called one of"),
        (
            bad({"a": {"x": 1}, "b": {"x": 1}, "a_x": 1}, {"a.x": [1], "b.x": [1], "a_x": [1]}),
            "Argument `axes` must have names that can be told apart",
        ),
        (bad(axes={"pair": [{"width": 1}, {"width": 2}], "width": [3]}), "Argument `axes` must tell all cells apart"),
        (bad({"replicas": 0}), "Argument `replicas` must be a positive integer"),
        (bad({"block": True}), "Argument `block` must be a positive integer"),
        (bad(chosen=[{}]), "Argument `chosen` must have one table for each of the 6 cells, or be empty, but it has 1"),
        (bad(chosen=[1] * 6), "Argument `chosen` must hold tables"),
        (([], {}), "Argument `settings` must be a table"),
        ((SETTINGS, []), "Argument `axes` must be a table"),
        (({"replicas": 3}, {}), "Argument `settings.block` must be given"),
    ],
)
def test_what_has_no_name_of_its_own_is_refused_by_name(arguments, said):
    with pytest.raises(ValueError, match=said):
        SweepSpec(*arguments)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema":1}', "nonsense"])
def test_a_text_that_is_no_sweep_is_refused(text):
    with pytest.raises(ValueError, match="Argument `spec` must be the text of a sweep"):
        SweepSpec.from_text(text)
    with pytest.raises(ValueError, match="Argument"):
        SweepSpec.from_toml(text + " = ")


def test_specs_are_equal_and_hashed_by_their_text():
    one, other = SweepSpec(SETTINGS, AXES), SweepSpec.from_text(SweepSpec(SETTINGS, AXES).text)
    assert one == other
    assert hash(one) == hash(other)
    assert one != SweepSpec(SETTINGS, {})
    assert one != one.text
    assert SweepSpec(one.settings, one.axes) == one


def test_nothing_that_was_passed_in_or_handed_out_changes_a_spec():
    settings, axes = json.loads(json.dumps([SETTINGS, {"scaling": [{"gamma": 1}, {"gamma": 2}], **AXES}]))
    del axes["scaling.gamma"]
    spec = SweepSpec(settings, axes)
    before = spec.text, spec.spec_id, spec.cells
    settings["scaling"]["gamma"], settings["ts"][0] = 9, 9
    axes["width"].append(9)
    axes["scaling"][0]["gamma"] = 9
    for handed in (spec.settings, spec.axes, spec.labels, *(cell.settings for cell in spec.cells)):
        for value in handed.values():
            if isinstance(value, list):
                value.append(9)
            elif isinstance(value, dict):
                value["more"] = 9
        handed["more"] = 9
    spec.jobs.clear()
    spec.cells[0].jobs.clear()
    assert (spec.text, spec.spec_id, spec.cells) == before
    assert SweepSpec.from_text(spec.text) == spec


def test_an_axis_may_put_a_value_into_the_table_of_another_one():
    """The table is the axis's, and is not changed by what another axis puts into the cell's copy of it."""
    axes = {"scaling": [{"name": "A"}, {"name": "B"}], "scaling.gamma": [0.5, 1.0]}
    spec = SweepSpec(SETTINGS, axes)
    found = [cell.settings["scaling"] for cell in spec.cells]
    assert found == [{"name": name, "gamma": gamma} for name in "AB" for gamma in (0.5, 1.0)]
    assert spec.axes == axes
    assert SweepSpec.from_text(spec.text).spec_id == spec.spec_id


def test_settings_that_go_together_are_one_axis():
    sizes = [{"width": 64, "replicas": 40}, {"width": 128, "replicas": 10, "method.lanes": 2}]
    spec = SweepSpec(SETTINGS, {"size": sizes})
    assert [(c.settings["width"], c.replicas, c.settings["method"]["lanes"]) for c in spec.cells] == [
        (64, 40, 8),
        (128, 10, 2),
    ]
    assert [(job.first, job.stop) for job in spec.cells[0].jobs] == [(0, 32), (32, 40)]


def test_a_sweep_that_is_stopped_anywhere_has_nearly_equal_shares_of_all_cells():
    sizes = [{"width": 1, "replicas": 40}, {"width": 2, "replicas": 1000}, {"width": 3, "replicas": 333}]
    spec = SweepSpec({**SETTINGS, "block": 5}, {"size": sizes})
    done = np.zeros(3)
    wanted = np.array([cell.replicas for cell in spec.cells])
    for job in spec.jobs:
        done[job.cell] += job.stop - job.first
        assert np.ptp(done / wanted) <= 2 * 5 / 40
    assert (done == wanted).all()
    assert len(set(spec.jobs)) == len(spec.jobs) == 8 + 200 + 67
