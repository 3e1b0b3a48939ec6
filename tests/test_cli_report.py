"""`jaxlimit run --store` and `jaxlimit report`: verdicts again from what is there."""

import hashlib
import json
import re

import jax
import numpy as np
import pytest

from jaxlimit import studies, sweeps
from jaxlimit.claims import Report
from jaxlimit.cli import _report, _study
from jaxlimit.cli._normalisation import normalisation
from jaxlimit.cli._report import report
from jaxlimit.cli._xavier import xavier
from jaxlimit.studies import _call
from tests.terminal import call

SMALL = {"points": 3, "widths": [16, 32, 64], "replicas": 32, "path_replicas": 4, "ts": [0.0, 0.5]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one study, the folder of its results, and the digest of its settings."""
    folder = tmp_path_factory.mktemp("made")
    xavier(**SMALL, store=folder / "store", out=folder / "out")
    (path,) = (folder / "store" / "studies").iterdir()
    return folder / "store", folder / "out", path.stem


@pytest.fixture
def nothing_is_simulated(monkeypatch):
    monkeypatch.setattr(_call, "simulate", lambda *_, **__: pytest.fail("a network is simulated again"))


@pytest.mark.slow
def test_the_report_is_that_of_the_run(made, tmp_path, capsys, nothing_is_simulated):
    store, out, spec_id = made
    code = report(store, out=tmp_path, json=True)
    (printed,) = json.loads(capsys.readouterr().out)
    ran = json.loads((out / "claims.json").read_text(encoding="utf-8"))
    assert printed == ran
    assert code == any(claim["verdict"] == "VIOLATED" for claim in ran["claims"])
    again = tmp_path / f"xavier-{spec_id[:12]}"
    assert {path.name for path in again.iterdir()} == {path.name for path in out.iterdir()}
    for name in ("paths.png", "report.html"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    for name in ("claims.json", "config.json"):
        assert json.loads((again / name).read_bytes()) == json.loads((out / name).read_bytes()), name
    with np.load(again / "samples.npz") as left, np.load(out / "samples.npz") as right:
        assert all(np.array_equal(left[name], right[name]) for name in right.files)


@pytest.mark.slow
def test_the_digest_of_the_settings_stands_in_every_result_and_is_that_of_its_file(made):
    store, out, spec_id = made
    data = (store / "studies" / f"{spec_id}.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == spec_id
    settings = json.loads(data)["settings"]
    assert settings["c"] == {"law": "Uniform", "low": -1.0, "high": 1.0}
    assert settings["data"]["bias"] is False
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config == {"spec_id": spec_id, **settings}
    assert spec_id in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "claims.json").read_text(encoding="utf-8"))["configuration"]["spec_id"] == spec_id


@pytest.mark.slow
def test_a_run_from_its_own_configuration_is_the_same_study(made, tmp_path, nothing_is_simulated):
    """A whole number where a real one is meant, and flags in place of the file, make no other."""
    store, out, spec_id = made
    xavier(config=out / "config.json", store=store, out=tmp_path)
    xavier(**{**SMALL, "ts": [0, 0.5]}, learning_rate=1, c="Uniform:low=-1,high=1", store=store, out=tmp_path)
    assert [path.stem for path in (store / "studies").iterdir()] == [spec_id]


@pytest.mark.slow
def test_wrong_use_of_a_store_is_refused(made, tmp_path):
    store, _, spec_id = made
    for arguments, text in (
        ({"store": tmp_path / "none"}, "Argument `store` must be a folder"),
        ({"store": tmp_path}, "Argument `store` must be one of `jaxlimit run STUDY --store`"),
        ({"store": store, "spec": "zz"}, f"Argument `spec` must begin one of {spec_id[:12]}, but it is 'zz'"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
            report(**arguments)
    for shard, text in (("1", "read i/n"), ("2/2", "have i from 0")):
        with pytest.raises(ValueError, match=f"^Argument `shard` must {text}"):
            xavier(**SMALL, store=store, shard=shard, out=tmp_path)
    with pytest.raises(ValueError, match=r"^Argument `shard` must come with --store"):
        xavier(**SMALL, shard="0/2", out=tmp_path)


def test_settings_that_were_changed_are_refused(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / f"{'ab' * 32}.json").write_text('{"study":"xavier","settings":{}}')
    with pytest.raises(ValueError, match=r"those of abab.* were changed"):
        report(tmp_path)
    text = '{"settings":{},"study":"alchemy"}'
    (tmp_path / "studies" / f"{hashlib.sha256(text.encode()).hexdigest()}.json").write_text(text)
    with pytest.raises(ValueError, match="'alchemy' is none of this version"):
        report(tmp_path, spec=hashlib.sha256(text.encode()).hexdigest()[:6])


def test_several_studies_of_a_store_are_told_apart_by_their_digests(tmp_path, monkeypatch, capsys):
    """Settings are written before the first network, so that a run that was killed can be finished by a report."""

    class KilledError(Exception):
        """In the middle of a run."""

    def killed(study, store):
        raise KilledError(study.name)

    monkeypatch.setattr(_study, "outcome_of", killed)
    for command in (xavier, normalisation):
        with pytest.raises(KilledError):
            command(points=3, store=tmp_path / "store", out=tmp_path / "out")
    specs = {json.loads(path.read_bytes())["study"]: path.stem for path in (tmp_path / "store" / "studies").iterdir()}
    assert set(specs) == {"xavier", "normalisation"}
    asked = []

    def outcome_of(study, store):
        asked.append((study.name, store.folder, jax.config.read("jax_enable_x64")))
        raise KilledError

    monkeypatch.setattr(_report, "outcome_of", outcome_of)
    with pytest.raises(KilledError):
        report(tmp_path / "store", spec=specs["normalisation"][:8])
    assert [name for name, *_ in asked] == ["normalisation"]


@pytest.mark.slow
def test_a_run_that_was_killed_is_finished_by_a_report(tmp_path):
    """In processes of their own: the first dies without a word once a block is there."""
    flags = "--points 3 --widths 16 32 64 --replicas 9000 --path-replicas 4 --ts 0 0.5".split()  # noqa: SIM905
    shared = call("run", "xavier", *flags, "--store", "store", "--shard", "1/2", "--json", folder=tmp_path)
    assert shared.returncode in (0, 1), shared.stderr
    blocks = sorted((tmp_path / "store" / "blocks").rglob("*.block"))
    assert len(blocks) >= 5
    for path in blocks[::2]:
        path.unlink()
    again = call("report", "store", "--json", folder=tmp_path)
    assert again.returncode in (0, 1), again.stderr
    assert json.loads(again.stdout) == [json.loads(shared.stdout)]


def test_the_folder_of_a_sweep_is_reported_by_its_own_claims(tmp_path, monkeypatch, capsys):
    spec = sweeps.SweepSpec({"replicas": 8, "block": 4}, {})
    store = sweeps.Store.create(tmp_path / "sweep", spec)
    made = Report("Title", "Source", (), (), {}, {"spec_id": spec.spec_id})
    monkeypatch.setattr(studies, "sweep_report", {store.folder: made}.get)
    assert report(store.folder, out=tmp_path / "out", json=True) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed["configuration"] == {"spec_id": spec.spec_id}
    assert printed["settings"] == json.loads((store.folder / "spec.json").read_bytes())
    assert (tmp_path / "out" / "sweep" / "claims.json").exists()
    with pytest.raises(ValueError, match=r"^Argument `spec` must be left out for the folder of a sweep"):
        report(store.folder, spec="ab")
