"""What only the stores in memory promise: exact crashes, free idle time, facts, little memory."""

import gc
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lab.domain.order import OrderState
from lab.history.contents import buyer_of
from lab.history.entries import FIELDS, kind_of, subject_of
from lab.history.pen import Pen
from lab.patterns.fencing import accept_any
from lab.patterns.outbox import Relay
from lab.ports.bus import Outgoing, Publisher
from lab.ports.dedupe import ClaimState
from lab.ports.store import (
    HttpKeyRow,
    IntentChange,
    IntentOp,
    Revenue,
    Unit,
    UnitVerdict,
)
from lab.runtime.errors import DeadlockError
from lab.runtime.virtual_loop import Scheduler
from lab.stores.memory.base import KEPT_AT_LEAST, Aged
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.stores.memory.expiry import Expiries
from tests.contract.store_worlds import (
    MS,
    MemoryProcess,
    MemoryWorld,
    make_change,
    make_create,
    make_event,
    make_intent,
    make_outcome,
    make_waiting,
    memory_world,
)
from tests.kit.entries import own_fields

S = OrderState
DAY_US = 86_400_000 * MS
YEAR_US = 365 * DAY_US


# ---- crashes


def test_a_process_killed_while_its_commit_is_under_way_applied_nothing() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("api")
        process.start(process.orders.commit(make_create()))
        process.start(process.key_retry.park(make_waiting("e1")))
        process.start(process.outbox.own_shard())
        await world.sleep_us(0)  # every call is on its way
        process.kill()
        await world.sleep_us(MS)

    with memory_world() as world:
        world.run(main(world))
        assert list(world.store.orders()) == []
        assert world.store.key_retry.rows() == []
        assert world.facts == []
        assert world.store.outbox.lock(world.process("relay").loop) == 0, "no shard is owned"


# ---- idle time is free


async def for_ever(world: MemoryWorld) -> None:
    await world.scheduler.root.create_future()


def test_the_timer_of_a_closed_order_does_not_move_the_clock() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("orders")
        process.start(process.orders.wait_due())
        for name in "abc":
            await process.orders.commit(make_create(name))
        for name in "acb":
            await process.orders.commit(make_change(S.CANCELLED, order_id=name))
        await for_ever(world)

    with memory_world() as world:
        with pytest.raises(DeadlockError, match="an order to expire"):
            world.run(main(world))
        assert world.scheduler.now_us == 0


def test_the_clock_moves_to_the_expiry_of_the_first_order_that_is_open() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("orders")
        process.start(process.orders.wait_due())
        for hour, name in enumerate("abc", start=1):
            await process.orders.commit(make_create(name, expiry_us=hour * 3_600_000 * MS))
        await process.orders.commit(make_change(S.CANCELLED, order_id="a"))
        await for_ever(world)

    with memory_world() as world:
        with pytest.raises(DeadlockError):
            world.run(main(world))
        assert world.scheduler.now_us == 2 * 3_600_000 * MS


def test_nobody_waits_for_expiries_with_a_dead_process() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("orders")
        process.start(process.orders.wait_due())
        await process.orders.commit(make_create())
        process.kill()
        await for_ever(world)

    with memory_world() as world:
        with pytest.raises(DeadlockError):
            world.run(main(world))
        assert world.scheduler.now_us == 0


def test_nobody_waits_for_expiries_who_gave_up() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("orders")
        waiting = process.loop.create_task(process.orders.wait_due())
        await process.orders.commit(make_create())
        waiting.cancel()
        await for_ever(world)

    with memory_world() as world:
        with pytest.raises(DeadlockError):
            world.run(main(world))
        assert world.scheduler.now_us == 0


class Counting(Publisher):
    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        self.records.extend(records)


def make_relay(process: MemoryProcess, publisher: Publisher) -> Relay:
    return Relay(
        process.outbox,
        publisher,
        process.clock,
        batch=200,
        lanes=4,
        pen=Pen(process="relay-1", now=process.clock.now_us),
    )


