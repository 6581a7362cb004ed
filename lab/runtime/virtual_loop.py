"""Virtual time: runs the simulated processes, one step at a time, on one scheduler.

Idle virtual time costs nothing: when nothing is ready, the clock jumps to the next timer. There is
no selector, no thread and no debug mode. A run is a pure function of its seed and its code.

Not here: running steps (`scheduler.py`), their order (`scheduling.py`), the loop that a process
sees (`process_loop.py`), the refusal of real I/O (`real_io.py`), chance.
"""

import asyncio
import gc
import sys
from asyncio.events import _get_running_loop
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from heapq import heappop
from types import coroutine
from typing import Any, ClassVar, Final, Literal, NoReturn, TypeVarTuple, Unpack

from lab.runtime.errors import DeadlockError, LivelockError, SimulationError, TimeLimitError
from lab.runtime.garbage import no_automatic_gc
from lab.runtime.process_loop import Kernel, ProcessLoop, UnhandledError
from lab.runtime.real_io import NoRealIO, real_io_guarded
from lab.runtime.scheduler import AnyScheduler
from lab.runtime.scheduling import FifoQueue, ShuffledQueue, SimHandle, SimTask, Timeline
from lab.runtime.virtual_task import VirtualTask

Ts = TypeVarTuple("Ts")

DEFAULT_EPOCH_US: Final = 1_735_689_600_000_000
"""Wall time at virtual time 0: 2025-01-01T00:00:00Z."""

_STEPS_PER_LOOK: Final = 5_000_000
"""A backlog of a hundred thousand orders that cost no time is worked off in fewer."""

_STEPS_PER_TASK_MAX: Final = 500
_INSTANTS_PER_COLLECTION: Final = 20_000


@coroutine
def suspend() -> Generator[None, None, None]:
    """Give way once: the cheapest real suspension, a bare yield.

    Every port call of the in-memory world suspends here. It is the crash point: a call that
    returns without suspending could never be interrupted by a crash, as its real counterpart can.
    """
    yield


async def sleep_us(us: int) -> None:
    """Sleep for `us` of virtual time in the running process; zero or less only gives way.

    Cancellation drops the timer.
    """
    if us <= 0:
        await suspend()
        return
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ProcessLoop), "outside of Scheduler.run there is no virtual time"
    future = loop.create_future()
    timer = loop.call_after_us(us, _wake, future)
    try:
        await future
    except BaseException:
        timer.cancel()
        raise


def _wake(future: "asyncio.Future[None]") -> None:
    # Cancelled at the very instant at which it is due.
    if not future.done():
        future.set_result(None)


