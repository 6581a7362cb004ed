"""Brokers of the memory log that die or step down: who may append, read and commit meanwhile.

Not here: a whole run (`broker-failover` in `sim/test_scenarios.py`), and real brokers
(`real/test_broker_failover.py`).
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest

from lab.bus.memory.log import MemoryLog
from lab.domain.errors import LabError, TooLarge, Transient
from lab.ports.bus import MAIN_RECORD_BYTES, Listener, Outgoing, Publisher, TopicPartition, Unread
from lab.runtime.virtual_loop import Scheduler, sleep_us

S = 1_000_000
ELECTS_US = 2 * S
PARTITIONS = 6


class World:
    """A log of six partitions with a publisher; one task plays a case in virtual time."""

    def __init__(self, *, copies: int = 0, min_insync: int = 0) -> None:
        self.scheduler = Scheduler()
        self.log = MemoryLog(
            self.scheduler.root,
            session_us=10 * S,
            rebalance_us=5 * S,
            copies=copies,
            min_insync=min_insync,
        )
        self.log.create_topics({"orders": PARTITIONS})
        self.loop = self.scheduler.process("p")
        self.publisher: Publisher = self.log.publisher(self.loop)
        self.told: list[str] = []

    def play(self, case: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop.create_task(case())  # type: ignore[unused-awaitable]  # it ends by itself
        self.scheduler.run(sleep_us(60 * S))
        assert not self.scheduler.errors

    async def publish(self, *records: Outgoing) -> None:
        began_us = self.loop.now_us()
        try:
            await self.publisher.publish(records)
            self.told.append(f"appended after {(self.loop.now_us() - began_us) // S} s")
        except LabError as error:
            self.told.append(type(error).__name__)

    def values(self) -> list[bytes]:
        return [record.value for record in self.log.records("orders")]


def record(key: int, value: str = "v") -> Outgoing:
    return Outgoing("orders", b"key-%d" % key, value.encode(), ())


EVERYWHERE = tuple(record(key) for key in range(40))


def test_a_leader_that_dies_is_replaced_after_an_election_and_a_publish_waits_for_that() -> None:
    world = World()

    async def case() -> None:
        await world.publish(*EVERYWHERE)
        world.log.lose_broker(1, elects_us=ELECTS_US)
        await world.publish(*EVERYWHERE)
        await world.publish(*EVERYWHERE)

    world.play(case)
    assert world.told == ["appended after 0 s", "appended after 2 s", "appended after 0 s"]
    assert len(world.values()) == 3 * len(EVERYWHERE)


def test_meanwhile_records_of_other_leaders_are_appended() -> None:
    world = World()

    async def case() -> None:
        world.log.lose_broker(1, elects_us=ELECTS_US)
        await world.publish(*EVERYWHERE)

    during: list[int] = []
    world.scheduler.root.call_after_us(S, lambda: during.append(len(world.values())))
    world.play(case)
    assert 0 < during[0] < len(EVERYWHERE)


def test_one_that_is_told_to_stop_hands_over_and_nobody_waits() -> None:
    world = World()

    async def case() -> None:
        world.log.lose_broker(2, elects_us=0)
        await world.publish(*EVERYWHERE)

    world.play(case)
    assert world.told == ["appended after 0 s"]


def test_with_two_of_three_gone_a_publish_is_indeterminate_and_appended_when_one_is_back() -> None:
    world = World()

    async def case() -> None:
        world.log.lose_broker(1, elects_us=ELECTS_US)
        world.log.lose_broker(2, elects_us=ELECTS_US)
        await world.publish(record(1, "first"))
        assert world.values() == []
        await world.publish(record(1, "second"))
        world.log.regain_broker(2)
        await world.publish(record(1, "third"))

    world.play(case)
    # In the order in which they were handed over, whatever their callers were told.
    assert world.told == ["Indeterminate", "Indeterminate", "appended after 0 s"]
    assert world.values() == [b"first", b"second", b"third"]


@pytest.mark.parametrize(
    ("copies", "min_insync", "down", "told"),
    [
        (3, 1, (1, 2), "appended after 2 s"),
        (3, 3, (1,), "Indeterminate"),
        (1, 1, (1,), "Indeterminate"),
        (2, 1, (1,), "appended after 2 s"),
    ],
)
def test_the_settings_of_copies_decide_how_many_may_be_gone(
    copies: int, min_insync: int, down: Sequence[int], told: str
) -> None:
    world = World(copies=copies, min_insync=min_insync)

    async def case() -> None:
        for broker in down:
            world.log.lose_broker(broker, elects_us=ELECTS_US)
        await world.publish(*EVERYWHERE)

    world.play(case)
    assert world.told == [told]


def test_what_waits_dies_with_its_process() -> None:
    world = World()

    async def case() -> None:
        world.log.lose_broker(1, elects_us=ELECTS_US)
        world.log.lose_broker(2, elects_us=ELECTS_US)
        await world.publish(record(1))

    world.scheduler.root.call_after_us(S, world.loop.kill)
    world.scheduler.root.call_after_us(2 * S, lambda: world.log.regain_broker(1))
    world.play(case)
    assert world.values() == []


def test_a_record_that_is_too_large_is_refused_before_anything_waits() -> None:
    world = World()
    big = Outgoing("orders", b"k", b"x" * (MAIN_RECORD_BYTES + 1), ())

    async def case() -> None:
        world.log.lose_broker(1, elects_us=ELECTS_US)
        world.log.lose_broker(2, elects_us=ELECTS_US)
        with pytest.raises(TooLarge):
            await world.publisher.publish([record(1), big])
        world.log.regain_broker(1)

    world.play(case)
    assert world.values() == []


class Quiet(Listener):
    """Notes nothing."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing is given up."""

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        """Nothing is prepared."""


def test_a_partition_without_a_leader_is_read_on_after_the_election_and_others_at_once() -> None:
    world = World()
    world.log.declare_group("g", ["orders"])
    consumer = world.log.consumer("g", "p", world.loop, Unread.EARLIEST)
    read: list[tuple[int, int]] = []

    async def case() -> None:
        await consumer.join(["orders"], Quiet())
        await world.publish(*EVERYWHERE)
        world.log.lose_broker(1, elects_us=ELECTS_US)
        while len(read) < len(EVERYWHERE):
            records = await consumer.poll(100)
            read.extend((world.loop.now_us() // S, one.partition) for one in records)

    world.play(case)
    assert len(read) == len(EVERYWHERE)
    assert {seconds for seconds, _ in read} == {0, 2}
    assert not {where for at, where in read if at == 0} & {where for at, where in read if at == 2}


def test_a_group_whose_broker_died_commits_after_the_election() -> None:
    world = World()
    consumer = world.log.consumer("g", "p", world.loop, Unread.EARLIEST)
    told: list[str] = []

    async def commit() -> None:
        try:
            await consumer.commit({TopicPartition("orders", 0): 0}, world.log.generation("g"))
            told.append("committed")
        except Transient:
            told.append("Transient")

    async def case() -> None:
        await consumer.join(["orders"], Quiet())
        await sleep_us(S)
        for broker in (1, 2, 3):
            world.log.lose_broker(broker, elects_us=ELECTS_US)
            await commit()
            await sleep_us(ELECTS_US)
            await commit()
            world.log.regain_broker(broker)

    world.play(case)
    # One of the three led the topic of its positions.
    assert told.count("Transient") >= 1
    assert told[1::2] == ["committed"] * 3
