"""Scheduled things and their order: numbered tasks, timers, the two run queues.

Every order here depends on numbers given at creation and on virtual time only: never on addresses,
hash seeds, heap layout or a count of loop steps (steps differ between Python versions).
Not here: running anything (`virtual_loop.py`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from lab.runtime.virtual_task import VirtualTask

if TYPE_CHECKING:
    from lab.runtime.process_loop import ProcessLoop

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1
_HASH_BITS: Final = 64
_LEAD_BITS: Final = 4  # a task can lead by 2**4 steps
_REBUILD_MIN: Final = 64


class SimTask(asyncio.Task[T]):
    """A task that knows its number, so that sets of tasks iterate in one order everywhere.

    Abort of a `TaskGroup`, `asyncio.wait` and `all_tasks` iterate sets. With the default hash, an
    address, they pass a naive same-seed test and change with an unrelated import.
    """

    __slots__ = ("instant_us", "number", "wakes")

    def __init__(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        number: int,
        loop: "ProcessLoop",
        name: str,
        context: Context | None,
    ) -> None:
        self.number = number
        self.instant_us = -1
        self.wakes = 0
        super().__init__(coro, loop=loop, name=name, context=context)
        self.add_done_callback(_has_ended)

    def __hash__(self) -> int:
        return self.number

    def bury(self) -> None:
        """Never to be run again, and nobody is to be told that it is pending."""
        self._log_destroy_pending = False

    def waits_on(self) -> "asyncio.Future[object] | None":
        """The future that the task waits on now, if it waits on one."""
        waiter: asyncio.Future[object] | None = self._fut_waiter  # type: ignore[attr-defined]  # nothing public says what a task waits for
        return waiter


def _has_ended(task: "SimTask[Any]") -> None:
    process: ProcessLoop = task.get_loop()  # type: ignore[assignment]  # it was made by one
    process.forget(task.number, None)


class SimHandle(msgspec.Struct, eq=False):
    """A callback to be run in a process, now or at an instant. Handles and timers are one class.

    It has the methods of `asyncio.TimerHandle` and is none: one is made for each step, and a struct
    is made in half of the time.
    """

    callback: Callable[..., object] | None
    args: tuple[object, ...]
    context: Context
    process: "ProcessLoop"
    when_us: int = -1

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self.args = ()
            if self.when_us >= 0:
                self.process.timeline.on_cancelled()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return (self.when_us + self.process.skew_us) / 1e6

    def __repr__(self) -> str:
        return f"<SimHandle of {self.process.name}: {self.callback}>"


class Timeline:
    """Virtual time and the timers of all processes, first in, first out by (instant, number).

    Attributes:
        now_us: virtual time; moved by the scheduler only.
        heap: (instant, number, handle) of each timer, as `heapq` keeps it.
    """

    __slots__ = ("_cancelled", "_pushed", "heap", "now_us")

    def __init__(self) -> None:
        self.now_us = 0
        self.heap: list[tuple[int, int, SimHandle]] = []
        self._pushed = 0
        self._cancelled = 0

    def read_us(self) -> int:
        """The time, for whoever is to call it: `ProcessLoop.now_us` without a skew."""
        return self.now_us

    def push(self, when_us: int, handle: SimHandle) -> None:
        """Have `handle` made ready at `when_us` of the scheduler's clock."""
        handle.when_us = when_us
        self._pushed = number = self._pushed + 1
        heappush(self.heap, (when_us, number, handle))

    def on_cancelled(self) -> None:
        """Count a cancelled timer; drop them all once they are the greater part.

        Deadlines are mostly cancelled long before they are due. Left alone they would fill the
        heap with the past.
        """
        self._cancelled += 1
        if self._cancelled > _REBUILD_MIN and self._cancelled * 2 > len(self.heap):
            self._keep(lambda handle: handle.callback is not None)

    def withdraw(self, process: "ProcessLoop") -> None:
        """Drop the timers of a dead process."""
        self._keep(lambda handle: handle.process is not process and handle.callback is not None)

    def _keep(self, wanted: Callable[[SimHandle], bool]) -> None:
        self._cancelled = 0
        self.heap[:] = [entry for entry in self.heap if wanted(entry[2])]
        heapify(self.heap)


Ready = SimHandle | VirtualTask[Any]
"""Whatever can be in the queue: a callback, or a task whose turn has come."""


class FifoQueue(deque[Ready]):
    """Ready handles, first in, first out."""

    def withdraw(self, process: "ProcessLoop") -> list[Ready]:
        """Take out the handles of `process`, in their order."""
        taken = [handle for handle in self if handle.process is process]
        if taken:
            kept = [handle for handle in self if handle.process is not process]
            self.clear()
            self.extend(kept)
        return taken


class ShuffledQueue:
    """Ready tasks in an order drawn from the seed; other callbacks first in, first out before them.

    The rank of a wake-up is a keyed hash of task number, virtual instant and the ordinal of the
    wake-up among those of the task at that instant. The ordinal leads, within a window: a task can
    run ahead of the others by that many steps and no further, so nobody starves. Callbacks that are
    no task steps keep the order of `call_soon`, which a real loop guarantees too.
    """

    __slots__ = ("_arrived", "_ranked", "_salt", "_salted_us", "_seed", "_timeline", "append")

    def __init__(self, seed: int, timeline: Timeline) -> None:
        self._arrived = FifoQueue()
        self._ranked: list[tuple[int, int, VirtualTask[Any]]] = []
        self._timeline = timeline
        self._seed = _scramble(seed & _MASK)
        self._salt = 0
        self._salted_us = -1
        self.append = self._arrived.append

    def __len__(self) -> int:
        return len(self._arrived) + len(self._ranked)

    def popleft(self) -> Ready:
        """The next handle to run."""
        arrived = self._arrived
        ranked = self._ranked
        if not ranked and len(arrived) == 1:
            return arrived.popleft()
        while arrived:
            ready = arrived.popleft()
            if type(ready) is not VirtualTask:
                return ready
            heappush(ranked, (self._rank(ready), ready.number, ready))
        return heappop(ranked)[2]

    def _rank(self, task: VirtualTask[Any]) -> int:
        now_us = self._timeline.now_us
        if now_us != self._salted_us:
            self._salted_us = now_us
            self._salt = _scramble(self._seed ^ now_us)
        if task.instant_us != now_us:
            task.instant_us = now_us
            task.wakes = 0
        task.wakes = wakes = task.wakes + 1
        return (wakes << _HASH_BITS - _LEAD_BITS) + _scramble(
            self._salt + task.number * 0xD1342543DE82EF95 + wakes & _MASK
        )

    def withdraw(self, process: "ProcessLoop") -> list[Ready]:
        """Take out the handles of `process`: ranked ones first, then those that just arrived."""
        taken: list[Ready] = [
            entry[2] for entry in sorted(self._ranked) if entry[2].process is process
        ]
        self._ranked[:] = [entry for entry in self._ranked if entry[2].process is not process]
        heapify(self._ranked)
        return taken + self._arrived.withdraw(process)


def _scramble(x: int) -> int:
    """Mix 64 bits so that each depends on all; the finaliser of splitmix64, of one round less."""
    x = (x ^ x >> 32) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 29) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 32
