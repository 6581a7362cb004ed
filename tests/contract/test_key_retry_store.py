"""What every store of keys in retry promises: one head, arrivals in order, each call whole."""

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from lab.ports.key_retry import Arrival, KeyRetryStore
from lab.ports.store import Unit, UnitVerdict
from tests.contract.store_worlds import (
    MS,
    STORES,
    WORLDS,
    World,
    in_world,
    make_outcome,
    make_waiting,
)

A = Arrival
GROUP, KEY = "notification", "order-1"


@pytest.fixture(params=STORES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with WORLDS[request.param]() as made:
        yield made


async def head_id(store: KeyRetryStore, key: str = KEY) -> str | None:
    row, _ = await store.head(GROUP, key)
    return None if row is None else row.event_id


async def finish_all(store: KeyRetryStore) -> list[str]:
    """Finish heads until the key is free; their events in that order."""
    finished = []
    row, _ = await store.head(GROUP, KEY)
    while row is not None:
        finished.append(row.event_id)
        row = await store.finish(GROUP, KEY, row.event_id)
    return finished


@in_world
async def test_a_free_key_takes_nothing_down(world: World) -> None:
    store = world.process("p").key_retry
    assert await store.arrive(make_waiting("e1")) == (A.FREE, None)
    assert await store.arrive(make_waiting("e1")) == (A.FREE, None)
    assert await head_id(store) is None


@in_world
async def test_the_first_failure_locks_the_key_with_its_row_verbatim(world: World) -> None:
    store = world.process("p").key_retry
    parked = make_waiting("e1")
    head = await store.park(parked)
    assert head is not None
    assert replace(head, arrival=0) == parked
    row, now_us = await store.head(GROUP, KEY)
    assert row == head
    assert now_us > 1_500_000_000_000_000, "database time"
    assert await store.arrive(make_waiting("e1")) == (A.HEAD, head)


@in_world
async def test_later_events_of_the_key_wait_behind_it_once_each_in_order(world: World) -> None:
    store = world.process("p").key_retry
    await store.park(make_waiting("e1"))
    for event_id in ("e2", "e3", "e4"):
        assert await store.arrive(make_waiting(event_id)) == (A.APPENDED, None)
    assert await store.arrive(make_waiting("e3")) == (A.WAITING, None)
    assert await finish_all(store) == ["e1", "e2", "e3", "e4"]
    assert await store.arrive(make_waiting("e5")) == (A.FREE, None)


@in_world
async def test_keys_and_groups_are_locked_apart(world: World) -> None:
    store = world.process("p").key_retry
    await store.park(make_waiting("e1"))
    assert (await store.arrive(make_waiting("e2", key="order-2")))[0] is A.FREE
    assert (await store.arrive(make_waiting("e2", group="payment")))[0] is A.FREE


@in_world
async def test_an_event_with_an_outcome_does_not_wait_again(world: World) -> None:
    process = world.process("p")
    store = process.key_retry
    await store.park(make_waiting("head"))
    for event_id, dead_at in (("done", None), ("dead", 1)):
        outcome = make_outcome(event_id, group=GROUP, dead_at=dead_at)
        assert await process.orders.commit(Unit(outcome=outcome)) is UnitVerdict.COMMITTED
    assert await store.arrive(make_waiting("done")) == (A.DONE, None)
    assert await store.arrive(make_waiting("dead")) == (A.DONE, None)
    assert await store.arrive(make_waiting("dead", redrives=1)) == (A.DONE, None)
    assert await store.arrive(make_waiting("dead", redrives=2)) == (A.APPENDED, None)
    assert await finish_all(store) == ["head", "dead"]


@in_world
async def test_a_failure_that_comes_after_the_outcome_locks_nothing(world: World) -> None:
    process = world.process("p")
    store = process.key_retry
    await process.orders.commit(Unit(outcome=make_outcome("done", group=GROUP)))
    await process.orders.commit(Unit(outcome=make_outcome("dead", group=GROUP, dead_at=1)))
    assert await store.park(make_waiting("done")) is None
    assert await store.park(make_waiting("dead", redrives=1)) is None
    assert await head_id(store) is None
    head = await store.park(make_waiting("dead", redrives=2))
    assert head is not None
    assert head.event_id == "dead"


@in_world
async def test_a_row_stays_a_row_when_its_event_gets_its_outcome(world: World) -> None:
    process = world.process("p")
    store = process.key_retry
    head = await store.park(make_waiting("e1"))
    await process.orders.commit(Unit(outcome=make_outcome("e1", group=GROUP)))
    assert await store.arrive(make_waiting("e1")) == (A.HEAD, head)
    assert await store.park(make_waiting("e1")) == head
    assert await store.finish(GROUP, KEY, "e1") is None


@in_world
async def test_an_outcome_of_another_group_does_not_count(world: World) -> None:
    process = world.process("p")
    await process.key_retry.park(make_waiting("head"))
    await process.orders.commit(Unit(outcome=make_outcome("e2", group="payment")))
    assert await process.key_retry.arrive(make_waiting("e2")) == (A.APPENDED, None)


@in_world
async def test_of_two_first_failures_one_is_the_head(world: World) -> None:
    one, other = world.process("one"), world.process("other")
    heads = await asyncio.gather(
        one.call(one.key_retry.park(make_waiting("e1"))),
        other.call(other.key_retry.park(make_waiting("e2"))),
    )
    assert heads[0] == heads[1]
    assert sorted(await finish_all(one.key_retry)) == ["e1", "e2"]


@in_world
async def test_parking_a_row_again_changes_nothing(world: World) -> None:
    store = world.process("p").key_retry
    first = await store.park(make_waiting("e1"))
    await store.arrive(make_waiting("e2"))
    assert await store.park(replace(make_waiting("e1"), attempts=9)) == first
    assert await store.park(make_waiting("e2")) == first
    assert await finish_all(store) == ["e1", "e2"]


@in_world
async def test_only_the_head_is_finished(world: World) -> None:
    store = world.process("p").key_retry
    head = await store.park(make_waiting("e1"))
    await store.arrive(make_waiting("e2"))
    assert await store.finish(GROUP, KEY, "e2") == head
    remaining = await store.finish(GROUP, KEY, "e1")
    assert remaining is not None
    assert remaining.event_id == "e2"
    assert await store.finish(GROUP, KEY, "e1") == remaining, "a repeated finish"
    assert await store.finish(GROUP, KEY, "e2") is None
    assert await store.finish(GROUP, KEY, "e2") is None


@in_world
async def test_attempts_of_the_head_are_stored_and_of_no_other(world: World) -> None:
    store = world.process("p").key_retry
    await store.park(make_waiting("e1"))
    await store.arrive(make_waiting("e2"))
    failures = ((1_000, "Transient", "no"), (9_000, "Throttled", "slow"))
    tried = replace(make_waiting("e1"), attempts=4, not_before_us=99, failures=failures)
    assert await store.reschedule(tried)
    assert not await store.reschedule(replace(tried, event_id="e2"))
    row, _ = await store.head(GROUP, KEY)
    assert row is not None
    assert (row.event_id, row.attempts, row.not_before_us) == ("e1", 4, 99)
    assert row.failures == failures
    assert row.record == make_waiting("e1").record
    await finish_all(store)
    assert not await store.reschedule(tried)


@in_world
async def test_behind_a_dead_head_rows_stay_and_arrive(world: World) -> None:
    store = world.process("p").key_retry
    await store.park(make_waiting("e1"))
    await store.arrive(make_waiting("e2"))
    await store.bury(GROUP, KEY, "e2", 0)
    row, _ = await store.head(GROUP, KEY)
    assert row is not None
    assert not row.is_dead, "e2 is not the head"
    await store.bury(GROUP, KEY, "e1", 0)
    arrival, head = await store.arrive(make_waiting("e1"))
    assert (arrival, head is not None and head.is_dead) == (A.HEAD, True)
    assert await store.arrive(make_waiting("e3")) == (A.APPENDED, None)
    assert await finish_all(store) == ["e1", "e2", "e3"], "a discard"


@in_world
async def test_a_redrive_revives_the_dead_head_once(world: World) -> None:
    store = world.process("p").key_retry
    await store.park(make_waiting("e1"))
    await store.bury(GROUP, KEY, "e1", 0)
    assert not await store.revive(make_waiting("e1", redrives=0)), "no more redrives than before"
    assert not await store.revive(make_waiting("e2", redrives=1)), "it is no row"
    assert await store.revive(make_waiting("e1", redrives=1))
    assert not await store.revive(make_waiting("e1", redrives=1)), "the same redrive again"
    row, now_us = await store.head(GROUP, KEY)
    assert row is not None
    assert (row.is_dead, row.attempts, row.redrives, row.failures) == (False, 0, 1, ())
    assert row.not_before_us <= now_us
    await store.bury(GROUP, KEY, "e1", 1)
    assert not await store.revive(make_waiting("e1", redrives=1)), "a late copy of that redrive"
    assert await store.revive(make_waiting("e1", redrives=2))


@in_world
async def test_a_redrive_reaches_its_event_before_it_is_buried_and_wherever_it_waits(
    world: World,
) -> None:
    store = world.process("p").key_retry
    await store.park(replace(make_waiting("e1"), attempts=6))
    await store.arrive(replace(make_waiting("e2"), attempts=6))
    assert await store.revive(make_waiting("e2", redrives=1))
    assert await store.revive(make_waiting("e1", redrives=1))
    row, _ = await store.head(GROUP, KEY)
    assert row is not None
    assert (row.event_id, row.attempts, row.redrives) == ("e1", 0, 1)
    behind = await store.finish(GROUP, KEY, "e1")
    assert behind is not None
    assert (behind.event_id, behind.attempts, behind.redrives) == ("e2", 0, 1)


@in_world
async def test_what_is_said_of_a_run_before_a_redrive_changes_nothing(world: World) -> None:
    store = world.process("p").key_retry
    await store.park(make_waiting("e1"))
    await store.revive(make_waiting("e1", redrives=1))
    await store.bury(GROUP, KEY, "e1", 0)
    assert not await store.reschedule(replace(make_waiting("e1"), attempts=5))
    row, _ = await store.head(GROUP, KEY)
    assert row is not None
    assert (row.is_dead, row.attempts) == (False, 0)
    await store.bury(GROUP, KEY, "e1", 1)
    row, _ = await store.head(GROUP, KEY)
    assert row is not None
    assert row.is_dead


@in_world
async def test_a_discard_deletes_the_row_unless_it_was_redriven_since(world: World) -> None:
    store = world.process("p").key_retry
    await store.park(make_waiting("e1"))
    await store.arrive(make_waiting("e2"))
    await store.arrive(make_waiting("e3"))
    await store.bury(GROUP, KEY, "e1", 0)
    assert not await store.discard(make_waiting("e1", redrives=0)), "of a death before"
    assert not await store.discard(make_waiting("e9", redrives=1)), "it is no row"
    assert await store.discard(make_waiting("e1", redrives=1))
    assert not await store.discard(make_waiting("e1", redrives=1)), "the same discard again"
    assert await store.discard(make_waiting("e2", redrives=1)), "dead without a mark"
    assert await head_id(store) == "e3"
    assert await store.discard(make_waiting("e3", redrives=1))
    assert (await store.arrive(make_waiting("e4")))[0] is A.FREE, "with the last row the lock goes"
    assert not await store.discard(make_waiting("e3", redrives=1))


@in_world
async def test_rows_outlive_the_processes_that_wrote_them(world: World) -> None:
    first, second = world.process("p#1"), world.process("p#2")
    await first.key_retry.park(make_waiting("e1"))
    await first.key_retry.arrive(make_waiting("e2"))
    first.kill()
    assert await finish_all(second.key_retry) == ["e1", "e2"]


@in_world
async def test_a_call_whose_process_dies_is_made_whole_or_not_at_all(world: World) -> None:
    witness = world.process("witness").key_retry
    for number in range(3):
        process = world.process(f"p#{number}")
        process.start(process.key_retry.park(make_waiting("e1")))
        for _ in range(number):
            await world.sleep_us(0)
        process.kill()
        await world.sleep_us(10 * MS)
        row, _ = await witness.head(GROUP, KEY)
        assert row is None or replace(row, arrival=0) == make_waiting("e1")
    assert await witness.park(make_waiting("e1")) is not None
    assert await finish_all(witness) == ["e1"]
