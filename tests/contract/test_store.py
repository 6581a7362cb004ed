"""What every order store promises: transactions, outcomes, intents, expiry, starts."""

import asyncio
from collections.abc import Iterator
from hashlib import shake_256

import msgspec
import pytest

from lab.domain.envelope import EVENT_ID_BYTES_MAX
from lab.domain.order import OrderState
from lab.ports.store import (
    HttpKeyRow,
    IntentChange,
    IntentOp,
    Outcome,
    Revenue,
    Unit,
    UnitVerdict,
)
from tests.contract.store_worlds import (
    BLOCKED,
    MS,
    STORES,
    WORLDS,
    World,
    in_world,
    make_change,
    make_create,
    make_intent,
    make_outcome,
    state_of,
)

S = OrderState
V = UnitVerdict
replace = msgspec.structs.replace


@pytest.fixture(params=STORES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with WORLDS[request.param]() as made:
        yield made


# ---- orders


@in_world
async def test_a_created_order_is_read_back_with_its_expiry(world: World) -> None:
    orders = world.process("api").orders
    assert await orders.commit(make_create(expiry_us=90_000 * MS)) is V.COMMITTED
    loaded = await orders.load("order-1")
    assert loaded is not None
    order = loaded.order
    assert (order.id, order.state, order.version) == ("order-1", S.PENDING, 1)
    assert (order.customer_id, order.country, order.currency) == ("C-1", None, "GBP")
    assert (order.amount_cents, order.lab_subject) == (1_000, "1.1")
    assert order.expires_us - order.created_us == 90_000 * MS
    assert order.created_us <= loaded.now_us
    assert loaded.intents == ()


@in_world
async def test_an_order_that_was_never_created_is_not_found(world: World) -> None:
    orders = world.process("api").orders
    assert await orders.load("order-1") is None
    assert await orders.commit(make_change(S.VALIDATED)) is V.CONFLICT


@in_world
async def test_an_order_id_is_created_once(world: World) -> None:
    orders = world.process("api").orders
    await orders.commit(make_create())
    await orders.commit(make_change(S.CANCELLED))
    assert await orders.commit(make_create()) is V.CONFLICT
    assert await state_of(orders) == ("CANCELLED", 2)


@in_world
async def test_the_orders_of_a_customer_are_read_in_pages_the_newest_first(world: World) -> None:
    orders = world.process("api").orders
    for number in range(5):
        await orders.commit(make_create(f"order-{number}"))
    other = make_create("order-9")
    assert other.create is not None
    theirs = msgspec.structs.replace(other.create.order, customer_id="C-2")
    stranger = msgspec.structs.replace(other.create, order=theirs)
    await orders.commit(msgspec.structs.replace(other, create=stranger))
    await orders.commit(make_change(S.VALIDATED, order_id="order-3"))

    found: list[str] = []
    before: tuple[int, str] | None = None
    while page := await orders.of_customer("C-1", before=before, limit=2):
        assert len(page) <= 2
        places = [(order.created_us, order.id) for order in page]
        assert places == sorted(places, reverse=True)
        assert before is None or places[0] < before
        found += [order.id for order in page]
        before = places[-1]
    assert sorted(found) == [f"order-{number}" for number in range(5)]
    (newest,) = await orders.of_customer("C-2", before=None, limit=5)
    assert newest.customer_id == "C-2"
    assert await orders.of_customer("C-\0", before=None, limit=5) == []


@in_world
async def test_of_two_rivals_from_one_version_one_commits(world: World) -> None:
    one, other = world.process("payment"), world.process("api")
    await one.orders.commit(make_create())
    verdicts = await asyncio.gather(
        one.call(one.orders.commit(make_change(S.VALIDATED))),
        other.call(other.orders.commit(make_change(S.CANCELLED))),
    )
    assert sorted(verdicts) == [V.COMMITTED, V.CONFLICT]
    expected = "VALIDATED" if verdicts[0] is V.COMMITTED else "CANCELLED"
    assert await state_of(one.orders) == (expected, 2)
    shard_rows = [await one.outbox.unpublished(shard, 10) for shard in range(4)]
    owed = [row.envelope.sequence for rows in shard_rows for row in rows]
    assert owed == [1, 2]


@in_world
async def test_a_unit_may_only_run_in_the_states_it_names(world: World) -> None:
    orders = world.process("payment").orders
    await orders.commit(make_create())
    unit = Unit(
        order_id="order-1", in_states=(S.VALIDATED, S.PAID), outcome=make_outcome("event-1")
    )
    assert await orders.commit(unit) is V.CONFLICT
    assert await orders.outcome("payment", "event-1") is None
    await orders.commit(make_change(S.VALIDATED))
    assert await orders.commit(unit) is V.COMMITTED


@in_world
async def test_an_event_of_another_version_is_a_bug_and_nothing_is_applied(world: World) -> None:
    orders = world.process("payment").orders
    await orders.commit(make_create())
    unit = replace(make_change(S.VALIDATED), events=make_change(S.VALIDATED, version=2).events)
    with pytest.raises(ValueError, match="version 2"):
        await orders.commit(unit)
    assert await state_of(orders) == ("PENDING", 1)


@in_world
async def test_a_conflict_rolls_everything_back(world: World) -> None:
    process = world.process("payment")
    orders = process.orders
    await orders.commit(make_create())
    unit = replace(
        make_change(S.VALIDATED, version=9),
        outcome=make_outcome("event-1"),
        http_key=HttpKeyRow(key="k", body_sha256="b", status=201, answer=b"{}"),
        intents=(IntentChange(op=IntentOp.OPEN, intent=make_intent(), while_in=(S.PENDING,)),),
        revenue=Revenue(currency="GBP", amount_cents=5),
    )
    assert await orders.commit(unit) is V.CONFLICT
    assert await orders.outcome("payment", "event-1") is None
    assert await orders.http_key("k") is None
    loaded = await orders.load("order-1")
    assert loaded is not None
    assert (loaded.order.version, loaded.intents) == (1, ())
    owed = [len(await process.outbox.unpublished(shard, 10)) for shard in range(4)]
    assert sum(owed) == 1


# ---- outcomes and keys


@in_world
async def test_the_first_outcome_wins_and_the_loser_rolls_back(world: World) -> None:
    one, other = world.process("payment-1"), world.process("payment-2")
    await one.orders.commit(make_create())
    verdicts = await asyncio.gather(
        *(
            process.call(
                process.orders.commit(replace(make_change(to), outcome=make_outcome("event-1")))
            )
            for process, to in ((one, S.VALIDATED), (other, S.REJECTED))
        )
    )
    assert sorted(verdicts) == [V.COMMITTED, V.DONE]
    assert (await state_of(one.orders))[1] == 2
    assert await other.orders.outcome("payment", "event-1") == (Outcome.DONE, 0)


@in_world
async def test_outcomes_of_two_groups_are_two(world: World) -> None:
    orders = world.process("p").orders
    assert await orders.commit(Unit(outcome=make_outcome(group="payment"))) is V.COMMITTED
    assert await orders.commit(Unit(outcome=make_outcome(group="orders"))) is V.COMMITTED
    assert await orders.outcome("notification", "event-1") is None


@in_world
async def test_dead_yields_only_to_more_redrives(world: World) -> None:
    orders = world.process("payment").orders
    commit = orders.commit
    assert await commit(Unit(outcome=make_outcome(dead_at=1))) is V.COMMITTED
    assert await commit(Unit(outcome=make_outcome(dead_at=1))) is V.DEAD
    assert await commit(Unit(outcome=make_outcome(redrives=1))) is V.DEAD
    assert await commit(Unit(outcome=make_outcome(redrives=0))) is V.DEAD
    assert await orders.outcome("payment", "event-1") == (Outcome.DEAD, 1)
    assert await commit(Unit(outcome=make_outcome(dead_at=2))) is V.COMMITTED
    assert await orders.outcome("payment", "event-1") == (Outcome.DEAD, 2)
    assert await commit(Unit(outcome=make_outcome(redrives=3))) is V.COMMITTED
    assert await orders.outcome("payment", "event-1") == (Outcome.DONE, 0)


@in_world
async def test_done_is_final(world: World) -> None:
    commit = world.process("payment").orders.commit
    assert await commit(Unit(outcome=make_outcome())) is V.COMMITTED
    assert await commit(Unit(outcome=make_outcome(redrives=7))) is V.DONE
    assert await commit(Unit(outcome=make_outcome(dead_at=7))) is V.DONE


@in_world
async def test_an_event_is_known_by_the_longest_id_that_there_may_be(world: World) -> None:
    """Ids of foreign records: random, so that no index can pack them."""
    process = world.process("p")
    longest = shake_256(b"a foreign id").hexdigest(EVENT_ID_BYTES_MAX // 2)
    assert len(longest) == EVENT_ID_BYTES_MAX
    assert await process.orders.commit(Unit(outcome=make_outcome(longest))) is V.COMMITTED
    assert await process.orders.outcome("payment", longest) == (Outcome.DONE, 0)
    assert await process.starts.begin_start("payment", longest, 0) == 0


@in_world
async def test_an_idempotency_key_is_taken_once_and_keeps_its_answer(world: World) -> None:
    orders = world.process("api").orders
    row = HttpKeyRow(key="k-1", body_sha256="ab" * 32, status=201, answer=b'{"id":"\xc3\xa9"}')
    assert await orders.http_key("k-1") is None
    assert await orders.commit(replace(make_create(), http_key=row)) is V.COMMITTED
    second = replace(make_create("order-2"), http_key=replace(row, answer=b"other"))
    assert await orders.commit(second) is V.KEY_TAKEN
    assert await orders.load("order-2") is None
    assert await orders.http_key("k-1") == row


@in_world
async def test_verdicts_come_in_the_promised_order(world: World) -> None:
    orders = world.process("api").orders
    row = HttpKeyRow(key="k-1", body_sha256="b", status=201, answer=b"")
    await orders.commit(replace(make_create(), http_key=row, outcome=make_outcome()))
    stale = replace(make_change(S.VALIDATED, version=5), http_key=row, outcome=make_outcome())
    assert await orders.commit(stale) is V.DONE
    assert await orders.commit(replace(stale, outcome=make_outcome("other"))) is V.KEY_TAKEN
    assert await orders.commit(replace(stale, outcome=None, http_key=None)) is V.CONFLICT


# ---- intents


def opened(n: int = 1, *, send_until_us: int = 5_000) -> Unit:
    step = IntentChange(
        op=IntentOp.OPEN,
        intent=make_intent(n, send_until_us=send_until_us),
        while_in=(S.VALIDATED, S.PAYMENT_UNKNOWN),
    )
    return Unit(by="payment", order_id="order-1", intents=(step,))


def raised(*, expected: int, until: int) -> Unit:
    step = IntentChange(
        op=IntentOp.RAISE,
        intent=make_intent(send_until_us=until),
        while_in=(S.VALIDATED,),
        expected_send_until_us=expected,
    )
    return Unit(by="payment", order_id="order-1", intents=(step,))


def closed(n: int = 1) -> Unit:
    step = IntentChange(op=IntentOp.CLOSE, intent=make_intent(n))
    return Unit(by="payment", order_id="order-1", intents=(step,))


@in_world
async def test_an_intent_is_opened_once_and_only_in_its_states(world: World) -> None:
    orders = world.process("payment").orders
    assert await orders.commit(opened()) is V.CONFLICT
    await orders.commit(make_create())
    assert await orders.commit(opened()) is V.CONFLICT
    await orders.commit(make_change(S.VALIDATED))
    assert await orders.commit(opened()) is V.COMMITTED
    assert await orders.commit(opened(send_until_us=9_000)) is V.CONFLICT
    loaded = await orders.load("order-1")
    assert loaded is not None
    assert loaded.intents == (make_intent(),)


@in_world
async def test_send_until_is_raised_by_compare_and_set(world: World) -> None:
    one, other = world.process("payment-1"), world.process("payment-2")
    orders = one.orders
    await orders.commit(make_create())
    await orders.commit(make_change(S.VALIDATED))
    assert await orders.commit(raised(expected=5_000, until=6_000)) is V.CONFLICT
    await orders.commit(opened(send_until_us=5_000))
    verdicts = await asyncio.gather(
        one.call(one.orders.commit(raised(expected=5_000, until=6_000))),
        other.call(other.orders.commit(raised(expected=5_000, until=6_000))),
    )
    assert sorted(verdicts) == [V.COMMITTED, V.CONFLICT]
    assert await orders.commit(raised(expected=6_000, until=4_000)) is V.COMMITTED
    loaded = await orders.load("order-1")
    assert loaded is not None
    assert loaded.intents[0].send_until_us == 6_000, "a send may be out until then"
    await orders.commit(make_change(S.CANCELLED, version=2))
    assert await orders.commit(raised(expected=6_000, until=9_000)) is V.CONFLICT


@in_world
async def test_an_intent_is_closed_once_with_the_unit_that_settles_it(world: World) -> None:
    orders = world.process("payment").orders
    await orders.commit(make_create())
    await orders.commit(make_change(S.VALIDATED))
    assert await orders.commit(closed()) is V.CONFLICT
    await orders.commit(opened())
    paid = replace(make_change(S.PAID, version=2), intents=closed().intents)
    assert await orders.commit(paid) is V.COMMITTED
    assert await orders.commit(closed()) is V.CONFLICT
    assert await orders.commit(raised(expected=5_000, until=6_000)) is V.CONFLICT
    loaded = await orders.load("order-1")
    assert loaded is not None
    assert [intent.is_open for intent in loaded.intents] == [False]


@in_world
async def test_an_intent_that_was_raised_is_not_closed_on_what_was_known_before(
    world: World,
) -> None:
    orders = world.process("payment").orders
    await orders.commit(make_create())
    await orders.commit(make_change(S.VALIDATED))
    await orders.commit(opened(send_until_us=5_000))
    await orders.commit(raised(expected=5_000, until=6_000))
    (step,) = closed().intents
    stale = replace(closed(), intents=(replace(step, expected_send_until_us=5_000),))
    present = replace(closed(), intents=(replace(step, expected_send_until_us=6_000),))
    assert await orders.commit(stale) is V.CONFLICT
    assert await orders.commit(present) is V.COMMITTED


@in_world
async def test_no_intent_is_opened_or_raised_once_its_time_is_over(world: World) -> None:
    orders = world.process("payment").orders
    await orders.commit(make_create())
    await orders.commit(make_change(S.VALIDATED))
    loaded = await orders.load("order-1")
    assert loaded is not None
    later_us = loaded.now_us + 1_000 * MS

    def in_time(unit: Unit, before_us: int) -> Unit:
        return replace(unit, intents=(replace(unit.intents[0], before_us=before_us),))

    assert await orders.commit(in_time(opened(), loaded.now_us)) is V.CONFLICT
    assert await orders.commit(in_time(opened(), later_us)) is V.COMMITTED
    await world.sleep_us(1_000 * MS)
    raise_it = raised(expected=5_000, until=6_000)
    assert await orders.commit(in_time(raise_it, later_us)) is V.CONFLICT
    assert await orders.commit(raise_it) is V.COMMITTED


@in_world
async def test_an_order_that_was_cancelled_is_known_as_such_for_ever(world: World) -> None:
    orders = world.process("payment").orders
    await orders.commit(make_create())
    for version, state in enumerate((S.CANCELLED, S.REFUND_PENDING, S.REFUNDED), start=1):
        await orders.commit(make_change(state, version=version))
        loaded = await orders.load("order-1")
        assert loaded is not None
        assert loaded.order.was_cancelled
    await orders.commit(make_create("order-2"))
    other = await orders.load("order-2")
    assert other is not None
    assert not other.order.was_cancelled


@in_world
async def test_one_unit_closes_an_intent_and_opens_the_next(world: World) -> None:
    orders = world.process("payment").orders
    await orders.commit(make_create())
    await orders.commit(make_change(S.VALIDATED))
    await orders.commit(opened())
    both = replace(opened(), intents=closed().intents + opened(2).intents)
    assert await orders.commit(both) is V.COMMITTED
    assert await orders.commit(both) is V.CONFLICT
    loaded = await orders.load("order-1")
    assert loaded is not None
    assert [(intent.n, intent.is_open) for intent in loaded.intents] == [(1, False), (2, True)]


# ---- death


@in_world
async def test_a_commit_whose_process_dies_is_applied_whole_or_not_at_all(world: World) -> None:
    witness = world.process("witness")
    unit = replace(make_create(), outcome=make_outcome())
    for number in range(3):
        process = world.process(f"api#{number}")
        process.start(process.orders.commit(unit))
        for _ in range(number):
            await world.sleep_us(0)
        process.kill()
        await world.sleep_us(10 * MS)
        is_created = await witness.orders.load("order-1") is not None
        is_done = await witness.orders.outcome("payment", "event-1") is not None
        owed = sum([len(await witness.outbox.unpublished(shard, 9)) for shard in range(4)])
        assert (is_created, is_done, owed) in ((False, False, 0), (True, True, 1))


# ---- expiry


@in_world
async def test_due_orders_are_the_open_ones_past_their_expiry_oldest_first(world: World) -> None:
    orders = world.process("orders").orders
    for name, expiry_ms in (("b", 600), ("a", 400), ("c", 500), ("d", 60_000), ("e", 300)):
        await orders.commit(make_create(name, expiry_us=expiry_ms * MS))
    await orders.commit(make_change(S.VALIDATED, order_id="a"))
    await orders.commit(make_change(S.REJECTED, order_id="c"))
    assert [order.id for order in await orders.due(10)] == []
    await world.sleep_us(700 * MS)
    assert [order.id for order in await orders.due(10)] == ["e", "a", "b"]
    assert [order.id for order in await orders.due(2)] == ["e", "a"]
    await orders.commit(make_change(S.EXPIRED, order_id="e"))
    assert [order.id for order in await orders.due(10)] == ["a", "b"]


@in_world
async def test_everybody_who_waits_is_told_when_an_order_is_due(world: World) -> None:
    one, other = world.process("orders-1"), world.process("orders-2")
    waits = [one.call(one.orders.wait_due()), other.call(other.orders.wait_due())]
    await one.orders.commit(make_create("late", expiry_us=60_000 * MS))
    await one.orders.commit(make_create("soon", expiry_us=20 * MS))
    for wait in waits:
        await wait
    assert [order.id for order in await other.orders.due(10)] == ["soon"]
    await one.call(one.orders.wait_due())  # at once: it is still due


@in_world
async def test_a_waiter_is_told_although_another_one_died_or_gave_up(world: World) -> None:
    dead, alive = world.process("orders-1"), world.process("orders-2")
    dead.start(dead.orders.wait_due())

    async def give_up() -> None:
        waiting = asyncio.ensure_future(alive.orders.wait_due())
        await alive.clock.sleep_us(MS)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    await alive.call(give_up())
    wait = alive.call(alive.orders.wait_due())
    await alive.orders.commit(make_create(expiry_us=20 * MS))
    dead.kill()
    await wait
    assert len(await alive.orders.due(1)) == 1


# ---- starts and customers


@in_world
async def test_starts_that_nobody_explained_are_counted_through_deaths(world: World) -> None:
    first = world.process("payment#1")
    assert await first.starts.begin_start("payment", "event-1", 0) == 0
    await first.starts.explain_start("payment", "event-1", 0)
    assert await first.starts.begin_start("payment", "event-1", 0) == 0
    first.kill()
    second = world.process("payment#2")
    assert await second.starts.begin_start("payment", "event-1", 0) == 1
    second.kill()
    third = world.process("payment#3")
    assert await third.starts.begin_start("payment", "event-1", 0) == 2
    await third.starts.explain_start("payment", "event-1", 0)
    assert await third.starts.begin_start("payment", "event-1", 0) == 2
    assert await third.starts.begin_start("payment", "event-1", 1) == 0, "a redrive starts anew"
    assert await third.starts.begin_start("orders", "event-1", 0) == 0


@in_world
async def test_blocked_customers_are_known(world: World) -> None:
    customers = world.process("validation").customers
    assert await customers.is_blocked("o-1", BLOCKED, deadline_us=10**15)
    assert not await customers.is_blocked("o-1", "C-1", deadline_us=10**15)
