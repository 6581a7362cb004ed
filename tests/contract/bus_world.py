"""Worlds in which a bus is held to its contract: the memory log, and a real Kafka.

A case is written against `BusWorld` and `Member`; it never sees what is behind the ports. Waits
have a bound, and what a case waits for is a condition, never the passing of time alone.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import pytest

from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.bus.memory.log import MemoryLog
from lab.domain.envelope import Headers
from lab.domain.partitioner import partition_of
from lab.history.calls import SettleEntry
from lab.history.entries import Entry
from lab.history.pen import Pen
from lab.patterns.commit_prefix import commit_prefix
from lab.patterns.fencing import accept_present
from lab.ports.bus import (
    Ack,
    Consumer,
    DeadLetter,
    Delivery,
    Handle,
    Outgoing,
    Publisher,
    Record,
    Settlement,
    StopReport,
    Unread,
)
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.entries import of_type

T = TypeVar("T")
Bury = Callable[[Delivery, DeadLetter], Awaitable[Settlement]]

MS = 1_000
S = 1_000 * MS
ACK = Ack()

LIMITS = Limits(commit_after_us=50 * MS, revoke_us=500 * MS)


class Member(Protocol):
    """A process with one subscription."""

    name: str
    entries: list[Entry]

    @property
    def subscription(self) -> DeliveryLoop: ...

    async def stop(self, grace_us: int) -> StopReport: ...

    async def abort(self) -> StopReport: ...

    async def start_again(self) -> None: ...

    def kill(self) -> None:
        """No code of it runs any more, nothing is committed, nobody is told."""
        ...

    def pause(self) -> None:
        """It stands still, heartbeats too, until `resume`."""
        ...

    def resume(self) -> None: ...


class BusWorld(Protocol):
    """A broker, processes and time."""

    session_us: int
    rebalance_us: int

    def run(self, case: Coroutine[Any, Any, T]) -> T: ...

    def now_us(self) -> int: ...

    async def sleep_us(self, us: int) -> None: ...

    async def make_topics(self, topics: Mapping[str, int]) -> None: ...

    def publisher(self) -> Publisher: ...

    async def start(
        self,
        name: str,
        handle: Handle,
        *,
        topics: Sequence[str] = ("orders",),
        group: str = "group",
        limits: Limits = LIMITS,
        unread: Unread = Unread.EARLIEST,
        move: Handle | None = None,
        bury: Bury | None = None,
        is_started: bool = True,
        wrap: Callable[[Consumer], Consumer] = lambda consumer: consumer,
    ) -> Member: ...

    async def committed(self, topic: str, group: str = "group") -> dict[int, int]:
        """Committed offsets by partition; 0 where there is none."""
        ...

    async def read(self, topic: str) -> list[Record]: ...

    async def set_broker(self, *, is_up: bool) -> None: ...

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition`; fails with `what` after a bounded time."""
        ...

    async def until_committed(
        self, topic: str, position: int, group: str = "group", *, or_more: bool = False
    ) -> None:
        """Wait until the committed offsets of all partitions together are `position`."""
        ...


W = TypeVar("W", bound=BusWorld)


# ---- in memory


@dataclass(kw_only=True)
class MemoryMember:
    """A simulated process with a subscription to the memory log."""

    name: str
    log: MemoryLog
    root: ProcessLoop
    loop: ProcessLoop
    subscription: DeliveryLoop
    entries: list[Entry]

    async def stop(self, grace_us: int) -> StopReport:
        return await self._call(self.subscription.stop(grace_us))

    async def abort(self) -> StopReport:
        return await self._call(self.subscription.abort())

    async def start_again(self) -> None:
        async def start() -> None:
            self.subscription.start()

        await self._call(start())

    def kill(self) -> None:
        self.loop.kill()

    def pause(self) -> None:
        self.loop.pause()
        self.log.silent(self.loop)

    def resume(self) -> None:
        self.loop.resume()
        self.log.heard(self.loop)

    def _call(self, inside: Coroutine[Any, Any, T]) -> Awaitable[T]:
        outside: asyncio.Future[T] = self.root.create_future()

        def hand_over(task: asyncio.Task[T]) -> None:
            error = task.exception()
            if error is None:
                outside.set_result(task.result())
            else:
                outside.set_exception(error)

        self.loop.create_task(inside).add_done_callback(hand_over)
        return outside


