"""What is promised of the Kafka adapter beyond the cases that every bus passes.

Topics of a run, names, foreign records, the map of errors, a broker that is gone or comes back.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient

from lab.bus.kafka.client import CLASSES, KafkaSettings, mapped
from lab.bus.kafka.lag import KafkaWatch
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady, Fenced, Indeterminate, TooLarge, Transient
from lab.ports.bus import Delivery, Listener, Record, Settlement, TopicPartition, retry_topic
from lab.runtime.clock import SystemClock
from tests.contract.bus_world import ACK, MS, Journal, S, in_world, limits, publish
from tests.contract.kafka_world import KafkaBusWorld, kafka_world
from tests.kit.real_servers import need_control

NOWHERE = KafkaSettings(
    bootstrap="127.0.0.1:1", prefix="nobody", connect_us=2 * S, publish_us=S, commit_us=S
)


@pytest.fixture
def world() -> Iterator[KafkaBusWorld]:
    with kafka_world() as made:
        yield made


class Quiet(Listener):
    """Notes the assignments, does nothing."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.revoked: list[Sequence[TopicPartition]] = []

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.revoked.append(partitions)

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:  # noqa: ARG002 - the port's shape
        self.epochs.append(epoch)


# ---- errors


def _all_errors(root: type[Exception]) -> Iterator[type[Exception]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _all_errors(kind)


# Not for the caller to mend and not gone by itself, but somebody may repair the broker, its rights
# or its settings; until then nothing was done, and no event may become a dead letter for it.
REPAIRABLE = {
    "AuthenticationFailedError", "AuthenticationMethodNotSupported", "BrokerNotAvailableError",
    "BrokerResponseError", "ClusterAuthorizationFailedError", "ConcurrentTransactions",
    "CorruptRecordException", "DelegationTokenAuthDisabled", "DelegationTokenAuthorizationFailed",
    "DelegationTokenExpired", "DelegationTokenNotFound", "DelegationTokenOwnerMismatch",
    "DelegationTokenRequestNotAllowed", "DuplicateSequenceNumber", "FetchSessionIdNotFound",
    "GroupAuthorizationFailedError", "GroupIdNotFound", "IllegalSaslStateError",
    "IllegalStateError", "InconsistentGroupProtocolError", "IncompatibleBrokerVersion",
    "InvalidCommitOffsetSizeError", "InvalidConfigurationError", "InvalidFetchRequestError",
    "InvalidFetchSessionEpoch", "InvalidGroupIdError", "InvalidPartitionsError",
    "InvalidPrincipalType", "InvalidProducerEpoch", "InvalidProducerIdMapping",
    "InvalidReplicationAssignmentError", "InvalidReplicationFactorError", "InvalidRequestError",
    "InvalidRequiredAcksError", "InvalidSessionTimeoutError", "InvalidTransactionTimeout",
    "InvalidTxnState", "KafkaConfigurationError", "KafkaTimeoutError", "KafkaUnavailableError",
    "ListenerNotFound", "LogDirNotFound", "MemberIdRequired", "NoError",
    "NoOffsetForPartitionError", "NonEmptyGroup", "OffsetMetadataTooLargeError",
    "OffsetOutOfRangeError", "OperationNotAttempted", "OutOfOrderSequenceNumber",
    "PolicyViolationError", "ProducerClosed", "ProducerFenced", "QuotaViolationError",
    "ReassignmentInProgress", "RecordTooLargeError", "ReplicaNotAvailableError",
    "SaslAuthenticationFailed", "SecurityDisabled", "StaleControllerEpochError",
    "StaleLeaderEpochCodeError", "TopicAlreadyExistsError", "TopicAuthorizationFailedError",
    "TransactionCoordinatorFenced", "TransactionalIdAuthorizationFailed", "UnknownError",
    "UnknownProducerId", "UnrecognizedBrokerVersion", "UnsupportedCodecError",
    "UnsupportedForMessageFormatError", "UnsupportedSaslMechanismError",
    "UnsupportedVersionError",
}  # fmt: skip


def test_every_error_of_the_library_is_mapped_on_purpose() -> None:
    named = {kind for kinds in CLASSES.values() for kind in kinds}
    unnamed = {
        kind.__name__
        for kind in _all_errors(kafka_errors.KafkaError)
        if not kind.retriable and not issubclass(kind, tuple(named))  # type: ignore[attr-defined]  # every error of the library has it
    }
    assert unnamed == REPAIRABLE


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (kafka_errors.CommitFailedError(), Fenced),
        (kafka_errors.IllegalGenerationError(), Fenced),
        (kafka_errors.UnknownMemberIdError(), Fenced),
        (kafka_errors.MessageSizeTooLargeError(), TooLarge),
        (kafka_errors.KafkaConnectionError("gone"), Transient),
        (kafka_errors.TopicAuthorizationFailedError("orders"), Transient),
        (ConnectionRefusedError(), Transient),
        (TimeoutError(), Transient),
    ],
)
def test_an_error_says_what_may_be_done_about_it(theirs: Exception, ours: type[Exception]) -> None:
    found = mapped(theirs, "commit")
    assert type(found) is ours
    assert str(found).startswith("commit: ")
    assert "\n" not in str(found)


