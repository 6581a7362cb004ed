"""Bugs about orders: accepted and not kept, refused and kept, made up, moved against the rules."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from lab.api import Door, make_app
from lab.domain.errors import Transient
from lab.domain.events import PaymentCaptured
from lab.domain.order import Item, NewOrder, OrderState
from lab.patterns.http_idempotency import StoredKeys
from lab.patterns.outbox import DirectPublish, Relay, to_record
from lab.ports.providers import ChargeState
from lab.ports.service import Context
from lab.ports.store import HttpKeyRow, Loaded, OutboxRow, OutboxStore, Unit, UnitVerdict
from lab.ports.strategies import KeyRefusal, StoredAnswer
from lab.runtime.asgi_call import AsgiApp, Message
from lab.services.orders import Cancelled, OrdersUseCases
from lab.services.payment import Payment, _Finding
from lab.stores.memory.base import OwnerLife
from lab.stores.memory.store import MemoryStore, MemoryStoreServer
from tests.planted_bugs.planting import Bugs, Setup, in_background

BUGS: Final = Bugs()

DRAFT: Final = NewOrder(
    customer_id="draft",
    country=None,
    currency="EUR",
    items=(Item(sku="A", quantity=1, unit_price_cents=1),),
    amount_cents=1,
)


# ---- accepted-is-durable


@BUGS.plant(
    "accepted-is-durable",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=Setup(faults=("proc.crash@api.before_commit#every10 first=1",)),
    witness="there is no row",
)
class AnswerBeforeTheCommit(OrdersUseCases):
    """To be fast, the order is stored in the background and the client answered at once."""

    async def create(
        self, order: NewOrder, *, body: bytes, key: str, lab_subject: str, trace: str = ""
    ) -> StoredAnswer | KeyRefusal:
        later = super().create(order, body=body, key=key, lab_subject=lab_subject, trace=trace)
        in_background(later)
        order_id = self.ids.order_id(lab_subject)
        return StoredAnswer(status=201, body=b'{"order_id":"%s"}' % order_id.encode())


@BUGS.plant(
    "accepted-is-durable",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=Setup(),
    witness="it was accepted with 202, not with 201",
)
class AcceptedForNow(OrdersUseCases):
    """The work is done later, so the answer says no more than that it was accepted."""

    async def create(
        self, order: NewOrder, *, body: bytes, key: str, lab_subject: str, trace: str = ""
    ) -> StoredAnswer | KeyRefusal:
        made = await super().create(order, body=body, key=key, lab_subject=lab_subject, trace=trace)
        return replace(made, status=202) if isinstance(made, StoredAnswer) else made


@BUGS.plant(
    "accepted-is-durable",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=Setup(faults=("client.cancel#every5 first=1 after=2s",)),
    witness="its cancel was granted, and it is CONFIRMED",
)
class CancelIsAlwaysGranted(OrdersUseCases):
    """A cancel should be idempotent, so every order that is closed counts as cancelled."""

    async def cancel(self, order_id: str, *, key: str = "") -> Cancelled | KeyRefusal:
        met = await super().cancel(order_id, key=key)
        return Cancelled.CANCELLED if met is Cancelled.TOO_LATE else met


# ---- refused-leaves-nothing


@BUGS.plant(
    "refused-leaves-nothing",
    "lab.wiring.process.roles.make_app",
    setup=Setup(scenario="real-orders", orders=60),
    witness="it was refused with 422, and there is an order row",
    falls={
        "as-ordered": "the draft is not what the client asked for",
        "money-matches": "and it is charged",
        "decided-as-told": "and antifraud is asked about the draft's customer",
    },
)
def keep_what_was_refused(orders: OrdersUseCases, door: Door, *, subject_header: str) -> AsgiApp:
    """A refused order is kept as a draft, in the table of the real ones."""
    app = make_app(orders, door, subject_header=subject_header)

    async def front(
        scope: Message, receive: Callable[[], Any], send: Callable[[Message], Any]
    ) -> None:
        subject = dict(scope["headers"])[subject_header.encode()].decode()

        async def keep(message: Message) -> None:
            if message.get("status") == 422:
                await orders.create(DRAFT, body=b"", key="", lab_subject=subject)
            await send(message)

        await app(scope, receive, keep)

    return front


@BUGS.plant(
    "refused-leaves-nothing",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=Setup(),
    witness="it was refused with 503, and there is an order row",
)
class AnswerOutOfAReplica(OrdersUseCases):
    """The answer is read from a replica that lags; what is not there yet counts as not stored."""

    async def create(
        self, order: NewOrder, *, body: bytes, key: str, lab_subject: str, trace: str = ""
    ) -> StoredAnswer | KeyRefusal:
        made = await super().create(order, body=body, key=key, lab_subject=lab_subject, trace=trace)
        if lab_subject.endswith("0.1"):
            raise Transient("the order is not there")
        return made


# ---- no-phantom


@BUGS.plant(
    "no-phantom",
    "lab.wiring.process.roles.make_app",
    setup=Setup(),
    witness="order 999: there is an order row, and nobody asked for it",
)
def order_to_warm_up(orders: OrdersUseCases, door: Door, *, subject_header: str) -> AsgiApp:
    """At its start the API places a test order, so that its connections are warm."""
    in_background(orders.create(DRAFT, body=b"", key="", lab_subject="999.1"))
    return make_app(orders, door, subject_header=subject_header)


@BUGS.plant(
    "no-phantom",
    "lab.providers.core.Indeterminate",
    setup=Setup(scenario="hung-after-charge", orders=40),
    witness="payment_gateway had its charge and kept silent: that ended as Transient",
    value=Transient,
)
def a_timeout_means_that_nothing_was_sent() -> None:
    """A request that got no answer in time is taken for one that never left."""


@BUGS.plant(
    "no-phantom",
    "lab.faults.stores.Indeterminate",
    setup=Setup(scenario="postgres-outage", orders=30),
    witness="and every commit of that ended as Transient",
    value=Transient,
)
def a_lost_answer_means_that_nothing_was_stored() -> None:
    """A connection that is lost at commit is taken for a transaction that was rolled back."""


# ---- idempotency-key


LOST_ANSWERS: Final = Setup(
    scenario="client-retries", faults=("proc.crash@api.after_commit#every10 first=1",)
)


@BUGS.plant("idempotency-key", setup=LOST_ANSWERS, off=("http_idempotency",), witness="2 orders")
def no_idempotency_keys() -> None:
    """The header is ignored."""


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=LOST_ANSWERS,
    witness="2 orders",
)
class KeysInMemory(StoredKeys):
    """The answers are kept in a dictionary of the process, which dies with it."""

    async def commit(
        self, unit: Unit, *, key: str, body: bytes, answer: StoredAnswer
    ) -> StoredAnswer | KeyRefusal:
        answers: dict[str, StoredAnswer] = self.__dict__.setdefault("answers", {})
        if key not in answers:
            made = await super().commit(unit, key="", body=body, answer=answer)
            if isinstance(made, KeyRefusal):
                return made
            answers[key] = made
        return answers[key]


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=LOST_ANSWERS,
    witness="2 orders",
)
class KeyInItsOwnTransaction(StoredKeys):
    """First the order is committed, then its key: a crash in between forgets the key."""

    async def commit(
        self, unit: Unit, *, key: str, body: bytes, answer: StoredAnswer
    ) -> StoredAnswer | KeyRefusal:
        row = await self._store.http_key(key) if key else None
        if row is not None:
            return StoredAnswer(status=row.status, body=row.answer)
        made = await super().commit(unit, key="", body=body, answer=answer)
        if key and isinstance(made, StoredAnswer):
            sha256 = hashlib.sha256(body).hexdigest()
            kept = HttpKeyRow(key=key, body_sha256=sha256, status=made.status, answer=made.body)
            await self._store.commit(Unit(lab_subject=unit.lab_subject, http_key=kept))
        return made


# ---- legal-transitions


CANCELLED: Final = Setup(scenario="cancellation")


@BUGS.plant(
    "legal-transitions",
    "lab.wiring.backends.memory_servers.MemoryStoreServer",
    setup=CANCELLED,
    witness="it went from CANCELLED to PAID",
    falls={"times-told": "what was decided for the state before is older than the cancel"},
)
class UpdateWithoutItsVersion(MemoryStoreServer):
    """UPDATE orders SET state = ... WHERE id = ...: the version is written and not compared."""

    def _change_order(self, unit: Unit) -> bool:
        row = self.rows.peek(unit.order_id)
        if unit.change is not None and row is not None:
            unit = replace(unit, change=replace(unit.change, version=row.order.version))
        return super()._change_order(unit)


@BUGS.plant(
    "legal-transitions",
    "lab.wiring.process.roles.Payment",
    setup=CANCELLED,
    witness="it went from CANCELLED to PAID",
)
class PaidWhateverHappened(Payment):
    """Whoever paid has an order: a capture moves it to PAID, cancelled or not."""

    def _landed_late(self, loaded: Loaded, finding: _Finding, context: Context) -> Unit:
        order = loaded.order
        if finding.state is not ChargeState.CAPTURED:
            return super()._landed_late(loaded, finding, context)
        captured = PaymentCaptured(
            order_id=order.id,
            charge_key=finding.key,
            currency=order.currency,
            amount_cents=order.amount_cents,
        )
        return self._move(loaded, OrderState.PAID, captured, finding, context)


@BUGS.plant(
    "legal-transitions",
    "lab.wiring.backends.memory_servers.MemoryStoreServer",
    setup=Setup(),
    witness="its amount changed with version",
    falls={
        "money-matches": "what was captured is not what the row began with",
        "effect-once": "nor is the revenue",
        "as-ordered": "nor is the row what the client asked for",
    },
)
class AmountSetAgain(MemoryStoreServer):
    """An ORM writes the whole row at each change, with a discount applied once more."""

    def _change_order(self, unit: Unit) -> bool:
        row = self.rows.get(unit.order_id)
        if unit.change is not None and row is not None:
            row.order = replace(row.order, amount_cents=row.order.amount_cents - 1)
        return super()._change_order(unit)


# ---- outbox-atomic


CRASHES: Final = Setup(
    faults=(
        "proc.crash@api.after_commit#every10 first=1",
        "proc.crash@handler.after_commit#every9 first=1",
        "proc.crash@handler.before_commit#every7 first=1",
        "proc.crash@relay.after_claim#every8 first=1",
    )
)
LOST: Final = {
    "no-lost-event": "what is never published reaches no group",
    "converges": "its order waits for ever",
}


@BUGS.plant(
    "outbox-atomic", setup=CRASHES, off=("outbox",), witness="was never published", falls=LOST
)
def no_outbox() -> None:
    """Commit, then publish: a crash in between loses the event."""


@BUGS.plant(
    "outbox-atomic",
    "lab.wiring.policy.Switches.outbox.weak",
    setup=CRASHES,
    off=("outbox",),
    witness="was published, and no committed change owes it",
    falls={
        "effect-once": "there is a mail about what never happened",
        "mails-owed": "and nobody owes it",
        "log-sound": "a handler that runs again publishes the same event, decided at another time",
    },
)
class PublishThenCommit(DirectPublish):
    """Publish, then commit: a crash in between tells of what never happened."""

    async def commit(self, unit: Unit) -> UnitVerdict:
        if unit.events:
            await self._publisher.publish([to_record(event) for event in unit.events])
        return await self._inner.commit(replace(unit, outboxed=False))


class _TakesAway(OutboxStore):
    def __init__(self, inner: OutboxStore) -> None:
        self._inner = inner

    async def own_shard(self) -> int | None:
        return await self._inner.own_shard()

    async def wait_shard(self) -> None:
        await self._inner.wait_shard()

    async def wait_unpublished(self, shard: int) -> None:
        await self._inner.wait_unpublished(shard)

    async def unpublished(self, shard: int, limit: int) -> Sequence[OutboxRow]:
        rows = await self._inner.unpublished(shard, limit)
        await self._inner.mark_published(rows)
        return rows

    async def mark_published(self, rows: Sequence[OutboxRow]) -> None:
        """They are gone already."""


@BUGS.plant(
    "outbox-atomic",
    "lab.wiring.backends.memory_servers.MemoryStoreServer",
    setup=CRASHES,
    witness="was never published",
    falls=LOST,
)
class DeleteReturning(MemoryStoreServer):
    """The relay takes its batch with DELETE ... RETURNING, and dies with it in its hands."""

    def connect(self, life: OwnerLife) -> MemoryStore:
        made = super().connect(life)
        return MemoryStore(
            orders=made.orders,
            outbox=_TakesAway(made.outbox),  # type: ignore[arg-type]  # it has all that a relay asks for
            key_retry=made.key_retry,
        )


@BUGS.plant(
    "outbox-atomic",
    "lab.wiring.process.roles.Relay",
    setup=Setup(orders=60, faults=("proc.crash@any rate=0.05",)),
    witness="was never published",
    falls=LOST,
)
class MarkThenPublish(Relay):
    """The rows are marked before they are published, so that none is sent twice."""

    async def _relay_batch(self, lane: Any) -> None:
        inner, self._store = self._store, self._store
        try:
            self._store = _TakesAway(inner)
            await super()._relay_batch(lane)
        finally:
            self._store = inner


@BUGS.plant(
    "outbox-atomic",
    "lab.patterns.outbox.to_record",
    setup=CANCELLED,
    witness="OrderCancelled was published on payments",
)
def topic_by_guess(envelope: Any) -> Any:
    """A cancelled order is about money, so its event is published where money is told of."""
    record = to_record(envelope)
    return replace(record, topic="payments") if envelope.type == "OrderCancelled" else record
