"""Blocks as jobs of Slurm, by submitit, whose jobs are made to look like futures."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

from jaxlimit._arguments import instance, natural_number, positive_integer, positive_number

POLL = 1.0
"""Seconds between two looks at the jobs, which are files on a shared disk."""


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
    """Jobs of Slurm, one per block, at most `tasks` of an array at a time, each with so many minutes, cores and GPUs.

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
    made = submitit.AutoExecutor(folder=instance("folder", folder, str), cluster=cluster)
    wanted: dict[str, Any] = {
        "timeout_min": positive_number("minutes", minutes),
        "cpus_per_task": positive_integer("cpus", cpus),
        "slurm_array_parallelism": positive_integer("tasks", tasks),
    }
    if natural_number("gpus", gpus):
        wanted["gpus_per_node"] = gpus
    if partition is not None:
        wanted["slurm_partition"] = partition
    made.update_parameters(**wanted)
    executor = _Jobs(made)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


class _Requeued:
    """A call that submitit submits again when its job is stopped."""

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit asks for when the time is up."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


class _Jobs(Executor):
    """submitit's jobs as futures: one thread looks for those that have ended."""

    def __init__(self, executor: Any):
        self._executor = executor
        self._running: dict[Future[Any], Any] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit one job."""
        future: Future[Any] = Future()
        job = self._executor.submit(_Requeued(fn), *args)
        future.set_running_or_notify_cancel()
        with self._lock:
            self._running[future] = job
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop looking; with `cancel_futures` the jobs are cancelled, those that run included."""
        with self._lock:
            running = dict(self._running)
        for future, job in running.items():
            if cancel_futures:
                job.cancel()
            elif wait:
                future.exception()
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(POLL):
            with self._lock:
                ended = [(future, job) for future, job in self._running.items() if job.done()]
                for future, _ in ended:
                    del self._running[future]
            for future, job in ended:
                try:
                    future.set_result(job.result())
                except Exception as error:
                    future.set_exception(error)
