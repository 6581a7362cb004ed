"""What is particular to the memory log: its groups' timers, its facts, its bounded memory.

What it shares with every bus is in `tests/contract/test_bus.py`.
"""

from collections.abc import Mapping, Sequence

import pytest

from lab.bus.memory.consumer import MemoryConsumer
from lab.bus.memory.groups import Assignor
from lab.bus.memory.log import MemoryLog
from lab.domain.errors import Fenced, Permanent, Transient
from lab.history.entries import Entry, kind_of
from lab.history.facts import AppendedEntry, CommittedEntry, LetterEntry
from lab.ports.bus import Listener, Outgoing, TopicPartition, Unread
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.entries import of_type

MS = 1_000
S = 1_000 * MS
HEADERS = (("ce_id", b"e-1"), ("ce_type", b"OrderCreated"), ("lab-subject", b"7.1"))


class Owner(Listener):
    """A member that notes what it owns, and takes its time to give it up."""

    def __init__(self, world: "World", name: str, *, takes_us: int = 0) -> None:
        self.loop = world.scheduler.process(name)
        self.consumer: MemoryConsumer = world.log.consumer("g", name, self.loop, Unread.EARLIEST)
        self.owned: dict[TopicPartition, int] = {}
        self.epochs: list[int] = []
        self.revoked = 0
        self._takes_us = takes_us

    def join(self, *topics: str) -> None:
        self.loop.create_task(self.consumer.join(topics, self))  # type: ignore[unused-awaitable]  # it ends by itself

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        assert set(partitions) == set(self.owned)
        self.revoked += 1
        await sleep_us(self._takes_us)
        self.owned = {}

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        self.epochs.append(epoch)
        self.owned = dict(ends)


class World:
    def __init__(self, scheduler: Scheduler, assignor: Assignor = "range") -> None:
        self.scheduler = scheduler
        self.facts: list[Entry] = []
        self.log = MemoryLog(
            scheduler.root,
            session_us=10 * S,
            rebalance_us=5 * S,
            write=self.facts.append,
            epoch_us=1_000_000 * S,
            assignor=assignor,
        )
        self.log.create_topics({"orders": 3, "payments": 3, "orders.g.dlq": 1})

    async def publish(self, count: int, topic: str = "orders") -> None:
        for number in range(count):
            record = Outgoing(topic, b"key-%d" % number, b"v", HEADERS)
            await self.log.publisher(self.scheduler.root).publish([record])


def test_a_killed_member_is_expelled_by_one_timer_at_the_end_of_its_session() -> None:
    async def main() -> None:
        world, one, two = _two_members(scheduler)
        await sleep_us(S)
        one.loop.kill()
        await sleep_us(10 * S - MS)
        assert world.log.members("g") == ["one", "two"]
        await sleep_us(2 * MS)
        assert world.log.members("g") == ["two"]
        assert len(two.owned) == 6

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_a_rebalance_waits_for_a_dead_member_no_longer_than_it_must() -> None:
    async def main() -> None:
        world, one, two = _two_members(scheduler)
        await sleep_us(S)
        one.loop.kill()
        three = Owner(world, "three")
        three.join("orders", "payments")
        await sleep_us(5 * S - MS)
        assert not three.owned
        await sleep_us(2 * MS)
        assert world.log.members("g") == ["two", "three"]
        assert (len(two.owned), len(three.owned)) == (2, 4)

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_a_paused_member_that_comes_back_in_time_keeps_what_it_has() -> None:
    async def main() -> None:
        world, one, _two = _two_members(scheduler)
        await sleep_us(S)
        generation = world.log.generation("g")
        one.loop.pause()
        world.log.silent(one.loop)
        await sleep_us(9 * S)
        one.loop.resume()
        world.log.heard(one.loop)
        await sleep_us(100 * S)
        assert world.log.generation("g") == generation
        assert len(one.owned) == 4

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_an_expelled_member_gives_up_and_joins_again_when_it_wakes() -> None:
    async def main() -> None:
        world, one, two = _two_members(scheduler)
        await sleep_us(S)
        one.loop.pause()
        world.log.silent(one.loop)
        await sleep_us(60 * S)
        assert len(two.owned) == 6
        assert len(one.owned) == 4, "it does not know yet"
        one.loop.resume()
        world.log.heard(one.loop)
        await sleep_us(S)
        assert sorted([*one.owned, *two.owned]) == sorted(_all("orders", "payments"))
        assert one.epochs[-1] == two.epochs[-1]

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_a_member_that_gives_up_too_slowly_is_expelled_and_comes_back() -> None:
    async def main() -> None:
        world = World(scheduler)
        slow = Owner(world, "slow", takes_us=8 * S)
        slow.join("orders")
        await sleep_us(S)
        quick = Owner(world, "quick")
        quick.join("orders")
        await sleep_us(5 * S + MS)
        assert world.log.members("g") == ["quick"]
        assert len(quick.owned) == 3
        await sleep_us(20 * S)
        assert sorted([*slow.owned, *quick.owned]) == sorted(_all("orders"))

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_a_lone_member_is_assigned_at_once() -> None:
    async def main() -> None:
        world = World(scheduler)
        one = Owner(world, "one")
        one.join("orders")
        await sleep_us(0)
        await sleep_us(MS)
        assert (len(one.owned), one.epochs) == (3, [1])

    with Scheduler() as scheduler:
        scheduler.run(main())


