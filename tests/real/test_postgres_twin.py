"""The store on PostgreSQL says and does what the one in memory does, whatever it is asked.

Two real implementations of one port are each other's model: the same units, drawn by chance, must
get the same verdicts and leave the same facts; and units that are asked for at the same time must
leave what some order of them would have left.
"""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random  # noqa: TID251 - seeded; a test draws its own cases

import pytest
from msgspec.structs import replace

from lab.domain.order import OrderState
from lab.history.entries import kind_of, subject_of
from lab.history.facts import RevenueEntry
from lab.ports.store import (
    Change,
    HttpKeyRow,
    IntentChange,
    IntentOp,
    OrderStore,
    Revenue,
    Unit,
    UnitVerdict,
)
from lab.stores.postgres import facts as postgres_facts
from lab.stores.postgres.link import connect
from tests.contract.server_worlds import PostgresWorld, postgres_world
from tests.contract.store_worlds import (
    make_create,
    make_event,
    make_intent,
    make_outcome,
    memory_world,
)
from tests.kit.entries import of_type, without_time

pytestmark = [pytest.mark.real, pytest.mark.slow]

S = OrderState
STATES = (S.PENDING, S.VALIDATED, S.PAID, S.CANCELLED)


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    with postgres_world() as made:
        yield made


def draw_unit(chance: Random, orders: int) -> Unit:
    """A unit of any shape; most of its wishes can be granted now and then."""
    order_id = f"order-{chance.randrange(orders)}"
    version = chance.randrange(1, 5)
    unit = Unit(by="test", cause="c", lab_subject=f"{order_id}.1", order_id=order_id)
    shape = chance.random()
    if shape < 0.25:
        unit = replace(make_create(order_id), outboxed=chance.random() < 0.8)
    elif shape < 0.7:
        to = chance.choice(STATES)
        event = make_event(order_id, to, version + 1)
        unit = replace(
            unit,
            change=Change(version=version, to=to),
            events=(event,) if chance.random() < 0.9 else (),
        )
    if chance.random() < 0.3:
        unit = replace(unit, in_states=tuple(chance.sample(STATES, 2)))
    if chance.random() < 0.4:
        ns = chance.sample((1, 2), chance.randrange(1, 3))
        unit = replace(unit, intents=tuple(draw_step(chance, order_id, n) for n in ns))
    if chance.random() < 0.5:
        dead_at = chance.choice((None, None, 0, 1))
        event_id = f"event-{chance.randrange(4 * orders)}"
        unit = replace(
            unit, outcome=make_outcome(event_id, dead_at=dead_at, redrives=chance.randrange(3))
        )
    if chance.random() < 0.3:
        amount = Revenue(currency=chance.choice(("GBP", "EUR")), amount_cents=chance.randrange(9))
        unit = replace(unit, revenue=amount)
    if chance.random() < 0.2:
        key = HttpKeyRow(key=f"k{chance.randrange(20)}", body_sha256="b", status=201, answer=b"{}")
        unit = replace(unit, http_key=key)
    return unit


def draw_step(chance: Random, order_id: str, n: int) -> IntentChange:
    op = chance.choice(tuple(IntentOp))
    until = chance.choice((5_000, 6_000))
    return IntentChange(
        op=op,
        intent=make_intent(n, send_until_us=until, order_id=order_id),
        while_in=tuple(chance.sample(STATES, 3)),
        expected_send_until_us=0 if op is IntentOp.CLOSE else chance.choice((5_000, 6_000)),
    )


async def one_by_one(orders: OrderStore, units: Sequence[Unit]) -> list[UnitVerdict]:
    return [await orders.commit(unit) for unit in units]


def in_memory(units: Sequence[Unit]) -> tuple[list[UnitVerdict], list[tuple[object, ...]]]:
    with memory_world() as twin:
        return twin.run(one_by_one(twin.process("p").orders, units)), twin.facts


async def facts_of(world: PostgresWorld) -> list[tuple[object, ...]]:
    watcher = await connect(world.server, plain="pulse-lab test")
    entries = [entry async for entry in postgres_facts.gather_facts(watcher)]
    await watcher.close()
    # The world of these tests has blocked a customer: in memory the laboratory tells of that.
    return [entry for entry in entries if kind_of(entry) != "blocked"]


@pytest.mark.parametrize("seed", range(4))
def test_the_same_units_get_the_same_verdicts_and_leave_the_same_facts(
    world: PostgresWorld, seed: int
) -> None:
    chance = Random(seed)
    units = [draw_unit(chance, 12) for _ in range(400)]
    verdicts, told = in_memory(units)
    assert world.run(one_by_one(world.process("p").orders, units)) == verdicts
    gathered = world.run(facts_of(world))
    assert list(map(without_time, gathered)) == list(map(without_time, told))
    assert set(verdicts) == set(UnitVerdict)


@pytest.mark.parametrize("seed", range(4))
def test_units_that_are_asked_for_at_once_leave_what_some_order_of_them_would(
    world: PostgresWorld, seed: int
) -> None:
    """Facts are numbered under locks, in an order of commits: in it, all are committed again."""
    chance = Random(100 + seed)
    units = [
        replace(draw_unit(chance, 12), cause=f"unit-{number}", revenue=paid)
        for number, paid in enumerate([Revenue(currency="GBP", amount_cents=1)] * 400)
    ]

    async def at_once() -> list[UnitVerdict]:
        stores = [world.process(f"p{number}").orders for number in range(3)]
        return list(
            await asyncio.gather(
                *(stores[number % 3].commit(unit) for number, unit in enumerate(units))
            )
        )

    verdicts = world.run(at_once())
    gathered = world.run(facts_of(world))
    # Every unit adds revenue under a cause of its own, the last but one of its facts.
    causes = [added.event_id for added in of_type(gathered, RevenueEntry)]
    order = [int(cause.removeprefix("unit-")) for cause in causes]
    assert sorted(order) == [n for n, each in enumerate(verdicts) if each is UnitVerdict.COMMITTED]
    by_order: dict[object, list[tuple[object, ...]]] = {}
    for entry in gathered:
        by_order.setdefault(subject_of(entry), []).append(without_time(entry))
    again, told = in_memory([units[number] for number in order])
    assert set(again) == {UnitVerdict.COMMITTED}
    expected: dict[object, list[tuple[object, ...]]] = {}
    for entry in told:
        expected.setdefault(subject_of(entry), []).append(without_time(entry))
    assert {who: sorted(map(str, its)) for who, its in by_order.items()} == {
        who: sorted(map(str, its)) for who, its in expected.items()
    }
