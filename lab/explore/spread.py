"""Tasks over the cores of this machine or of a Dask cluster; one code path for all.

    with workers(jobs=2) as pool:
        for answer in spread(pool, judge, tasks):
            ...

Answers come in the order of the tasks, whoever was first. At most `AHEAD` tasks a worker are under
way, so a million of them need no memory. Not here: what a task does.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final, TypeVar

from lab.domain.errors import EnvironmentNotReady

Task = TypeVar("Task")
Answer = TypeVar("Answer")

AHEAD: Final = 3
"""So many tasks a worker wait or run; with one a worker would idle until its answer was taken."""

_CONNECT_S_MAX: Final = 10
EXTRA: Final = "pip install 'pulse-lab[cluster]'"


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does the tasks.

    Attributes:
        executor: None: the caller itself, one task after the other.
        count: how many work at a time.
    """

    executor: Executor | None
    count: int


def cores() -> int:
    """How many processes can work at a time on this machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def workers(*, jobs: int, cluster: str | None = None) -> Iterator[Crew]:
    """Crew for the length of a block; those of this machine end with it.

    Ctrl-C reaches the caller alone: it drops what is not begun and ends the processes.

    Args:
        jobs: processes on this machine; with 1 the caller works itself.
        cluster: address of the scheduler of a Dask cluster, such as tcp://10.0.0.1:8786; its
            workers have the lab installed.

    Raises:
        EnvironmentNotReady: the cluster does not answer, or the extra is not installed.
    """
    if cluster is not None:
        with _on_cluster(cluster) as made:
            yield made
        return
    if jobs == 1:
        yield Crew(None, 1)
        return
    # Not forked: a child would have the threads' locks of its parent and none of the threads.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_deaf)
    try:
        yield Crew(pool, jobs)
    except BaseException:
        _end(pool)
        raise
    pool.shutdown(cancel_futures=True)


def spread(pool: Crew, work: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[Answer]:
    """Do every task; gives their answers in the order of the tasks.

    Args:
        pool: of `workers`.
        work: a function of a module, so that it can be named to another process.
        tasks: of frozen data that can be pickled.

    Raises:
        EnvironmentNotReady: a worker ended in the middle, by a signal or for want of memory.
        What `work` raises.
    """
    if pool.executor is None:
        yield from map(work, tasks)
        return
    waiting: deque[Future[Answer]] = deque()
    try:
        for task in tasks:
            if len(waiting) >= pool.count * AHEAD:
                yield waiting.popleft().result()
            waiting.append(pool.executor.submit(work, task))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as bad:
        raise EnvironmentNotReady(
            "one was ended in the middle of its task, by a signal or for want of memory",
            server="the processes of --jobs",
            address="",
            remedy="take fewer --jobs",
        ) from bad
    finally:
        for left in waiting:
            left.cancel()


def _deaf() -> None:
    """A terminal sends Ctrl-C to all; only the parent is to act on it, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes now: what they would find is wanted by nobody."""
    running = list((pool._processes or {}).values())  # noqa: SLF001 - Python 3.14 has a method for it
    pool.shutdown(wait=False, cancel_futures=True)
    for process in running:
        process.terminate()
    for process in running:
        process.join()


@contextmanager
def _on_cluster(address: str) -> Iterator[Crew]:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra
    except ImportError:
        raise _no_cluster("the extra is not installed", "--cluster", EXTRA) from None
    try:
        client = Client(address, timeout=_CONNECT_S_MAX)
    except (OSError, ValueError) as bad:
        raise _no_cluster(
            f"no scheduler answers ({bad})", address, "start one: dask scheduler"
        ) from None
    with client:
        count = sum(client.nthreads().values())
        if not count:
            raise _no_cluster("it has no worker", address, f"start one: dask worker {address}")
        yield Crew(client.get_executor(), count)


def _no_cluster(what: str, address: str, remedy: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(what, server="the Dask cluster", address=address, remedy=remedy)