class MemoryBusWorld:
    """The memory log, virtual time."""

    session_us = 3 * S
    rebalance_us = 5 * S

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.facts: list[Entry] = []
        self.log = MemoryLog(
            scheduler.root,
            session_us=self.session_us,
            rebalance_us=self.rebalance_us,
            write=self.facts.append,
        )

    def run(self, case: Coroutine[Any, Any, T]) -> T:
        result = self.scheduler.run(case)
        # A case may bring a chain with a bug; the loop around it must not fail.
        failed = [error for error in self.scheduler.errors if "the chain of" not in error.message]
        assert failed == []
        return result

    def now_us(self) -> int:
        return self.scheduler.now_us

    async def sleep_us(self, us: int) -> None:
        await sleep_us(us)

    async def make_topics(self, topics: Mapping[str, int]) -> None:
        self.log.create_topics(topics)

    def publisher(self) -> Publisher:
        return self.log.publisher(self.scheduler.root)

    async def start(
        self,
        name: str,
        handle: Handle,
        *,
        topics: Sequence[str] = ("orders",),
        group: str = "group",
        limits: Limits = LIMITS,
        unread: Unread = Unread.EARLIEST,
        move: Handle | None = None,
        bury: Bury | None = None,
        is_started: bool = True,
        wrap: Callable[[Consumer], Consumer] = lambda consumer: consumer,
    ) -> Member:
        loop = self.scheduler.process(name)
        entries: list[Entry] = []
        subscription = DeliveryLoop(
            consumer=wrap(self.log.consumer(group, name, loop, unread)),
            handle=handle,
            topics=topics,
            group=group,
            limits=limits,
            position=commit_prefix,
            accepts=accept_present,
            pen=Pen(process=name, now=loop.now_us, write=entries.append),
            move=move,
            bury=bury,
        )
        member = MemoryMember(
            name=name,
            log=self.log,
            root=self.scheduler.root,
            loop=loop,
            subscription=subscription,
            entries=entries,
        )
        if is_started:
            await member.start_again()
        return member

    async def committed(self, topic: str, group: str = "group") -> dict[int, int]:
        found = dict.fromkeys(range(len(self.log.ends(topic))), 0)
        for partition, offset in self.log.committed(group).items():
            if partition.topic == topic:
                found[partition.partition] = offset
        return found

    async def read(self, topic: str) -> list[Record]:
        return self.log.records(topic)

    async def set_broker(self, *, is_up: bool) -> None:
        self.log.is_down = not is_up

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        limit_us = self.scheduler.now_us + 60 * S
        while not condition():
            assert self.scheduler.now_us < limit_us, f"never happened: {what}"
            await sleep_us(MS)

    async def until_committed(
        self, topic: str, position: int, group: str = "group", *, or_more: bool = False
    ) -> None:
        limit_us = self.scheduler.now_us + 60 * S
        while True:
            found = sum((await self.committed(topic, group)).values())
            if found == position or (or_more and found > position):
                return
            assert self.scheduler.now_us < limit_us, f"committed {found}, expected {position}"
            await sleep_us(MS)


@contextmanager
def memory_world() -> Iterator[MemoryBusWorld]:
    with Scheduler() as scheduler:
        yield MemoryBusWorld(scheduler)


@contextmanager
def shuffled_memory_world() -> Iterator[MemoryBusWorld]:
    """The same with ready tasks in another order."""
    with Scheduler(seed=11, order="shuffle") as scheduler:
        yield MemoryBusWorld(scheduler)


@contextmanager
def real_world(outage: str) -> Iterator[BusWorld]:
    """A real Kafka; only when it is asked for, because its tests are left out without one."""
    from tests.contract.kafka_world import kafka_world

    with kafka_world(outage) as world:
        yield world