# ---- nobody there


@pytest.mark.parametrize("bootstrap", ["me:swordfish@127.0.0.1:9", "nowhere", "a:1,b", ""])
def test_an_address_that_cannot_be_read_is_not_shown(bootstrap: str) -> None:
    async def main() -> None:
        async with KafkaTopics(KafkaSettings(bootstrap=bootstrap)):
            pass

    with pytest.raises(EnvironmentNotReady, match="LAB_KAFKA_BOOTSTRAP must be HOST:PORT") as told:
        asyncio.run(main())
    assert told.value.address == "?"
    assert "swordfish" not in str(told.value)


def test_a_broker_that_is_not_there_is_said_with_address_and_remedy() -> None:
    async def enter() -> None:
        async with KafkaTopics(NOWHERE):
            raise AssertionError("there is nothing on port 1")

    with pytest.raises(EnvironmentNotReady) as caught:
        asyncio.run(enter())
    assert caught.value.address == "127.0.0.1:1"
    assert "cannot be reached" in str(caught.value)
    assert "scripts/servers up kafka" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (kafka_errors.TopicAuthorizationFailedError("orders"), "access is denied"),
        (kafka_errors.SaslAuthenticationFailed(), "access is denied"),
        (kafka_errors.UnsupportedVersionError(), "too old"),
        (kafka_errors.PolicyViolationError("9 partitions at most"), "9 partitions at most"),
        (TimeoutError(), "cannot be reached"),
    ],
)
def test_a_broker_that_is_not_fit_is_said_with_what_helps(error: Exception, what: str) -> None:
    found = KafkaTopics(NOWHERE)._not_ready(error)
    assert what in str(found)
    assert found.remedy in str(found)


def test_without_a_broker_every_call_ends_in_time_and_leaves_nothing_open() -> None:
    async def case() -> None:
        bus = KafkaBus(NOWHERE, "p")
        consumer = bus.consumer("group")
        with pytest.raises(Transient):
            await bus.publisher().publish([])
        with pytest.raises(Transient):
            await consumer.join(["orders"], Quiet())
        with pytest.raises(Fenced):
            await consumer.commit({TopicPartition("orders", 0): 1}, 1)
        await bus.close()
        await bus.close()

    asyncio.run(case())


@pytest.mark.parametrize("prefix", ["a.b", "a/b", "", "x" * 65])
def test_a_prefix_is_a_name_without_dots(prefix: str) -> None:
    if prefix:
        with pytest.raises(ValueError, match="prefix"):
            replace(NOWHERE, prefix=prefix)
    else:
        assert replace(NOWHERE, prefix="").topic("orders") == "orders"


# ---- topics of a run


@pytest.mark.real
@in_world
async def test_a_topic_with_another_number_of_partitions_is_refused(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 2})
    await world.make_topics({"orders": 2})
    with pytest.raises(EnvironmentNotReady, match="has 2 partitions, not 3"):
        await world.make_topics({"orders": 3})


