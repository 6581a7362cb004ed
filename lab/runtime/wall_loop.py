"""The wall clock: runs simulated processes on it, and lets them use real sockets.

They are the groups of tasks that virtual time runs, killed and paused in the same way; only time
passes by itself, and libraries of sockets run unchanged. The machine plays the kernel: sockets of a
killed process are closed at once, those of a paused one stay open and unread.

Not here: running steps (`scheduler.py`), the selector (`wall_io.py`), and processes of
the operating system.
"""

import asyncio
import socket
import sys
import time
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from heapq import heappop
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

from lab.runtime.errors import DeadlockError, TimeLimitError
from lab.runtime.process_loop import Kernel, ProcessLoop
from lab.runtime.scheduler import AnyScheduler
from lab.runtime.scheduling import FifoQueue, SimHandle, Timeline
from lab.runtime.wall_io import OperatingSystem, OwnSockets, sockets_noted

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_STEPS_PER_LOOK: Final = 64
"""So many steps at least between two looks at the sockets, as long as something is ready."""

_LOOKUPS: Final[tuple[object, ...]] = (socket.getaddrinfo, socket.getnameinfo)


class WallTimeline(Timeline):
    """Time of the machine's monotonic clock, from 0, read anew each time. Setting it sets it."""

    __slots__ = ("_zero_ns",)

    @property
    def now_us(self) -> int:
        return (time.monotonic_ns() - self._zero_ns) // 1000

    @now_us.setter
    def now_us(self, us: int) -> None:
        self._zero_ns = time.monotonic_ns() - us * 1000


