"""What a real Kafka is asked for at the end of a run: its records, and its commits with epochs."""

import asyncio
import struct
from collections.abc import Coroutine, Mapping, Sequence
from itertools import count
from typing import Any

import pytest

from lab.bus.facts import appended_fact
from lab.bus.kafka import client as kafka_client
from lab.bus.kafka import facts as kafka_facts
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.facts import NotedCommit, noted
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import Fenced
from lab.history.entries import Entry, time_of
from lab.history.facts import AppendedEntry
from lab.ports.bus import Consumer, Listener, Outgoing, Record, TopicPartition, Unread
from lab.runtime.clock import SystemClock
from tests.kit import real_servers
from tests.kit.entries import of_type, own_fields

_NUMBERS = count(1)
S = 1_000_000


class Told(Listener):
    """A member's assignments."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.owned: Sequence[TopicPartition] = ()

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - the port's shape
        self.owned = ()

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        self.epochs.append(epoch)
        self.owned = list(ends)


class Case:
    """Topics of this test's own on the real broker."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.since_us = clock.wall_us()
        self.settings = KafkaSettings(
            bootstrap=real_servers.need("kafka"),
            prefix=f"facts-{clock.wall_us()}-{next(_NUMBERS)}",
            session_us=6 * S,
            rebalance_us=3 * S,
        )
        self.topics = KafkaTopics(self.settings)

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            async with self.topics:
                try:
                    await test
                finally:
                    await self.topics.delete()

        asyncio.run(whole())

    async def publish(self, topic: str, *keys: str) -> None:
        bus = KafkaBus(self.settings, "relay-1")
        records = [
            Outgoing(topic, key.encode(), b"{}", (("ce_id", key.encode()), ("lab_subject", b"1.1")))
            for key in keys
        ]
        await bus.publisher().publish(records)
        await bus.close()

    async def member(self, name: str, topic: str) -> tuple[Consumer, Told]:
        consumer, told = KafkaBus(self.settings, name).consumer("payment", Unread.EARLIEST), Told()
        await consumer.join([topic], told)
        return consumer, told

    async def committed(self) -> list[Entry]:
        return await kafka_facts.committed(
            self.topics,
            self.settings,
            ["payment", "orders"],
            since_us=self.since_us - S,
            epoch_us=self.since_us,
            wall_us=lambda: self.since_us + 60 * S,
        )


async def read(consumer: Consumer, records: int) -> list[Record]:
    found: list[Record] = []
    while len(found) < records:
        found += await consumer.poll(100)
    return found


@pytest.mark.real
def test_every_record_of_every_topic_is_a_fact_in_the_order_of_its_partition() -> None:
    case = Case()

    async def test() -> None:
        await case.topics.create({"orders": 3, "orders.payment.dlq": 1, "payments": 2})
        await case.publish("orders", *[f"k{n}" for n in range(20)])
        await case.publish("orders.payment.dlq", "dead")

        facts = await kafka_facts.appended(
            case.topics, ["orders", "orders.payment.dlq", "payments"], epoch_us=case.since_us
        )

        assert len(facts) == 21
        records = of_type(facts, AppendedEntry)
        assert records == facts
        for partition in range(3):
            mine = [
                record.offset
                for record in records
                if (record.topic, record.partition) == ("orders", partition)
            ]
            assert mine == list(range(len(mine)))
        times: list[object] = [record.t_us for record in records]
        assert all(isinstance(t_us, int) and -S < t_us < 60 * S for t_us in times)
        (letter,) = await case.topics.read("orders.payment.dlq")
        assert appended_fact(letter, letter.timestamp_us - case.since_us) in facts

    case.run(test())


@pytest.mark.real
def test_every_accepted_commit_is_a_fact_with_its_epoch_and_a_fenced_one_is_none() -> None:
    case = Case()

    async def test() -> None:
        await case.topics.create({"orders": 1})
        place = TopicPartition("orders", 0)
        await case.publish("orders", *"abcdef")
        first, told = await case.member("payment-1", "orders")
        await read(first, 6)
        old = told.epochs[-1]
        await first.commit({place: 2}, old)
        await first.commit({place: 4}, old)
        await first.leave()
        second, told = await case.member("payment-2", "orders")
        await read(second, 2)
        new = told.epochs[-1]
        with pytest.raises(Fenced):
            await second.commit({place: 3}, old)
        await second.commit({place: 6}, new)
        await second.leave()

        facts = await case.committed()

        assert [own_fields(fact) for fact in facts] == [
            ("payment", "orders", 0, 2, old, True),
            ("payment", "orders", 0, 4, old, True),
            ("payment", "orders", 0, 6, new, True),
        ]
        assert old < new
        assert {(kind, witness, subject) for kind, _, witness, subject, *_ in facts} == {
            ("committed", "bus", "")
        }
        times: list[object] = [time_of(fact) for fact in facts]
        assert all(isinstance(t_us, int) and 0 <= t_us < 60 * S for t_us in times)

    case.run(test())


@pytest.mark.real
def test_where_a_group_stands_is_told_although_its_commits_are_not_to_be_seen() -> None:
    case = Case()

    async def test() -> None:
        await case.topics.create({"orders": 1})
        await case.publish("orders", *"abc")
        member, told = await case.member("payment-1", "orders")
        await read(member, 3)
        await member.commit({TopicPartition("orders", 0): 3}, told.epochs[-1])
        await member.leave()
        case.since_us += 3600 * S  # As if everything before had been tidied up.

        facts = await case.committed()

        assert [own_fields(fact) for fact in facts] == [("payment", "orders", 0, 3, 0, True)]
        assert time_of(facts[0]) == 60 * S, "it stands there when it is looked at"

    case.run(test())


# ---- the broker's notes, byte by byte


@pytest.mark.parametrize(
    ("group", "number"),
    [
        ("hello", 99_162_322),
        ("abcdefg", 1_206_291_356),
        ("polygenelubricants", 0),
    ],
    ids=["a positive hash", "a negative one", "the lowest"],
)
def test_the_notes_of_a_group_are_looked_for_where_the_broker_puts_them(
    group: str, number: int
) -> None:
    assert kafka_client.java_hash(group) == number


def key(version: int, group: str, topic: str, partition: int) -> bytes:
    texts = [struct.pack(">h", len(text)) + text.encode() for text in (group, topic)]
    return struct.pack(">h", version) + b"".join(texts) + struct.pack(">i", partition)


@pytest.mark.parametrize(
    "value",
    [
        struct.pack(">hqh", 0, 17, 1) + b"5" + bytes(8),
        struct.pack(">hqh", 1, 17, 1) + b"5" + bytes(16),
        struct.pack(">hqh", 2, 17, 1) + b"5" + bytes(8),
        struct.pack(">hqih", 3, 17, -1, 1) + b"5" + bytes(8),
        struct.pack(">hqi", 4, 17, -1) + b"\x02" + b"5" + bytes(8) + b"\x00",
    ],
    ids=lambda value: f"version {value[1]}",
)
def test_a_commit_is_read_in_every_version_that_brokers_write(value: bytes) -> None:
    record = (1, key(1, "g", "t", 3), value)

    assert noted([record]) == [NotedCommit(1, "g", "t", 3, 17, "5")]


def test_what_is_no_commit_is_passed_over() -> None:
    member = (1, struct.pack(">hh", 2, 1) + b"g", b"\x00\x03")
    removed = (1, key(1, "g", "t", 3), None)

    assert noted([member, removed, (1, b"", b"x")]) == []