def test_a_year_between_two_orders_costs_no_steps() -> None:
    publisher = Counting()

    async def main(world: MemoryWorld) -> None:
        orders, relay = world.process("orders"), world.process("relay")
        relay.start(make_relay(relay, publisher).run())
        orders.start(orders.orders.wait_due())
        for name in ("now", "next-year"):
            await orders.orders.commit(make_create(name))
            await orders.orders.commit(make_change(S.CANCELLED, order_id=name))
            await world.sleep_us(YEAR_US)

    with memory_world() as world:
        world.run(main(world))
        assert world.scheduler.now_us == 2 * YEAR_US
        assert len(publisher.records) == 4
        assert world.scheduler.steps < 200


ACTIONS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 60), st.booleans()), max_size=60
)


@given(ACTIONS)
def test_due_orders_are_those_of_a_naive_list(actions: list[tuple[str, int, bool]]) -> None:
    with Scheduler(epoch_us=0) as scheduler:
        expiries = Expiries(scheduler.root)
        naive: dict[str, tuple[int, int]] = {}
        for number, (name, instant_us, is_add) in enumerate(actions):
            if is_add and name not in naive:
                expiries.add(name, instant_us)
                naive[name] = (instant_us, number)
            elif not is_add:
                expiries.discard(name)
                naive.pop(name, None)
            due = sorted((when, n, name) for name, (when, n) in naive.items() if when <= 30)
            assert expiries.due(30, 5) == [name for _, _, name in due[:5]]


def test_orders_that_closed_behind_a_stuck_one_are_let_go() -> None:
    with Scheduler(epoch_us=0) as scheduler:
        expiries = Expiries(scheduler.root)
        expiries.add("stuck", 1)
        for number in range(10_000):
            expiries.add(f"order-{number}", 2 + number)
            expiries.discard(f"order-{number}")
        assert len(expiries._heap) < 200
        assert expiries.due(10**9, 10) == ["stuck"]


# ---- facts


def test_every_change_leaves_its_fact_at_the_moment_of_the_commit() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("payment")
        orders = process.orders
        key = HttpKeyRow(key="k", body_sha256="ab", status=201, answer=b"{}")
        await orders.commit(replace(make_create(), http_key=key))
        await world.sleep_us(5)
        await orders.commit(replace(make_change(S.VALIDATED), outcome=make_outcome("event-1")))
        step = IntentChange(op=IntentOp.OPEN, intent=make_intent(), while_in=(S.VALIDATED,))
        await orders.commit(Unit(by="payment", order_id="order-1", intents=(step,)))
        await orders.commit(replace(make_change(S.PAID), outcome=make_outcome("lost")))
        revenue = Unit(
            by="notification",
            cause="event-9",
            lab_subject="1.1",
            revenue=Revenue(currency="GBP", amount_cents=1_000),
            outcome=make_outcome("event-9", dead_at=2),
        )
        await orders.commit(revenue)
        unrelayed = replace(make_change(S.CANCELLED, version=2), outboxed=False)
        await orders.commit(unrelayed)

    with memory_world() as world:
        world.run(main(world))
    assert all(len(entry) == len(FIELDS[kind_of(entry)]) for entry in world.facts)
    assert [(kind, t_us, witness) for kind, t_us, witness, *_ in world.facts] == [
        ("row", 0, "store"),
        ("http_key", 0, "store"),
        ("row", 5, "store"),
        ("outcome", 5, "store"),
        ("intent", 5, "store"),
        ("outcome", 5, "store"),
        ("revenue", 5, "store"),
        ("row", 5, "store"),
    ]
    assert [subject_of(entry) for entry in world.facts] == ["1.1"] * 8
    buyer = buyer_of("C-1", None)
    gbp = ("GBP", 1_000, buyer, "")
    values = [own_fields(entry) for entry in world.facts]
    assert values[:3] == [
        (1, "PENDING", make_event("order-1", S.PENDING, 1).id, "OrderCreated", *gbp),
        ("k", "ab", 201),
        (2, "VALIDATED", make_event("order-1", S.VALIDATED, 2).id, "OrderValidated", *gbp),
    ]
    assert values[3:7] == [
        ("payment", "event-1", "done", 0),
        ("open", "charge", 1, "charge:order-1:1", 1_000, "VALIDATED"),
        ("payment", "event-9", "dead", 2),
        ("notification", "event-9", "GBP", 1_000),
    ]
    owed = make_event("order-1", S.CANCELLED, 3).id
    assert values[7] == (3, "CANCELLED", owed, "OrderCancelled", *gbp)


