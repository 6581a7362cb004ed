"""What every outbox promises, and that the relay over it neither loses, invents nor reorders."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from msgspec.structs import replace

from lab.domain.envelope import Envelope, from_headers, header
from lab.domain.errors import Indeterminate, LabError, Throttled, Transient
from lab.domain.order import OrderState
from lab.history.calls import ActedEntry
from lab.history.pen import Pen
from lab.patterns.outbox import Relay, to_record
from lab.ports.bus import Outgoing, Publisher
from lab.ports.store import OutboxRow, OutboxStore, UnitVerdict
from tests.contract.store_worlds import (
    MS,
    SHARDS,
    STORES,
    WORLDS,
    Process,
    World,
    in_world,
    make_change,
    make_create,
)
from tests.kit.entries import of_type, without_time
from tests.kit.took import assert_took

S = OrderState


@pytest.fixture(params=STORES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with WORLDS[request.param]() as made:
        yield made


async def owed(outbox: OutboxStore, limit: int = 100) -> list[OutboxRow]:
    return [row for shard in range(SHARDS) for row in await outbox.unpublished(shard, limit)]


async def shard_of(outbox: OutboxStore, order_id: str) -> int:
    """The shard in which the order has rows; exactly one."""
    found = [
        shard
        for shard in range(SHARDS)
        for row in await outbox.unpublished(shard, 100)
        if row.envelope.subject == order_id
    ]
    assert len(set(found)) == 1
    return found[0]


# ---- the store's side


@in_world
async def test_a_committed_event_is_owed_until_it_is_marked(world: World) -> None:
    process = world.process("relay")
    unit = make_create()
    await process.orders.commit(unit)
    rows = await owed(process.outbox)
    assert [row.envelope for row in rows] == list(unit.events)
    await process.outbox.mark_published(rows)
    assert await owed(process.outbox) == []
    await process.outbox.mark_published(rows)  # a relay that lost the answer marks again
    assert await owed(process.outbox) == []


@in_world
async def test_rows_of_one_order_stand_in_one_shard_in_the_order_of_its_versions(
    world: World,
) -> None:
    process = world.process("relay")
    for name in "abcdef":
        await process.orders.commit(make_create(name))
    for name in "fedcba":
        await process.orders.commit(make_change(S.VALIDATED, order_id=name))
        await process.orders.commit(make_change(S.PAID, version=2, order_id=name))
    for name in "abcdef":
        rows = await process.outbox.unpublished(await shard_of(process.outbox, name), 100)
        versions = [row.envelope.sequence for row in rows if row.envelope.subject == name]
        assert versions == [1, 2, 3]


@in_world
async def test_a_row_is_not_hidden_by_later_ones_that_were_marked(world: World) -> None:
    process = world.process("relay")
    await process.orders.commit(make_create())
    await process.orders.commit(make_change(S.VALIDATED))
    await process.orders.commit(make_change(S.PAID, version=2))
    rows = await owed(process.outbox)
    await process.outbox.mark_published(rows[1:])
    assert [row.envelope.sequence for row in await owed(process.outbox)] == [1]


@in_world
async def test_a_batch_is_the_oldest_rows(world: World) -> None:
    process = world.process("relay")
    await process.orders.commit(make_create())
    await process.orders.commit(make_change(S.VALIDATED))
    assert [row.envelope.sequence for row in await owed(process.outbox, 1)] == [1]


@in_world
async def test_each_shard_has_one_owner_until_that_one_dies(world: World) -> None:
    one, other = world.process("relay-1"), world.process("relay-2")
    mine = [await one.outbox.own_shard() for _ in range(2)]
    others = [await other.outbox.own_shard() for _ in range(3)]
    assert others[-1] is None
    assert sorted([*mine, *others[:2]], key=str) == list(range(SHARDS))
    wait = other.call(other.outbox.wait_shard())
    await world.sleep_us(MS)
    one.kill()
    await wait
    assert {await other.outbox.own_shard(), await other.outbox.own_shard()} == set(mine)
    assert await other.outbox.own_shard() is None


@in_world
async def test_who_waits_for_events_is_told_by_the_commit(world: World) -> None:
    api, relay = world.process("api"), world.process("relay")
    await api.orders.commit(make_create())
    shard = await shard_of(relay.outbox, "order-1")
    await relay.call(relay.outbox.wait_unpublished(shard))  # at once: there is one
    await relay.outbox.mark_published(await owed(relay.outbox))
    wait = relay.call(relay.outbox.wait_unpublished(shard))
    await world.sleep_us(MS)
    await api.orders.commit(make_change(S.VALIDATED))
    await wait
    assert [row.envelope.sequence for row in await owed(relay.outbox)] == [2]


@in_world
async def test_events_that_their_caller_publishes_are_not_owed(world: World) -> None:
    process = world.process("api")
    unit = replace(make_create(), outboxed=False)
    assert await process.orders.commit(unit) is UnitVerdict.COMMITTED
    assert await owed(process.outbox) == []


# ---- the relay


class Log(Publisher):
    """Appends to a list. `trouble(call)` may raise before or, as `after`, behind a prefix of it."""

    def __init__(self, process: Process, trouble: Callable[[int], LabError | None]) -> None:
        self._process = process
        self._trouble = trouble
        self.calls = 0
        self.sizes: list[int] = []
        self.records: list[Outgoing] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        self.calls += 1
        self.sizes.append(len(records))
        error = self._trouble(self.calls)
        await self._process.clock.sleep_us(100)
        if isinstance(error, Indeterminate):
            self.records.extend(records[: self.calls % (len(records) + 1)])
        if error is not None:
            raise error
        self.records.extend(records)


def no_trouble(_call: int) -> None:
    return None


def make_relay(
    process: Process, publisher: Publisher, *, lanes: int = SHARDS, batch: int = 200
) -> tuple[Relay, list[tuple[object, ...]]]:
    entries: list[tuple[object, ...]] = []
    relay = Relay(
        process.outbox,
        publisher,
        process.clock,
        batch=batch,
        lanes=lanes,
        pen=Pen(process="relay-1", now=process.clock.now_us, write=entries.append),
    )
    return relay, entries


def ids(records: Sequence[Outgoing]) -> list[str]:
    return [(header(record.headers, "ce_id") or b"").decode() for record in records]


def firsts(records: Sequence[Outgoing], order_id: str) -> list[int]:
    """Sequences of an order's events in the order in which each was first appended."""
    found = [
        int(header(r.headers, "ce_sequence") or b"") for r in records if r.key == order_id.encode()
    ]
    return list(dict.fromkeys(found))