WORLDS: dict[str, Callable[[], Any]] = {
    "memory": memory_world,
    "memory-shuffled": shuffled_memory_world,
    "kafka": functools.partial(real_world, "kill"),
    "kafka-paused": functools.partial(real_world, "pause"),
}
"""Every world, by the name that its tests carry. A new adapter adds itself here."""

# The two real ones differ only in how the broker fails.
IN_EVERY_WORLD = [
    "memory",
    "memory-shuffled",
    pytest.param("kafka", marks=pytest.mark.real),
]
IN_EVERY_OUTAGE = [
    *IN_EVERY_WORLD,
    pytest.param("kafka-paused", marks=[pytest.mark.real, pytest.mark.alone]),
]


def in_world(
    case: Callable[[W], Coroutine[Any, Any, None]],
) -> Callable[[W], None]:
    """Run an `async` case inside its world."""

    @functools.wraps(case)
    def run(world: W) -> None:
        world.run(case(world))

    return run


# ---- what cases are made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One hand-over to a handler, as it was at that moment."""

    member: str
    record: Record
    epoch: int
    attempt: int
    starts_known: bool
    at_us: int

    @property
    def key(self) -> str:
        return self.record.key.decode()

    @property
    def place(self) -> tuple[str, int, int]:
        return (self.record.topic, self.record.partition, self.record.offset)


class Journal:
    """Notes every start, in the order in which they happen."""

    def __init__(self, world: BusWorld) -> None:
        self._world = world
        self.starts: list[Start] = []

    def note(self, member: str, delivery: Delivery) -> None:
        self.starts.append(
            Start(
                member=member,
                record=delivery.record,
                epoch=delivery.epoch,
                attempt=delivery.attempt,
                starts_known=delivery.starts_known,
                at_us=self._world.now_us(),
            )
        )

    def handler(self, member: str, inner: Handle | None = None) -> Handle:
        """Notes the start, then acts as `inner`; acknowledges at once without one."""

        async def handle(delivery: Delivery) -> Settlement:
            self.note(member, delivery)
            return ACK if inner is None else await inner(delivery)

        return handle

    def at_work(self, member: str) -> Handle:
        """Works 5 ms on each delivery, so that a change in the group meets it in the middle."""

        async def work(_delivery: Delivery) -> Settlement:
            await self._world.sleep_us(5 * MS)
            return ACK

        return self.handler(member, work)

    def seen(self) -> list[str]:
        return [start.key for start in self.starts]

    def places(self) -> list[tuple[str, int, int]]:
        return [start.place for start in self.starts]

    def values(self) -> list[bytes]:
        return [start.record.value for start in self.starts]


class Gate:
    """Handlers wait at it until it is opened. Works across processes."""

    def __init__(self) -> None:
        self.is_open = False
        self.waiting = 0
        self._waiters: list[asyncio.Future[None]] = []

    async def passed(self) -> None:
        if not self.is_open:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self.waiting += 1
            await waiter

    def open(self) -> None:
        self.is_open = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def outgoing(
    key: str, value: bytes = b"", *, topic: str = "orders", headers: Headers = ()
) -> Outgoing:
    """A record to be published; its event id is its value."""
    own = (("ce_id", value), ("ce_type", b"OrderCreated"))
    return Outgoing(topic, key.encode(), value, (*own, *headers))


async def publish(world: BusWorld, *keys: str, topic: str = "orders") -> None:
    """One record per key, with the values 0, 1, 2, ..."""
    await world.publisher().publish(
        [outgoing(key, b"%d" % number, topic=topic) for number, key in enumerate(keys)]
    )


def keys_in(partition: int, partitions: int, count: int) -> list[str]:
    """So many different keys that lie in one partition."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"key-{number}"
        if partition_of(key.encode(), partitions) == partition:
            found.append(key)
        number += 1
    return found


def limits(**changes: Any) -> Limits:
    """The usual limits of these tests, changed."""
    return replace(LIMITS, **changes)


def settlements(member: Member) -> list[tuple[str, str]]:
    """(event id, settlement) of a member's history, in order."""
    settled = of_type(member.entries, SettleEntry)
    return [(entry.event_id, entry.settlement) for entry in settled]
