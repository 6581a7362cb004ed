"""What could leave a member of a group stuck while it looks healthy, tried against a real broker.

Foreign members, codecs, transactions, topics that change, retention. Not here: the cases that every
bus passes (`tests/contract/test_bus.py`).
"""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.publisher import KafkaBus
from lab.domain.errors import LabError
from lab.history.entries import kind_of
from lab.ports.bus import Consumer, Record, TopicPartition
from lab.ports.pass_through import PassThroughConsumer
from tests.contract.bus_world import MS, Journal, in_world, publish
from tests.contract.kafka_world import KafkaBusWorld, kafka_world
from tests.contract.test_bus_kafka import Quiet
from tests.kit.entries import own_fields

pytestmark = pytest.mark.real

PLACE = TopicPartition("orders", 0)


@pytest.fixture
def world() -> Iterator[KafkaBusWorld]:
    with kafka_world() as made:
        made.settings = replace(made.settings, known_us=300 * MS)
        yield made


class Noting(PassThroughConsumer):
    """Notes the errors of its polls."""

    def __init__(self, inner: Consumer) -> None:
        super().__init__(inner)
        self.errors: list[str] = []

    async def poll(self, max_records: int) -> list[Record]:
        try:
            return await self._inner.poll(max_records)
        except LabError as error:
            self.errors.append(str(error))
            raise


class Told(Quiet):
    """Notes what is lost, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[tuple[TopicPartition, int, int]] = []

    def on_lost(self, partition: TopicPartition, start: int, end: int) -> None:
        self.lost.append((partition, start, end))


async def poll_until(consumer: Consumer, is_so: Callable[[], bool]) -> list[Record]:
    """Poll until it is so; every record that came meanwhile."""
    found: list[Record] = []
    while not is_so():
        found += await consumer.poll(100)
    return found


async def admin_of(world: KafkaBusWorld) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.settings.bootstrap)
    await admin.start()
    return admin


async def delete_before(world: KafkaBusWorld, offset: int) -> None:
    """What retention does: the log of `orders`, partition 0, begins at `offset`."""
    admin = await admin_of(world)
    place = BrokerPartition(world.settings.topic("orders"), 0)
    await admin.delete_records({place: RecordsToDelete(before_offset=offset)})
    await admin.close()


def offsets_of(journal: Journal) -> list[int]:
    return [start.record.offset for start in journal.starts]


@in_world
async def test_a_member_that_the_group_refuses_says_so_and_joins_once_the_cause_is_gone(
    world: KafkaBusWorld,
) -> None:
    await world.make_topics({"orders": 2})
    foreign = AIOKafkaConsumer(
        world.settings.topic("orders"),
        bootstrap_servers=world.settings.bootstrap,
        group_id=world.settings.topic("group"),
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        heartbeat_interval_ms=200,
    )
    await foreign.start()
    noting: list[Noting] = []

    def noted(consumer: Consumer) -> Consumer:
        noting.append(Noting(consumer))
        return noting[0]

    journal = Journal(world)
    member = await world.start("m", journal.handler("m"), wrap=noted)

    await world.until(lambda: len(noting[0].errors) > 1, "it is refused again and again")
    assert all("InconsistentGroupProtocol" in error for error in noting[0].errors)
    assert len(noting[0].errors) < 10
    await foreign.stop()
    await world.until(lambda: len(member.subscription.owned) == 2, "it has joined")


@in_world
async def test_a_topic_that_is_made_anew_is_read_and_what_stood_there_is_named(
    world: KafkaBusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    await publish(world, "a", "b")
    journal = Journal(world)
    member = await world.start("m", journal.handler("m"))
    await world.until_committed("orders", 2)

    await world.topics._call(world.topics._remove, [world.settings.topic("orders")])
    await world.until(lambda: not member.subscription.owned, "the topic is gone")
    await world.make_topics({"orders": 1})
    await publish(world, "c")

    await world.until(lambda: len(journal.starts) == 3, "the new topic is read")
    assert journal.starts[-1].record.key == b"c"


@in_world
async def test_new_partitions_of_a_topic_are_read(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    member = await world.start("m", journal.handler("m"))
    await world.until(lambda: len(member.subscription.owned) == 1, "it has joined")
    admin = await admin_of(world)
    await admin.create_partitions({world.settings.topic("orders"): NewPartitions(total_count=3)})
    await admin.close()

    await world.until(lambda: len(member.subscription.owned) == 3, "the new ones are its own")


@in_world
async def test_offsets_that_retention_took_from_a_stopped_group_are_named(
    world: KafkaBusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    await publish(world, *"abcdefghij")
    journal = Journal(world)
    bus = KafkaBus(world.settings, "first")
    first, listener = bus.consumer("group"), Quiet()
    await first.join(["orders"], listener)
    await poll_until(first, lambda: bool(listener.epochs))
    await first.commit({PLACE: 3}, listener.epochs[0])
    await bus.close()
    await delete_before(world, 8)

    second = await world.start("m", journal.handler("m"))

    await world.until_committed("orders", 10)
    lost = [own_fields(entry) for entry in second.entries if kind_of(entry) == "lost"]
    assert lost == [("group", "orders", 0, 3, 8)]
    assert offsets_of(journal) == [8, 9]


@in_world
async def test_offsets_that_retention_took_from_a_slow_member_are_named(
    world: KafkaBusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    bus, told = KafkaBus(world.settings, "slow"), Told()
    consumer = bus.consumer("group")
    await consumer.join(["orders"], told)
    await poll_until(consumer, lambda: bool(told.epochs))
    consumer.pause([PLACE])
    await publish(world, *"abcdef")
    await consumer.commit({PLACE: 1}, told.epochs[0])
    await delete_before(world, 4)
    consumer.resume([PLACE])

    found = await poll_until(consumer, lambda: len(told.epochs) > 1)
    found += await consumer.poll(10)
    assert [record.offset for record in found] == [4, 5]
    assert told.lost == [(PLACE, 1, 4)]
    await bus.close()


@in_world
async def test_records_of_a_transaction_that_was_given_up_are_none(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 1})
    topic = world.settings.topic("orders")
    producer = AIOKafkaProducer(
        bootstrap_servers=world.settings.bootstrap, transactional_id=world.settings.prefix
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"never", b"k")
    await producer.abort_transaction()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"done", b"k")
    await producer.stop()
    journal = Journal(world)
    await world.start("m", journal.handler("m"))

    await world.until(lambda: bool(journal.starts), "something is read")
    assert [start.record.value for start in journal.starts] == [b"done"]
    assert [record.value for record in await world.read("orders")] == [b"done"]


@pytest.mark.skipif(importlib.util.find_spec("cramjam") is None, reason="no cramjam")
@in_world
async def test_records_of_every_codec_are_read(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 1})
    topic = world.settings.topic("orders")
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        producer = AIOKafkaProducer(
            bootstrap_servers=world.settings.bootstrap, compression_type=codec
        )
        await producer.start()
        await producer.send_and_wait(topic, codec.encode() * 100, b"k")
        await producer.stop()
    journal = Journal(world)
    member = await world.start("m", journal.handler("m"))

    await world.until_committed("orders", len(codecs))
    values = [start.record.value for start in journal.starts]
    assert values == [codec.encode() * 100 for codec in codecs]
    assert [kind_of(entry) for entry in member.entries].count("owned") == 1
