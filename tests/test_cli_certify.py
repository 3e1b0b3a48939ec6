"""`jaxlimit certify` and `jaxlimit run definiteness`: as a user types them, or as functions."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxlimit.cli import _certify
from tests.test_cli import call

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
    assert json.loads((tmp_path / "out" / "certificate.json").read_text(encoding="utf-8"))["certificate"] == found


def test_points_are_judged_by_activation_and_cured_by_a_bias(tmp_path: Path, capsys) -> None:
    x = saved(tmp_path, np.concatenate([POINTS, -POINTS[:1]]))
    assert _certify.certify(x, activation=["Erf", "Relu"], json=True) == 0
    claims = {claim["name"]: claim for claim in json.loads(capsys.readouterr().out)["claims"]}
    assert claims["Erf, as given"]["expected"] == "λ_min = 0"
    assert claims["Erf, as given"]["verdict"] == "HOLDS"
    assert claims["Relu, as given"]["verdict"] == "UNDECIDED"  # opposite directions: the theorem is silent
    assert _certify.certify(x, activation=["Erf"], bias=True, json=True) == 0
    (cured,) = json.loads(capsys.readouterr().out)["claims"]
    assert (cured["expected"], cured["verdict"]) == ("positive definite", "HOLDS")
    assert [path.name for path in tmp_path.iterdir()] == [x.name]  # nothing is written without --out


def test_named_data(capsys) -> None:
    assert _certify.certify(data="sphere", points=4, inputs=3, activation=["Tanh"], rule="Quadrature") == 0
    assert "1 HOLDS, 0 VIOLATED, 0 UNDECIDED" in capsys.readouterr().out
    assert _certify.certify(data="sphere", points=4, inputs=3, json=True) == 0
    assert [c["name"] for c in json.loads(capsys.readouterr().out)["claims"]] == ["Erf, as given", "Relu, as given"]


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    x = saved(tmp_path, POINTS, "x.npy")
    np.savez(tmp_path / "archive.npz", x=POINTS)
    (tmp_path / "broken.npy").write_bytes(b"PK\x03\x04garbage")
    for arguments, text in (
        ({"file": saved(tmp_path, np.array([{}], dtype=object), "pickle.npy")}, "allow_pickle=False"),
        ({"file": tmp_path / "archive.npz"}, "the magic string is not correct"),
        ({"file": tmp_path / "broken.npy"}, "must be a .npy file of numbers"),
        ({"file": saved(tmp_path, np.array([[1.0, 2.0], [0.0, 1.0]]), "skew.npy")}, "exactly symmetric"),
        ({"file": x, "bias": True}, "Argument `activation` must be given"),
        ({"file": x, "activation": ["Erf"], "data": "digits"}, "Argument `file` must stand alone"),
        ({"file": x, "activation": ["Nonsense"]}, "Argument `activation.name` must be one of"),
        ({"data": "nothing"}, "Argument `data.source` must name"),
        ({"data": "digits", "inputs": 3}, "have keys"),
        ({"activation": ["Tanh"]}, "Argument `rule` must be given"),
        ({"rule": "Nothing"}, "Argument `rule.name` must be one of"),
    ):
        with pytest.raises(ValueError, match=r"^Argument `.*` must") as refusal:
            _certify.certify(**arguments)
        assert text in str(refusal.value)


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
    assert len(json.loads(study.stdout)["claims"]) == 7
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "claims.json", "samples.npz", "smallest.png", "approach.pdf"} <= names