@pytest.mark.parametrize(
    ("assignor", "expected"),
    [
        ("range", [("orders", 0), ("orders", 1), ("payments", 0), ("payments", 1)]),
        ("roundrobin", [("orders", 0), ("orders", 2), ("payments", 1)]),
    ],
)
def test_partitions_are_shared_out_as_kafka_does(
    assignor: Assignor, expected: list[tuple[str, int]]
) -> None:
    async def main() -> None:
        _world, one, two = _two_members(scheduler, assignor)
        await sleep_us(S)
        assert sorted(one.owned) == expected
        assert sorted([*one.owned, *two.owned]) == sorted(_all("orders", "payments"))

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_what_every_declared_group_has_committed_is_trimmed() -> None:
    async def main() -> None:
        world = World(scheduler)
        world.log.declare_group("g", ["orders"])
        world.log.declare_group("other", ["orders"])
        one, other = Owner(world, "one"), world.scheduler.process("other")
        one.join("orders")
        reader = world.log.consumer("other", "other", other, Unread.EARLIEST)
        listener = Owner(world, "listener")
        other.create_task(reader.join(["orders"], listener))  # type: ignore[unused-awaitable]  # it ends by itself
        await sleep_us(S)
        await world.publish(6_000)
        await world.publish(50, "orders.g.dlq")
        ends = {TopicPartition("orders", n): end for n, end in enumerate(world.log.ends("orders"))}
        await one.consumer.commit(ends, one.epochs[-1])
        assert len(world.log.records("orders")) == 6_000, "the other group has not read them"
        assert (world.log.lag("g"), world.log.lag("other")) == (0, 6_000)
        await reader.commit(ends, listener.epochs[-1])
        assert len(world.log.records("orders")) == 0
        assert len(world.log.records("orders.g.dlq")) == 50
        await world.publish(10)
        assert [record.offset for record in world.log.records("orders")] != []
        assert world.log.lag("other") == 10

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_the_facts_are_complete_and_say_what_was_accepted() -> None:
    async def main() -> list[Entry]:
        world = World(scheduler)
        one = Owner(world, "one")
        one.join("orders")
        await sleep_us(S)
        attempt = (*HEADERS, ("lab-attempt", b"3"))
        await world.log.publisher(scheduler.root).publish(
            [Outgoing("orders.g.dlq", b"k", b"v", attempt), Outgoing("orders", b"k", b"w", HEADERS)]
        )
        await world.publish(1)
        place = TopicPartition("orders", 0)
        await one.consumer.commit({place: 0}, 1)
        with pytest.raises(Exception, match="generation 9"):
            await one.consumer.commit({place: 1}, 9)
        return world.facts

    with Scheduler() as scheduler:
        facts = scheduler.run(main())
    assert [kind_of(fact) for fact in facts] == ["appended"] * 3 + ["committed"] * 2
    parked, first, second = of_type(facts, AppendedEntry)
    assert (parked.event_id, parked.event_type) == ("e-1", "OrderCreated")
    assert (parked.subject, parked.attempt, first.attempt) == ("7.1", 3, 0)
    assert len({record.digest for record in (parked, first, second)}) == 3
    answers = [(fact.epoch, fact.accepted) for fact in of_type(facts, CommittedEntry)]
    assert answers == [(1, True), (9, False)]


