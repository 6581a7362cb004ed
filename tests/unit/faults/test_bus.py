"""Faults of the bus as wrappers: what each does to the port that it wraps, over the memory log."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest

from lab.bus.memory.log import MemoryLog
from lab.domain.envelope import Envelope, to_headers
from lab.domain.errors import Fenced, Indeterminate, Transient
from lab.faults.bus.around_ports import around_consumer, around_publisher
from lab.faults.bus.member import CutConsumer, CutPublisher, Network, RebalancingConsumer
from lab.faults.bus.order import ReorderingConsumer
from lab.faults.bus.publishes import DroppingPublisher, ForgettingPublisher
from lab.faults.bus.records import delay_deliveries
from lab.faults.plan.plan import FaultPlan
from lab.faults.table.spec import parse_fault, parse_faults
from lab.ports.bus import (
    Ack,
    Consumer,
    Delivery,
    Listener,
    Outgoing,
    Publisher,
    Record,
    Retry,
    Settlement,
    TopicPartition,
    Unread,
)
from lab.runtime.chance import KeyedChance
from lab.runtime.clock import VirtualClock
from lab.runtime.virtual_loop import Scheduler, sleep_us

MS = 1_000
S = 1_000 * MS
SESSION_US = 10 * S
GROUP = "notification"
HERE = TopicPartition("orders", 0)
THERE = TopicPartition("payments", 0)
Places = Mapping[TopicPartition, int]


def record(subject: str, *, topic: str = "orders", key: str = "") -> Outgoing:
    """An event of the order `subject` that the group handles; its id is its order's."""
    envelope = Envelope(
        id=f"{topic}-{subject}",
        type="OrderCreated",
        source="lab",
        subject=key or subject,
        time_us=0,
        data=subject.encode(),
        correlation_id="c",
        causation_id="c",
        sequence=1,
        traceparent="t",
        lab_subject=subject,
    )
    return Outgoing(topic, (key or subject).encode(), envelope.data, to_headers(envelope))


class Owner(Listener):
    """Notes what it is told; takes its time to give up."""

    def __init__(self, takes_us: int = 0) -> None:
        self.epochs: list[int] = []
        self.owned: Places = {}
        self.told: list[str] = []
        self._takes_us = takes_us

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        assert set(partitions) == set(self.owned)
        self.told.append("revoked")
        await sleep_us(self._takes_us)
        self.owned = {}

    async def on_assigned(self, epoch: int, ends: Places) -> None:
        assert not self.owned
        self.told.append("assigned")
        self.epochs.append(epoch)
        self.owned = ends


class World:
    """A broker, one process, and the plan of the run."""

    def __init__(self, scheduler: Scheduler, *faults: str) -> None:
        self.scheduler = scheduler
        self.log = MemoryLog(scheduler.root, session_us=SESSION_US, rebalance_us=5 * S)
        self.log.create_topics({"orders": 1, "payments": 1, "orders.notification.dlq": 1})
        self.loop = scheduler.root
        self.clock = VirtualClock(self.loop)
        self.plan = FaultPlan(
            parse_faults(faults), seed=7, chance=KeyedChance(7), now_us=lambda: scheduler.now_us
        )
        self.plan.begin()
        self.owner = Owner()

    @property
    def bare(self) -> Consumer:
        return self.log.consumer(GROUP, "notification-1", self.loop, Unread.EARLIEST)

    @property
    def publisher(self) -> Publisher:
        return self.log.publisher(self.loop)

    async def joined(self, consumer: Consumer) -> Consumer:
        await consumer.join(["orders", "payments"], self.owner)
        assert await consumer.poll(9) == []
        return consumer

    async def published(self, *records: Outgoing) -> None:
        await self.publisher.publish(records)

    def values(self, topic: str = "orders") -> list[bytes]:
        return [found.value for found in self.log.records(topic)]

    def fired(self) -> list[str]:
        return [firing.subject for firing in self.plan.firings]


Main = Callable[[World], Coroutine[Any, Any, None]]


def play(main: Main, *faults: str) -> World:
    """Run `main` in a world."""
    with Scheduler() as scheduler:
        world = World(scheduler, *faults)
        scheduler.run(main(world))
    return world


def values(records: Sequence[Record]) -> list[str]:
    return [found.value.decode() for found in records]


# ---- what is beyond the contract


