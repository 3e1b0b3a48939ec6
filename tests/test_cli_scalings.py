"""`jaxlimit run mean_field`, `normalisation`, `multilayer` and `mild`: flags, settings files, refusals, outcome."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit import initial, studies
from jaxlimit.claims import Report
from jaxlimit.cli import _mean_field, _mild, _multilayer, _normalisation
from tests.terminal import call

COMMANDS = {"mean_field": _mean_field.mean_field, "normalisation": _normalisation.normalisation}
SMALL = "--points 4 --widths 8 16 32 --replicas 16 --path-replicas 8 --law-width 16 --particles 128 --ts 0 2".split()  # noqa: SIM905
ONLY = {
    "mean_field": "--measure-widths 8 16 32 --measure-replicas 8".split(),  # noqa: SIM905
    "normalisation": "--gammas 0.75 1 --held-out 6".split(),  # noqa: SIM905
}


@pytest.fixture
def asked(monkeypatch):
    """What the studies are asked for, without running them."""
    found = []

    def study(problem, **arguments):
        found.append((problem, arguments))
        return Report("Title", "Source", (), (), {}, {})

    for name in (*COMMANDS, "multilayer", "mild"):
        monkeypatch.setattr(studies, name, study)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_repeats_from_its_own_configuration(name: str, tmp_path: Path, asked) -> None:
    flags = {"activation": "Hermite:degree=3", "c": "Rademacher:scale=2", "w": "Normal:std=2", "seed": 5}
    assert COMMANDS[name](**flags, data="sphere", points=5, inputs=3, widths=[8, 16], out=tmp_path) == 0
    assert COMMANDS[name](config=tmp_path / "config.json", out=tmp_path) == 0
    (problem, arguments), (same, others) = asked
    assert np.array_equal(problem.data.x, jl.data.sphere(5, 3).x)
    assert np.array_equal(same.data.x, problem.data.x)
    assert same.network == problem.network
    assert problem.network.initial == initial.Initial(c=initial.Rademacher(2), w=initial.Normal(std=2))
    assert set(arguments) == set(others)
    assert arguments["widths"] == others["widths"] == [8, 16]
    kept = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert kept["activation"] == {"name": "Hermite", "degree": 3}
    assert ("rule" in kept) == (name == "normalisation")


def test_mean_field_has_its_scaling(tmp_path: Path, asked) -> None:
    _mean_field.mean_field(points=4, out=tmp_path)
    assert asked[0][0].scaling == jl.MeanField()


def test_held_out_digits_are_those_after_the_data(tmp_path: Path, asked) -> None:
    _normalisation.normalisation(points=4, classes=(0, 1), held_out=6, out=tmp_path)
    both = jl.data.digits(classes=(0, 1), points=10)
    problem, arguments = asked[0]
    assert np.array_equal(np.concatenate([problem.data.x, arguments["held_out"].x]), both.x)
    assert np.array_equal(np.concatenate([problem.data.y, arguments["held_out"].y]), both.y)
    _normalisation.normalisation(points=4, out=tmp_path)
    assert asked[1][1]["held_out"].points == 100
    _normalisation.normalisation(data="sphere", inputs=3, points=4, out=tmp_path)
    assert asked[2][1]["held_out"] is None


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_use_is_refused(name: str, tmp_path: Path) -> None:
    config = tmp_path / "study.toml"
    config.write_text('law_width = "wide"\n')
    cases = [
        ({"data": "sphere"}, "Argument `inputs` must be given for sphere data"),
        ({"data": "sphere", "inputs": 3, "classes": (3, 8)}, "Argument `classes` must be left out"),
        ({"dtype": "float16"}, "Argument `dtype` must"),
        ({"seed": -1}, "Argument `seed` must"),
        ({"config": config, "points": 4}, "Argument `law_width` must"),
    ]
    if name == "normalisation":
        cases += [
            ({"activation": "Tanh"}, "Argument `rule` must be given for Tanh()"),
            ({"held_out": 5, "data": "sphere", "inputs": 3}, "Argument `held_out` must be 0"),
            ({"held_out": -1}, "Argument `held_out` must"),
            ({"gammas": [0.3]}, "Argument `gammas` must lie in [1/2, 1]"),
            ({"c": "Uniform:low=0,high=1"}, "Argument `problem` must have an initial law with E c = 0"),
        ]
    else:
        cases += [({"measure_widths": [4096]}, "Argument `measure_widths` must stay within 1024")]
    for arguments, text in cases:
        with pytest.raises(ValueError, match=r"^Argument `.*` must") as refusal:
            COMMANDS[name](**arguments, out=tmp_path)
        assert text in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_study_writes_everything(name: str, tmp_path: Path) -> None:
    first = call("run", name, *SMALL, *ONLY[name], "--json", "--out", "out", folder=tmp_path)
    assert first.returncode in (0, 1), first.stderr
    printed = json.loads(first.stdout)
    figures = {
        "mean_field": {"paths", "error", "movement", "qq"},
        "normalisation": {"bias_variance", "finite_width", "movement", "test_error"},
    }[name]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"{figure}.{kind}" for figure in figures for kind in ("png", "pdf")} <= names
    assert {"report.html", "samples.npz", "config.json", "claims.json"} <= names
    again = call("run", name, "--config", "out/config.json", "--out", "again", "--json", folder=tmp_path)
    assert json.loads(again.stdout) == printed
    assert name in call("list", folder=tmp_path).stdout


def test_a_multilayer_run_repeats_from_its_own_configuration(tmp_path: Path, asked) -> None:
    flags = {
        "activation": "Erf",
        "layers": 4,
        "correlated": True,
        "loss": "PseudoHuber:delta=2",
        "losses": ["Logistic"],
    }
    assert _multilayer.multilayer(**flags, data="sphere", points=5, inputs=3, widths=[8, 16], seed=7, out=tmp_path) == 0
    assert _multilayer.multilayer(config=tmp_path / "config.json", out=tmp_path) == 0
    (problem, arguments), (same, others) = asked
    assert np.array_equal(problem.data.x, jl.data.sphere(5, 3).x)
    assert same == problem or np.array_equal(same.data.x, problem.data.x)
    assert (same.network, same.loss, same.scaling) == (problem.network, problem.loss, problem.scaling)
    assert problem.network.layers == 4
    assert problem.loss == jl.losses.PseudoHuber(2.0)
    assert arguments["losses"] == others["losses"] == [jl.losses.Logistic()]
    assert arguments["widths"] == others["widths"] == [8, 16]


def test_wrong_use_of_multilayer_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "study.toml"
    config.write_text('reference = "wide"\n')
    cases = [
        ({"layers": 2}, "Argument `layers` must be 3 or more"),
        ({"widths": [16, 512]}, "Argument `reference` must be 8 times"),
        ({"data": "sphere"}, "Argument `inputs` must be given for sphere data"),
        ({"loss": "Hinge"}, "Argument `loss.name` must be one of"),
        ({"epsilon": 0.0}, "Argument `epsilon` must"),
        ({"config": config}, "Argument `reference` must"),
    ]
    for arguments, text in cases:
        with pytest.raises(ValueError, match=r"^Argument `.*` must") as refusal:
            _multilayer.multilayer(**arguments, out=tmp_path)
        assert text in str(refusal.value)


def test_a_mild_run_repeats_from_its_own_configuration(tmp_path: Path, asked) -> None:
    flags = {"w": "Normal:std=0.01", "losses": ["Logistic"], "eta": 0.2, "widths": [8, 16], "seed": 7}
    assert _mild.mild(**flags, points=5, inputs=3, out=tmp_path) == 0
    assert _mild.mild(config=tmp_path / "config.json", out=tmp_path) == 0
    (problem, arguments), (same, others) = asked
    assert np.array_equal(problem.data.x, jl.data.aligned(5, 3).x)
    assert np.array_equal(same.data.x, problem.data.x)
    law = initial.Initial(initial.Rademacher(), initial.Normal(std=0.01), width_power=-0.5)
    assert problem.network == same.network == jl.networks.Shallow(jl.activations.Relu(), law)
    assert problem.scaling == same.scaling == jl.FixedStep(0.2, gamma=0.0)
    assert arguments["losses"] == others["losses"] == [jl.losses.Logistic()]
    assert arguments["widths"] == others["widths"] == [8, 16]
    assert set(arguments) == set(others)


def test_wrong_use_of_mild_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "study.toml"
    config.write_text('partition_width = "wide"\n')
    cases = [
        ({"data": "sphere"}, "Argument `inputs` must be given for sphere data"),
        ({"data": "diabetes"}, "Argument `problem` must have targets 1 and −1"),
        ({"eta": 0.0}, "Argument `eta` must"),
        ({"losses": ["Hinge"]}, "Argument `losses.name` must be one of"),
        ({"dtype": "float16"}, "Argument `dtype` must"),
        ({"seed": -1}, "Argument `seed` must"),
        ({"config": config}, "Argument `partition_width` must"),
    ]
    for arguments, text in cases:
        with pytest.raises(ValueError, match=r"^Argument `.*` must") as refusal:
            _mild.mild(**arguments, out=tmp_path)
        assert text in str(refusal.value)
