"""Virtual time: runs the simulated processes, one step at a time, on one scheduler.

Idle virtual time costs nothing: when nothing is ready, the clock jumps to the next timer. There is
no selector, no thread and no debug mode. A run is a pure function of its seed and its code.

Deliberately not here: what is ready next (`scheduling.py`), the loop that a process sees
(`process_loop.py`), what may not be touched (`real_io.py`), chance.
"""

import asyncio
import gc
import sys
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop
from types import coroutine
from typing import Any, Final, Literal, Self, TypeVar

from lab.runtime.errors import DeadlockError, LivelockError, SimulationError, TimeLimitError
from lab.runtime.process_loop import Kernel, ProcessLoop, UnhandledError
from lab.runtime.real_io import real_io_guarded
from lab.runtime.scheduling import FifoQueue, ShuffledQueue, Timeline
from lab.runtime.stalled import describe_waits

T = TypeVar("T")

DEFAULT_EPOCH_US: Final = 1_735_689_600_000_000
"""Wall time at virtual time 0: 2025-01-01T00:00:00Z."""

_STEPS_PER_LOOK: Final = 5_000_000
"""A backlog of a hundred thousand orders that cost no time is worked off in fewer."""

_STEPS_PER_TASK_MAX: Final = 500
_INSTANTS_PER_COLLECTION: Final = 20_000
_ERRORS_SHOWN: Final = 5
_FROZEN_BY_PYTHON: Final = 10_000  # Python 3.12 starts with some hundred; more is the caller's


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


