"""The common part of both schedulers: processes, and running their steps to an end.

Not here: the passing of time (`virtual_loop.py`, `wall_loop.py`), the order of steps
(`scheduling.py`), the loop that a process sees (`process_loop.py`).
"""

import asyncio
from abc import ABC, abstractmethod
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Self, TypeVar

from lab.runtime.errors import SimulationError
from lab.runtime.process_loop import Kernel, ProcessLoop, UnhandledError
from lab.runtime.stalled import describe_waits
from lab.runtime.virtual_task import VirtualTask

T = TypeVar("T")

_ERRORS_SHOWN: Final = 5


class AnyScheduler(ABC):
    """A world: its time, its processes and their steps in flight.

    Use it as a context manager, or call `close`: a world that is left with suspended tasks would
    run their `finally` blocks whenever it is collected.

    Args:
        kernel: the common part of its processes.
        on_instant: called between two steps, whenever nothing is ready any more.
    """

    time_is: str
    """The name of this world's time in a report."""

    def __init__(self, kernel: Kernel, on_instant: Callable[[], None] | None) -> None:
        self._kernel = kernel
        self._on_instant = on_instant
        self.root = kernel.root = self._make_process("harness", skew_us=0, harness=True)
        self.steps = 0
        """Handles taken so far: for measurements. It differs between Python versions."""
        self._closed = False

    @property
    def now_us(self) -> int:
        """Time of this world in microseconds, from 0."""
        return self._kernel.timeline.now_us

    @property
    def errors(self) -> list[UnhandledError]:
        """Exceptions of tasks that nobody retrieved and of callbacks, in the order they came."""
        return self._kernel.errors

    @property
    def graveyard(self) -> Sequence[object]:
        """Tasks of dead processes, suspended where the kill found them, and their connections."""
        return self._kernel.graveyard

    def process(self, name: str, *, skew_us: int = 0) -> ProcessLoop:
        """Start a simulated process; its clock is `skew_us` ahead of the scheduler's."""
        return self._make_process(name, skew_us=skew_us, harness=False)

    def run(self, main: Coroutine[Any, Any, T], *, until_us: int | None = None) -> T:
        """Run `main` on the harness process until it is done, and return or raise its result.

        Everything else goes on in between and is left where it is at the end: a later `run`
        continues it.

        Args:
            main: the coroutine that the run is for.
            until_us: a limit of this world's time, absolute.

        Raises:
            DeadlockError: nothing can run any more and `main` is not done.
            LivelockError: virtual time has stood still for 20 million steps.
            TimeLimitError: `main` is not done, and time would pass or has passed `until_us`.
            RealIOError: something was touched that this kind of world must not touch.
            SimulationError: a callback raised in virtual time (see `errors`), or the world was
                closed already. After any of these, and after KeyboardInterrupt, it is closed.
            RuntimeError: called from within a running loop.
        """
        if self._closed or _get_running_loop() is not None:
            main.close()
            if self._closed:
                raise SimulationError("this world is closed: make a new Scheduler")
            raise RuntimeError("Scheduler.run() cannot be called from a running event loop")
        kernel = self._kernel
        kernel.halted = False
        task = self.root.create_task(main, name="main")
        task.add_done_callback(self._halt)
        try:
            with self._surroundings():
                try:
                    self._run_until_halted(until_us)
                finally:
                    _set_running_loop(None)
            if kernel.fatal is not None:
                raise kernel.fatal
        except BaseException:
            self.close()
            raise
        return task.result()

    def close(self) -> None:
        """End the world: nothing in it runs again, no `finally` before `release`. Idempotent."""
        self._closed = True
        for process in list(self._kernel.processes):
            process.abandon()
        self._kernel.timeline.heap.clear()

    def release(self) -> None:
        """Let go of dead processes, whose `finally` blocks run now and reach nothing.

        To be called when the world is closed, and nothing that it held is looked at any more.
        """
        assert self._closed, "code of dead processes would run in a living world"
        self._kernel.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # ---- the differences of the two

    @abstractmethod
    def _make_process(self, name: str, *, skew_us: int, harness: bool) -> ProcessLoop:
        """A process of this world."""

    @abstractmethod
    def _surroundings(self) -> AbstractContextManager[object]:
        """The changes to the interpreter while this world runs."""

    @abstractmethod
    def _run_until_halted(self, until_us: int | None) -> None:
        """Run every ready step, let time pass, and again."""

    @abstractmethod
    def _callback_failed(
        self, process: ProcessLoop, callback: object, error: BaseException
    ) -> None:
        """A callback that is no task raised; may raise, to end the run."""

    # C functions and staticmethods of the scheduler are called once for each step: no frame more.
    _enter: Callable[[ProcessLoop], None] = staticmethod(_set_running_loop)
    """Called when another process than before is about to run."""

    # ---- running

    def _halt(self, _task: asyncio.Task[Any]) -> None:
        self._kernel.halted = True

    def _run_instant(self, steps_max: int) -> bool:
        """Run ready handles until none is left or the run is halted; False after `steps_max`.

        The loop that every step goes through, in one piece: a call more per step would cost a tenth
        of it. `for` counts the steps at no cost.
        """
        kernel = self._kernel
        ready = kernel.ready
        popleft = ready.popleft
        enter = self._enter
        current: ProcessLoop | None = None
        step = 0
        for step in range(steps_max):  # noqa: B007 - counts, also for the caller
            if not ready or kernel.halted:
                break
            handle = popleft()
            process = handle.process
            if process is not current:
                enter(process)
                current = process
            if type(handle) is VirtualTask:
                handle.step()
                continue
            callback = handle.callback
            if callback is None:
                continue
            args = handle.args
            try:
                if args:
                    handle.context.run(callback, *args)
                else:
                    handle.context.run(callback)
            except (SystemExit, KeyboardInterrupt, SimulationError):
                raise
            except BaseException as error:  # noqa: BLE001 - an event loop must
                self._callback_failed(process, callback, error)
        else:
            self.steps += steps_max
            return False
        self.steps += step
        return True

    def _report(self, what: str) -> str:
        """`what`, who waits for what, and the errors that may be the reason."""
        lines = [
            f"{what}, and the main coroutine is not done ({self.time_is} {self.now_us:,} us)",
            "waiting:",
            describe_waits(self._kernel.processes),
        ]
        errors = self.errors[:_ERRORS_SHOWN]
        if errors:
            lines.append(f"unhandled errors, the first {len(errors)} of {len(self.errors)}:")
            lines += [f"  {e.process}: {e.message}: {e.exception!r}" for e in errors]
        return "\n".join(lines)
