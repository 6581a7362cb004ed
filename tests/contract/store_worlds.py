"""Worlds in which a store is held to its contract: in memory, and on real servers.

A test is written against `StoreWorld` and `DedupeWorld`; it never sees what is behind the ports.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pytest

from lab.domain.envelope import Envelope
from lab.domain.events import EVENT_OF_STATE, derived_id
from lab.domain.order import Intent, IntentKind, Item, NewOrder, OrderId, OrderState, charge_key
from lab.patterns.fencing import accept_present
from lab.ports.bus import Record
from lab.ports.clock import Clock
from lab.ports.dedupe import DedupeStore
from lab.ports.key_retry import KeyRetryStore, WaitingRow
from lab.ports.retention import RetentionStore
from lab.ports.store import (
    Change,
    Create,
    CustomerStore,
    OrderStore,
    OutboxStore,
    OutcomeRow,
    StartStore,
    Unit,
)
from lab.runtime.clock import VirtualClock
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.stores.memory.retention import MemoryRetention
from lab.stores.memory.store import MemoryStoreServer

T = TypeVar("T")

MS = 1_000
S = OrderState
BLOCKED = "C-blocked"
WINDOW_US = 600 * 1_000 * MS
SHARDS = 4


class Process(Protocol):
    """A process that uses the stores, and may be killed."""

    orders: OrderStore
    starts: StartStore
    customers: CustomerStore
    outbox: OutboxStore
    key_retry: KeyRetryStore
    retention: RetentionStore
    dedupe: DedupeStore
    clock: Clock

    def call(self, inside: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Run `inside` in the process; the result may be awaited outside of it."""
        ...

    def start(self, inside: Coroutine[Any, Any, object]) -> None:
        """Run `inside` in the process, in the background."""
        ...

    def kill(self) -> None:
        """No code of it runs any more; its connections are closed."""
        ...


class World(Protocol):
    """Servers, processes and time."""

    def run(self, main: Coroutine[Any, Any, T]) -> T: ...

    def process(self, name: str) -> Process: ...

    async def sleep_us(self, us: int) -> None: ...

    def forget_dedupe(self) -> None: ...


@dataclass(kw_only=True)
class MemoryProcess:
    """A simulated process with clients of the servers in memory."""

    root: ProcessLoop
    loop: ProcessLoop
    orders: OrderStore
    starts: StartStore
    customers: CustomerStore
    outbox: OutboxStore
    key_retry: KeyRetryStore
    retention: RetentionStore
    dedupe: DedupeStore
    clock: Clock

    def call(self, inside: Coroutine[Any, Any, T]) -> Awaitable[T]:
        outside: asyncio.Future[T] = self.root.create_future()

        def hand_over(task: asyncio.Task[T]) -> None:
            error = task.exception()
            if error is None:
                outside.set_result(task.result())
            else:
                outside.set_exception(error)

        self.loop.create_task(inside).add_done_callback(hand_over)
        return outside

    def start(self, inside: Coroutine[Any, Any, object]) -> None:
        self.loop.create_task(inside)  # type: ignore[unused-awaitable]  # for as long as it lives

    def kill(self) -> None:
        self.loop.kill()


