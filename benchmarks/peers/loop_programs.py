"""The programs that every loop in virtual time runs: plain asyncio, nothing of a loop's own.

Not here: the loops (`loop_peers.py`).
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from lab.bench.baselines.queue_hop import ping_pong


class Spent(NamedTuple):
    """What a program took.

    Attributes:
        events: sleeps that ended, or hops.
        cpu_s: processor time of the process while the program ran.
    """

    events: int
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Events a second of processor time."""
        return self.events / self.cpu_s


Program = Callable[[int], Coroutine[Any, Any, Spent]]


async def one_sleeper(events: int) -> Spent:
    """One task that sleeps a millisecond at a time: a step of the clock for each."""
    start_s = time.process_time()
    for _ in range(events):
        await asyncio.sleep(0.001)
    return Spent(events, time.process_time() - start_s)


async def thousand_sleepers(events: int) -> Spent:
    """A thousand tasks that sleep for times of their own: a heap of a thousand timers."""
    each = events // 1000

    async def sleeper(number: int) -> None:
        for step in range(each):
            await asyncio.sleep((1 + (number * 7919 + step * 104_729) % 1000) / 1000)

    start_s = time.process_time()
    await asyncio.gather(*(sleeper(number) for number in range(1000)))
    return Spent(each * 1000, time.process_time() - start_s)


async def queue_hops(events: int) -> Spent:
    """Two tasks that hand a number to and fro over two queues; each `get` finds its queue empty."""
    trips = events // 2
    return Spent(2 * trips, await ping_pong(trips))


PROGRAMS: Final[dict[str, Program]] = {
    "1,000 sleepers": thousand_sleepers,
    "1 sleeper": one_sleeper,
    "queue hops": queue_hops,
}


async def plain_trace() -> str:
    """A digest of what happened in which order; no set of tasks has a say in it."""
    happened: list[str] = []
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def worker(name: str) -> None:
        for step in range(6):
            await asyncio.sleep(0.001 * (step % 3))
            await queue.put(f"{name} {step}")

    async def reader() -> None:
        happened.extend([await queue.get() for _ in range(6 * 24)])

    await asyncio.gather(reader(), *(worker(f"worker-{number}") for number in range(24)))
    return _digest(happened)


async def set_trace() -> str:
    """The same where asyncio keeps tasks in sets, which are in the order of addresses.

    Tasks that end at the same instant are looked at in the order of `asyncio.wait`, those of a
    group that fails in the order in which it cancels them.
    """
    happened: list[str] = []

    async def worker(name: str, sleeps: int) -> str:
        try:
            for step in range(sleeps):
                await asyncio.sleep(0.001 * (step % 3))
                happened.append(f"{name} {step}")
        except asyncio.CancelledError:
            happened.append(f"{name} cancelled")
            raise
        return name

    async def fails() -> None:
        await asyncio.sleep(0.004)
        raise ValueError

    waiting = {asyncio.create_task(worker(f"waited-{number}", 4)) for number in range(24)}
    while waiting:
        ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        happened.extend(f"{task.result()} seen" for task in ended)
    try:
        async with asyncio.TaskGroup() as group:  # noqa: TID251 - this order is what is looked at
            for number in range(24):
                group.create_task(worker(f"grouped-{number}", 9))
            group.create_task(fails())
    except* ValueError:
        happened.append("failed")
    return _digest(happened)


def _digest(happened: list[str]) -> str:
    return hashlib.sha256("\n".join(happened).encode()).hexdigest()


TRACES: Final[dict[str, Callable[[], Coroutine[Any, Any, str]]]] = {
    "plain": plain_trace,
    "with sets of tasks": set_trace,
}
