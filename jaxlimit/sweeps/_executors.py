"""Executors that need some care to start and to end; `run` takes any other `concurrent.futures.Executor` too."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any

from jaxlimit._arguments import instance, optional_positive_integer, require
from jaxlimit._devices import cores


@contextlib.contextmanager
def processes(workers: int | None = None) -> Iterator[Executor]:
    """A pool of spawned processes on this machine; None starts one for each core.

    Each keeps to its share of the cores, leaves Ctrl-C to the parent, and ends when the parent is killed: nothing
    goes on in the background. On CPUs one process alone uses all cores by lanes, so a pool pays where blocks are so
    short that Python and compiling are most of them. Raises ``ValueError`` for workers < 1.

        >>> from jaxlimit.sweeps import processes
        >>> with processes(1) as executor:
        ...     executor.submit(divmod, 7, 2).result()
        (3, 1)
    """
    count = optional_positive_integer("workers", workers) or cores()
    context = multiprocessing.get_context("spawn")
    turns = context.Value("i", 0)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_settle, initargs=(turns, count))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def dask(address: str | None = None, workers: int | None = None) -> Iterator[Executor]:
    """The executor of a dask cluster: the one at this address, or a local one of so many processes, ended at the end.

    It is `distributed.Client(…).get_executor()`. Raises ``ImportError`` without dask.distributed, ``ValueError`` for
    a number of workers where the cluster is there already.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError("This executor needs dask.distributed: pip install 'jaxlimit[dask]'") from error
    count = optional_positive_integer("workers", workers)
    if address is not None:
        require(count is None, "workers", "be left out for a cluster that is there", f"it is {count}")
        with distributed.Client(instance("address", address, str)) as client, client.get_executor() as executor:
            yield executor
        return
    some = count or cores()
    with (
        distributed.LocalCluster(n_workers=some, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor


@contextlib.contextmanager
def mpi(workers: int | None = None) -> Iterator[Executor]:
    """The executor of ``mpiexec -n … python -m mpi4py.futures …``; None takes all other processes of it.

    Raises ``ImportError`` without mpi4py, ``ValueError`` for workers < 1.
    """
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPIPoolExecutor
    except ImportError as error:
        raise ImportError("This executor needs mpi4py and an MPI library: pip install mpi4py mpich") from error
    several = MPI.COMM_WORLD.Get_size() > 1
    how = "be started as mpiexec -n 9 python -m mpi4py.futures -m jaxlimit …"
    require(several, "executor", how, "this process is alone, and would wait for workers for ever")
    with MPIPoolExecutor(optional_positive_integer("workers", workers)) as executor:
        yield executor


def _settle(turns: Any, count: int) -> None:
    """What a new process of the pool does first: its share of the cores, no Ctrl-C, and an end with its parent."""
    with turns.get_lock():
        turn = turns.value
        turns.value += 1
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))[turn % count :: count]
        if mine:
            os.sched_setaffinity(0, mine)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """A killed parent closes no queue: its children would wait for work for ever."""
    wait([sentinel])
    os._exit(1)
