"""The world of the bus cases in which the broker is a real Kafka and time is the clock's.

Its processes are threads (`member_threads`). Every world has topics and groups of its own,
and removes them.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.topics import KafkaTopics
from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.history.entries import Entry
from lab.history.pen import Pen
from lab.patterns.commit_prefix import commit_prefix
from lab.patterns.fencing import accept_present
from lab.ports.bus import Consumer, Handle, Outgoing, Publisher, Record, StopReport, Unread
from lab.runtime.clock import SystemClock
from tests.contract.bus_world import LIMITS, MS, Bury, Member, S
from tests.kit import real_servers
from tests.kit.member_threads import Baton, MemberLoop, Process

T = TypeVar("T")

_NUMBERS = count(1)


@dataclass(kw_only=True)
class KafkaMember:
    """A thread with a subscription to the broker."""

    name: str
    process: Process
    bus: KafkaBus
    subscription: DeliveryLoop
    entries: list[Entry]

    async def stop(self, grace_us: int) -> StopReport:
        return await self.process.call(self.subscription.stop(grace_us))

    async def abort(self) -> StopReport:
        return await self.process.call(self.subscription.abort())

    async def start_again(self) -> None:
        async def start() -> None:
            self.subscription.start()

        await self.process.call(start())

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()


class AnyLoopPublisher(Publisher):
    """A publisher that every process of the world may use: each has its own behind it."""

    def __init__(self, world: "KafkaBusWorld") -> None:
        self._world = world

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._world.bus_here().publisher().publish(records)


class KafkaBusWorld:
    """A real broker; `outage` is how it fails: `kill` or `pause`."""

    session_us = 1_500 * MS
    rebalance_us = 3 * S

    def __init__(self, outage: str) -> None:
        number = next(_NUMBERS)
        self.settings = KafkaSettings(
            bootstrap=real_servers.need("kafka"),
            prefix=f"case-{SystemClock().wall_us()}-{number}",
            session_us=self.session_us,
            rebalance_us=self.rebalance_us,
            connect_us=5 * S,
            publish_us=3 * S,
            commit_us=S,
            leave_us=S,
        )
        self.troubles: list[str] = []
        self.topics = KafkaTopics(self.settings)
        self._outage = outage
        self._is_up = True
        self._baton = Baton()
        self._clock = SystemClock()
        self._members: list[KafkaMember] = []
        self._buses: dict[asyncio.AbstractEventLoop, KafkaBus] = {}

    # ---- the world

    def run(self, case: Coroutine[Any, Any, T]) -> T:
        self._baton.take()
        with asyncio.Runner(loop_factory=functools.partial(MemberLoop, self._baton)) as runner:
            try:
                return runner.run(self._run(case))
            finally:
                runner.run(self._end())
                self._baton.give()
                for member in self._members:
                    member.process.bury()
                self._baton.take()

    def now_us(self) -> int:
        return self._clock.now_us()

    async def sleep_us(self, us: int) -> None:
        await self._clock.sleep_us(us)

    async def make_topics(self, topics: Mapping[str, int]) -> None:
        await self.topics.create(topics)

    def publisher(self) -> Publisher:
        return AnyLoopPublisher(self)

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
        process = Process(name, self._baton, self.troubles.append)
        bus = KafkaBus(self.settings, name)
        entries: list[Entry] = []
        subscription = DeliveryLoop(
            consumer=wrap(bus.consumer(group, unread)),
            handle=handle,
            topics=topics,
            group=group,
            limits=limits,
            position=commit_prefix,
            accepts=accept_present,
            pen=Pen(process=name, now=self._clock.now_us, write=entries.append),
            move=move,
            bury=bury,
        )
        member = KafkaMember(
            name=name, process=process, bus=bus, subscription=subscription, entries=entries
        )
        self._members.append(member)
        self._buses[process.loop] = bus
        if is_started:
            await member.start_again()
        return member

    async def committed(self, topic: str, group: str = "group") -> dict[int, int]:
        found = {place.partition: 0 for place in await self.topics.ends([topic])}
        for place, offset in (await self.topics.committed(group)).items():
            if place.topic == topic:
                found[place.partition] = offset
        return found

    async def read(self, topic: str) -> list[Record]:
        return await self.topics.read(topic)

    async def set_broker(self, *, is_up: bool) -> None:
        if is_up == self._is_up:
            return
        down, up = {"kill": ("kill", "start"), "pause": ("pause", "resume")}[self._outage]
        self._is_up = is_up
        await asyncio.get_running_loop().run_in_executor(
            None, real_servers.control, up if is_up else down, "kafka"
        )

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        limit_us = self.now_us() + 20 * S
        while not condition():
            assert self.now_us() < limit_us, f"never happened: {what}"
            await self.sleep_us(2 * MS)

    async def until_committed(
        self, topic: str, position: int, group: str = "group", *, or_more: bool = False
    ) -> None:
        limit_us = self.now_us() + 20 * S
        while True:
            found = sum((await self.committed(topic, group)).values())
            if found == position or (or_more and found > position):
                return
            assert self.now_us() < limit_us, f"committed {found}, expected {position}"
            await self.sleep_us(5 * MS)

    # ---- its parts

    def bus_here(self) -> KafkaBus:
        """The clients of the process that runs just now."""
        loop = asyncio.get_running_loop()
        if loop not in self._buses:
            self._buses[loop] = KafkaBus(self.settings, "case")
        return self._buses[loop]

    async def _run(self, case: Coroutine[Any, Any, T]) -> T:
        try:
            await self.topics.__aenter__()
        except BaseException:
            case.close()
            raise
        return await case

    async def _end(self) -> None:
        """End everything, remove everything; also after a failure."""
        await self.set_broker(is_up=True)
        for member in self._members:
            if member.process.is_dead:
                continue
            member.process.resume()
            await member.process.call(self._end_member(member))
        await self.bus_here().close()
        await self.topics.delete()
        await self.topics.__aexit__(None, None, None)

    async def _end_member(self, member: KafkaMember) -> None:
        await member.subscription.abort()
        await member.bus.close()


@contextmanager
def kafka_world(outage: str = "kill") -> Iterator[KafkaBusWorld]:
    yield KafkaBusWorld(outage)