class MemoryWorld:
    """Servers in memory, virtual time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.facts: list[tuple[object, ...]] = []
        self.store = MemoryStoreServer(
            scheduler.root,
            retention_us=WINDOW_US,
            shards=SHARDS,
            write=self.facts.append,
            is_blocked=lambda customer: customer == BLOCKED,
        )
        self.dedupe = MemoryDedupeServer(
            scheduler.root, window_us=WINDOW_US, accepts=accept_present
        )

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return self.scheduler.run(main)

    def process(self, name: str) -> MemoryProcess:
        loop = self.scheduler.process(name)
        client = self.store.connect(loop)
        return MemoryProcess(
            root=self.scheduler.root,
            loop=loop,
            orders=client.orders,
            starts=client.orders,
            customers=client.orders,
            outbox=client.outbox,
            key_retry=client.key_retry,
            retention=MemoryRetention(self.store),
            dedupe=self.dedupe.connect(),
            clock=VirtualClock(loop),
        )

    async def sleep_us(self, us: int) -> None:
        await VirtualClock(self.scheduler.root).sleep_us(us)

    def forget_dedupe(self) -> None:
        self.dedupe.forget()


@contextmanager
def memory_world() -> Iterator[MemoryWorld]:
    with Scheduler() as scheduler:
        yield MemoryWorld(scheduler)


def postgres_world() -> Any:
    from tests.contract import server_worlds

    return server_worlds.postgres_world()


def redis_world() -> Any:
    from tests.contract import server_worlds

    return server_worlds.redis_world()


WORLDS: dict[str, Callable[[], Any]] = {
    "memory": memory_world,
    "postgres": postgres_world,
    "redis": redis_world,
}
"""Every world, by the name that its tests carry. A new adapter adds itself here."""

STORES = ("memory", pytest.param("postgres", marks=pytest.mark.real))
DEDUPES = ("memory", pytest.param("redis", marks=pytest.mark.real))

W = TypeVar("W", bound=World)


def in_world(test: Callable[[W], Coroutine[Any, Any, None]]) -> Callable[[W], None]:
    """Run an `async` test inside its world."""

    @functools.wraps(test)
    def run(world: W) -> None:
        world.run(test(world))

    return run


# ---- what is stored in the tests


def make_event(order_id: str, state: OrderState, version: int) -> Envelope:
    kind = EVENT_OF_STATE[state]
    return Envelope(
        id=derived_id(order_id, "test", kind, version),
        type=kind,
        source="/test",
        subject=order_id,
        # Clocks differ: a later version may say that it was decided earlier.
        time_us=1_700_000_000_000_000 - version,
        data=b'{"order_id":"%s"}' % order_id.encode(),
        correlation_id=order_id,
        causation_id=order_id,
        sequence=version,
        traceparent="00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        lab_subject="1.1",
    )


def make_create(order_id: str = "order-1", *, expiry_us: int = 86_400_000 * MS) -> Unit:
    return Unit(
        by="api",
        lab_subject="1.1",
        order_id=order_id,
        create=Create(
            id=OrderId(order_id),
            order=NewOrder(
                customer_id="C-1",
                country=None,
                currency="GBP",
                items=(Item(sku="A", quantity=2, unit_price_cents=500),),
                amount_cents=1_000,
            ),
            lab_subject="1.1",
            expiry_us=expiry_us,
            traceparent="00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        ),
        events=(make_event(order_id, S.PENDING, 1),),
    )


def make_change(to: OrderState, *, version: int = 1, order_id: str = "order-1") -> Unit:
    """Moves the order from `version` to the next one."""
    return Unit(
        by="test",
        lab_subject="1.1",
        order_id=order_id,
        change=Change(version=version, to=to),
        events=(make_event(order_id, to, version + 1),),
    )


def make_outcome(
    event_id: str = "event-1",
    *,
    group: str = "payment",
    dead_at: int | None = None,
    redrives: int = 0,
) -> OutcomeRow:
    return OutcomeRow(
        group=group,
        event_id=event_id,
        is_dead=dead_at is not None,
        redrives=redrives if dead_at is None else dead_at,
    )


def make_intent(n: int = 1, *, send_until_us: int = 5_000, order_id: str = "order-1") -> Intent:
    known = OrderId(order_id)
    return Intent(
        order_id=known,
        kind=IntentKind.CHARGE,
        n=n,
        key=charge_key(known, n),
        amount_cents=1_000,
        currency="GBP",
        send_until_us=send_until_us,
        is_open=True,
    )


def make_waiting(
    event_id: str, *, key: str = "order-1", group: str = "notification", redrives: int = 0
) -> WaitingRow:
    return WaitingRow(
        group=group,
        key=key,
        event_id=event_id,
        arrival=0,
        record=Record("orders", 3, 17, key.encode(), b"\x00" + event_id.encode(), (), 1_000),
        attempts=3,
        not_before_us=7_000,
        redrives=redrives,
        is_dead=False,
        first_failure_us=1_000,
        failures=((1_000, "Transient", "no"),),
    )


async def state_of(orders: OrderStore, order_id: str = "order-1") -> tuple[str, int]:
    """State and version of a stored order."""
    loaded = await orders.load(order_id)
    assert loaded is not None
    return loaded.order.state.value, loaded.order.version
