"""`jaxlimit sweep`: from a settings file to a consolidated store, through kills, shards and executors."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.cli import _sweep, _sweep_status

CONFIG = """
replicas = 12
block = 4
ts = [0.0, 1.0]
method = {name = "Stepwise", lanes = 2, native = false}
[data]
source = "sphere"
points = 3
inputs = 2
[axes]
width = [8, 16]
"scaling.gamma" = [0.5, 1.0]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def signals_are_left_to_pytest(monkeypatch):
    monkeypatch.setattr(_sweep, "stop_kindly", lambda store: None)


def printed(capsys):
    """The one object on stdout."""
    return json.loads(capsys.readouterr().out)


def jaxlimit(*arguments, **environment):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "jaxlimit", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def blocks(store: Path) -> dict[str, bytes]:
    """Every block file by its place."""
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.glob("blocks/*/*.block")}


def test_a_sweep_from_beginning_to_end(config: Path, tmp_path: Path, capsys) -> None:
    store = tmp_path / "store"
    assert _sweep.init(store, config=config, json=True) == 0
    made = printed(capsys)
    assert (made["cells"], made["blocks"]) == (4, 12)
    assert _sweep.run(store, shard="1/3", json=True) == 0
    assert printed(capsys)["left"] == 8
    assert _sweep_status.status(store, json=True) == 0
    status = printed(capsys)
    assert (status["blocks"], status["complete"], len(status["cells"])) == (4, False, 4)
    assert status["remaining_core_seconds"] > 0
    assert _sweep.run(store) == 0
    assert "32 networks" in capsys.readouterr().out
    assert _sweep_status.status(store, verify=True) == 0
    assert "12 of 12 blocks, 48 of 48 networks" in (said := capsys.readouterr().out)
    assert "Every byte is as it was written" in said
    assert _sweep.consolidate(store) == 0
    assert _sweep.export(store, tmp_path / "sweep.nc") == 0
    found = jl.sweeps.dataset(store)
    assert found.sizes["replica"] == 12
    assert found.attrs["spec_id"] == made["spec_id"]


def test_a_plan_is_made_of_a_file_or_of_a_store_and_counts_what_is_done(config: Path, tmp_path: Path, capsys) -> None:
    assert _sweep_status.plan(config, model=True, json=True) == 0
    before = printed(capsys)
    assert (before["blocks"], before["missing_blocks"], len(before["cells"])) == (12, 12, 4)
    _sweep.init(tmp_path / "store", config=config)
    _sweep.run(tmp_path / "store", shard="0/2")
    capsys.readouterr()
    assert _sweep_status.plan(tmp_path / "store", model=True) == 0
    assert "still to do" in capsys.readouterr().out
    _sweep_status.plan(tmp_path / "store", model=True, json=True)
    assert printed(capsys)["missing_blocks"] == 6


def test_more_replicas_start_from_what_is_there(config: Path, tmp_path: Path, capsys) -> None:
    _sweep.init(tmp_path / "few", config=config)
    _sweep.run(tmp_path / "few")
    capsys.readouterr()
    assert _sweep.init(tmp_path / "many", config=config, replicas=16, extend=tmp_path / "few", json=True) == 0
    assert printed(capsys)["adopted"] == 12
    _sweep.run(tmp_path / "many", json=True)
    assert printed(capsys)["replicas"] == 16


def test_extending_takes_the_blocks_that_a_machine_has_chosen(config: Path, tmp_path: Path, capsys) -> None:
    config.write_text(config.read_text(encoding="utf-8").replace("block = 4\n", ""), encoding="utf-8")
    _sweep.init(tmp_path / "few", config=config, replicas=64)
    _sweep.run(tmp_path / "few")
    capsys.readouterr()
    _sweep.init(tmp_path / "many", config=config, replicas=5000, extend=tmp_path / "few", json=True)
    made = printed(capsys)
    assert made["adopted"] == jl.sweeps.Store.open(tmp_path / "few").status().blocks
    _sweep.init(tmp_path / "other", config=config, seed=1, extend=tmp_path / "few")
    assert "0 of them are taken" in (said := " ".join(capsys.readouterr().out.split()))
    assert "none of whose cells" in said


