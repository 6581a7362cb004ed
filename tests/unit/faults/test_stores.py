"""Faults of PostgreSQL and Redis: what each does to a call of the port that it wraps."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from lab.domain.errors import Down, Indeterminate, LabError, Transient
from lab.domain.order import OrderId, OrderState
from lab.faults.plan.plan import FaultPlan
from lab.faults.stores import STATEMENTS, StoreFaults
from lab.faults.table.spec import parse_faults
from lab.ports.bus import Ack, Delivery, Record, Settlement
from lab.ports.dedupe import ClaimState, DedupeStore
from lab.ports.every_call import awaited_methods
from lab.ports.key_retry import KeyRetryStore
from lab.ports.store import (
    CustomerStore,
    OrderStore,
    OutboxStore,
    StartStore,
    Unit,
    UnitVerdict,
)
from lab.runtime.chance import KeyedChance
from lab.runtime.ids import subject_of
from tests.contract.store_worlds import MS, MemoryProcess, MemoryWorld, make_create, memory_world

T = TypeVar("T")
NOTHING_APPLIED = ("pg.deadlock", "pg.serialization", "pg.conn_loss_before_commit")
ORDER = "0123456789abcdef-7.1"


def make_plan(*texts: str) -> FaultPlan:
    plan = FaultPlan(parse_faults(texts), seed=7, chance=KeyedChance(7), now_us=lambda: 0)
    plan.begin()
    return plan


def make_faults(process: MemoryProcess, plan: FaultPlan, group: str = "payment") -> StoreFaults:
    return StoreFaults(plan, group=group, clock=process.clock, subject_of=subject_of)


def make_delivery(subject: str) -> Delivery:
    record = Record("orders", 0, 0, b"k", b"{}", (), 0)
    return Delivery(record, "payment", 1, 1, "OrderCreated", "e", subject, 0, starts_known=False)


def in_memory(main: Callable[[MemoryWorld, MemoryProcess], Coroutine[Any, Any, T]]) -> T:
    with memory_world() as world:
        return world.run(main(world, world.process("payment")))


async def raised(call: Coroutine[Any, Any, object]) -> LabError | None:
    try:
        await call
    except LabError as error:
        return error
    return None


# ---- PostgreSQL


@pytest.mark.parametrize(
    ("kind", "error", "is_applied"),
    [
        ("pg.deadlock", Transient, False),
        ("pg.serialization", Transient, False),
        ("pg.conn_loss_before_commit", Indeterminate, False),
        ("pg.conn_loss_after_commit", Indeterminate, True),
        ("pg.pool_exhausted", Down, False),
    ],
)
def test_a_commit_fails_as_the_port_says_and_is_applied_only_if_its_answer_is_lost(
    kind: str,
    error: type[LabError],
    is_applied: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main(world: MemoryWorld, process: MemoryProcess) -> None:
        orders = make_faults(process, make_plan(kind)).around(OrderStore, process.orders)
        assert type(await raised(orders.commit(make_create()))) is error
        assert (world.store.load("order-1") is not None) is is_applied
        again = await orders.commit(make_create())
        assert again is (UnitVerdict.CONFLICT if is_applied else UnitVerdict.COMMITTED)

    in_memory(main)


@pytest.mark.parametrize("kind", [*NOTHING_APPLIED, "pg.conn_loss_after_commit"])
def test_what_changes_nothing_has_no_commit_to_lose(kind: str) -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        plan = make_plan(f"{kind} rate=1")
        faults = make_faults(process, plan)
        orders = faults.around(OrderStore, process.orders)
        outbox = faults.around(OutboxStore, process.outbox)
        assert await orders.load("order-1") is None
        assert await orders.due(10) == []
        assert await orders.outcome("payment", "e") is None
        assert await outbox.own_shard() == 0
        assert plan.firings == []

    in_memory(main)


def test_no_statement_is_sent_without_a_connection() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        faults = make_faults(process, make_plan("pg.pool_exhausted rate=1"))
        customers = faults.around(CustomerStore, process.customers)
        orders = faults.around(OrderStore, process.orders)
        outbox = faults.around(OutboxStore, process.outbox)
        for call in (
            orders.load("order-1"),
            orders.due(10),
            customers.is_blocked("o-1", "C-1", deadline_us=10**9),
            outbox.unpublished(0, 10),
        ):
            down = await raised(call)
            assert isinstance(down, Down)
            assert (down.dependency, down.after_us) == ("postgres", 200 * MS)

    in_memory(main)


def test_a_slow_statement_takes_its_time_and_is_carried_out() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        plan = make_plan("pg.slow by=300ms")
        orders = make_faults(process, plan).around(OrderStore, process.orders)
        assert await orders.commit(make_create()) is UnitVerdict.COMMITTED
        assert process.clock.now_us() == 300 * MS

    in_memory(main)


def test_who_set_a_deadline_waits_no_longer_for_a_slow_statement() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        faults = make_faults(process, make_plan("pg.slow by=300ms"))
        customers = faults.around(CustomerStore, process.customers)
        error = await raised(customers.is_blocked("o-1", "C-1", deadline_us=100 * MS))
        assert isinstance(error, Transient)
        assert process.clock.now_us() == 100 * MS

    in_memory(main)


def test_a_statement_that_is_slow_may_fail_besides() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        faults = make_faults(process, make_plan("pg.slow by=300ms", "pg.deadlock"))
        orders = faults.around(OrderStore, process.orders)
        assert isinstance(await raised(orders.commit(make_create())), Transient)
        assert process.clock.now_us() == 300 * MS

    in_memory(main)


def test_every_kind_counts_every_statement_whichever_strikes() -> None:
    def firings(*kinds: str) -> list[tuple[str, int]]:
        async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
            orders = make_faults(process, plan).around(OrderStore, process.orders)
            for _ in range(60):
                await raised(orders.commit(Unit(lab_subject="1.1")))

        plan = make_plan(*(f"{kind} rate=0.5" for kind in kinds))
        in_memory(main)
        return [(f.kind, f.occurrence) for f in plan.firings]

    both = firings("pg.deadlock", "pg.serialization")
    deadlocks = [firing for firing in both if firing[0] == "pg.deadlock"]
    serializations = [firing for firing in both if firing[0] == "pg.serialization"]
    assert deadlocks == firings("pg.deadlock")
    assert serializations
    assert set(serializations) < set(firings("pg.serialization"))


def test_the_order_of_a_statement_is_told_by_its_arguments_or_by_the_work_at_hand() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        faults = make_faults(process, plan)
        orders = faults.around(OrderStore, process.orders)
        key_retry = faults.around(KeyRetryStore, process.key_retry)

        async def handler(_delivery: Delivery) -> Settlement:
            await raised(orders.outcome("payment", "e"))
            await raised(orders.load(ORDER))
            await raised(key_retry.head("payment", ORDER))
            await raised(orders.commit(Unit(order_id=ORDER)))
            await raised(orders.commit(Unit(lab_subject="8.1", order_id=ORDER)))
            return Ack()

        await raised(orders.due(1))
        await process.call(faults.around_handle(handler)(make_delivery("3.1")))  # type: ignore[arg-type]  # it is a coroutine

    plan = make_plan("pg.pool_exhausted rate=1")
    in_memory(main)
    assert [firing.subject for firing in plan.firings] == ["", "3.1", "7.1", "7.1", "7.1", "8.1"]


def test_a_request_is_the_work_at_hand_of_the_api() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        faults = make_faults(process, plan, "api")
        orders = faults.around(OrderStore, process.orders)

        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            await raised(orders.http_key("key"))

        async def nobody(*_: object) -> Any:
            raise AssertionError("not asked")

        scope = {"headers": [(b"lab-subject", b"5.2")]}
        await process.call(faults.around_app(app)(scope, nobody, nobody))  # type: ignore[arg-type]  # it is a coroutine

    plan = make_plan("pg.pool_exhausted@api rate=1")
    in_memory(main)
    assert [firing.subject for firing in plan.firings] == ["5.2"]


def test_a_mark_of_many_events_is_a_visit_of_each_order() -> None:
    async def main(world: MemoryWorld, process: MemoryProcess) -> None:
        await process.orders.commit(make_create("one"))
        await process.orders.commit(make_create("two"))
        faults = make_faults(process, plan, "relay")
        outbox = faults.around(OutboxStore, process.outbox)
        rows = [row for shard in range(4) for row in await outbox.unpublished(shard, 10)]
        assert isinstance(await raised(outbox.mark_published(rows)), Indeterminate)
        assert world.store.outbox.unpublished == 0

    plan = make_plan("pg.conn_loss_after_commit@relay#1")
    in_memory(main)
    assert [(firing.subject, firing.occurrence) for firing in plan.firings] == [("1.1", 1)]


def test_a_fault_at_another_site_wraps_nothing() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        plan = make_plan("pg.deadlock@api", "redis.slow@orders")
        assert not StoreFaults.is_wanted(plan, "payment")
        faults = make_faults(process, plan)
        assert faults.around(OrderStore, process.orders) is process.orders
        assert faults.around_dedupe(process.dedupe) is process.dedupe

    in_memory(main)


def test_every_statement_that_the_ports_of_the_order_store_know_counts() -> None:
    ports = (OrderStore, OutboxStore, StartStore, KeyRetryStore, CustomerStore)
    known = {(each.port, each.method) for each in STATEMENTS}
    assert known == {
        (port, method)
        for port in ports
        for method in awaited_methods(port)
        if not method.startswith("wait_")
    }


# ---- Redis


async def claim(store: DedupeStore, owner: str = "me") -> ClaimState:
    return (await store.claim("payment", "e", owner=owner, lease_us=30_000 * MS)).state


def dedupe_with(process: MemoryProcess, *texts: str) -> DedupeStore:
    return make_faults(process, make_plan(*texts)).around_dedupe(process.dedupe)


def test_a_slow_command_takes_its_time_and_is_carried_out() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        store = dedupe_with(process, "redis.slow by=40ms")
        assert await claim(store) is ClaimState.ACQUIRED
        assert process.clock.now_us() == 40 * MS
        assert await claim(store) is ClaimState.BUSY

    in_memory(main)


def test_an_evicted_mark_lets_a_duplicate_in() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        store = dedupe_with(process, "redis.evict:3")
        found = await store.claim("payment", "e", owner="me", lease_us=MS)
        assert await store.complete("payment", "e", owner="me", fence=found.fence, window_us=10**9)
        assert await claim(store) is ClaimState.ACQUIRED
        assert await claim(store) is ClaimState.BUSY

    in_memory(main)


def test_who_lost_its_claim_to_an_eviction_ends_nothing() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        store = dedupe_with(process, "redis.evict:2", "redis.evict:4")
        found = await store.claim("payment", "e", owner="me", lease_us=MS)
        fence = found.fence
        assert not await store.complete("payment", "e", owner="me", fence=fence, window_us=MS)
        found = await store.claim("payment", "e", owner="me", lease_us=MS)
        assert found.state is ClaimState.ACQUIRED
        assert not await store.release("payment", "e", owner="me", fence=found.fence)

    in_memory(main)


@pytest.mark.parametrize(("after", "left_us"), [("0s", 0), ("20ms", 20 * MS)])
def test_a_lease_that_ends_early_is_taken_over_with_the_next_fence(
    after: str, left_us: int
) -> None:
    async def main(world: MemoryWorld, process: MemoryProcess) -> None:
        store = dedupe_with(process, f"redis.early_expire:1 after={after}")
        first = await store.claim("payment", "e", owner="me", lease_us=30_000 * MS)
        if left_us:
            assert await claim(process.dedupe, "other") is ClaimState.BUSY
        await world.sleep_us(left_us)
        second = await store.claim("payment", "e", owner="other", lease_us=30_000 * MS)
        assert (second.state, second.fence) == (ClaimState.TAKEOVER, first.fence + 1)
        assert not await store.release("payment", "e", owner="me", fence=first.fence)

    in_memory(main)


def test_a_mark_that_ends_early_is_forgotten() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        store = dedupe_with(process, "redis.early_expire:2")
        found = await store.claim("payment", "e", owner="me", lease_us=30_000 * MS)
        assert await store.complete("payment", "e", owner="me", fence=found.fence, window_us=10**9)
        assert await claim(store) is ClaimState.ACQUIRED

    in_memory(main)


def test_the_order_of_a_command_is_that_of_the_work_at_hand() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        faults = make_faults(process, plan)
        store = faults.around_dedupe(process.dedupe)

        async def handler(_delivery: Delivery) -> Settlement:
            # What a handler starts beside itself is still about its order.
            await asyncio.get_running_loop().create_task(claim(store))
            return Ack()

        for subject in ("1.1", "2.1"):
            await process.call(faults.around_handle(handler)(make_delivery(subject)))  # type: ignore[arg-type]  # it is a coroutine

    plan = make_plan("redis.evict#2 rate=1")
    in_memory(main)
    assert [firing.subject for firing in plan.firings] == ["2.1"]


def test_the_wrapped_store_is_whole() -> None:
    async def main(_world: MemoryWorld, process: MemoryProcess) -> None:
        faults = make_faults(process, make_plan("pg.deadlock rate=1"))
        orders: OrderStore = faults.around(OrderStore, process.orders)
        assert await raised(orders.commit(make_create())) is not None
        assert (await process.orders.commit(make_create())) is UnitVerdict.COMMITTED
        loaded = await orders.load("order-1")
        assert loaded is not None
        assert loaded.order.id == OrderId("order-1")
        assert loaded.order.state is OrderState.PENDING

    in_memory(main)