@pytest.mark.parametrize(
    ("fault", "is_beyond"),
    [
        ("bus.drop_publish rate=0.1", False),
        ("bus.drop_publish rate=0.1 told=yes", False),
        ("bus.drop_publish rate=0.1 told=no", True),
        ("bus.reorder#3", False),
        ("bus.reorder#3 within_key=yes", True),
        ("bus.partition#3", False),
        ("proc.crash@payment at=3s", False),
    ],
)
def test_a_fault_says_whether_the_design_promises_to_survive_it(
    fault: str, *, is_beyond: bool
) -> None:
    assert parse_fault(fault).is_beyond_contract is is_beyond


def test_a_run_without_these_faults_wraps_nothing() -> None:
    async def main(world: World) -> None:
        bare, publisher = world.bare, world.publisher
        given: dict[str, Any] = {"plan": world.plan, "clock": world.clock, "network": None}
        assert around_publisher(publisher, **given) is publisher
        assert around_consumer(bare, group=GROUP, session_us=SESSION_US, **given) is bare

    play(main, "bus.rebalance@payment rate=1", "svc.error rate=1")


# ---- publishes


def test_a_dropped_publish_appends_nothing_and_says_so_once() -> None:
    async def main(world: World) -> None:
        publisher = DroppingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        batch = [record("1.1"), record("2.1"), record("3.1")]
        with pytest.raises(Transient):
            await publisher.publish(batch)
        assert world.values() == []
        await publisher.publish(batch)
        assert world.values() == [b"1.1", b"2.1", b"3.1"]

    assert play(main, "bus.drop_publish#2").fired() == ["2.1"]


def test_a_publisher_that_lies_loses_one_record_and_says_nothing() -> None:
    async def main(world: World) -> None:
        publisher = DroppingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        await publisher.publish([record("1.1"), record("2.1"), record("3.1")])
        await publisher.publish([record("2.1", topic="payments")])
        assert (world.values(), world.values("payments")) == ([b"1.1", b"3.1"], [b"2.1"])

    play(main, "bus.drop_publish@orders#2 told=no")


def test_a_lie_stays_one_when_the_call_has_to_be_repeated() -> None:
    async def main(world: World) -> None:
        publisher = DroppingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        batch = [record("1.1"), record("2.1")]
        with pytest.raises(Transient):
            await publisher.publish(batch)
        await publisher.publish(batch)
        assert world.values() == [b"1.1"]

    play(main, "bus.drop_publish#1", "bus.drop_publish#2 told=no")


def test_a_publish_of_unknown_end_is_appended() -> None:
    async def main(world: World) -> None:
        publisher = ForgettingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        with pytest.raises(Indeterminate):
            await publisher.publish([record("1.1"), record("2.1")])
        await publisher.publish([record("1.1"), record("2.1")])
        assert world.values() == [b"1.1", b"2.1", b"1.1", b"2.1"]

    assert play(main, "bus.publish_unknown#1").fired() == ["1.1"]


def test_a_publish_of_unknown_end_may_not_be_appended() -> None:
    async def main(world: World) -> None:
        publisher = ForgettingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        with pytest.raises(Indeterminate):
            await publisher.publish([record("1.1"), record("2.1")])
        assert world.values() == []
        await publisher.publish([record("1.1"), record("2.1")])
        assert world.values() == [b"1.1", b"2.1"]

    assert play(main, "bus.publish_unknown#1 appended=no").fired() == ["1.1"]


def test_an_answer_is_lost_at_the_first_call_that_the_broker_takes() -> None:
    async def main(world: World) -> None:
        publisher = ForgettingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        batch = [record("1.1"), record("2.1")]
        world.log.is_down = True
        with pytest.raises(Transient):
            await publisher.publish(batch)
        assert world.fired() == []
        world.log.is_down = False
        with pytest.raises(Indeterminate):
            await publisher.publish(batch)
        await publisher.publish(batch)

    assert play(main, "bus.publish_unknown#1 first=1").fired() == ["1.1"]


def test_no_answer_is_lost_after_heal() -> None:
    async def main(world: World) -> None:
        publisher = ForgettingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        world.log.is_down = True
        with pytest.raises(Transient):
            await publisher.publish([record("1.1")])
        world.log.is_down = False
        world.plan.heal()
        await publisher.publish([record("1.1")])

    assert play(main, "bus.publish_unknown#1").fired() == []


def test_a_call_that_the_broker_refused_lost_no_answer() -> None:
    async def main(world: World) -> None:
        publisher = ForgettingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        world.log.is_down = True
        with pytest.raises(Transient):
            await publisher.publish([record("1.1")])

    assert play(main, "bus.publish_unknown rate=1").fired() == []