def test_rows_of_keys_in_retry_leave_facts_that_tell_of_dead_heads() -> None:
    async def main(world: MemoryWorld) -> None:
        store = world.process("notification").key_retry
        record = replace(make_waiting("e1").record, headers=(("lab-subject", b"7.1"),))
        first, second = (replace(make_waiting(name), record=record) for name in ("e1", "e2"))
        await store.park(first)
        await store.bury(first.group, first.key, "e1", 0)
        await store.bury(first.group, first.key, "e1", 0)
        await store.arrive(second)
        await store.revive(replace(first, redrives=1))
        await store.finish(first.group, first.key, "e1")
        await store.finish(first.group, first.key, "e2")

    with memory_world() as world:
        world.run(main(world))
    assert {subject_of(entry) for entry in world.facts} == {"7.1"}
    assert [own_fields(entry) for entry in world.facts] == [
        ("add", "notification", "e1", False),
        ("bury", "notification", "e1", True),
        ("add", "notification", "e2", True),
        ("revive", "notification", "e1", False),
        ("remove", "notification", "e1", False),
        ("remove", "notification", "e2", False),
    ]


# ---- little memory


def finished(number: int) -> list[Unit]:
    """The units of one order from creation to its end."""
    name = f"{number:032x}"
    key = HttpKeyRow(key=f"key-{name}", body_sha256="ab" * 32, status=201, answer=b"{}" * 40)
    intent = make_intent(order_id=name)
    open_it = IntentChange(op=IntentOp.OPEN, intent=intent, while_in=(S.VALIDATED,))
    close_it = IntentChange(op=IntentOp.CLOSE, intent=intent)
    units = [
        replace(make_create(name), http_key=key),
        make_change(S.VALIDATED, order_id=name),
        Unit(by="payment", order_id=name, intents=(open_it,)),
        replace(make_change(S.PAID, version=2, order_id=name), intents=(close_it,)),
        make_change(S.CONFIRMED, version=3, order_id=name),
    ]
    causes = [f"{name}-{ordinal}" for ordinal in range(5)]
    groups = ("validation", "payment", "orders", "notification", "notification")
    settling = (1, 3, 4, 0, 2)
    for place, group, cause in zip(settling, groups, causes, strict=True):
        units[place] = replace(units[place], outcome=make_outcome(cause, group=group))
    return units


async def finish(world: MemoryWorld, process: MemoryProcess, numbers: range) -> None:
    for number in numbers:
        for unit in finished(number):
            assert await process.orders.commit(unit) is UnitVerdict.COMMITTED
        for shard in range(4):
            await process.outbox.mark_published(await process.outbox.unpublished(shard, 100))
        await world.sleep_us(10 * MS)


def test_a_finished_order_is_read_and_changed_as_before_when_it_is_packed() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("p")
        await finish(world, process, range(1))
        fresh = await process.orders.load(f"{0:032x}")
        await finish(world, process, range(1, 400))
        packed = await process.orders.load(f"{0:032x}")
        assert fresh is not None
        assert packed is not None
        assert (packed.order, packed.intents) == (fresh.order, fresh.intents)
        late = make_change(S.REFUND_PENDING, version=4, order_id=f"{0:032x}")
        assert await process.orders.commit(late) is UnitVerdict.COMMITTED
        assert await process.orders.commit(make_create(f"{0:032x}")) is UnitVerdict.CONFLICT
        assert len(list(world.store.orders())) == 400

    with memory_world() as world:
        world.run(main(world))
        assert world.store.orders_by_state[S.CONFIRMED] == 399
        assert world.store.orders_by_state[S.REFUND_PENDING] == 1
        assert (world.store.open_intents, world.store.outbox.unpublished) == (0, 1)
        assert world.store.outbox.published == 4 * 400


