"""`jaxlimit run min_norm`: flags, settings files, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit import studies
from jaxlimit.claims import Report
from jaxlimit.cli import _min_norm

FEW = {"points": 12, "inputs": 3, "held_out": 5, "shares": [0.0]}


@pytest.fixture
def asked(monkeypatch):
    """What the study is asked for, without running it."""
    found = []

    def study(problem, **arguments):
        found.append((problem, arguments))
        return Report("Title", "Source", (), (), {}, {})

    monkeypatch.setattr(studies, "min_norm", study)
    return found


def test_the_default_is_the_setting_of_the_paper(tmp_path: Path, asked) -> None:
    assert _min_norm.min_norm(out=tmp_path) == 0
    problem, arguments = asked[0]
    x, y = problem.data.x, problem.data.y
    assert x.shape == (100, 6)
    np.testing.assert_array_equal(x[:, -1], 1.0)
    np.testing.assert_allclose(np.linalg.norm(x[:, :-1], axis=1), np.sqrt(5), rtol=1e-14)
    assert abs(y.mean()) < 1e-14
    assert y.var() == pytest.approx(1.0, rel=1e-12)
    # A step of 0.01 on the sum over 100 points is one of 1 on the mean.
    assert problem.scaling == jl.FixedStep(1.0)
    assert not problem.network.train_output
    assert problem.network.initial == jl.Initial(c=jl.initial.Rademacher())
    assert arguments["widths"] == [1000, 2000, 5000, 10000]
    assert arguments["beside"] == jl.activations.Erf()
    assert [one.points for one in arguments["labels"]] == [250, 100]
    assert arguments["twin"] is True


def test_real_targets_become_labels_about_the_median_of_those_trained_on(tmp_path: Path, asked) -> None:
    assert _min_norm.min_norm(**FEW, labels_data="diabetes", out=tmp_path) == 0
    train, test = asked[0][1]["labels"]
    both = jl.data.diabetes(350)
    y = np.where(both.y > np.median(both.y[:250]), 1.0, -1.0)
    np.testing.assert_array_equal(train.y, y[:250])
    np.testing.assert_array_equal(test.y, y[250:])
    np.testing.assert_array_equal(test.x, both.x[250:])
    assert _min_norm.min_norm(config=tmp_path / "config.json", out=tmp_path) == 0
    np.testing.assert_array_equal(asked[1][1]["labels"][0].y, train.y)


def test_held_out_points_follow_the_data_on_its_scale(tmp_path: Path, asked) -> None:
    _min_norm.min_norm(**FEW, out=tmp_path)
    problem, arguments = asked[0]
    both = jl.data.polynomial(17, 3, 2)
    y = (both.y - both.y[:12].mean()) / both.y[:12].std()
    np.testing.assert_allclose(problem.data.y, y[:12], rtol=1e-12)
    np.testing.assert_allclose(arguments["held_out"].y, y[12:], rtol=1e-12)
    np.testing.assert_allclose(arguments["held_out"].x[:, :3], np.sqrt(3) * both.x[12:], rtol=1e-12)
    _min_norm.min_norm(**{**FEW, "held_out": 0}, out=tmp_path)
    assert asked[1][1]["held_out"] is None


def test_a_run_repeats_from_its_own_configuration(tmp_path: Path, asked) -> None:
    flags = {"activation": "Erf", "beside": "Relu", "w": "Normal:std=2", "eta": 0.25, "widths": [8, 16], "seed": 5}
    assert _min_norm.min_norm(**FEW, **flags, data="polynomial", out=tmp_path) == 0
    assert _min_norm.min_norm(config=tmp_path / "config.json", out=tmp_path) == 0
    (problem, arguments), (same, others) = asked
    assert np.array_equal(same.data.x, problem.data.x)
    assert (same.network, same.scaling) == (problem.network, problem.scaling)
    assert problem.network.initial.w == jl.initial.Normal(std=2)
    assert arguments["widths"] == others["widths"] == [8, 16]
    assert arguments["beside"] == others["beside"] == jl.activations.Relu()
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["data"]["power"] == 2


def test_a_second_activation_can_be_left_out(tmp_path: Path, asked) -> None:
    assert _min_norm.min_norm(**FEW, beside="none", out=tmp_path) == 0
    assert _min_norm.min_norm(config=tmp_path / "config.json", out=tmp_path) == 0
    assert [arguments["beside"] for _, arguments in asked] == [None, None]
    assert studies.min_norm_settings({"beside": "none"})["beside"] is None


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "study.toml"
    config.write_text('steps = "many"\n')
    wrong = {"labels": 3, "shares": None, "widths": "16", "data": None, "beside": 3}
    for key, value in wrong.items():
        (tmp_path / f"{key}.json").write_text(json.dumps({key: value}))
    cases = [
        ({"data": "sphere", "inputs": 3}, "Argument `held_out` must be 0 for sphere data"),
        ({"data": "aligned", "inputs": 3}, "(pass --held-out 0)"),
        ({"data": "teacher"}, "Argument `inputs` must be given for teacher data"),
        ({"activation": "Tanh"}, "Argument `rule` must be given for Tanh()"),
        ({"eta": 0.0}, "Argument `eta` must"),
        ({"replicas": 1}, "Argument `replicas` must be at least 2"),
        ({"shares": [0.5, 0.1]}, "Argument `shares` must increase"),
        ({"dtype": "float16"}, "Argument `dtype` must"),
        ({"seed": -1}, "Argument `seed` must"),
        ({"labels_data": "nothing"}, "Argument `labels.source` must"),
        ({"config": config}, "Argument `steps` must"),
        *(({"config": tmp_path / f"{key}.json"}, f"Argument `{key}` must be a") for key in wrong),
    ]
    for arguments, text in cases:
        with pytest.raises(ValueError, match=r"^Argument `.*` must") as refusal:
            _min_norm.min_norm(**arguments, out=tmp_path)
        assert text in str(refusal.value)