@pytest.mark.real
@in_world
async def test_two_runs_do_not_meet_and_one_removes_only_its_own(world: KafkaBusWorld) -> None:
    other = replace(world.settings, prefix=f"{world.settings.prefix}-1")
    await world.make_topics({"orders": 1})
    await publish(world, "mine")
    async with KafkaTopics(other) as topics:
        await topics.create({"orders": 1})
        assert await topics.read("orders") == []
        assert await topics.delete() == [f"{other.prefix}.orders"]
    assert [record.key for record in await world.read("orders")] == [b"mine"]
    bare = KafkaTopics(replace(world.settings, prefix=""))
    with pytest.raises(ValueError, match="without a prefix"):
        await bare.delete()


@pytest.mark.real
@in_world
async def test_the_group_of_a_member_that_was_killed_is_removed_too(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 1})
    await publish(world, "a")
    journal = Journal(world)
    member = await world.start("m", journal.handler("m"))
    await world.until_committed("orders", 1)
    member.kill()
    await world.topics.delete()
    admin = AIOKafkaAdminClient(bootstrap_servers=world.settings.bootstrap)
    await admin.start()
    groups = [group for group, *_ in await admin.list_consumer_groups()]
    await admin.close()
    assert [group for group in groups if group.startswith(world.settings.stem)] == []


@pytest.mark.real
@in_world
async def test_lag_is_what_a_group_has_not_committed(world: KafkaBusWorld) -> None:
    retry = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 2, retry: 2})
    await publish(world, "a", "b", "c")
    await publish(world, "a", topic=retry)
    assert await world.topics.lag("group", ["orders", retry]) == 4
    await world.start("m", Journal(world).handler("m"))
    await world.until_committed("orders", 3)
    assert await world.topics.lag("group", ["orders", retry]) == 1
    assert await world.topics.committed("group") == {
        place: end for place, end in (await world.topics.ends(["orders"])).items() if end
    }


@pytest.mark.real
@in_world
async def test_the_lag_of_one_group_is_told_by_topic(world: KafkaBusWorld) -> None:
    retry = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 2, retry: 2})
    await publish(world, "a", "b", "c")
    await publish(world, "a", topic=retry)
    groups = {"group": ["orders", retry], "idle": ["orders"]}
    async with KafkaWatch(world.settings, world.topics, groups, partitions=2) as watch:
        assert await watch.of_group("group") == {"orders": 3, retry: 1}
        await world.start("m", Journal(world).handler("m"))
        await world.until_committed("orders", 3)
        assert await watch.of_group("group") == {"orders": 0, retry: 1}
        assert await watch.of_group("idle") == {"orders": 3}
        assert await watch.lag() == 4


@pytest.mark.real
@in_world
async def test_a_foreign_record_without_key_value_or_headers_is_delivered(
    world: KafkaBusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    producer = AIOKafkaProducer(bootstrap_servers=world.settings.bootstrap)
    await producer.start()
    topic = world.settings.topic("orders")
    await producer.send_and_wait(topic, b"only a value")
    await producer.send_and_wait(topic, None, b"only a key", headers=[("empty", None)])
    await producer.stop()
    journal = Journal(world)
    await world.start("m", journal.handler("m"))
    await world.until_committed("orders", 2)
    found = [(s.record.key, s.record.value, s.record.headers) for s in journal.starts]
    assert found == [(b"", b"only a value", ()), (b"only a key", b"", (("empty", b""),))]
    age_us = SystemClock().wall_us() - journal.starts[0].record.timestamp_us
    assert -MS <= age_us < 60 * S


@pytest.mark.real
@in_world
async def test_a_topic_that_is_not_there_is_waited_for_only_so_long(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 1})
    with pytest.raises(Transient):
        await publish(world, "a", topic="elsewhere")


@pytest.mark.real
@in_world
async def test_a_member_that_the_library_has_lost_is_replaced(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 2})
    bus = KafkaBus(world.settings, "p")
    consumer = bus.consumer("group")
    listener = Quiet()
    await consumer.join(["orders"], listener)
    await world.until(lambda: bool(listener.epochs), "it is assigned")
    # What the library leaves behind when its heartbeats ended with an error.
    assert consumer._member is not None
    consumer._member._client._coordinator._pending_exception = kafka_errors.KafkaError("the end")

    async def poll_on() -> None:
        while len(listener.epochs) == 1:
            await consumer.poll(10)

    with pytest.raises(Transient):
        await poll_on()
    await publish(world, "a", "b", "c")
    found: list[Record] = []
    while len(found) < 3:
        found += await consumer.poll(10)
    assert len(listener.epochs) == 2
    assert listener.revoked == [[("orders", 0), ("orders", 1)]]
    await consumer.commit(
        {TopicPartition(found[0].topic, found[0].partition): 1}, listener.epochs[-1]
    )
    await bus.close()