def test_a_large_batch_comes_through_although_each_of_its_records_may_be_struck() -> None:
    calls = 0

    async def main(world: World) -> None:
        nonlocal calls
        publisher = DroppingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        batch = [record(f"{number}.1") for number in range(1, 101)]
        while not world.values():
            calls += 1
            assert calls < 20
            try:
                await publisher.publish(batch)
            except Transient:
                continue

    world = play(main, "bus.drop_publish rate=0.3")
    assert len(set(world.fired())) > 20
    assert calls > 1


def test_a_publish_is_struck_by_where_it_goes() -> None:
    async def main(world: World) -> None:
        publisher = DroppingPublisher(world.publisher, plan=world.plan, clock=world.clock)
        await publisher.publish([record("1.1")])
        with pytest.raises(Transient):
            await publisher.publish([record("1.1", topic="orders.notification.dlq")])

    play(main, "bus.drop_publish@dlq rate=1", "bus.drop_publish@retry rate=1")


# ---- delay


def make_delivery(subject: str, offset: int, *, epoch: int = 1, attempt: int = 1) -> Delivery:
    sent = record(subject)
    found = Record("orders", 0, offset, sent.key, sent.value, sent.headers, 0)
    return Delivery(
        found, GROUP, epoch, attempt, "OrderCreated", "e", subject, 0, starts_known=True
    )


def test_a_delayed_record_comes_again_later_and_counts_no_attempt() -> None:
    async def main(world: World) -> None:
        handled: list[int] = []

        async def chain(delivery: Delivery) -> Settlement:
            handled.append(delivery.record.offset)
            return Ack()

        handle = delay_deliveries(chain, plan=world.plan, group=GROUP)
        first = await handle(make_delivery("1.1", 0))
        assert isinstance(first, Retry)
        assert (first.counts, 100 * MS <= first.after_us <= 200 * MS) == (False, True)
        assert await handle(make_delivery("2.1", 1)) == Ack()
        assert await handle(make_delivery("1.1", 0)) == Ack()
        assert handled == [1, 0]

    play(main, "bus.delay#1 rate=1 by=100ms..200ms")


def test_what_waited_under_another_assignment_is_a_delivery_of_its_own() -> None:
    async def main(world: World) -> None:
        async def chain(_delivery: Delivery) -> Settlement:
            return Ack()

        handle = delay_deliveries(chain, plan=world.plan, group=GROUP)
        late = Retry(after_us=5 * MS, counts=False)
        assert await handle(make_delivery("1.1", 0, epoch=1)) == late
        assert await handle(make_delivery("1.1", 0, epoch=2)) == late
        assert await handle(make_delivery("1.1", 0, epoch=2)) == Ack()
        assert await handle(make_delivery("1.1", 1, epoch=2, attempt=2)) == Ack()

    play(main, "bus.delay rate=1 by=5ms")


# ---- reorder


async def reordering(world: World) -> Consumer:
    consumer = ReorderingConsumer(world.bare, plan=world.plan, group=GROUP, clock=world.clock)
    return await world.joined(consumer)


def test_a_record_is_overtaken_by_another_key_of_another_partition() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        await world.published(record("1.1"))
        assert await consumer.poll(9) == []
        await world.published(record("2.1", topic="payments"))
        assert values(await consumer.poll(9)) == ["2.1", "1.1"]

    play(main, "bus.reorder#1")


def test_what_is_behind_a_record_in_its_partition_or_key_stays_behind_it() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        own = record("4.1", topic="payments", key="1.1")
        await world.published(record("1.1"), record("2.1"), own)
        assert await consumer.poll(9) == []
        await world.published(record("5.1", topic="payments"))
        assert await consumer.poll(9) == []
        await sleep_us(2 * S)
        assert sorted(values(await consumer.poll(9))) == ["1.1", "2.1", "4.1", "5.1"]
        assert world.scheduler.now_us < 3 * S

    play(main, "bus.reorder#1")


def test_a_record_that_nobody_overtakes_wakes_the_poll_when_its_time_is_over() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        await world.published(record("1.1"))
        assert await consumer.poll(9) == []
        assert values(await consumer.poll(9)) == ["1.1"]
        assert 300 * MS <= world.scheduler.now_us < 310 * MS

    play(main, "bus.reorder#1 by=300ms")