@pytest.mark.slow
def test_a_finished_order_takes_less_than_a_kilobyte_and_a_half() -> None:
    bytes_used: list[int] = []

    async def main(world: MemoryWorld) -> None:
        process = world.process("p")
        for first in (0, 1_000, 2_000):
            await finish(world, process, range(first, first + 1_000))
            world.facts.clear()
            gc.collect()
            bytes_used.append(tracemalloc.get_traced_memory()[0])

    with memory_world() as world:
        tracemalloc.start()
        try:
            world.run(main(world))
        finally:
            tracemalloc.stop()
    assert (bytes_used[2] - bytes_used[1]) / 1_000 < 1_536


def test_an_order_with_a_dead_event_is_never_packed_or_forgotten() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("p")
        await finish(world, process, range(1))
        dead = Unit(order_id=f"{0:032x}", outcome=make_outcome("mail", dead_at=0))
        await process.orders.commit(dead)
        await finish(world, process, range(1, 400))

    with memory_world() as world:
        world.run(main(world))
        assert list(world.store.rows._live).count(f"{0:032x}") == 1


def test_entries_are_kept_for_the_retention_and_then_forgotten_together() -> None:
    aged: Aged[int] = Aged(retention_us=100, kept_at_least=3)
    kept = 0
    for now_us in range(1_000):
        aged.put(f"key-{now_us}", now_us, now_us)
        assert aged.get(f"key-{max(0, now_us - 99)}") is not None, "younger than the retention"
        kept = max(kept, sum(1 for _ in aged.items()))
    assert kept <= 202, "two retentions"
    assert aged.get("key-500") is None
    assert aged.pop("key-999") == 999
    assert aged.get("key-999") is None


def test_a_small_run_forgets_nothing() -> None:
    aged: Aged[int] = Aged(retention_us=1)
    for number in range(KEPT_AT_LEAST):
        aged.put(str(number), number, number * YEAR_US)
    assert all(aged.get(str(number)) == number for number in range(KEPT_AT_LEAST))


def test_what_a_run_held_is_let_go_at_its_end() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("p")
        await finish(world, process, range(300))
        await process.orders.commit(make_create())
        await process.key_retry.park(make_waiting("e1"))
        world.store.clear()
        assert await process.orders.load(f"{0:032x}") is None
        assert await process.orders.outcome("payment", f"{0:032x}-1") is None
        assert await process.orders.due(10) == []

    with memory_world() as world:
        world.run(main(world))
        assert (list(world.store.orders()), world.store.key_retry.rows()) == ([], [])


# ---- dedupe


def test_the_weak_comparison_lets_a_superseded_owner_end_the_claim() -> None:
    with Scheduler() as scheduler:
        server = MemoryDedupeServer(scheduler.root, window_us=DAY_US, accepts=accept_any)
        first = server.claim("payment", "e1", "slow", 0)
        second = server.claim("payment", "e1", "quick", 1_000)
        assert second.state is ClaimState.TAKEOVER
        assert server.complete("payment", "e1", "slow", first.fence, DAY_US)
        assert server.claim("payment", "e1", "third", 1_000).state is ClaimState.DONE


def test_claims_of_the_dead_and_old_marks_do_not_pile_up() -> None:
    async def main(scheduler: Scheduler) -> None:
        store = server.connect()
        for number in range(30_000):
            owner = f"p#{number}"
            lost = await store.claim("payment", f"lost-{number}", owner=owner, lease_us=1_000)
            assert lost.state is ClaimState.ACQUIRED
            done = await store.claim("payment", f"done-{number}", owner=owner, lease_us=1_000)
            await store.complete(
                "payment", f"done-{number}", owner=owner, fence=done.fence, window_us=window_us
            )
            await MemoryWorld(scheduler).sleep_us(1_000)

    window_us = 100_000
    with Scheduler() as scheduler:
        server = MemoryDedupeServer(scheduler.root, window_us=window_us, accepts=accept_any)
        scheduler.run(main(scheduler))
        group = server._groups["payment"]
        assert len(group.held) < 1_100
        assert sum(1 for _ in group.done.items()) <= KEPT_AT_LEAST + 200
        assert len(server.claims()) <= 1
