"""Whoever does the tasks, the answers come in their order."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.explore.spread import AHEAD, Crew, spread, workers


def test_one_job_is_the_caller_itself_one_task_at_a_time() -> None:
    begun: list[int] = []

    def work(task: int) -> int:
        begun.append(task)
        return task * 2

    with workers(jobs=1) as pool:
        answers = spread(pool, work, range(1, 4))
        assert next(answers) == 2
        assert begun == [1]
        assert list(answers) == [4, 6]


@pytest.mark.slow
def test_processes_answer_in_the_order_of_the_tasks_and_take_no_more_than_they_can_do() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield -number

    with workers(jobs=2) as pool:
        answers = spread(pool, abs, tasks())
        assert next(answers) == 0
        assert len(taken) == 2 * AHEAD + 1
        assert list(answers) == list(range(1, 100))


@pytest.mark.slow
def test_a_worker_that_dies_is_said_and_not_waited_for() -> None:
    with (
        pytest.raises(EnvironmentNotReady, match="take fewer --jobs"),
        workers(jobs=2) as pool,
    ):
        list(spread(pool, os._exit, [3, 3]))


@pytest.mark.slow
def test_an_interruption_ends_the_processes() -> None:
    with suppress(KeyboardInterrupt), workers(jobs=2) as pool:
        assert set(spread(pool, _parent, [0])) == {os.getpid()}
        assert isinstance(pool.executor, ProcessPoolExecutor)
        ours = list(pool.executor._processes.values())
        raise KeyboardInterrupt
    assert ours
    assert all(process.exitcode is not None for process in ours)


def _parent(_task: int) -> int:
    return os.getppid()


def test_a_cluster_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    with (
        pytest.raises(EnvironmentNotReady, match=r"pulse-lab\[cluster\]"),
        workers(jobs=1, cluster="tcp://127.0.0.1:1"),
    ):
        pass


def test_tasks_that_nobody_begins_are_dropped_when_the_answers_are_no_longer_wanted() -> None:
    class Slow:
        """Takes tasks and does none."""

        def __init__(self) -> None:
            self.futures: list[Future[int]] = []

        def submit(self, *_call: object) -> Future[int]:
            made: Future[int] = Future()
            if not self.futures:
                made.set_result(1)
            self.futures.append(made)
            return made

    slow = Slow()
    answers = spread(Crew(slow, 2), abs, range(50))  # type: ignore[arg-type]  # as much of one as is used
    assert next(answers) == 1
    answers.close()  # type: ignore[attr-defined]  # it is a generator

    assert len(slow.futures) == 2 * AHEAD
    assert all(one.cancelled() for one in slow.futures[1:])
