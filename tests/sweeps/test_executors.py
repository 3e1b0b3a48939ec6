"""Whoever computes a block, its bytes are the same."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jaxlimit import sweeps
from jaxlimit.sweeps import SweepError, SweepSpec, _slurm, run
from tests.sweeps import work
from tests.sweeps.stores import blocks, done, spec

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The blocks as one process makes them."""
    return blocks(done(tmp_path_factory.mktemp("quiet")).folder)


@contextlib.contextmanager
def local_dask():
    """A real cluster of this machine; distributed leaves sockets of its own to the collector of garbage."""
    pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ResourceWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="distributed|dask|tornado|asyncio")
        with sweeps.dask(workers=2) as executor:
            yield executor


@contextlib.contextmanager
def local_jobs(folder, monkeypatch, **choice):
    """Jobs of submitit as processes of this machine, looked at more often than jobs of a cluster."""
    pytest.importorskip("submitit")
    monkeypatch.setattr(_slurm, "POLL", 0.05)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parents[1]), *os.environ.get("PYTHONPATH", "").split()]))
    with sweeps.slurm(folder=str(folder), cluster="local", **choice) as executor:
        yield executor


def test_threads_give_the_same_bytes(tmp_path, quiet):
    store = sweeps.Store.create(tmp_path, spec())
    with ThreadPoolExecutor(3) as executor:
        assert run(store, work.numbers, executor=executor).blocks == 12
    assert blocks(tmp_path) == quiet


@pytest.mark.slow
def test_spawned_processes_give_the_same_bytes_and_report_what_fails(tmp_path, quiet):
    store = sweeps.Store.create(tmp_path, spec())
    with sweeps.processes(2) as executor:
        with pytest.raises(SweepError, match=r"2 of 4 cells failed(.|\n)*ArithmeticError: a width of 32 is too much"):
            run(store, work.fails_at_32, executor=executor)
        assert run(store, work.numbers, executor=executor).blocks == 6
    assert blocks(tmp_path) == quiet


@pytest.mark.slow
def test_a_local_dask_cluster_gives_the_same_bytes_and_reports_what_fails(tmp_path, quiet):
    store = sweeps.Store.create(tmp_path, spec())
    with local_dask() as executor:
        with pytest.raises(SweepError, match=r"2 of 4 cells failed(.|\n)*ArithmeticError: a width of 32 is too much"):
            run(store, work.fails_at_32, executor=executor)
        assert run(store, work.numbers, executor=executor).blocks == 6
    assert blocks(tmp_path) == quiet


@pytest.mark.slow
def test_mpi_gives_the_same_bytes(tmp_path, quiet):
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec") or shutil.which("mpiexec", path=Path(sys.executable).parent)
    if mpiexec is None:
        pytest.skip("there is no mpiexec")
    store = sweeps.Store.create(tmp_path, spec())
    finished = subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", HERE / "mpi_script.py", tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "Ran(blocks=12, replicas=40" in finished.stdout
    assert blocks(store.folder) == quiet


@pytest.mark.slow
def test_jobs_of_submitit_give_the_same_bytes_and_what_fails_there_is_what_failed(tmp_path, quiet, monkeypatch):
    store = sweeps.Store.create(tmp_path / "store", spec())
    with local_jobs(tmp_path / "logs", monkeypatch, tasks=2) as executor:
        run(store, work.numbers, shard=(0, 6), executor=executor)
    assert blocks(store.folder).items() <= quiet.items()
    assert len(blocks(store.folder)) == 2
    other = sweeps.Store.create(tmp_path / "other", spec({}))
    said = r"Replicas 4 to 7 .*OSError: .*No space left on device.* run the sweep"
    with local_jobs(tmp_path / "logs", monkeypatch, tasks=1) as executor, pytest.raises(SweepError, match=said):
        run(other, work.no_disk, executor=executor)
    assert len(other.present()) == 1


@pytest.mark.slow
def test_a_job_that_is_stopped_by_the_cluster_is_submitted_again_and_goes_on_from_its_state(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    store = sweeps.Store.create(tmp_path / "store", SweepSpec({"replicas": 2, "block": 2, "mark": str(mark)}, {}))

    def stop_when_it_has_kept_a_state():
        while not (mark.exists() and mark.read_text()):
            time.sleep(0.05)
        os.kill(int(mark.read_text()), signal.SIGUSR2)  # what submitit has Slurm send before the time is up

    with local_jobs(tmp_path / "logs", monkeypatch) as executor, ThreadPoolExecutor(1) as aside:
        stopped = aside.submit(stop_when_it_has_kept_a_state)
        assert run(store, work.waits, executor=executor).blocks == 1
        stopped.result()
    assert sweeps.dataset(store.folder)["resumed_at"].values.tolist() == [7, 7]
    log = "".join(path.read_text() for path in (tmp_path / "logs").glob("*_log.*"))
    assert "Requeued job" in log


def test_jobs_are_handed_out_so_many_at_a_time_and_cancelled_with_the_executor(monkeypatch):
    monkeypatch.setattr(_slurm, "POLL", 0.01)

    class Cluster:
        """Jobs that never end."""

        def __init__(self):
            self.jobs = []

        def submit(self, call, *arguments):
            self.jobs.append(Job())
            return self.jobs[-1]

    class Job:
        cancelled = False

        def done(self):
            return False

        def cancel(self):
            self.cancelled = True

    cluster = Cluster()
    executor = _slurm._Jobs(cluster, 2)
    futures = [executor.submit(abs, -k) for k in range(5)]
    time.sleep(0.2)
    executor.shutdown(wait=False, cancel_futures=True)
    assert [job.cancelled for job in cluster.jobs] == [True, True]
    assert [future.cancelled() for future in futures] == [False, False, True, True, True]
    with pytest.raises(ValueError, match="Argument `executor` must be used before it is shut down"):
        executor.submit(abs, 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sweeps.processes(0), "Argument `workers` must be a positive integer"),
        (lambda: sweeps.dask(workers=0), "Argument `workers` must be a positive integer"),
        (lambda: sweeps.dask("tcp://nowhere:1", workers=2), "Argument `workers` must be left out for a cluster"),
        (lambda: sweeps.slurm(minutes=0.0, cluster="local"), "Argument `minutes` must be"),
        (lambda: sweeps.slurm(tasks=0, cluster="local"), "Argument `tasks` must be a positive integer"),
        (lambda: sweeps.slurm(folder=3, cluster="local"), "Argument `folder` must be a str"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_started(tmp_path, monkeypatch, make, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said), make():
        pass