def test_when_all_wait_the_younger_overtake_the_older() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        await world.published(record("1.1"), record("2.1", topic="payments"), record("3.1"))
        assert values(await consumer.poll(9)) == ["2.1", "1.1", "3.1"]

    play(main, "bus.reorder rate=1")


def test_within_a_partition_records_keep_their_order_whatever_is_struck() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        handed: list[Record] = []
        for number in range(1, 60):
            topic = "payments" if number % 3 else "orders"
            await world.published(record(f"{number}.1", topic=topic, key=f"k{number % 7}"))
            handed += await consumer.poll(5)
        await sleep_us(2 * S)
        while len(handed) < 59:
            handed += await consumer.poll(5)
        for place in (HERE, THERE):
            offsets = [each.offset for each in handed if each.topic == place.topic]
            assert offsets == list(range(len(offsets)))
        for key in {each.key for each in handed}:
            numbers = [int(each.value.split(b".")[0]) for each in handed if each.key == key]
            assert numbers == sorted(numbers)
        order = [int(each.value.split(b".")[0]) for each in handed]
        assert order != sorted(order)

    play(main, "bus.reorder rate=0.3")


def test_within_its_key_a_record_changes_places_with_the_next_one() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        first, second = record("1.1", key="k"), record("2.1", key="k")
        await world.published(first, record("3.1"), second)
        handed = await consumer.poll(9)
        assert values(handed) == ["2.1", "3.1", "1.1"]
        assert [each.offset for each in handed] == [0, 1, 2]

    play(main, "bus.reorder#1 within_key=yes")


def test_what_waits_counts_for_what_may_be_asked_for_and_stays_while_paused() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        await world.published(record("1.1"), record("2.1"))
        assert await consumer.poll(3) == []
        consumer.pause([HERE])
        await world.published(record("3.1", topic="payments"))
        assert values(await consumer.poll(3)) == ["3.1"]
        consumer.resume([HERE])
        assert values(await consumer.poll(1)) == ["1.1"]
        assert values(await consumer.poll(1)) == ["2.1"]

    play(main, "bus.reorder#1")


def test_what_waits_goes_with_its_assignment_and_comes_again_with_the_next() -> None:
    async def main(world: World) -> None:
        consumer = await reordering(world)
        await world.published(record("1.1"))
        assert await consumer.poll(9) == []
        world.plan.heal()
        other = world.log.consumer(GROUP, "other", world.loop, Unread.EARLIEST)
        await other.join(["payments"], Owner())
        handed: list[Record] = []
        while not handed:
            handed = await consumer.poll(9)
        assert (values(handed), world.owner.told) == (["1.1"], ["assigned", "revoked", "assigned"])

    play(main, "bus.reorder#1")


# ---- rebalance


async def rebalancing(world: World) -> Consumer:
    consumer = RebalancingConsumer(world.bare, plan=world.plan, group=GROUP, clock=world.clock)
    return await world.joined(consumer)


def test_the_member_that_gets_the_record_joins_again_under_a_new_generation() -> None:
    async def main(world: World) -> None:
        consumer = await rebalancing(world)
        await world.published(record("1.1"))
        assert values(await consumer.poll(9)) == ["1.1"]
        assert await consumer.poll(9) == []
        assert await consumer.poll(9) == []
        before, now = world.owner.epochs
        assert world.owner.told == ["assigned", "revoked", "assigned"]
        assert world.log.generation(GROUP) == now > before
        assert world.log.members(GROUP) == ["notification-1"]
        # It was not committed, so it comes again.
        assert values(await consumer.poll(9)) == ["1.1"]
        with pytest.raises(Fenced):
            await consumer.commit({HERE: 1}, before)
        await consumer.commit({HERE: 1}, now)

    play(main, "bus.rebalance#1")


def test_what_is_committed_while_it_gives_up_does_not_come_again() -> None:
    class Committing(Owner):
        async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
            await consumer.commit({HERE: 1}, self.epochs[-1])
            await super().on_revoked(partitions)

    consumer: Consumer

    async def main(world: World) -> None:
        nonlocal consumer
        world.owner = Committing()
        consumer = await rebalancing(world)
        await world.published(record("1.1"), record("2.1"))
        assert values(await consumer.poll(9)) == ["1.1", "2.1"]
        handed: list[Record] = []
        while not handed:
            handed = await consumer.poll(9)
        assert values(handed) == ["2.1"]

    play(main, "bus.rebalance#1")