class WallLoop(ProcessLoop, asyncio.SelectorEventLoop):  # type: ignore[misc]  # see `SimHandle`
    """A process on the wall clock: scheduled as any simulated one, with asyncio's own transports.

    A socket belongs to the process in whose step it was made. Threads only resolve names; other
    processes, pipes to them and signals stay refused.
    """

    def __init__(
        self, kernel: Kernel, name: str, *, skew_us: int, harness: bool, machine: OperatingSystem
    ) -> None:
        self._machine = machine
        self._part = machine.part(self._process_events)  # type: ignore[attr-defined]  # asyncio's own hand-over of ready files
        self._sockets = OwnSockets()
        asyncio.SelectorEventLoop.__init__(self, self._part)
        self._debug = False
        ProcessLoop.__init__(self, kernel, name, skew_us=skew_us, harness=harness)

    # ---- as an operating system sees it

    def abandon(self) -> None:
        remains = [key.data for key in (self._part.get_map() or {}).values()]
        remains += self._transports.values()  # type: ignore[attr-defined]  # asyncio's own list of open transports
        self._closed = True
        super().abandon()
        # Collected, they would warn that they were never closed, or close what holds them.
        self._kernel.keep(remains)
        self._part.close()
        self._sockets.close_all()

    def pause(self) -> None:
        was_paused = self.paused
        super().pause()
        if self.paused and not was_paused and not self.dead:
            self._part.hold()

    def resume(self) -> None:
        was_paused = self.paused
        super().resume()
        if was_paused and not self.paused:
            self._part.release()

    def own(self, made: socket.socket) -> None:
        """Take in a socket that a step of this process has made."""
        self._sockets.add(made)
        if self.dead:
            # It was killed in this step, which may go on to its next suspension.
            self._sockets.close_all()

    def close_dropped(self, generator: AsyncGenerator[object, object]) -> None:
        """Close an async generator that this process has dropped; from any thread."""
        if self.dead:
            self._kernel.keep([generator])
        else:
            self.call_soon_threadsafe(self._close_generator, generator)

    def _close_generator(self, generator: AsyncGenerator[object, object]) -> None:
        self.spawn(generator.aclose())

    # ---- a loop as asyncio's transports see it

    def call_soon_threadsafe(  # type: ignore[override]  # a handle in all but name
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimHandle:
        handle = SimHandle(callback, args, copy_context() if context is None else context, self)
        self._machine.hand_in(handle)
        return handle

    def run_in_executor(
        self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Resolve a name; a thread for anything else could not be killed with its process."""
        if executor is not None or func not in _LOOKUPS:
            raise self.refuse("loop.run_in_executor()", "threads only resolve names")
        asked = self._machine.ask(func, *args)
        answer = asyncio.wrap_future(asked, loop=self)
        # After the callback that hands the answer in, so that it is expected until it is there.
        asked.add_done_callback(self._machine.on_answer)
        return answer

    def _add_callback(self, handle: asyncio.Handle) -> None:
        """Take the callback of a socket that is ready, from asyncio."""
        self.make_ready(SimHandle(_run, (handle,), self._kernel.plain, self))

    def _make_self_pipe(self) -> None:
        """The machine has one for all."""
        self._ssock = self._csock = None

    def __del__(self) -> None:
        """Nothing: its sockets are closed by the scheduler, or by being collected themselves."""


def _run(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()  # noqa: SLF001 - as asyncio's loop does it


class WallScheduler(AnyScheduler):
    """A world whose time is the machine's, from 0 at its making.

    A failing callback is recorded in `errors` and does not end the run, as on any asyncio loop:
    most callbacks are of libraries here.

    Args:
        on_instant: called between two steps, whenever nothing is ready any more.
    """

    time_is = "time"

    def __init__(self, *, on_instant: Callable[[], None] | None = None) -> None:
        self._machine = OperatingSystem()
        epoch_us = time.time_ns() // 1000
        super().__init__(Kernel(WallTimeline(), FifoQueue(), epoch_us=epoch_us), on_instant)

    def close(self) -> None:
        super().close()
        self._machine.close()

    def _make_process(self, name: str, *, skew_us: int, harness: bool) -> ProcessLoop:
        return WallLoop(self._kernel, name, skew_us=skew_us, harness=harness, machine=self._machine)

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        before = sys.get_asyncgen_hooks()
        try:
            with sockets_noted(_note):
                sys.set_asyncgen_hooks(firstiter=None)
                yield
        finally:
            sys.set_asyncgen_hooks(*before)

    def _enter(self, process: ProcessLoop) -> None:
        assert isinstance(process, WallLoop)
        _set_running_loop(process)
        sys.set_asyncgen_hooks(finalizer=process.close_dropped)

    def _run_until_halted(self, until_us: int | None) -> None:
        """Run every ready step, look at the sockets and the clock, and again."""
        kernel, on_instant = self._kernel, self._on_instant
        ready = kernel.ready
        while True:
            # All that was ready at the last look, or a socket would be found ready twice.
            self._run_instant(max(_STEPS_PER_LOOK, len(ready)))
            if on_instant is not None and not ready:
                on_instant()
            if kernel.halted:
                break
            self._machine.wait(0 if ready else self._wait_max_s(until_us))
            self._make_due_ready()
            if until_us is not None and self.now_us > until_us:
                raise TimeLimitError(self._report(f"it has taken more than {until_us:,} us"))

    def _wait_max_s(self, until_us: int | None) -> float | None:
        """How long nothing can become ready but by a socket; None is for ever."""
        heap = self._kernel.timeline.heap
        while heap and heap[0][2].callback is None:
            heappop(heap)
        if not heap and not self._machine.expects():
            raise DeadlockError(self._report("nothing can run any more"))
        instants = [heap[0][0]] if heap else []
        if until_us is not None:
            instants.append(until_us + 1)
        return max(min(instants) - self.now_us, 0) / 1e6 if instants else None

    def _make_due_ready(self) -> None:
        heap = self._kernel.timeline.heap
        if not heap:
            return
        now_us = self.now_us
        while heap and heap[0][0] <= now_us:
            handle = heappop(heap)[2]
            if handle.callback is not None:
                handle.process.make_ready(handle)

    def _callback_failed(
        self, process: ProcessLoop, callback: object, error: BaseException
    ) -> None:
        what: dict[str, Any] = {"message": f"the callback {callback!r} failed", "exception": error}
        process.call_exception_handler(what)


def _note(made: socket.socket) -> None:
    # The running loop belongs to this thread and this step: a thread's sockets are nobody's.
    loop = _get_running_loop()
    if isinstance(loop, WallLoop):
        loop.own(made)