def test_damage_is_told_and_computed_again(config: Path, tmp_path: Path, capsys) -> None:
    store = tmp_path / "store"
    _sweep.init(store, config=config)
    _sweep.run(store)
    path = next(store.glob("blocks/*/*.block"))
    path.write_bytes(path.read_bytes()[:-40])
    assert _sweep_status.status(store, verify=True) == _sweep.FAILED
    assert f"DAMAGED blocks/{path.parent.name}" in capsys.readouterr().out.replace("\n", "")
    with pytest.warns(UserWarning, match="1 damaged blocks were moved"):
        assert _sweep.run(store, json=True) == 0
    assert len(printed(capsys)["quarantined"]) == 1
    assert _sweep_status.status(store, verify=True) == 0


def test_a_cell_that_fails_is_named_and_the_others_are_done(config: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    store, work = tmp_path / "store", jl.studies.sweep_block

    def fails(settings, first, stop, checkpoint):
        if settings["width"] == 16 and settings["scaling"]["gamma"] == 0.5:
            raise RuntimeError("no such luck")
        return work(settings, first, stop, checkpoint)

    _sweep.init(store, config=config)
    monkeypatch.setattr(jl.studies, "sweep_block", fails)
    assert _sweep.run(store) == _sweep.FAILED
    said = " ".join(capsys.readouterr().err.split())
    assert "width 16, gamma 0.5" in said
    assert "no such luck" in said
    assert "run the sweep again" in said
    assert jl.sweeps.Store.open(store).status().blocks == 9


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("executor", "nobody", "`executor` must be one of dask, mpi, processes, slurm"),
        ("executor", "identity", "`executor` must be one of"),
        ("executor", "processes:cores=3", r"`executor` must have arguments among \['workers'\]"),
        ("executor", "processes:workers=0", "`workers` must be a positive integer"),
        ("shard", "3", "`shard` must read i/n"),
        ("shard", "3/3", "`shard` must have i from 0 to n − 1"),
    ],
)
def test_flags_are_checked(config: Path, tmp_path: Path, flag, value, message) -> None:
    _sweep.init(tmp_path / "store", config=config)
    with pytest.raises(ValueError, match=message):
        _sweep.run(tmp_path / "store", **{flag: value})


def test_another_sweep_in_the_folder_is_refused(config: Path, tmp_path: Path) -> None:
    _sweep.init(tmp_path / "store", config=config)
    with pytest.raises(ValueError, match="have no sweep or this very one"):
        _sweep.init(tmp_path / "store", config=config, seed=1)
    with pytest.raises(ValueError, match="`folder` must be the folder of a sweep"):
        _sweep.run(tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(name: str, config: Path, tmp_path: Path) -> None:
    longer = config.read_text(encoding="utf-8").replace("replicas = 12", "replicas = 400")
    config.write_text(longer.replace("[8, 16]", "[64]"), encoding="utf-8")
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    for store in (stopped, whole):
        _sweep.init(store, config=config)
    program = [sys.executable, "-m", "jaxlimit", "sweep", "run", str(stopped)]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(blocks(stopped)) < 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == {"SIGTERM": 143, "SIGINT": 130}[name]
    assert "What is finished is kept" in said
    assert 7 <= len(blocks(stopped)) < 200
    assert jl.sweeps.verify(stopped) in (
        [],
        [f"runs/{p.name}: a line was torn or changed" for p in stopped.glob("runs/*")],
    )
    for store in (stopped, whole):
        _sweep.run(store)
    assert blocks(stopped) == blocks(whole)


@pytest.mark.slow
def test_bits_depend_neither_on_devices_nor_on_the_executor(config: Path, tmp_path: Path) -> None:
    ways = {
        "one": ((), {"JAX_NUM_CPU_DEVICES": "1"}),
        "two": ((), {"JAX_NUM_CPU_DEVICES": "2"}),
        "four": ((), {"JAX_NUM_CPU_DEVICES": "4"}),
        "dask": (("--executor", "dask:workers=2"), {}),
    }
    config.write_text(CONFIG.replace("[8, 16]", "[8]"), encoding="utf-8")  # each width is compiled on every device
    found = {}
    for name, (flags, environment) in ways.items():
        _sweep.init(tmp_path / name, config=config)
        done = jaxlimit("sweep", "run", tmp_path / name, *flags, **environment)
        assert done.returncode == 0, done.stderr
        found[name] = blocks(tmp_path / name)
        assert len(found[name]) == 6
    assert all(other == found["one"] for other in found.values())
    values = jl.studies.sweep_samples(tmp_path / "one").values
    assert np.all(np.isfinite(values))
