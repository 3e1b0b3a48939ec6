"""`jaxlimit certify` and `jaxlimit run definiteness`: as a user types them, or as functions."""

import hashlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit import initial, studies
from jaxlimit.claims import Report
from jaxlimit.cli import _certify, _xavier
from jaxlimit.cli._app import table
from jaxlimit.initial import Initial
from tests.terminal import call

POINTS = np.random.default_rng(0).standard_normal((5, 3))


def saved(folder: Path, array: np.ndarray, name: str = "file.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def test_a_matrix_is_certified_and_a_refuted_one_exits_with_one(tmp_path: Path, capsys) -> None:
    assert _certify.certify(saved(tmp_path, np.array([[2.0, 1.0], [1.0, 2.0]]))) == 0
    assert capsys.readouterr().out.startswith("PROVED_PD: λ_min in [0.999999, 1.00001]")
    assert _certify.certify(saved(tmp_path, np.array([[1.0, 2.0], [2.0, 1.0]])), out=tmp_path / "out", json=True) == 1
    found = json.loads(capsys.readouterr().out)["certificate"]
    assert found["status"] == "PROVED_NOT_PD"
    assert found["lower"] <= -1 <= found["upper"] < 0
    kept = json.loads((tmp_path / "out" / "certificate.json").read_text(encoding="utf-8"))
    assert kept["certificate"] == found
    assert (kept["shape"], len(kept["sha256"])) == ([2, 2], 64)


def test_points_are_judged_by_activation_and_cured_by_a_bias(tmp_path: Path, capsys) -> None:
    x = saved(tmp_path, np.concatenate([POINTS, -POINTS[:1]]))
    assert _certify.certify(x, activation=["Erf", "Relu"], json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    (claim,), (remark,) = printed["claims"], printed["remarks"]
    assert (claim["name"], claim["expected"], claim["verdict"]) == ("Erf, as given", "λ_min = 0", "HOLDS")
    # Opposite directions: the theorem is silent on the rectifier, and the proof is printed all the same.
    assert (remark["name"], remark["found"]) == ("Relu, as given", "proved positive definite")
    assert _certify.certify(x, activation=["Relu"]) == 0
    text = capsys.readouterr().out
    assert "Beyond the theorem" in text
    assert text.endswith("0 HOLDS, 0 VIOLATED, 0 UNDECIDED, 1 beyond the theorem.\n")
    assert _certify.certify(x, activation=["Erf"], bias=True, json=True) == 0
    (cured,) = json.loads(capsys.readouterr().out)["claims"]
    assert (cured["expected"], cured["verdict"]) == ("positive definite", "HOLDS")
    assert [path.name for path in tmp_path.iterdir()] == [x.name]  # nothing is written without --out


def test_named_data(capsys) -> None:
    assert _certify.certify(data="sphere", points=4, inputs=3, activation=["Tanh"], rule="Quadrature") == 0
    assert "1 HOLDS, 0 VIOLATED, 0 UNDECIDED" in capsys.readouterr().out
    assert _certify.certify(data="sphere", points=4, inputs=3, json=True) == 0
    assert [c["name"] for c in json.loads(capsys.readouterr().out)["claims"]] == ["Erf, as given", "Relu, as given"]


def test_objects_with_parameters_are_typed_as_name_and_fields(capsys) -> None:
    assert table("activation", "Erf") == {"name": "Erf"}
    assert table("w", "Uniform:low=-1,high=1", "law") == {"law": "Uniform", "low": -1, "high": 1}
    given = table("c", "Discrete:values=[2, -1.0],probabilities=[1e-1, 0.9]", "law")
    assert given == {"law": "Discrete", "values": [2, -1.0], "probabilities": [0.1, 0.9]}
    for text in ("Hermite:degree", "Hermite:degree=", "Hermite:degree=x", "A:b=1}\nc={d=1"):
        with pytest.raises(ValueError, match=r"^Argument `activation` must read Name or Name:field=value"):
            table("activation", text)
    found = _certify.certify(
        data="sphere",
        points=4,
        inputs=3,
        activation=["Hermite:degree=3"],
        c="Rademacher:scale=2",
        w="Normal:std=0.5",
        json=True,
    )
    assert found == 0
    configuration = json.loads(capsys.readouterr().out)["configuration"]
    assert configuration["activations"] == ["Hermite(degree=3)"]
    assert configuration["initial"] == repr(Initial(c=initial.Rademacher(2.0), w=initial.Normal(std=0.5)))


def test_monte_carlo_gives_a_confidence_bound_and_no_proof(capsys) -> None:
    """Uniform weights have no closed form; the theorem is silent, their support not being full."""
    arguments = {"data": "sphere", "points": 4, "inputs": 3, "activation": ["Tanh"], "rule": "MonteCarlo:neurons=512"}
    assert _certify.certify(**arguments, json=True) == 0
    (claim,) = json.loads(capsys.readouterr().out)["claims"]
    assert (claim["expected"], claim["verdict"]) == ("positive definite", "HOLDS")
    assert claim["observed"].endswith("at 95% confidence")
    assert " ± " in claim["error"]
    assert _certify.certify(**arguments, w="Uniform:low=-1,high=1", json=True) == 0
    (remark,) = json.loads(capsys.readouterr().out)["remarks"]
    assert remark["found"] == "positive definite at 95% confidence"


def test_a_run_repeats_from_its_own_configuration(tmp_path: Path, capsys) -> None:
    x, config = saved(tmp_path, POINTS), tmp_path / "config.json"
    flags = {"activation": ["Hermite:degree=3", "Erf"], "rule": "Quadrature", "c": "Rademacher", "w": "Normal:std=2"}
    assert _certify.certify(x, **flags, bias=True, json=True) == 0
    first = capsys.readouterr().out
    settings = json.loads(first)["settings"]  # what --out writes to config.json
    config.write_text(json.dumps(settings), encoding="utf-8")
    digest = hashlib.sha256(x.read_bytes()).hexdigest()
    assert settings["data"] == {"file": str(x), "shape": [5, 3], "sha256": digest, "bias": True}
    assert _certify.certify(config=config, json=True) == 0
    assert capsys.readouterr().out == first
    assert _certify.certify(config=config, activation=["Relu"], rule="ClosedForm", json=True) == 0
    changed = json.loads(capsys.readouterr().out)["settings"]
    assert changed == settings | {"activation": [{"name": "Relu"}], "rule": {"name": "ClosedForm"}}
    saved(tmp_path, POINTS + 1.0)
    with pytest.raises(ValueError, match=r"^Argument `data.sha256` must be that of"):
        _certify.certify(config=config)


def test_settings_name_every_argument_of_the_data(tmp_path: Path, capsys) -> None:
    assert _certify.certify(data="teacher", points=4, inputs=3, json=True) == 0
    first = json.loads(capsys.readouterr().out)
    given = {"source": "teacher", "points": 4, "inputs": 3}
    defaults = {"function": None, "noise": 0.0, "unit_norm": True, "seed": 0, "bias": False}
    assert first["settings"]["data"] == given | defaults
    (tmp_path / "study.toml").write_text(
        '[data]\nsource = "sphere"\npoints = 9\ninputs = 3\nseed = 1\n[[activation]]\nname = "Hermite"\ndegree = 2\n'
    )
    assert _certify.certify(config=tmp_path / "study.toml", points=4, json=True) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["data"] == {"source": "sphere", "points": 4, "inputs": 3, "seed": 1, "bias": False}
    assert settings["activation"] == [{"name": "Hermite", "degree": 2}]
    assert settings["variants"] is False


def test_defaults_of_the_settings_are_those_of_the_study() -> None:
    arguments = studies.definiteness_arguments(studies.definiteness_settings({}))
    default = inspect.signature(studies.definiteness).parameters["activations"].default
    assert arguments == {"activations": list(default), "initial": Initial(), "rule": None, "variants": True}


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    x = saved(tmp_path, POINTS, "x.npy")
    np.savez(tmp_path / "archive.npz", x=POINTS)
    (tmp_path / "broken.npy").write_bytes(b"PK\x03\x04garbage")

    def settings(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    for arguments, text in (
        ({"file": saved(tmp_path, np.array([{}], dtype=object), "pickle.npy")}, "allow_pickle=False"),
        ({"file": tmp_path / "archive.npz"}, "the magic string is not correct"),
        ({"file": tmp_path / "broken.npy"}, "must be a .npy file of numbers"),
        ({"file": saved(tmp_path, np.array([[1.0, 2.0], [0.0, 1.0]]), "skew.npy")}, "exactly symmetric"),
        ({"file": x}, "must hold a square matrix, but its shape is (5, 3); points [points, inputs] need --activation"),
        ({"file": saved(tmp_path, POINTS[:3], "square.npy")}, "points [points, inputs] need --activation"),
        ({"file": saved(tmp_path, np.full((2, 2), np.nan), "nan.npy")}, "must be finite"),
        ({"data": "sphere"}, "Argument `inputs` must be given for sphere data, as by --inputs 10"),
        ({"file": x, "activation": ["Erf"], "w": "Normal:spread=1"}, "Argument `w` must have keys among"),
        ({"rule": "MonteCarlo:neurons=64", "activation": ["Erf"]}, "`jaxlimit certify` with data"),
        ({"config": settings("list.json", "[]")}, "Argument `config` must hold a table"),
        ({"config": settings("bad.json", "{")}, "Argument `config` must be valid json"),
        ({"config": settings("key.toml", "colour = 1")}, "Argument `config` must have keys among"),
        ({"config": settings("data.toml", "data = 1")}, "Argument `data` must be a table"),
        ({"config": settings("one.toml", "activation = 'Erf'")}, "Argument `activation` must be a list of tables"),
        ({"config": settings("file.toml", "[data]\nfile = 'x'\npoints = 3")}, "for a file, but it also has ['points']"),
        ({"file": x, "bias": True}, "Argument `activation` must be given"),
        ({"file": x, "activation": ["Erf"], "data": "digits"}, "Argument `file` must stand alone"),
        ({"file": x, "activation": ["Nonsense"]}, "Argument `activation.name` must be one of"),
        ({"data": "nothing"}, "Argument `data.source` must name"),
        ({"data": "digits", "inputs": 3}, "Argument `inputs` must be left out for digits data"),
        (
            {"activation": ["Erf", "Tanh"]},
            "Argument `rule` must be given for Tanh(), as --rule Quadrature or --rule MonteCarlo:neurons=10000",
        ),
        ({"activation": ["Tanh"], "rule": "ClosedForm"}, "Argument `rule` must be given for Tanh(), as --rule Quad"),
        ({"rule": "Nothing"}, "Argument `rule.name` must be one of"),
        ({"activation": ["erf"]}, "it is 'erf' (did you mean Erf?)"),
        ({"activation": ["Hermit:degree=2"]}, "it is 'Hermit' (did you mean Hermite?)"),
        ({"activation": ["Hermite:order=2"]}, "must have keys among ['degree'], which are those of Hermite, but"),
        ({"activation": ["Hermite"]}, "must have keys ['degree'], which Hermite needs, but it has []"),
        ({"activation": ["Erf:degree=2"]}, "must be Erf alone, but it also has ['degree']"),
        ({"activation": ['Hermite:name="Erf",degree=2']}, "must give `name` once, before the colon"),
        ({"c": 'Uniform:law="Normal"'}, "Argument `c` must give `law` once, before the colon"),
        ({"config": tmp_path / "none.toml"}, "Argument `config` must be a text file, but "),
        ({"config": tmp_path}, "Is a directory"),
        ({"config": x}, "Argument `config` must be a text file"),
        ({"file": tmp_path / "none.npy"}, "none.npy: No such file or directory"),
        ({"file": tmp_path}, "Argument `file` must be a .npy file of numbers"),
        ({"data": "sphere", "points": 3, "inputs": 2, "out": x}, "Argument `out` must be a folder to write in, but "),
        ({"file": saved(tmp_path, np.eye(2), "eye.npy"), "out": x}, "Argument `out` must be a folder to write in"),
        ({"file": saved(tmp_path, np.full((2, 2), np.nan), "nan.npy"), "activation": ["Erf"]}, "`file` must be finite"),
        (
            {"file": saved(tmp_path, 1e60 * POINTS, "far.npy"), "activation": ["Erf"]},
            "Argument `file` must have points",
        ),
    ):
        with pytest.raises(ValueError, match=r"^Argument `.*` must") as refusal:
            _certify.certify(**arguments)
        assert text in str(refusal.value)


def test_several_activations_share_a_rule_that_only_some_of_them_need(monkeypatch, capsys) -> None:
    flags = {"data": "sphere", "points": 4, "inputs": 3, "activation": ["Erf", "Relu", "Tanh"]}
    assert _certify.certify(**flags, rule="Quadrature", json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert [claim["verdict"] for claim in found["claims"]] == ["HOLDS"] * 3
    assert ["closed form" in claim["error"] for claim in found["claims"]] == [True, True, False]
    assert "Quadrature" in found["claims"][2]["error"]
    assert found["configuration"]["rules"] == ["closed form", "closed form", "Quadrature"]
    # In a table of 80 columns no line is cut and no number folded.
    monkeypatch.setenv("COLUMNS", "80")
    assert _certify.certify(**flags, rule="Quadrature") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) == 80
    assert "bounds │" in " ".join(text.split())  # the last word of the proviso
    for claim in found["claims"]:
        low, high = claim["observed"].removeprefix("λ_min ∈ ").split(", ")
        assert f"{low}," in text
        assert high in text


def test_settings_name_every_argument_of_rules_and_laws(capsys) -> None:
    flags = {"data": "sphere", "points": 3, "inputs": 2, "activation": ["Erf"], "c": "Rademacher", "w": "Normal:std=2"}
    assert _certify.certify(**flags, rule="MonteCarlo:neurons=64", json=True) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["rule"] == {"name": "MonteCarlo", "neurons": 64, "seed": 0}
    assert settings["c"] == {"law": "Rademacher", "scale": 1.0}
    assert settings["w"] == {"law": "Normal", "mean": 0.0, "std": 2}


def test_xavier_runs_on_other_data_than_digits(tmp_path: Path, monkeypatch) -> None:
    asked = []

    def study(problem, **arguments):
        asked.append(problem.data)
        return Report("Title", "Source", (), (), {}, {})

    monkeypatch.setattr(studies, "xavier", study)
    assert _xavier.xavier(data="sphere", points=5, inputs=3, bias=True, out=tmp_path) == 0
    assert np.array_equal(asked[0].x, jl.data.sphere(points=5, inputs=3).with_bias().x)
    kept = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert kept["data"] == {"source": "sphere", "points": 5, "inputs": 3, "seed": 0, "bias": True}
    assert _xavier.xavier(config=tmp_path / "config.json", out=tmp_path) == 0
    assert np.array_equal(asked[1].x, asked[0].x)
    assert _xavier.xavier(classes=(0, 1), points=4, out=tmp_path) == 0
    assert np.array_equal(asked[2].x, jl.data.digits(classes=(0, 1), points=4).x)
    assert _xavier.xavier(points=4, out=tmp_path) == 0
    assert np.array_equal(asked[3].x, jl.data.digits(classes=(3, 8), points=4).x)
    for arguments, text in (
        ({"data": "sphere", "inputs": 3, "classes": (3, 8)}, "Argument `classes` must be left out for sphere data"),
        ({"data": "sphere"}, "Argument `inputs` must be given for sphere data, as by --inputs 10"),
        ({"inputs": 3}, "Argument `inputs` must be left out for digits data"),
        ({"activation": "Tanh"}, "Argument `rule` must be given for Tanh(), as --rule Quadrature"),
        ({"out": tmp_path / "config.json"}, "Argument `out` must be a folder to write in"),
    ):
        with pytest.raises(ValueError, match=r"^Argument `.*` must") as refusal:
            _xavier.xavier(**arguments)
        assert text in str(refusal.value)


def test_xavier_takes_the_same_forms(tmp_path: Path, monkeypatch, capsys) -> None:
    asked = []

    def study(problem, **arguments):
        asked.append((problem.network, arguments["rule"]))
        return Report("Title", "Source", (), (), {}, {})

    monkeypatch.setattr(studies, "xavier", study)
    flags = {"activation": "Hermite:degree=3", "c": "Rademacher:scale=2", "w": "Uniform:low=-2,high=2"}
    assert _xavier.xavier(**flags, rule="MonteCarlo:neurons=100,seed=3", points=4, out=tmp_path) == 0
    assert _xavier.xavier(config=tmp_path / "config.json", out=tmp_path) == 0
    assert asked[0] == asked[1]
    network, rule = asked[0]
    assert repr(network.activation) == "Hermite(degree=3)"
    assert network.initial == Initial(c=initial.Rademacher(2), w=initial.Uniform(-2, 2))
    assert (rule.neurons, rule.seed) == (100, 3)


@pytest.mark.slow
def test_exit_codes_and_streams_of_a_process(tmp_path: Path) -> None:
    saved(tmp_path, np.array([[1.0, 2.0], [2.0, 1.0]]))
    refuted = call("certify", "file.npy", folder=tmp_path)
    assert (refuted.returncode, refuted.stderr) == (1, "")
    assert refuted.stdout.startswith("PROVED_NOT_PD")
    missing = call("certify", "missing.npy", folder=tmp_path)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "missing.npy" in missing.stderr


@pytest.mark.slow
def test_the_study_writes_everything(tmp_path: Path) -> None:
    study = call(*"run definiteness --points 4 --activation Erf --out out --json".split(), folder=tmp_path)  # noqa: SIM905
    assert study.returncode == 0, study.stderr
    printed = json.loads(study.stdout)
    assert (len(printed["claims"]), len(printed["remarks"])) == (6, 1)
    again = call(*"run definiteness --config out/config.json --out again --json".split(), folder=tmp_path)  # noqa: SIM905
    assert json.loads(again.stdout) == printed
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8")) == printed["settings"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "claims.json", "samples.npz", "smallest.png", "approach.pdf"} <= names
