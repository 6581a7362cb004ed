"""The life of an order on PostgreSQL through the lab's store, for many callers at the same time.

Every look and every unit of work of an order that is confirmed, with the relay between them. There
is no bus: the relay hands its events to the callers. A schema of its own is made and dropped. Not
here: the baseline (`baselines.lifecycle_sql`).
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from lab.bench.baselines.lifecycle_sql import RawLifecycle
from lab.bench.baselines.lifecycle_sql import orders_a_second as raw_orders_a_second
from lab.bench.load import BenchError
from lab.bench.sample_orders import all_events, make_created, next_event
from lab.bench.work_until import work_until
from lab.domain.codec import decode
from lab.domain.envelope import Envelope, from_headers
from lab.domain.events import READS, OrderCreated
from lab.domain.order import Intent, IntentKind, NewOrder, OrderId, OrderState, charge_key
from lab.history.pen import Pen
from lab.patterns.outbox import Relay
from lab.ports.bus import Outgoing, Publisher
from lab.ports.store import (
    Change,
    Create,
    HttpKeyRow,
    IntentChange,
    IntentOp,
    OutcomeRow,
    Unit,
    UnitVerdict,
)
from lab.runtime.clock import SystemClock
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.postgres.store import PostgresOrderStore, open_store

CALLERS: Final = 512
SHARDS: Final = 4

_BATCH: Final = 200
_DAY_US: Final = 86_400_000_000
_SEND_US: Final = 2_000_000
_PATIENCE_US: Final = 20_000_000
_TO: Final = {
    "validation": OrderState.VALIDATED,
    "payment": OrderState.PAID,
    "orders": OrderState.CONFIRMED,
}


def orders_a_second(dsn: str, *, orders: int, raw_seconds: int) -> tuple[float, RawLifecycle]:
    """Orders a second that live through everything: through the store, and of plain statements.

    Raises:
        BenchError: a unit was refused, or not every order was confirmed.
        TimeoutError: it took more than a minute.
        subprocess.CalledProcessError: the baseline failed.
    """
    raw = asyncio.run(_measure_raw(dsn, raw_seconds))
    return asyncio.run(_measure(dsn, orders)), raw


async def _measure_raw(dsn: str, seconds: int) -> RawLifecycle:
    server = await _prepared(dsn)
    try:
        # In a thread: it has an event loop of its own, or waits for another program.
        return await asyncio.get_running_loop().run_in_executor(
            None,
            lambda: raw_orders_a_second(
                dsn, server.schema, event_bytes=_event_bytes(), seconds=seconds
            ),
        )
    finally:
        await postgres_schema.drop(server)


async def _measure(dsn: str, orders: int) -> float:
    server = await _prepared(dsn)
    try:
        return await _live(server, orders)
    finally:
        await postgres_schema.drop(server)


async def _prepared(dsn: str) -> PostgresServer:
    server = PostgresServer(
        dsn=dsn, schema=f"bench_{secrets.token_hex(5)}", timeout_us=_PATIENCE_US
    )
    await postgres_schema.prepare(server, shards=SHARDS)
    return server


def _event_bytes() -> int:
    """Of a payload, on average over those of one order."""
    sizes = [len(event.data) for event in all_events(make_created(1))]
    return sum(sizes) // len(sizes)


async def _live(server: PostgresServer, orders: int) -> float:
    store, clock = open_store(server, shards=SHARDS), SystemClock()
    life = _Lives(store.orders, orders)
    relay = Relay(
        store.outbox,
        life,
        clock,
        batch=_BATCH,
        lanes=SHARDS,
        pen=Pen(process="bench", now=clock.now_us),
    )
    try:
        start_s = time.perf_counter()
        callers = min(CALLERS, orders)
        await work_until(life.end, [relay.run(), *(life.call() for _ in range(callers))])
        return orders / (time.perf_counter() - start_s)
    finally:
        await store.close()


class _Lives(Publisher):
    """Does the work of API and services on the store; events come to it from the relay.

    Attributes:
        end: every order has come to its end.
    """

    def __init__(self, store: PostgresOrderStore, orders: int) -> None:
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._store = store
        self._to_create = iter([make_created(number) for number in range(orders)])
        self._left = orders
        self._work: asyncio.Queue[tuple[str, Envelope]] = asyncio.Queue()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            event = from_headers(record.headers, record.value)
            for group, reads in READS.items():
                if event.type in reads:
                    self._work.put_nowait((group, event))

    async def call(self) -> None:
        """Be one of the callers: create an order, or handle an event if there is one to handle."""
        while True:
            created = None if self._work.qsize() else next(self._to_create, None)
            if created is not None:
                await self._commit(_creation(created))
            else:
                await self._handle(*await self._work.get())

    async def _handle(self, group: str, event: Envelope) -> None:
        if await self._store.outcome(group, event.id) is not None:
            raise BenchError(f"{event.type} came to {group} a second time")
        outcome = OutcomeRow(group=group, event_id=event.id)
        if group == "notification":
            await self._commit(
                Unit(
                    by=group,
                    cause=event.id,
                    settles=True,
                    lab_subject=event.lab_subject,
                    outcome=outcome,
                )
            )
            self._count(event)
            return
        intents = await self._before(group, event)
        following = next_event(event)
        await self._commit(
            Unit(
                by=group,
                cause=event.id,
                settles=True,
                lab_subject=event.lab_subject,
                order_id=event.subject,
                change=Change(version=event.sequence, to=_TO[group]),
                intents=intents,
                events=() if following is None else (following,),
                outcome=outcome,
            )
        )

    async def _before(self, group: str, event: Envelope) -> tuple[IntentChange, ...]:
        """The looks and promises of a service before its last unit; returns the intents of that."""
        if group == "orders":
            return ()
        loaded = await self._store.load(event.subject)
        if loaded is None:
            raise BenchError(f"{event.subject} is not stored")
        if group == "validation":
            await self._store.is_blocked(
                event.subject,
                loaded.order.customer_id,
                deadline_us=SystemClock().now_us() + _PATIENCE_US,
            )
            return ()
        order = loaded.order
        intent = Intent(
            order_id=order.id,
            kind=IntentKind.CHARGE,
            n=1,
            key=charge_key(order.id, 1),
            amount_cents=order.amount_cents,
            currency=order.currency,
            send_until_us=loaded.now_us + _SEND_US,
            is_open=True,
        )
        promise = IntentChange(
            op=IntentOp.OPEN,
            intent=intent,
            while_in=(OrderState.VALIDATED,),
            before_us=order.expires_us,
        )
        await self._commit(
            Unit(
                by=group,
                cause=event.id,
                lab_subject=event.lab_subject,
                order_id=order.id,
                intents=(promise,),
            )
        )
        return (IntentChange(op=IntentOp.CLOSE, intent=intent),)

    async def _commit(self, unit: Unit) -> None:
        verdict = await self._store.commit(unit)
        if verdict is not UnitVerdict.COMMITTED:
            raise BenchError(f"a unit of {unit.by!r} met {verdict}")

    def _count(self, event: Envelope) -> None:
        """The customer has heard of it; the last time that is the end of the order."""
        if event.type == "OrderConfirmed":
            self._left -= 1
            if not self._left:
                self.end.set_result(None)


def _creation(event: Envelope) -> Unit:
    payload = decode(event.type, event.data)
    assert isinstance(payload, OrderCreated)
    order_id = OrderId(event.subject)
    key = HttpKeyRow(
        key=f"key-{order_id}",
        body_sha256=sha256(event.data).hexdigest(),
        status=201,
        answer=b'{"order_id":"%s","state":"PENDING"}' % order_id.encode(),
    )
    return Unit(
        by="api",
        lab_subject=event.lab_subject,
        order_id=order_id,
        create=Create(
            id=order_id,
            order=NewOrder(
                customer_id=payload.customer_id,
                country=payload.country,
                currency=payload.currency,
                items=payload.items,
                amount_cents=payload.amount_cents,
            ),
            lab_subject=event.lab_subject,
            expiry_us=_DAY_US,
            traceparent=event.traceparent,
        ),
        events=(event,),
        http_key=key,
    )