# ---- a broker that goes and comes


@pytest.mark.real
@pytest.mark.alone
@in_world
async def test_a_broker_that_is_killed_under_load_costs_no_record_and_no_order(
    world: KafkaBusWorld,
) -> None:
    need_control("kafka")
    await world.make_topics({"orders": 4})
    journal = Journal(world)

    async def work(_delivery: Delivery) -> Settlement:
        await world.sleep_us(MS)
        return ACK

    names = ("m1", "m2")
    members = [
        await world.start(name, journal.handler(name, work), limits=limits(commit_every=20))
        for name in names
    ]
    await world.until(lambda: all(m.subscription.owned for m in members), "both own something")
    sent = 0
    is_over = False

    async def load() -> None:
        nonlocal sent
        while not is_over:
            try:
                await publish(world, *(f"key-{(sent + n) % 40}" for n in range(20)))
            except (Transient, Indeterminate):
                await world.sleep_us(50 * MS)
            else:
                sent += 20
            await world.sleep_us(5 * MS)

    loading = asyncio.get_running_loop().create_task(load())
    await world.until(lambda: len(journal.starts) > 200, "work is under way")
    await world.set_broker(is_up=False)
    await world.sleep_us(S)
    before = len(journal.starts)
    await world.set_broker(is_up=True)
    await world.until(lambda: len(journal.starts) > before + 200, "work goes on")
    is_over = True
    await loading

    records = await world.read("orders")
    assert len(records) >= sent
    await world.until_committed("orders", len(records))
    assert {start.place for start in journal.starts} == {
        (record.topic, record.partition, record.offset) for record in records
    }
    for epoch in {start.epoch for start in journal.starts}:
        last: Counter[tuple[str, bytes]] = Counter()
        for start in journal.starts:
            lane = (start.member, start.record.key)
            if start.epoch == epoch:
                assert start.record.offset + 1 > last[lane], "a key was handled out of order"
                last[lane] = start.record.offset + 1


@pytest.mark.real
@in_world
async def test_a_commit_does_not_wait_for_a_poll_that_finds_nothing(world: KafkaBusWorld) -> None:
    await world.make_topics({"orders": 1})
    bus = KafkaBus(replace(world.settings, reached_us=60_000 * MS), "p")
    consumer = bus.consumer("group")
    listener = Quiet()
    await consumer.join(["orders"], listener)
    await world.until(lambda: bool(listener.epochs), "it is assigned")
    polling = asyncio.ensure_future(consumer.poll(10))
    await asyncio.sleep(0)
    await consumer.commit({TopicPartition("orders", 0): 0}, listener.epochs[-1])
    assert not polling.done()
    polling.cancel()
    await asyncio.wait([polling])
    await consumer.leave()
    await bus.close()


@pytest.mark.real
@pytest.mark.alone
@in_world
async def test_a_poll_without_a_broker_says_so_in_time(world: KafkaBusWorld) -> None:
    need_control("kafka")
    await world.make_topics({"orders": 1})
    bus = KafkaBus(replace(world.settings, reached_us=300 * MS), "p")
    consumer = bus.consumer("group")
    listener = Quiet()
    await consumer.join(["orders"], listener)
    await world.until(lambda: bool(listener.epochs), "it is assigned")
    await world.set_broker(is_up=False)

    async def poll_on() -> None:
        while True:
            assert await consumer.poll(10) == []

    with pytest.raises(Transient):
        await poll_on()
    with pytest.raises(Transient):
        await consumer.commit({TopicPartition("orders", 0): 0}, listener.epochs[-1])
    await consumer.leave()
    assert listener.revoked == []
    await world.set_broker(is_up=True)
    await bus.close()