async def commit_three_versions(process: Process, names: Sequence[str]) -> list[Envelope]:
    units = [make_create(name) for name in names]
    units += [make_change(S.VALIDATED, order_id=name) for name in names]
    units += [make_change(S.PAID, version=2, order_id=name) for name in names]
    for unit in units:
        assert await process.orders.commit(unit) is UnitVerdict.COMMITTED
        await process.clock.sleep_us(50)
    return [event for unit in units for event in unit.events]


async def until_relayed(world: World, outbox: OutboxStore) -> None:
    for _ in range(1_000):
        if not await owed(outbox):
            return
        await world.sleep_us(5 * MS)
    raise AssertionError("events are still owed")


@in_world
async def test_every_committed_event_is_published_once_when_nothing_fails(world: World) -> None:
    api, process = world.process("api"), world.process("relay")
    log = Log(process, no_trouble)
    relay, entries = make_relay(process, log)
    running = process.call(relay.run())
    await world.sleep_us(200 * MS)  # it has looked, and found nothing
    events = await api.call(commit_three_versions(api, ["a", "b", "c", "d", "e"]))
    await until_relayed(world, api.outbox)
    assert sorted(ids(log.records)) == sorted(event.id for event in events)
    first = next(record for record in log.records if record.key == b"a")
    assert from_headers(first.headers, first.value) == events[0]
    assert (first.topic, entries) == ("orders", [])
    await process.call(relay.stop())
    await running


@in_world
async def test_a_backlog_is_published_in_the_order_of_each_aggregate(world: World) -> None:
    process = world.process("relay")
    events = await process.call(commit_three_versions(process, ["a", "b"]))
    log = Log(process, no_trouble)
    relay, _ = make_relay(process, log)
    process.start(relay.run())
    await until_relayed(world, process.outbox)
    assert len(log.records) == len(events)
    assert [firsts(log.records, name) for name in "ab"] == [[1, 2, 3], [1, 2, 3]]


@in_world
async def test_a_batch_is_no_larger_than_it_may_be(world: World) -> None:
    process = world.process("relay")
    await process.call(commit_three_versions(process, ["a"]))
    log = Log(process, no_trouble)
    relay, _ = make_relay(process, log, batch=2)
    process.start(relay.run())
    await until_relayed(world, process.outbox)
    assert log.sizes == [2, 1]