class VirtualLoop(ProcessLoop, NoRealIO):
    """A process with virtual time; a call that would touch the real world raises."""

    task_type: ClassVar[type[SimTask[Any]]] = VirtualTask

    def call_soon(  # type: ignore[override]  # a handle in all but name, see `SimHandle`
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimHandle | None:
        called: object = callback
        if type(called) is VirtualTask:
            # A future that it waited for is done.
            self.make_ready(called)
            return None
        handle = SimHandle(callback, args, copy_context() if context is None else context, self)
        self.make_ready(handle)
        return handle


class Scheduler(AnyScheduler):
    """A simulated world in virtual time.

    While it runs automatic garbage collection is off: a finaliser would run when some allocation
    counter says so. It is collected at fixed counts of virtual instants.

    Args:
        seed: of the order in which ready tasks run; only ``shuffle`` uses it.
        order: ``fifo``: as an asyncio loop does. ``shuffle``: by a keyed hash, see `ShuffledQueue`.
        epoch_us: wall time at virtual time 0, in microseconds since 1970.
        on_instant: called whenever everything of an instant has run, between two steps.
    """

    time_is = "virtual time"

    def __init__(
        self,
        *,
        seed: int = 0,
        order: Literal["fifo", "shuffle"] = "fifo",
        epoch_us: int = DEFAULT_EPOCH_US,
        on_instant: Callable[[], None] | None = None,
    ) -> None:
        timeline = Timeline()
        ready = FifoQueue() if order == "fifo" else ShuffledQueue(seed, timeline)
        super().__init__(Kernel(timeline, ready, epoch_us=epoch_us), on_instant)
        self._instants = 0
        self._collect_at = _INSTANTS_PER_COLLECTION

    def _make_process(self, name: str, *, skew_us: int, harness: bool) -> ProcessLoop:
        return VirtualLoop(self._kernel, name, skew_us=skew_us, harness=harness)

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        with real_io_guarded(), no_automatic_gc(), _asyncgen_hook():
            yield

    def _run_until_halted(self, until_us: int | None) -> None:
        """Run everything of this instant, then jump to the next timer, and again."""
        kernel, on_instant = self._kernel, self._on_instant
        while True:
            looks = 0
            while not self._run_instant(_STEPS_PER_LOOK):
                looks += 1
                self._refuse_livelock(looks * _STEPS_PER_LOOK)
            if on_instant is not None:
                on_instant()
            if kernel.halted:
                break
            if not self._advance(until_us):
                raise DeadlockError(self._report("nothing can run any more"))

    def _refuse_livelock(self, steps: int) -> None:
        """An instant has taken so many steps: however many tasks there are, it should be over.

        Raises:
            LivelockError: names the tasks that are alive.
        """
        tasks = sum(process.task_count for process in self._kernel.processes)
        if steps > tasks * _STEPS_PER_TASK_MAX:
            raise LivelockError(self._report(f"time stands still after {steps:,} steps"))

    def _advance(self, until_us: int | None) -> bool:
        """Jump to the next timer's instant and make its timers ready; False if there is none."""
        timeline = self._kernel.timeline
        heap = timeline.heap
        while heap:
            handle = heap[0][2]
            if handle.callback is None:
                heappop(heap)
            elif handle.process.paused:
                # Held without moving the clock: nobody could see the difference before it resumes.
                heappop(heap)
                handle.process.make_ready(handle)
            else:
                break
        else:
            return False
        now_us = heap[0][0]
        if now_us > timeline.now_us:
            if until_us is not None and now_us > until_us:
                raise TimeLimitError(
                    self._report(f"the next timer, at {now_us:,} us, is past {until_us:,} us")
                )
            timeline.now_us = now_us
            self._instants = instants = self._instants + 1
            if instants == self._collect_at:
                self._collect_garbage()
        while heap and heap[0][0] <= now_us:
            handle = heappop(heap)[2]
            if handle.callback is not None:
                handle.process.make_ready(handle)
        return True

    def _collect_garbage(self) -> None:
        """Collect the young objects every so many instants, everything when those have doubled.

        Instants, because they are the same on every Python version. Doubling, because a full
        collection costs as much as there is alive: the cost per order stays flat.
        """
        self._collect_at += _INSTANTS_PER_COLLECTION
        rounds = self._instants // _INSTANTS_PER_COLLECTION
        gc.collect(2 if rounds & (rounds - 1) == 0 else 1)

    def _callback_failed(
        self, process: ProcessLoop, callback: object, error: BaseException
    ) -> NoReturn:
        message = f"the callback {callback!r} of process {process.name!r} failed"
        self.errors.append(UnhandledError(process=process.name, message=message, exception=error))
        raise SimulationError(f"{message} at {self.now_us:,} us: {error!r}") from error


@contextmanager
def _asyncgen_hook() -> Iterator[None]:
    """Within the block a dropped async generator is closed by a task, as asyncio's loops do."""
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=_close_asyncgen)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*before)


def _close_asyncgen(generator: AsyncGenerator[object, object]) -> None:
    """Close it in the process that dropped it. After the run there is none, and nothing to run."""
    loop = _get_running_loop()
    if isinstance(loop, ProcessLoop):
        loop.spawn(generator.aclose())
