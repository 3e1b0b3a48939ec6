"""The command line as a user types it: exit codes, streams, files."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.terminal import call

QUICK = (
    "--widths 16 32 64 --replicas 64 --path-replicas 4 --points 4 --ts 0 0.5 1".split()  # noqa: SIM905
)


@pytest.mark.slow
def test_run_xavier_writes_everything_and_repeats_from_its_own_configuration(tmp_path: Path) -> None:
    first = call("run", "xavier", *QUICK, "--json", "--out", "first", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""  # progress is silent where stderr is not a terminal
    printed = json.loads(first.stdout)
    assert {"statement", "source", "expected", "observed", "error", "verdict"} <= set(printed["claims"][0])
    assert printed["settings"]["data"]["points"] == 4
    names = {path.name for path in (tmp_path / "first").iterdir()}
    figures = {"paths", "error", "freezing", "spectrum", "lambda_min", "loss", "qq"}
    assert {f"{name}.{kind}" for name in figures for kind in ("png", "pdf")} <= names
    assert {"report.html", "samples.npz", "config.json", "claims.json"} <= names
    page = (tmp_path / "first" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="http', page)
    assert all(claim["name"] in page for claim in printed["claims"])

    again = call("run", "xavier", "--config", "first/config.json", "--out", "again", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "HOLDS" in again.stdout
    with np.load(tmp_path / "first" / "samples.npz") as a, np.load(tmp_path / "again" / "samples.npz") as b:
        assert sorted(a.files) == sorted(b.files)
        assert all(np.array_equal(a[name], b[name]) for name in a.files)


@pytest.mark.slow
def test_a_violated_claim_exits_with_one(tmp_path: Path) -> None:
    """Points on a line: sphere(3, inputs=1, seed) are ±1, so two are equal or opposite, and erf is odd."""
    config = tmp_path / "study.toml"
    config.write_text('[data]\nsource = "sphere"\npoints = 2\ninputs = 1\nseed = 1\n')
    arguments = [a for a in QUICK if a not in ("--points", "4")]
    arguments.insert(arguments.index("--path-replicas") + 1, "4")
    outcome = call("run", "xavier", "--config", str(config), *arguments, "--json", folder=tmp_path)
    assert outcome.returncode == 1, outcome.stderr
    verdicts = {claim["name"]: claim["verdict"] for claim in json.loads(outcome.stdout)["claims"]}
    assert verdicts["positive definiteness"] == "VIOLATED"


@pytest.mark.slow
def test_usage_errors_exit_with_two_before_any_work(tmp_path: Path) -> None:
    config = tmp_path / "study.toml"
    config.write_text('[c]\nlaw = "Uniform"\nlow = "x"\n')
    for arguments, text in (
        (("run", "xavier", "--widths", "0"), "Argument `widths` must"),
        (("run", "xavier", "--widths", "16", "32.5"), "32.5"),
        (("run", "xavier", "--replicas", "64.0"), "64.0"),
        (("run", "xavier", "--config", str(config)), "Argument `c.low` must be a finite number, but it is 'x'"),
        (("run", "xavier", "--nonsense"), "Unknown option"),
        (("run", "xavier", "--activation", "Tanh"), "Argument `rule` must"),
        (("run", "nothing"), "nothing"),
    ):
        outcome = call(*arguments, folder=tmp_path)
        assert outcome.returncode == 2, (arguments, outcome)
        assert text in " ".join(outcome.stderr.split())
        assert outcome.stdout == ""


@pytest.mark.slow
def test_an_interrupt_exits_with_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jaxlimit", "run", "xavier", "--replicas", "1000000", "--out", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            # The folder is made when the arguments are accepted and the work, of minutes, begins.
            limit = time.monotonic() + 120
            while not (tmp_path / "out").exists() and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
    assert not (tmp_path / "out" / "claims.json").exists()


@pytest.mark.slow
def test_list_and_doctor(tmp_path: Path) -> None:
    listed = call("list", folder=tmp_path)
    assert listed.returncode == 0
    assert "xavier" in listed.stdout
    checked = call("doctor", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout
    assert "FAILED" not in checked.stdout