@in_world
async def test_all_that_a_lost_answer_left_in_doubt_is_told_as_repeated(world: World) -> None:
    process = world.process("relay")
    await process.call(commit_three_versions(process, ["a"]))
    log = Log(process, lambda call: Indeterminate("lost") if call == 1 else None)
    relay, entries = make_relay(process, log)
    process.start(relay.run())
    await until_relayed(world, process.outbox)
    await world.sleep_us(10 * MS)
    assert [without_time(entry) for entry in entries] == [
        ("acted", "relay-1", "", "outbox", "repeated")
    ] * 3


@in_world
async def test_failed_publishes_lose_and_reorder_nothing(world: World) -> None:
    names = ["a", "b", "c", "d", "e", "f", "g"]
    api, process = world.process("api"), world.process("relay")

    def trouble(call: int) -> LabError | None:
        if call % 3 == 0:
            return Indeterminate("the answer was lost")
        return Transient("no broker") if call % 4 == 0 else None

    log = Log(process, trouble)
    relay, entries = make_relay(process, log, batch=2)
    process.start(relay.run())
    await world.sleep_us(200 * MS)  # it has looked, and found nothing
    events = await api.call(commit_three_versions(api, names))
    await until_relayed(world, api.outbox)
    assert set(ids(log.records)) == {event.id for event in events}
    assert all(firsts(log.records, name) == [1, 2, 3] for name in names)
    assert len(log.records) > len(events), "an indeterminate publish is repeated"
    assert {acted.what for acted in of_type(entries, ActedEntry)} == {"repeated"}


@in_world
async def test_a_throttled_relay_waits_as_long_as_it_was_told(world: World) -> None:
    process = world.process("relay")
    log = Log(process, lambda call: Throttled("slow", after_us=300 * MS) if call == 1 else None)
    relay, _ = make_relay(process, log)
    await process.orders.commit(make_create())
    process.start(relay.run())
    await world.sleep_us(250 * MS)
    assert log.records == []
    await until_relayed(world, process.outbox)
    assert len(log.records) == 1


@in_world
async def test_two_relays_share_the_shards_and_keep_the_order_of_each_aggregate(
    world: World,
) -> None:
    names = [f"order-{number}" for number in range(12)]
    api, one, other = world.process("api"), world.process("relay-1"), world.process("relay-2")
    both: list[Outgoing] = []
    for process in (one, other):
        log = Log(process, no_trouble)
        log.records = both
        relay, _ = make_relay(process, log, lanes=2, batch=3)
        process.start(relay.run())
    events = await api.call(commit_three_versions(api, names))
    await until_relayed(world, api.outbox)
    assert sorted(ids(both)) == sorted(event.id for event in events)
    assert all(firsts(both, name) == [1, 2, 3] for name in names)


@in_world
async def test_a_relay_killed_between_publish_and_mark_publishes_again_under_the_same_id(
    world: World,
) -> None:
    first, second = world.process("relay-1#1"), world.process("relay-1#2")
    await first.orders.commit(make_create())
    await first.orders.commit(make_change(S.VALIDATED))

    class Deadly(Log):
        async def publish(self, records: Sequence[Outgoing]) -> None:
            await super().publish(records)
            first.kill()

    log = Deadly(first, no_trouble)
    relay, _ = make_relay(first, log)
    first.start(relay.run())
    await world.sleep_us(10 * MS)
    assert len(await owed(second.outbox)) == 2, "published, and not marked"
    later = Log(second, no_trouble)
    relay, entries = make_relay(second, later)
    second.start(relay.run())
    await until_relayed(world, second.outbox)
    assert ids(later.records) == ids(log.records)
    assert [acted.what for acted in of_type(entries, ActedEntry)] == ["recovered", "recovered"]


@in_world
async def test_a_relay_that_stands_by_takes_over_the_shards_of_a_dead_one(world: World) -> None:
    names = ["a", "b", "c", "d", "e"]
    api, one, other = world.process("api"), world.process("relay-1"), world.process("relay-2")
    dead, standby = Log(one, no_trouble), Log(other, no_trouble)
    for process, log in ((one, dead), (other, standby)):
        relay, _ = make_relay(process, log)
        process.start(relay.run())
        await world.sleep_us(200 * MS)  # the first one owns every shard by now
    for name in names:
        await api.orders.commit(make_create(name))
    await until_relayed(world, api.outbox)
    assert standby.records == []
    one.kill()
    for name in names:
        await api.orders.commit(make_change(S.VALIDATED, order_id=name))
    await until_relayed(world, api.outbox)
    assert sorted(record.key for record in standby.records) == [b"a", b"b", b"c", b"d", b"e"]