def test_a_group_that_rebalances_by_itself_meanwhile_tells_the_listener_once() -> None:
    async def main(world: World) -> None:
        world.owner = Owner(takes_us=2 * S)
        consumer = await rebalancing(world)
        await world.published(record("1.1"))
        assert values(await consumer.poll(9)) == ["1.1"]
        other = world.log.consumer(GROUP, "other", world.loop, Unread.EARLIEST)
        await other.join(["payments"], Owner())
        while len(world.owner.epochs) < 2:
            await consumer.poll(9)
        assert world.owner.told[:3] == ["assigned", "revoked", "assigned"]

    play(main, "bus.rebalance#1")


def test_a_member_that_cannot_join_tries_again_at_the_next_poll() -> None:
    async def main(world: World) -> None:
        consumer = await rebalancing(world)
        await world.published(record("1.1"))
        await consumer.poll(9)
        world.log.is_down = True
        for _ in range(2):
            with pytest.raises(Transient):
                await consumer.poll(9)
        world.log.is_down = False
        assert await consumer.poll(9) == []
        assert await consumer.poll(9) == []
        assert world.log.members(GROUP) == ["notification-1"]
        assert world.owner.told == ["assigned", "revoked", "assigned"]

    play(main, "bus.rebalance#1")


# ---- partition


async def cut(world: World) -> tuple[Consumer, Publisher]:
    network = Network(world.plan, world.clock)
    consumer = CutConsumer(
        world.bare,
        plan=world.plan,
        group=GROUP,
        clock=world.clock,
        network=network,
        session_us=SESSION_US,
    )
    return await world.joined(consumer), CutPublisher(world.publisher, network)


async def is_cut_off(consumer: Consumer, publisher: Publisher, epoch: int) -> bool:
    failed = 0
    for call in (
        consumer.poll(9),
        consumer.commit({HERE: 1}, epoch),
        publisher.publish([record("9.1", topic="payments")]),
    ):
        try:
            await call
        except Transient:
            failed += 1
    assert failed in (0, 3)
    return failed == 3


def test_a_member_that_is_cut_off_keeps_what_it_has_and_comes_back_in_its_epoch() -> None:
    async def main(world: World) -> None:
        consumer, publisher = await cut(world)
        await world.published(record("1.1"))
        assert values(await consumer.poll(9)) == ["1.1"]
        assert await is_cut_off(consumer, publisher, 1)
        await sleep_us(9 * S)
        assert await is_cut_off(consumer, publisher, 1)
        await sleep_us(1 * S)
        await consumer.commit({HERE: 1}, 1)
        await world.published(record("2.1"))
        assert values(await consumer.poll(9)) == ["2.1"]
        assert world.owner.told == ["assigned"]

    play(main, "bus.partition#1 by=10s")


def test_a_member_that_is_cut_off_for_longer_than_its_session_is_fenced_and_joins_again() -> None:
    async def main(world: World) -> None:
        consumer, publisher = await cut(world)
        await world.published(record("1.1"))
        assert values(await consumer.poll(9)) == ["1.1"]
        await sleep_us(SESSION_US - MS)
        assert world.log.members(GROUP) == ["notification-1"]
        await sleep_us(2 * MS)
        assert world.log.members(GROUP) == []
        assert await is_cut_off(consumer, publisher, 1)
        assert world.owner.told == ["assigned"]
        await sleep_us(10 * S)
        with pytest.raises(Fenced):
            await consumer.commit({HERE: 1}, 1)
        handed: list[Record] = []
        while not handed:
            handed = await consumer.poll(9)
        assert values(handed) == ["1.1"]
        assert world.owner.told == ["assigned", "revoked", "assigned"]

    play(main, "bus.partition#1 by=20s")


def test_healing_mends_the_network_before_the_session_is_over() -> None:
    async def main(world: World) -> None:
        consumer, publisher = await cut(world)
        await world.published(record("1.1"))
        await consumer.poll(9)
        assert await is_cut_off(consumer, publisher, 1)
        world.plan.heal()
        await consumer.commit({HERE: 1}, 1)
        await sleep_us(2 * SESSION_US)
        assert world.log.members(GROUP) == ["notification-1"]

    play(main, "bus.partition#1 by=1h")


def test_who_leaves_while_cut_off_is_not_heard() -> None:
    async def main(world: World) -> None:
        consumer, _ = await cut(world)
        await world.published(record("1.1"))
        await consumer.poll(9)
        with pytest.raises(Transient):
            await consumer.leave()
        assert world.log.members(GROUP) == ["notification-1"]

    play(main, "bus.partition#1 by=1h")
