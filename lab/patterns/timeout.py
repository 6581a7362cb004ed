"""Timeout: a worker does not wait for ever for somebody who will not answer.

A third party takes the request and never answers: sixteen such calls later every worker of the
process hangs, and all orders wait behind them. A handler may hang elsewhere, too.

The rule: a run of a handler has a deadline, and each call to a third party has one of its own,
never later than the run's, which the service passes on (`timeout.provider_ms`). Deadlines are
arguments, so keeping them costs nothing; one timer per process cancels a run that overstays all the
same.

The weak part sets no deadline: it lies ages away.
"""

import asyncio
from collections import deque
from typing import Final

from lab.history.recorder import Now, Write

NEVER_US: Final = 1 << 60
"""Thirty-six thousand years: later than any clock of ours."""


class Watched:
    """One run under a deadline. See `lab.bus.loop.ends.Watch`."""

    __slots__ = ("_task", "deadline_us", "is_closed", "is_expired")

    def __init__(self, deadline_us: int, task: "asyncio.Task[object] | None") -> None:
        self.deadline_us = deadline_us
        self.is_closed = False
        self.is_expired = False
        self._task = task

    def close(self) -> bool:
        """The run has ended. True if it was cancelled for its deadline, and for nothing else.

        The task goes on to other work: the cancellation is taken back from it.
        """
        self.is_closed = True
        task, self._task = self._task, None
        return self.is_expired and task is not None and task.uncancel() == 0

    def expire(self) -> None:
        """The deadline has passed: cancel what the task is waiting for."""
        task = self._task
        assert task is not None
        self.is_expired = True
        task.cancel()


class Timeout:
    """Deadlines of one process, and the timer that keeps them.

    Args:
        handler_us: of one run of a handler.
        clock: monotonic time of the process, which deadlines are instants of.
        now, process: for the history.
        write: takes the entries, or None.
    """

    def __init__(
        self,
        *,
        handler_us: int,
        clock: Now,
        now: Now,
        process: str,
        write: Write | None,
    ) -> None:
        self._handler_us = handler_us
        self._clock = clock
        self._now = now
        self._process = process
        self._write = write
        # All runs have the same length, so deadlines are in order and one timer is enough.
        self._runs: deque[Watched] = deque()
        self._is_armed = False

    def watch(self) -> Watched:
        """Begin the watch over a run in the current task."""
        runs = self._runs
        while runs and runs[0].is_closed:
            runs.popleft()
        run = Watched(self._clock() + self._handler_us, asyncio.current_task())
        runs.append(run)
        if not self._is_armed:
            self._arm(self._handler_us)
        return run

    def _arm(self, after_us: int) -> None:
        self._is_armed = True
        asyncio.get_running_loop().call_later(after_us / 1e6, self._due)

    def _due(self) -> None:
        self._is_armed = False
        runs, clock_us = self._runs, self._clock()
        while runs and (runs[0].is_closed or runs[0].deadline_us <= clock_us):
            run = runs.popleft()
            if not run.is_closed:
                run.expire()
                if self._write is not None:
                    self._write(("acted", self._now(), self._process, "", "timeout", "handler"))
        if runs:
            self._arm(runs[0].deadline_us - clock_us)


class NoTimeout:
    """The weak part: nobody has a deadline."""

    def __init__(self) -> None:
        self._never = Watched(NEVER_US, None)

    def watch(self) -> Watched:
        """A watch that never ends a run."""
        return self._never