class Scheduler:
    """A simulated world: virtual time, its processes and what they have in flight.

    Use it as a context manager, or call `close`: a world that is left with suspended tasks would
    run their `finally` blocks whenever it is collected.

    Args:
        seed: of the order in which ready tasks run; only ``shuffle`` uses it.
        order: ``fifo``: as an asyncio loop does. ``shuffle``: by a keyed hash, see `ShuffledQueue`.
        epoch_us: wall time at virtual time 0, in microseconds since 1970.
        on_instant: called whenever everything of an instant has run, between two steps.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        order: Literal["fifo", "shuffle"] = "fifo",
        epoch_us: int = DEFAULT_EPOCH_US,
        on_instant: Callable[[], None] | None = None,
    ) -> None:
        self._on_instant = on_instant
        timeline = Timeline()
        ready = FifoQueue() if order == "fifo" else ShuffledQueue(seed, timeline)
        self._kernel = kernel = Kernel(timeline, ready, epoch_us=epoch_us)
        self.root = kernel.root = ProcessLoop(kernel, "harness", skew_us=0, harness=True)
        self.steps = 0
        """Handles taken so far: for measurements. It differs between Python versions."""
        self._closed = False
        self._instants = 0
        self._collect_at = _INSTANTS_PER_COLLECTION

    @property
    def now_us(self) -> int:
        """Virtual time in microseconds, from 0."""
        return self._kernel.timeline.now_us

    @property
    def now_ns(self) -> int:
        """Virtual time in nanoseconds; always a multiple of 1,000."""
        return self._kernel.timeline.now_us * 1000

    @property
    def errors(self) -> list[UnhandledError]:
        """Exceptions of tasks that nobody retrieved and of callbacks, in the order they came."""
        return self._kernel.errors

    @property
    def graveyard(self) -> Sequence[object]:
        """Tasks of dead processes, suspended where the kill found them."""
        return self._kernel.graveyard

    def process(self, name: str, *, skew_us: int = 0) -> ProcessLoop:
        """Start a simulated process; `skew_us` is what its clock is ahead of the scheduler's."""
        return ProcessLoop(self._kernel, name, skew_us=skew_us, harness=False)

    def run(self, main: Coroutine[Any, Any, T], *, until_us: int | None = None) -> T:
        """Run `main` on the harness process until it is done, and return or raise its result.

        Everything else goes on in between and is left where it is at the end: a later `run`
        continues it. While it runs automatic garbage collection is off: a finaliser would run when
        some allocation counter says so. It is collected at fixed counts of virtual instants.

        Args:
            main: the coroutine that the run is for.
            until_us: a limit of virtual time, absolute.

        Raises:
            DeadlockError: nothing can run any more and `main` is not done.
            LivelockError: virtual time has stood still for 5 million steps, and for 500 a task.
            TimeLimitError: the next timer is later than `until_us`.
            RealIOError: real I/O, a thread or wall time was touched.
            SimulationError: a callback raised (see `errors`), or the world was closed already.
                After any of these, and after KeyboardInterrupt, the world is closed.
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
            with real_io_guarded(), _no_automatic_gc(), _asyncgen_hook():
                self._run_until_halted(until_us)
        except BaseException:
            self.close()
            raise
        return task.result()

    def close(self) -> None:
        """End the world: nothing in it ever runs again, no `finally` either. Idempotent."""
        self._closed = True
        for process in list(self._kernel.processes):
            process.abandon()
        self._kernel.timeline.heap.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _halt(self, _task: asyncio.Task[Any]) -> None:
        self._kernel.halted = True

    def _run_until_halted(self, until_us: int | None) -> None:
        """Run everything of this instant, then jump to the next timer, and again."""
        kernel, on_instant = self._kernel, self._on_instant
        try:
            while True:
                looks = 0
                while self._run_steps():
                    looks += 1
                    self._refuse_livelock(looks * _STEPS_PER_LOOK)
                if on_instant is not None:
                    on_instant()
                if kernel.halted:
                    break
                if not self._advance(until_us):
                    raise DeadlockError(self._report("nothing can run any more"))
        finally:
            _set_running_loop(None)
        if kernel.fatal is not None:
            raise kernel.fatal

    def _refuse_livelock(self, steps: int) -> None:
        """An instant has taken so many steps: however many tasks there are, it should be over.

        Raises:
            LivelockError: says who is alive.
        """
        tasks = sum(process.task_count for process in self._kernel.processes)
        if steps > tasks * _STEPS_PER_TASK_MAX:
            raise LivelockError(self._report(f"time stands still after {steps:,} steps"))

    def _run_steps(self) -> bool:
        """Run ready handles until none is left or the run is halted; True if there were too many.

        The loop that every simulated step goes through, in one piece: a call more per step would
        cost a tenth of it. `for` counts the steps at no cost.
        """
        kernel = self._kernel
        ready = kernel.ready
        popleft = ready.popleft
        current: ProcessLoop | None = None
        step = 0
        for step in range(_STEPS_PER_LOOK):  # noqa: B007 - counts, also for the caller
            if not ready or kernel.halted:
                break
            handle = popleft()
            callback = handle.callback
            if callback is None:
                continue
            process = handle.process
            if process is not current:
                _set_running_loop(process)
                current = process
            try:
                handle.context.run(callback, *handle.args)
            except (SystemExit, KeyboardInterrupt, SimulationError):
                raise
            except BaseException as error:
                raise self._callback_failed(process, callback, error) from error
        else:
            self.steps += _STEPS_PER_LOOK
            return True
        self.steps += step
        return False

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
        collection costs what is alive: the cost per order stays flat.
        """
        self._collect_at += _INSTANTS_PER_COLLECTION
        rounds = self._instants // _INSTANTS_PER_COLLECTION
        gc.collect(2 if rounds & (rounds - 1) == 0 else 1)

    def _callback_failed(
        self, process: ProcessLoop, callback: object, error: BaseException
    ) -> SimulationError:
        message = f"the callback {callback!r} of process {process.name!r} failed"
        self.errors.append(UnhandledError(process=process.name, message=message, exception=error))
        return SimulationError(f"{message} at {self.now_us:,} us: {error!r}")

    def _report(self, what: str) -> str:
        """`what`, who waits for what, and the errors that may be the reason."""
        lines = [
            f"{what}, and the main coroutine is not done (virtual time {self.now_us:,} us)",
            "waiting:",
            describe_waits(self._kernel.processes),
        ]
        errors = self.errors[:_ERRORS_SHOWN]
        if errors:
            lines.append(f"unhandled errors, the first {len(errors)} of {len(self.errors)}:")
            lines += [f"  {e.process}: {e.message}: {e.exception!r}" for e in errors]
        return "\n".join(lines)


@contextmanager
def _no_automatic_gc() -> Iterator[None]:
    """Within the block cycles are collected only where somebody says so.

    What was there before is passed over by these collections: it is most of the heap.
    """
    enabled = gc.isenabled()
    freeze = gc.get_freeze_count() < _FROZEN_BY_PYTHON
    gc.disable()
    if freeze:
        gc.freeze()
    try:
        yield
    finally:
        if freeze:
            gc.unfreeze()
        if enabled:
            gc.enable()


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