def test_a_dead_letter_tells_of_the_death_of_its_event() -> None:
    told = (
        ("lab-dlq-reason", b"exhausted"),
        ("lab-dlq-attempts", b"6"),
        ("lab-dlq-starts", b"2"),
        ("lab-redrives", b"1"),
    )
    nameless = (("lab-dlq-reason", b"poison"), ("lab-dlq-origin", b"orders/0/7"))

    async def main() -> list[Entry]:
        world = World(scheduler)
        await world.log.publisher(scheduler.root).publish(
            [
                Outgoing("orders.g.dlq", b"k", b"v", (*HEADERS, *told)),
                Outgoing("orders.g.dlq", b"k", b"v", nameless),
                Outgoing("orders", b"k", b"v", (*HEADERS, *told)),
            ]
        )
        return world.facts

    with Scheduler() as scheduler:
        letters = of_type(scheduler.run(main()), LetterEntry)
    assert [letter[3:] for letter in letters] == [
        ("7.1", "orders.g.dlq", "g", "e-1", "exhausted", 6, 2, 1),
        ("", "orders.g.dlq", "g", "orders/0/7", "poison", 0, 0, 0),
    ]


def test_a_record_tells_its_place_in_the_trace_and_its_cause_and_a_foreign_one_neither() -> None:
    async def main() -> list[tuple[str, str]]:
        world = World(scheduler)
        traced = (*HEADERS, ("traceparent", b"00-1-2-01"), ("ce_causationid", b"e-0"))
        records = [Outgoing("orders", b"k", b"v", headers) for headers in (traced, ())]
        await world.log.publisher(scheduler.root).publish(records)
        return [(fact.traceparent, fact.cause_id) for fact in of_type(world.facts, AppendedEntry)]

    with Scheduler() as scheduler:
        assert scheduler.run(main()) == [("00-1-2-01", "e-0"), ("", "")]


def test_the_digest_covers_key_value_and_event_headers_and_nothing_else() -> None:
    async def main() -> list[str]:
        world = World(scheduler)
        records = [
            Outgoing("orders", b"k", b"v", HEADERS),
            Outgoing("orders", b"k", b"v", (*HEADERS, ("lab-attempt", b"2"), ("x", b"y"))),
            Outgoing("orders", b"kv", b"", HEADERS),
            Outgoing("orders", b"k", b"v", (*HEADERS, ("ce_extra", b"1"))),
        ]
        await world.log.publisher(scheduler.root).publish(records)
        return [record.digest for record in of_type(world.facts, AppendedEntry)]

    with Scheduler() as scheduler:
        one, same, shifted, extra = scheduler.run(main())
    assert one == same
    assert len({one, shifted, extra}) == 3


def test_a_topic_that_does_not_exist_is_refused_whole() -> None:
    async def main() -> None:
        world = World(scheduler)
        records = [Outgoing("orders", b"k", b"", ()), Outgoing("ordres", b"k", b"", ())]
        with pytest.raises(Permanent, match="ordres"):
            await world.log.publisher(scheduler.root).publish(records)
        assert world.log.records("orders") == []

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_while_it_is_down_every_call_fails_and_nothing_is_applied() -> None:
    async def main() -> None:
        world = World(scheduler)
        one = Owner(world, "one")
        one.join("orders")
        await sleep_us(S)
        world.log.is_down = True
        with pytest.raises(Transient):
            await world.publish(1)
        with pytest.raises(Transient):
            await one.consumer.poll(1)
        with pytest.raises(Transient):
            await one.consumer.commit({TopicPartition("orders", 0): 1}, 1)
        assert world.log.records("orders") == []
        assert world.log.committed("g") == {}
        assert len(world.facts) == 0

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_who_has_left_commits_nothing() -> None:
    async def main() -> None:
        world = World(scheduler)
        one = Owner(world, "one")
        one.join("orders")
        await sleep_us(S)
        await one.consumer.leave()
        with pytest.raises(Fenced):
            await one.consumer.commit({TopicPartition("orders", 0): 1}, world.log.generation("g"))
        assert world.log.committed("g") == {}

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_a_record_has_the_wall_time_of_its_append() -> None:
    async def main() -> None:
        world = World(scheduler)
        await sleep_us(3 * S)
        await world.publish(1)
        assert world.log.records("orders")[0].timestamp_us == 1_000_003 * S

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_a_closed_log_holds_nothing() -> None:
    async def main() -> None:
        world = World(scheduler)
        await world.publish(10)
        world.log.close()
        with pytest.raises(KeyError):
            world.log.records("orders")

    with Scheduler() as scheduler:
        scheduler.run(main())


def _two_members(scheduler: Scheduler, assignor: Assignor = "range") -> tuple[World, Owner, Owner]:
    world = World(scheduler, assignor)
    one, two = Owner(world, "one"), Owner(world, "two")
    one.join("orders", "payments")
    two.join("orders", "payments")
    return world, one, two


def _all(*topics: str) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic in topics for partition in range(3)]
