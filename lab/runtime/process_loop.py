"""The event loop of one simulated process: a facade over the scheduler that can be abandoned.

Everything made while a process runs (tasks, futures, timers) is bound to its loop. Killing it is
exact and cheap: its handles are dropped, its tasks are never resumed, and not released before the
run is judged, so no `except`, no `finally` and no `__aexit__` runs in it. A future of it in the
hands of other processes may still be resolved, to no effect.

Time is an integer of microseconds. asyncio's floats are rounded to it at the edge, so that a year
of virtual time adds up exactly.

Not here: real I/O and its refusal (`wall_loop.py`, `virtual_loop.py`), running
anything, which is the scheduler's (`scheduler.py`), and restarting (`processes.py`).
"""

import asyncio
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, TypeVarTuple, Unpack

from lab.runtime.errors import RealIOError, SimulationError
from lab.runtime.graveyard import keep, release
from lab.runtime.real_io import RunByScheduler
from lab.runtime.scheduling import (
    FifoQueue,
    Ready,
    ShuffledQueue,
    SimHandle,
    SimTask,
    Timeline,
)

SPAWNED: Final = "spawned"
"""Names a task that nobody waits for in a report to the exception handler."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnhandledError:
    """An exception that nobody handled.

    Attributes:
        process: name of the simulated process it happened in.
        message: as asyncio words it.
        exception: None where asyncio only complains, as of a pending task that was dropped.
    """

    process: str
    message: str
    exception: BaseException | None


class Kernel:
    """The common part of the processes of one scheduler. Theirs and the scheduler's only.

    Attributes:
        epoch_us: wall time at virtual time 0.
        ready: handles to be run at this instant.
        timeline: virtual time, and handles to be run later.
        plain: the empty context in which callbacks run that need none.
        tasks_made: number of the youngest task.
        root: the harness, on which hooks run.
        processes: those alive, in the order of creation.
        errors: see `UnhandledError`.
        graveyard: the remains of dead processes.
        halted: the run ends after the current step: with `fatal`, or because it is done.
    """

    __slots__ = (
        "epoch_us",
        "errors",
        "fatal",
        "graveyard",
        "halted",
        "plain",
        "processes",
        "ready",
        "root",
        "tasks_made",
        "timeline",
    )

    root: "ProcessLoop"

    def __init__(
        self, timeline: Timeline, ready: FifoQueue | ShuffledQueue, *, epoch_us: int
    ) -> None:
        self.epoch_us = epoch_us
        self.ready = ready
        self.timeline = timeline
        self.plain = Context()
        self.tasks_made = 0
        self.processes: dict[ProcessLoop, None] = {}
        self.errors: list[UnhandledError] = []
        self.graveyard: list[object] = []
        self.fatal: SimulationError | None = None
        self.halted = False

    def fail(self, error: SimulationError) -> None:
        """End the run with `error` after the current step; the first one counts."""
        self.fatal = self.fatal or error
        self.halted = True

    def bury(self, tasks: Sequence[SimTask[Any]]) -> None:
        """Keep the tasks, suspended where they are."""
        for task in tasks:
            task.bury()
        self.keep(tasks)

    def keep(self, remains: Sequence[object]) -> None:
        """Release nothing of this before `release`: it would run code of a dead process."""
        if remains and not self.graveyard:
            keep(self.graveyard)
        self.graveyard.extend(remains)

    def release(self) -> None:
        """Close what was buried: nothing of this world counts any more."""
        release(self.graveyard)


class ProcessLoop(RunByScheduler):
    """One simulated process, as asyncio sees it. Made by `AnyScheduler.process`.

    Attributes:
        name: for reports; need not be unique.
        skew_us: its clock is so far ahead of the scheduler's.
        harness: it is the root process, which cannot be killed.
        dead: it was killed.
        paused: it was stopped, as by SIGSTOP.
        on_kill: hooks that play the operating system at a kill, such as resetting connections.
            They run in order, on the harness process.
        on_error: hears of every exception that nobody handled, or None.
        timeline: of the scheduler.
        make_ready: where a handle goes that is to be run now.
        is_shuffled: ready tasks are run in an order that is drawn.
        forget: takes the number of a task that has ended, and None.
    """

    task_type: ClassVar[type[SimTask[Any]]] = SimTask

    def __init__(self, kernel: Kernel, name: str, *, skew_us: int, harness: bool) -> None:
        self.name = name
        self.skew_us = skew_us
        self.harness = harness
        self.dead = False
        self.paused = False
        self.on_kill: list[Callable[[], None]] = []
        self.on_error: Callable[[Mapping[str, object]], object] | None = None
        self.timeline = kernel.timeline
        if harness:
            # Servers and the history read its clock some hundred times an order.
            assert not skew_us, "the scheduler's own clock"
            self.now_us = self.timeline.read_us  # type: ignore[method-assign]  # the same, cheaper
        self.make_ready: Callable[[Ready], object] = kernel.ready.append
        self.is_shuffled = isinstance(kernel.ready, ShuffledQueue)
        self._kernel = kernel
        self._held: list[Ready] = []
        # By number, in the order of creation. Every task that ends takes itself out.
        self._tasks: dict[int, SimTask[Any]] = {}
        self.forget: Callable[[int, None], object] = self._tasks.pop
        kernel.processes[self] = None

    # ---- as an operating system sees it

    def kill(self) -> None:
        """Kill the process, as SIGKILL does: no code of it ever runs again. Idempotent.

        Takes effect between two steps: a process that kills itself finishes the step, to its next
        suspension. Its wake-ups and timers are dropped, its tasks buried; then `on_kill` runs.

        Raises:
            SimulationError: it is the harness.
        """
        self._refuse_harness("killed")
        if self.dead:
            return
        self.abandon()
        running = _get_running_loop()
        _set_running_loop(self._kernel.root)
        try:
            for hook in self.on_kill:
                hook()
        finally:
            _set_running_loop(running)

    def abandon(self) -> None:
        """A `kill` without the hooks, and of the harness too: the end of a world."""
        self.dead = True
        self.make_ready = _drop
        self._held.clear()
        self._kernel.ready.withdraw(self)
        self.timeline.withdraw(self)
        self._kernel.processes.pop(self, None)
        self._kernel.bury(self.live_tasks())
        self._tasks.clear()

    def pause(self) -> None:
        """Stop the process, as SIGSTOP does: its wake-ups and due timers are held, in order.

        Its clock goes on. Idempotent.

        Raises:
            SimulationError: it is the harness.
        """
        self._refuse_harness("paused")
        if not self.dead and not self.paused:
            self.paused = True
            self._held = self._kernel.ready.withdraw(self)
            self.make_ready = self._held.append

    def resume(self) -> None:
        """Go on after `pause`: everything held is ready now, in its order. Idempotent."""
        if self.paused and not self.dead:
            self.paused = False
            self.make_ready = self._kernel.ready.append
            for handle in self._held:
                self.make_ready(handle)
            self._held = []

    @property
    def task_count(self) -> int:
        """How many tasks have not ended."""
        return len(self._tasks)

    def live_tasks(self) -> list[SimTask[Any]]:
        """Tasks that have not ended, in the order of creation."""
        return list(self._tasks.values())

    def _refuse_harness(self, what: str) -> None:
        if self.harness:
            raise SimulationError(
                f"process {self.name!r} is the harness and cannot be {what}; "
                "make a process of its own for it (Scheduler.process)"
            )

    # ---- time

    def now_us(self) -> int:
        """Time of this process in microseconds: scheduler's clock plus skew."""
        return self.timeline.now_us + self.skew_us

    def wall_us(self) -> int:
        """Microseconds since 1970, as this process sees them."""
        return self._kernel.epoch_us + self.timeline.now_us + self.skew_us

    def time(self) -> float:
        """The same in seconds, for asyncio."""
        return (self.timeline.now_us + self.skew_us) / 1e6

    # ---- scheduling

    def call_soon(  # type: ignore[override]  # a handle in all but name, see `SimHandle`
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimHandle:
        handle = SimHandle(callback, args, copy_context() if context is None else context, self)
        self.make_ready(handle)
        return handle

    def call_later(  # type: ignore[override]  # a handle in all but name, see `SimHandle`
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimHandle:
        handle = SimHandle(callback, args, copy_context() if context is None else context, self)
        if not self.dead:
            self.timeline.push(self.timeline.now_us + round(delay * 1e6), handle)
        return handle

    def call_at(  # type: ignore[override]  # a handle in all but name, see `SimHandle`
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimHandle:
        handle = SimHandle(callback, args, copy_context() if context is None else context, self)
        if not self.dead:
            self.timeline.push(round(when * 1e6) - self.skew_us, handle)
        return handle

    def call_at_us(
        self, when_us: int, callback: Callable[[Unpack[Ts]], object], *args: *Ts
    ) -> SimHandle:
        """Run `callback` when this process's clock shows `when_us`, or at once if it is past.

        Timers of one instant run in the order in which they were set, after everything that is
        ready at that instant already, in an empty context.
        """
        handle = SimHandle(callback, args, self._kernel.plain, self)
        if not self.dead:
            self.timeline.push(when_us - self.skew_us, handle)
        return handle

    def call_after_us(
        self, delay_us: int, callback: Callable[[Unpack[Ts]], object], *args: *Ts
    ) -> SimHandle:
        """Run `callback` in `delay_us` from now; otherwise as `call_at_us`."""
        handle = SimHandle(callback, args, self._kernel.plain, self)
        if not self.dead:
            self.timeline.push(self.timeline.now_us + delay_us, handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> SimTask[T]:
        """Start a task of this process, numbered in the order of creation over all processes.

        A process that is dead already, and only finishes the step it died in, starts nothing.
        """
        kernel = self._kernel
        kernel.tasks_made = number = kernel.tasks_made + 1
        task: SimTask[T] = self.task_type(
            coro, number=number, loop=self, name=name or f"task-{number}", context=context
        )
        if self.dead:
            kernel.bury([task])
        else:
            self._tasks[number] = task
        return task

    def spawn(self, coro: Coroutine[Any, Any, object], *, name: str | None = None) -> None:
        """Start a task that nobody waits for. The process keeps it alive until it ends.

        Its exception is reported at once, to the exception handler, under `name`.
        """
        task = self.create_task(coro, name=name)
        task.add_done_callback(self._spawned_ended, context=self._kernel.plain)

    def _spawned_ended(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            name = task.get_name()
            message = f"the task {name} failed"
            self.call_exception_handler({"message": message, "exception": error, SPAWNED: name})

    # ---- the rest of a loop as asyncio sees it

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead

    # Every new future asks for it: `bool()` is False, and no frame of ours.
    get_debug = staticmethod(bool)

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """There is no debug mode: it would cost every step, and the deadlock report says more."""

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> None:
        return None

    async def shutdown_asyncgens(self) -> None:
        return

    async def shutdown_default_executor(self) -> None:
        return

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Record the error. An error of a dead process is nobody's."""
        if not self.dead:
            exception = context.get("exception")
            self._kernel.errors.append(
                UnhandledError(
                    process=self.name,
                    message=str(context.get("message", exception)),
                    exception=exception if isinstance(exception, BaseException) else None,
                )
            )
            if self.on_error is not None:
                self.on_error(context)

    def refuse(self, call: str, instead: str) -> RealIOError:
        error = RealIOError(f"{call} was called in the simulated process {self.name!r}: {instead}")
        self._kernel.fail(error)
        return error

    def __repr__(self) -> str:
        return f"<ProcessLoop {self.name}>"


def _drop(_ready: Ready) -> None:
    """Where the handles of a dead process go."""
