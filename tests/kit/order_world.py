"""A world for one order: the real store, inbox and gateway, stepped by hand instead of by a loop.

Each port call of a handler is one bare suspension, so a test can stop it between any two, let
somebody else act, or never go on: a crash. Time moves only when a test says so. At every commit the
world checks what must hold at all times; a broken rule stands in `World.broken`.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from lab.domain.codec import decode
from lab.domain.envelope import Envelope
from lab.domain.errors import (
    AlreadyDead,
    AlreadyDone,
    LabError,
    Throttled,
)
from lab.domain.events import EVENT_OF_STATE, TOPIC_OF
from lab.domain.order import Intent, IntentKind, Item, NewOrder, Order, OrderId, OrderState
from lab.history.calls import ActedEntry
from lab.history.facts import LedgerEntry
from lab.history.pen import Pen
from lab.patterns.compensation import RefundLateCaptures
from lab.patterns.http_idempotency import StoredKeys
from lab.patterns.inbox import Inbox
from lab.patterns.provider_key import KeyPerIntent
from lab.ports.bus import Delivery, Record
from lab.ports.clock import Timer
from lab.ports.service import Context, Service
from lab.ports.store import (
    Change,
    IntentChange,
    IntentOp,
    OrderStore,
    OutcomeRow,
    Unit,
    UnitVerdict,
)
from lab.ports.strategies import StoredAnswer
from lab.providers.core import KeyMode
from lab.providers.payment_gateway import GatewayServer
from lab.runtime.chance import KeyedChance
from lab.services.orders import Orders, OrdersUseCases
from lab.services.payment import Payment
from lab.stores.memory.base import crossing
from lab.stores.memory.store import MemoryOrderStore, MemoryStoreServer
from tests.kit.entries import of_type
from tests.kit.scripted import SUBJECT, Gateway
from tests.kit.virtual_steps import Job, run

EPOCH_US = 1_700_000_000_000_000
SECOND = 1_000_000
TIMEOUT = 2 * SECOND
SKEW = 2 * SECOND
HOUR = 3_600 * SECOND
EXPIRY = 24 * HOUR
ID = OrderId("0" * 31 + "1")
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
SKU = Item(sku="mug", quantity=2, unit_price_cents=450)
WANTED = NewOrder(customer_id="C1", country="DE", currency="EUR", items=(SKU,), amount_cents=900)


_MAY_MOVE = {
    IntentKind.CHARGE: (OrderState.VALIDATED, OrderState.PAYMENT_UNKNOWN),
    IntentKind.REFUND: (OrderState.REFUND_PENDING, OrderState.REFUND_FAILED),
}


@dataclass(eq=False)
class Life:
    """A process that is never killed here."""

    on_kill: list[Callable[[], None]] = field(default_factory=list)


class StrictServer(MemoryStoreServer):
    """The memory store, held to every condition that the port puts on intents."""

    def __init__(self, world: "World") -> None:
        super().__init__(world, retention_us=10_000 * HOUR, write=world.entries.append)
        self._world = world
        self.conflicts = 0

    def commit(self, unit: Unit) -> UnitVerdict:
        if any(self._is_refused(unit.order_id, step) for step in unit.intents):
            self.conflicts += 1
            return UnitVerdict.CONFLICT
        verdict = super().commit(unit)
        if verdict is UnitVerdict.COMMITTED:
            if unit.change is not None and unit.change.to is OrderState.CANCELLED:
                row = self.rows.get(unit.order_id)
                assert row is not None
                row.order = replace(row.order, was_cancelled=True)
            self._world.committed(unit)
        return verdict

    def _is_refused(self, order_id: str, step: IntentChange) -> bool:
        if step.before_us and self.now_us() >= step.before_us:
            return True
        row = self.rows.peek(order_id)
        present = [
            each
            for each in (row.intents if row else ())
            if (each.kind, each.n) == (step.intent.kind, step.intent.n)
        ]
        return bool(
            step.op is IntentOp.CLOSE
            and step.expected_send_until_us
            and present
            and present[0].send_until_us != step.expected_send_until_us
        )


class OneId:
    """Ids of the one order, and of others after it."""

    def __init__(self) -> None:
        self.made = 0

    def order_id(self, lab_subject: str) -> OrderId:  # noqa: ARG002 - there is one order
        self.made += 1
        return OrderId(f"{self.made:032x}")

    def traceparent(self, lab_subject: str) -> str:  # noqa: ARG002 - there is one order
        return TRACE


class Run(Context):
    """A run of a handler, settled through the real inbox."""

    def __init__(self, inbox: Inbox, delivery: Delivery, envelope: Envelope, deadline: int) -> None:
        self._inbox = inbox
        self._delivery = delivery
        self.envelope = envelope
        self.attempt = delivery.attempt
        self.redrives = delivery.redrives
        self.deadline_us = deadline

    async def save(self, unit: Unit) -> UnitVerdict:
        return await self._inbox.save(self._delivery, unit)

    async def settle(self, unit: Unit) -> UnitVerdict:
        return await self._inbox.settle(self._delivery, unit)


class World:
    """One order, its store, its gateway, and the services around them."""

    def __init__(self, *, declined_percent: int = 0, key_mode: KeyMode = KeyMode.STRIPE) -> None:
        self._now_us = 0
        self.entries: list[tuple[object, ...]] = []
        self.notes: list[str] = []
        self.broken: list[str] = []
        self.events: list[Envelope] = []
        self.server = StrictServer(self)
        self.store = MemoryOrderStore(self.server, Life())
        self.ledger = GatewayServer(
            chance=KeyedChance(1),
            now_us=self.now_us,
            latency_us=0,
            write=self.entries.append,
            refused_percent=declined_percent,
            key_mode=key_mode,
        )
        self.gateway = Gateway(self, self.ledger)
        self.payment = make_payment(self)
        self.orders = Orders(store=self.store, clock=self, note=self.note)
        self.desk = make_desk(self)
        self._inbox = Inbox(
            self.store, republish=self._republish, pen=Pen(process="p", now=self.now_us)
        )

    # ---- clock and harness

    def now_us(self) -> int:
        return self._now_us

    def wall_us(self) -> int:
        return EPOCH_US + self._now_us

    async def sleep_us(self, us: int) -> None:
        self._now_us += us
        await crossing()

    def call_at_us(self, when_us: int, callback: Callable[[], object]) -> Timer:  # noqa: ARG002 - the test moves the clock and looks itself
        raise AssertionError("nobody waits for a timer here")

    def pass_us(self, us: int) -> None:
        self._now_us += us

    # ---- the order

    def order(self) -> Order:
        loaded = self.server.load(ID)
        assert loaded is not None
        return loaded.order

    @property
    def state(self) -> OrderState:
        return self.order().state

    def intents(self) -> tuple[Intent, ...]:
        loaded = self.server.load(ID)
        return () if loaded is None else loaded.intents

    def create(self) -> Envelope:
        """A stored order; returns its OrderCreated."""
        made = run(self.desk.create(WANTED, body=b"{}", key="", lab_subject=SUBJECT))
        assert isinstance(made, StoredAnswer)
        return self.events[-1]

    def validated(self) -> Envelope:
        """An order that is VALIDATED; returns its OrderValidated."""
        return self.moved(self.create(), OrderState.VALIDATED)

    def moved(self, cause: Envelope, to: OrderState) -> Envelope:
        """Move the order by hand, with an event of the right type for a payload without details."""
        order = self.order()
        name = EVENT_OF_STATE[to]
        data = (
            b'{"order_id":"%s","currency":"EUR","amount_cents":900,"reason":"x","charge_key":"x"}'
        )
        event = replace(
            cause,
            id=f"{name}-{order.version}",
            type=name,
            data=data % ID.encode(),
            sequence=order.version + 1,
        )
        unit = Unit(
            by="test", order_id=ID, change=Change(version=order.version, to=to), events=(event,)
        )
        assert self.server.commit(unit) is UnitVerdict.COMMITTED
        return event

    def cancel(self) -> None:
        run(self.desk.cancel(ID))

    def expire(self) -> None:
        """Let the order's time run out, and the timer act."""
        self._now_us = max(self._now_us, self.order().expires_us - EPOCH_US)
        run(self.expire_job())

    async def expire_job(self) -> None:
        for order in await self.store.due(10):
            await self.orders._expire(order)

    # ---- deliveries

    def start(
        self,
        service: Service,
        event: Envelope,
        *,
        attempt: int = 1,
        redrives: int = 0,
        handler_us: int = 10 * SECOND,
    ) -> Job:
        """One run of a handler, to be stepped."""
        record = Record(
            TOPIC_OF[event.type],
            0,
            0,
            event.subject.encode(),
            event.data,
            (),
            0,
        )
        delivery = Delivery(
            record=record,
            group=service.group,
            epoch=1,
            attempt=attempt,
            event_type=event.type,
            event_id=event.id,
            subject=SUBJECT,
            redrives=redrives,
            starts_known=False,
        )
        context = Run(self._inbox, delivery, event, self._now_us + handler_us)
        handler = service.handlers()[event.type]
        job = handler(decode(event.type, event.data), context)
        assert isinstance(job, Coroutine)
        return job

    def handle(self, service: Service, event: Envelope, **options: int) -> None:
        """One run of a handler to its end; raises what it raises."""
        run(self.start(service, event, **options))

    async def deliver(self, service: Service, event: Envelope, *, redrives: int = 0) -> None:
        """As the bus does: again after each failure, until it is settled."""
        attempt = 1
        for _ in range(20):
            try:
                await self.start(service, event, attempt=attempt, redrives=redrives)
            except (AlreadyDone, AlreadyDead):
                return
            except Throttled as throttled:
                self.pass_us(throttled.after_us)
            except LabError:
                attempt += 1
            else:
                return
            if await self.store.outcome(service.group, event.id) is not None:
                return
        raise AssertionError(f"{event.type} was never settled")

    def die(self, service: Service, event: Envelope, redrives: int = 0) -> UnitVerdict:
        """Commit an event's dead letter, as the pattern does."""
        unit = run(service.on_dead(event.subject, event.type))
        row = OutcomeRow(group=service.group, event_id=event.id, is_dead=True, redrives=redrives)
        return self.server.commit(replace(unit, by=service.group, outcome=row))

    # ---- what a test asks

    def note(self, subject: str, what: str) -> None:
        assert subject == SUBJECT
        self.notes.append(what)

    def outcome(self, service: Service, event: Envelope) -> str:
        found = self.server.outcomes.find(service.group, event.id)
        return "" if found is None else ("done" if found == -1 else "dead")

    def told(self) -> list[str]:
        """The types of the committed events, oldest first."""
        return [event.type for event in self.events]

    def moves(self) -> list[str]:
        """What the ledger says, oldest first."""
        return [line.action for line in of_type(self.entries, LedgerEntry)]

    def kept(self) -> int:
        """Captures that were not given back."""
        moves = self.moves()
        return moves.count("capture") - moves.count("refund")

    def acted(self) -> list[tuple[object, ...]]:
        return [(acted.pattern, acted.what) for acted in of_type(self.entries, ActedEntry)]

    def committed(self, unit: Unit) -> None:
        """The rules that hold at every commit."""
        self.events.extend(unit.events)
        if unit.by == "payment" and unit.settles:
            kind = IntentKind.CHARGE if "Validated" in unit.cause else IntentKind.REFUND
            if any(each.is_open for each in self.intents() if each.kind is kind):
                self.broken.append(f"{unit.cause} was settled over an open intent")
        for each in unit.intents:
            if each.op is not IntentOp.CLOSE and self.state not in _MAY_MOVE[each.intent.kind]:
                self.broken.append(f"{each.op} of a {each.intent.kind} in {self.state}")
        for kind in IntentKind:
            if sum(each.is_open and each.kind is kind for each in self.intents()) > 1:
                self.broken.append(f"two {kind} intents are open")

    async def _republish(self, delivery: Delivery) -> None:
        del delivery


def make_payment(world: World, **changes: Any) -> Payment:
    parts: dict[str, Any] = {
        "store": world.store,
        "gateway": world.gateway,
        "clock": world,
        "keys": KeyPerIntent(query_after=2, lifetime_us=24 * HOUR),
        "compensation": RefundLateCaptures(
            pen=Pen(process="payment-1#1", now=world.now_us, write=world.entries.append)
        ),
        "timeout_us": TIMEOUT,
        "skew_us": SKEW,
        "note": world.note,
    }
    return Payment(**(parts | changes))


def make_desk(world: World, store: OrderStore | None = None, **changes: Any) -> OrdersUseCases:
    behind = store or world.store
    parts: dict[str, Any] = {
        "store": behind,
        "ids": OneId(),
        "clock": world,
        "http": StoredKeys(
            store=behind, pen=Pen(process="api-1#1", now=world.now_us, write=world.entries.append)
        ),
        "expiry_us": EXPIRY,
    }
    return OrdersUseCases(**(parts | changes))
