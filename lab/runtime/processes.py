"""Processes that can be killed and started again, and calls that run side by side.

Not here: the time of its death (faults), and its program (wiring).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from lab.ports.processes import Tasks
from lab.runtime.process_loop import SPAWNED, ProcessLoop
from lab.runtime.scheduler import AnyScheduler

T = TypeVar("T")

Main = Callable[[ProcessLoop], Coroutine[Any, Any, None]]
"""Builds and runs a program, afresh for each incarnation: nothing of the last one may survive."""


class SimProcess:
    """A simulated process with a program, through all its incarnations.

    It ends when its program does: every other task of it is dropped, as at a kill. An exception
    of the program is recorded in `Scheduler.errors`.

    Attributes:
        name: of the process; its incarnations are called ``name``, ``name#2``, ...
        incarnation: ordinal of the present or last one; 0 before the first start.
        skew_us: of its clock, from the next start on.
    """

    def __init__(self, scheduler: AnyScheduler, name: str, main: Main, *, skew_us: int = 0) -> None:
        self.name = name
        self.incarnation = 0
        self.skew_us = skew_us
        self._scheduler = scheduler
        self._main = main
        self._loop: ProcessLoop | None = None

    @property
    def loop(self) -> ProcessLoop | None:
        """The loop of the incarnation that runs, if one does."""
        return self._loop if self._loop is not None and not self._loop.dead else None

    def start(self) -> ProcessLoop:
        """Start the program in a new incarnation. One that runs already is left alone."""
        running = self.loop
        if running is not None:
            return running
        self.incarnation += 1
        name = self.name if self.incarnation == 1 else f"{self.name}#{self.incarnation}"
        loop = self._loop = self._scheduler.process(name, skew_us=self.skew_us)
        loop.create_task(self._main(loop), name=f"{name}.main").add_done_callback(_on_exit)
        return loop

    def kill(self) -> None:
        """Kill the incarnation that runs, if one does; no code of it ever runs again."""
        loop = self.loop
        if loop is not None:
            loop.kill()


def _on_exit(main: asyncio.Task[None]) -> None:
    """The operating system's part of an exit."""
    loop = main.get_loop()
    assert isinstance(loop, ProcessLoop), "made by SimProcess.start"
    error = None if main.cancelled() else main.exception()
    if error is not None:
        message = "the process's program failed"
        loop.call_exception_handler({"message": message, "exception": error, SPAWNED: "program"})
    loop.kill()


class AsyncTasks(Tasks):
    """Calls side by side on any asyncio loop, simulated or real.

    Its own bookkeeping, because `TaskGroup`, `wait` and `as_completed` iterate sets of tasks: the
    order in which siblings are cancelled would depend on addresses.
    """

    async def together(
        self,
        calls: Sequence[Callable[[], Awaitable[T]]],
        *,
        until: Callable[[T], bool],
    ) -> list[T | None]:
        return await _Together(calls, until).results()


class _Together(Generic[T]):
    """One run of several calls. All of them have ended when it returns or raises."""

    def __init__(
        self, calls: Sequence[Callable[[], Awaitable[T]]], until: Callable[[T], bool]
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._until = until
        self._decided = False
        self._error: BaseException | None = None
        self._running = len(calls)
        self._all_ended: asyncio.Future[None] | None = None
        self._tasks = [loop.create_task(self._one(call)) for call in calls]
        for task in self._tasks:
            task.add_done_callback(self._on_ended)

    async def results(self) -> list[T | None]:
        """Wait for all, then return the results."""
        cancelled: asyncio.CancelledError | None = None
        while self._running:
            self._all_ended = self._loop.create_future()
            try:
                await self._all_ended
            except asyncio.CancelledError as error:
                # Raised below: the calls must have ended before their caller goes on.
                cancelled = error
                self._decide()
        if cancelled is not None:
            raise cancelled
        if self._error is not None:
            raise self._error
        return [_result(task) for task in self._tasks]

    async def _one(self, call: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        result = await call()
        return result, self._until(result)

    def _on_ended(self, task: asyncio.Task[tuple[T, bool]]) -> None:
        self._running -= 1
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not self._decided and (error is not None or task.result()[1]):
            self._error = error
            self._decide()
        if not self._running and self._all_ended is not None and not self._all_ended.done():
            self._all_ended.set_result(None)

    def _decide(self) -> None:
        """No later result counts; every call that still runs is to stop."""
        self._decided = True
        for task in self._tasks:
            task.cancel()


def _result(task: asyncio.Task[tuple[T, bool]]) -> T | None:
    """The result of the call, or None if it was cancelled or failed after the decision."""
    return None if task.cancelled() or task.exception() is not None else task.result()[0]
