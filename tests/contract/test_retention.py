"""What every store promises of its old rows: cut by age, never what is owed, dead or asked for."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from lab.domain.order import OrderState
from lab.ports.retention import Ages
from lab.ports.store import HttpKeyRow, Outcome, Unit, UnitVerdict
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
    make_outcome,
    state_of,
)

S = OrderState
V = UnitVerdict
AGE_US = 150 * MS
MANY = 1_000
EVERYTHING = Ages(outbox=1, inbox=1, http_keys=1, versions=1)
NOTHING = Ages(outbox=0, inbox=0, http_keys=0, versions=0)
OLD = Ages(outbox=AGE_US, inbox=AGE_US, http_keys=AGE_US, versions=AGE_US)


@pytest.fixture(params=STORES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with WORLDS[request.param]() as made:
        yield made


def make_done(event_id: str) -> Unit:
    return Unit(outcome=make_outcome(event_id))


def make_answer(key: str) -> Unit:
    row = HttpKeyRow(key=key, body_sha256="sha", status=201, answer=b"body")
    return Unit(http_key=row)


async def publish_all(process: Process) -> None:
    for shard in range(SHARDS):
        rows = await process.outbox.unpublished(shard, MANY)
        if rows:
            await process.outbox.mark_published(rows)


@in_world
async def test_what_is_older_is_cut_and_what_is_younger_stays(world: World) -> None:
    process = world.process("relay")
    orders = process.orders
    for unit in (make_done("old"), make_answer("old")):
        await orders.commit(unit)
    await world.sleep_us(2 * AGE_US)
    for unit in (make_done("young"), make_answer("young")):
        await orders.commit(unit)
    found = await process.retention.cut(OLD, limit=MANY)
    assert (found["inbox"], found["http_keys"]) == (1, 1)
    assert await orders.outcome("payment", "old") is None
    assert await orders.http_key("old") is None
    assert await orders.outcome("payment", "young") == (Outcome.DONE, 0)
    assert await orders.http_key("young") is not None
    assert await orders.commit(make_done("young")) is V.DONE
    assert await orders.commit(make_done("old")) is V.COMMITTED
    assert await orders.commit(make_answer("old")) is V.COMMITTED


@in_world
async def test_what_is_kept_for_ever_is_never_cut(world: World) -> None:
    process = world.process("relay")
    for unit in (make_done("e"), make_answer("k")):
        await process.orders.commit(unit)
    await world.sleep_us(2 * AGE_US)
    assert not any((await process.retention.cut(NOTHING, limit=MANY)).values())
    assert await process.orders.outcome("payment", "e") is not None
    assert await process.orders.http_key("k") is not None


@in_world
async def test_dead_events_orders_and_what_is_owed_are_never_cut(world: World) -> None:
    process = world.process("relay")
    orders = process.orders
    await orders.commit(make_create())
    await orders.commit(make_change(S.CANCELLED))
    await orders.commit(Unit(outcome=make_outcome("dead", dead_at=0)))
    await world.sleep_us(2 * AGE_US)
    await process.retention.cut(EVERYTHING, limit=MANY)
    assert await orders.outcome("payment", "dead") == (Outcome.DEAD, 0)
    assert await state_of(orders) == ("CANCELLED", 2)
    owed = [row for n in range(SHARDS) for row in await process.outbox.unpublished(n, MANY)]
    assert [row.envelope.sequence for row in owed] == [1, 2]
    await publish_all(process)
    await world.sleep_us(2 * AGE_US)
    await process.retention.cut(EVERYTHING, limit=MANY)
    refund = make_change(S.REFUNDED, version=2)
    assert await orders.commit(refund) is V.COMMITTED, "the order goes on without its past"


@in_world
async def test_the_inbox_is_never_cut_below_an_event_that_is_still_owed(world: World) -> None:
    process = world.process("relay")
    orders = process.orders
    unit = make_create()
    loaded_us = process.clock.wall_us()
    await orders.commit(replace(unit, events=(replace(unit.events[0], time_us=loaded_us),)))
    # Its relay published it and died before it could say so: a group is done with it.
    await orders.commit(make_done("published"))
    await world.sleep_us(3 * AGE_US)
    assert (await process.retention.count_old(OLD))["inbox"] == 0
    assert (await process.retention.cut(OLD, limit=MANY))["inbox"] == 0
    assert await orders.commit(make_done("published")) is V.DONE
    await publish_all(process)
    assert (await process.retention.cut(OLD, limit=MANY))["inbox"] == 1


@in_world
async def test_counting_changes_nothing_and_says_what_cutting_then_does(world: World) -> None:
    process = world.process("relay")
    for number in range(7):
        await process.orders.commit(make_done(f"e{number}"))
        await process.orders.commit(make_answer(f"k{number}"))
    await world.sleep_us(2 * AGE_US)
    counted = await process.retention.count_old(OLD)
    assert await process.retention.count_old(OLD) == counted
    assert (counted["inbox"], counted["http_keys"]) == (7, 7)
    assert await process.retention.cut(OLD, limit=MANY) == counted
    assert not any((await process.retention.count_old(OLD)).values())


@in_world
async def test_a_cut_takes_no_more_rows_than_it_may_and_goes_on_the_next_time(
    world: World,
) -> None:
    process = world.process("relay")
    for number in range(7):
        await process.orders.commit(make_done(f"e{number}"))
    await world.sleep_us(2 * AGE_US)
    cuts = [(await process.retention.cut(OLD, limit=3))["inbox"] for _ in range(4)]
    assert cuts == [3, 3, 1, 0]
