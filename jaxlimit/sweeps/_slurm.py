"""Blocks as jobs of Slurm, by submitit, whose jobs are made to look like futures."""

import contextlib
import math
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from jaxlimit._arguments import instance, natural_number, positive_integer, positive_number, require

POLL = 1.0
"""Seconds between two looks at the jobs, which are files on a shared disk."""

TIMES = 1000
"""How often a job may reach its time limit."""


@contextlib.contextmanager
def slurm(
    folder: str = "slurm-logs",
    minutes: float = 60.0,
    tasks: int = 16,
    cpus: int = 2,
    gpus: int = 0,
    partition: str | None = None,
    cluster: str | None = None,
) -> Iterator[Executor]:
    """Jobs of Slurm, one per block, at most `tasks` of them at a time, each with so many minutes, cores and GPUs.

    A job that reaches its time limit or is preempted is submitted again by submitit, and goes on from the state of its
    block that was kept last. `folder` holds logs and results; `cluster="local"` runs the jobs as processes of this
    machine. For blocks of less than some minutes a job array of ``jaxlimit sweep run STORE --shard`` is the better
    way, and needs no package. Raises ``ImportError`` without submitit, ``ValueError`` for bad numbers, and what
    submitit raises where there is no Slurm.
    """
    try:
        import submitit
    except ImportError as error:
        raise ImportError("This executor needs submitit: pip install 'jaxlimit[slurm]'") from error
    # Every time limit is a piece of the way, so there may be many.
    there = cluster is not None or shutil.which("sbatch") is not None
    require(there, "cluster", 'be "local" where there is no Slurm, for processes of this machine', "there is no sbatch")
    made = submitit.AutoExecutor(instance("folder", folder, str), cluster, slurm_max_num_timeout=TIMES)
    wanted: dict[str, Any] = {
        "timeout_min": math.ceil(positive_number("minutes", minutes)),  # whole ones, or submitit refuses them
        "cpus_per_task": positive_integer("cpus", cpus),
    }
    if natural_number("gpus", gpus):
        wanted["gpus_per_node"] = gpus
    if partition is not None:
        wanted["slurm_partition"] = partition
    made.update_parameters(**wanted)
    executor = _Jobs(made, positive_integer("tasks", tasks))
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


class _Requeued:
    """A call that submitit submits again when its job is stopped. What it raises comes back as what it is."""

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *arguments: Any) -> tuple[Any, Exception | None]:
        try:
            return self._call(*arguments), None
        except Exception as error:
            return None, error

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit asks for when the time is up."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


class _Jobs(Executor):
    """submitit's jobs as futures, `tasks` of them at a time: one thread submits, and looks for those that have ended.

    The thread alone talks to submitit, which is not made for several.
    """

    def __init__(self, executor: Any, tasks: int):
        self._executor, self._tasks = executor, tasks
        self._waiting: deque[tuple[Future[Any], _Requeued, tuple[Any, ...]]] = deque()
        self._running: dict[Future[Any], Any] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit one job."""
        require(not self._stop.is_set(), "executor", "be used before it is shut down", "it was shut down")
        future: Future[Any] = Future()
        self._waiting.append((future, _Requeued(partial(fn, **kwargs)), args))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Submit nothing more; with `cancel_futures` the jobs are cancelled, those that run included."""
        while wait and not cancel_futures and (self._waiting or self._running) and self._thread.is_alive():
            self._stop.wait(POLL)
        self._stop.set()
        self._thread.join()
        for future, _, _ in self._waiting:
            future.cancel()
        for job in self._running.values() if cancel_futures else ():
            job.cancel()

    def _watch(self) -> None:
        while not self._stop.is_set():
            while self._waiting and len(self._running) < self._tasks:
                future, call, arguments = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    try:
                        self._running[future] = self._executor.submit(call, *arguments)
                    except Exception as error:
                        future.set_exception(error)
            for future, job in [(future, job) for future, job in self._running.items() if job.done()]:
                del self._running[future]
                try:
                    result, failed = job.result()
                except Exception as error:
                    result, failed = None, error
                if failed is None:
                    future.set_result(result)
                else:
                    future.set_exception(failed)
            self._stop.wait(POLL)