@in_world
async def test_a_relay_killed_at_any_moment_loses_and_reorders_nothing(world: World) -> None:
    names = ["a", "b", "c"]
    api = world.process("api")
    committing = api.call(commit_three_versions(api, names))
    records: list[Outgoing] = []
    for life in range(1, 30):
        process = world.process(f"relay#{life}")
        log = Log(process, no_trouble)
        log.records = records
        relay, _ = make_relay(process, log, batch=2)
        process.start(relay.run())
        await world.sleep_us(37 * life)
        process.kill()
    process = world.process("relay#last")
    log = Log(process, no_trouble)
    log.records = records
    relay, _ = make_relay(process, log)
    process.start(relay.run())
    events = await committing
    await until_relayed(world, process.outbox)
    assert set(ids(records)) == {event.id for event in events}
    assert all(firsts(records, name) == [1, 2, 3] for name in names)


@in_world
async def test_stop_finishes_the_batch_in_hand_and_starts_none(world: World) -> None:
    process = world.process("relay")
    log = Log(process, no_trouble)
    relay, _ = make_relay(process, log, batch=1)
    await process.orders.commit(make_create())
    await process.orders.commit(make_change(S.VALIDATED))
    running = process.call(relay.run())
    while not log.calls:
        await world.sleep_us(10)
    stopping = process.call(relay.stop())
    await stopping
    published = len(log.records)
    assert published >= 1
    await running
    assert len(await owed(process.outbox)) == 2 - published, "what was published is marked"
    await process.call(relay.stop())
    await process.orders.commit(make_change(S.PAID, version=2))
    await world.sleep_us(10 * MS)
    assert len(log.records) == published


@in_world
async def test_an_idle_relay_stops_at_once_and_a_stopped_one_never_starts(world: World) -> None:
    process = world.process("relay")
    relay, _ = make_relay(process, Log(process, no_trouble))
    running = process.call(relay.run())
    await world.sleep_us(MS)
    await process.call(relay.stop())
    await running
    await process.call(relay.run())


@in_world
async def test_a_relay_without_a_broker_stops_too(world: World) -> None:
    process = world.process("relay")
    await process.orders.commit(make_create())
    relay, _ = make_relay(process, Log(process, lambda _: Transient("no broker")))
    running = process.call(relay.run())
    await world.sleep_us(500 * MS)
    await process.call(relay.stop())
    await running
    assert len(await owed(process.outbox)) == 1


@in_world
async def test_a_relay_that_was_told_to_wait_stops_at_once(world: World) -> None:
    process = world.process("relay")
    await process.orders.commit(make_create())
    log = Log(process, lambda _: Throttled("slow", after_us=30_000 * MS))
    relay, _ = make_relay(process, log)
    running = process.call(relay.run())
    while not log.calls:
        await world.sleep_us(MS)
    await world.sleep_us(100 * MS)
    began_us = process.clock.now_us()
    await process.call(relay.stop())
    await running
    assert_took(process.clock.now_us() - began_us, most_us=5_000 * MS)


@in_world
async def test_a_relay_may_be_stopped_before_it_ran_and_before_its_lanes_did(
    world: World,
) -> None:
    process = world.process("relay")
    never, _ = make_relay(process, Log(process, no_trouble))
    await process.call(never.stop())
    relay, _ = make_relay(process, Log(process, no_trouble))
    running = process.call(relay.run())
    await process.call(relay.stop())
    await running


@in_world
async def test_a_bug_in_a_publisher_ends_the_relay_loudly(world: World) -> None:
    process = world.process("relay")

    class Broken(Log):
        async def publish(self, records: Sequence[Outgoing]) -> None:
            raise ZeroDivisionError(f"{len(records)} records")

    await process.orders.commit(make_create())
    relay, _ = make_relay(process, Broken(process, no_trouble))
    with pytest.raises(ZeroDivisionError):
        await process.call(relay.run())


def test_a_record_is_keyed_by_its_order_and_goes_to_the_topic_of_its_type() -> None:
    (event,) = make_change(S.PAID, version=2).events
    record = to_record(event)
    assert (record.topic, record.key, record.value) == ("payments", b"order-1", event.data)
    assert from_headers(record.headers, record.value) == event
