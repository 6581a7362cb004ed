"""Orders: takes them in, confirms paid ones, cancels on request, expires the unpaid.

Two kinds of process share this file: the API runs `OrdersUseCases`, the workers of group `orders`
run `Orders`. Not here: HTTP (`lab.api`), and the moves that other services own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lab.domain.errors import Down, Indeterminate, LabError, Transient
from lab.domain.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderExpired,
    Payload,
    PaymentCaptured,
)
from lab.domain.lineage import derive
from lab.domain.order import NewOrder, Order, OrderState
from lab.ports.clock import Clock
from lab.ports.ids import Ids
from lab.ports.service import Context, Handler
from lab.ports.store import Change, Create, Loaded, OrderStore, Unit, UnitVerdict
from lab.ports.strategies import HttpIdempotency, KeyRefusal, Note, StoredAnswer

_ROUNDS: Final = 8
_OPEN: Final = (OrderState.PENDING, OrderState.VALIDATED)
_BEFORE_PAID: Final = (*_OPEN, OrderState.PAYMENT_UNKNOWN)
_CREATED: Final = 201
_OK: Final = 200
_TIMER_BATCH: Final = 100
_TIMER_PAUSE_US: Final = 1_000_000


class Cancelled(StrEnum):
    """The answer to a request to cancel."""

    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    TOO_LATE = "too_late"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersUseCases:
    """The work of the API for its clients.

    Attributes:
        expiry_us: an order that is not paid so long after its creation expires.
    """

    store: OrderStore
    ids: Ids
    clock: Clock
    http: HttpIdempotency
    expiry_us: int

    async def create(
        self, order: NewOrder, *, body: bytes, key: str, lab_subject: str, trace: str = ""
    ) -> StoredAnswer | KeyRefusal:
        """Store an order as PENDING, at most once per Idempotency-Key.

        Args:
            order: as `body` asks for it.
            body: of the request, verbatim; the key stands for it.
            key: the client's Idempotency-Key, "" if it sent none.
            lab_subject: `ordinal.send` in a lab run, else "": then the order's id is its subject.
            trace: the client's trace context, in which the order goes on (see `Envelope`); "" where
                it has none, and in a lab run, whose traces can be computed.

        Raises:
            Transient, Down: nothing was stored.
            Indeterminate: it may have been stored.
        """
        order_id = self.ids.order_id(lab_subject)
        subject = lab_subject or order_id
        traceparent = trace if trace and not lab_subject else self.ids.traceparent(subject)
        event = derive(
            OrderCreated(
                order_id=order_id,
                customer_id=order.customer_id,
                country=order.country,
                currency=order.currency,
                amount_cents=order.amount_cents,
                items=order.items,
            ),
            by="api",
            cause_id=order_id,
            traceparent=traceparent,
            sequence=1,
            time_us=self.clock.wall_us(),
            lab_subject=subject,
        )
        unit = Unit(
            by="api",
            order_id=order_id,
            lab_subject=subject,
            create=Create(
                id=order_id,
                order=order,
                lab_subject=subject,
                expiry_us=self.expiry_us,
                traceparent=traceparent,
            ),
            events=(event,),
        )
        answer = StoredAnswer(
            status=_CREATED, body=b'{"order_id":"%s","state":"PENDING"}' % order_id.encode()
        )
        for _ in range(_ROUNDS - 1):
            try:
                return await self.http.commit(unit, key=key, body=body, answer=answer)
            except Transient:
                # A serialization failure, say: nothing was stored, so the client need not know.
                continue
        return await self.http.commit(unit, key=key, body=body, answer=answer)

    async def get(self, order_id: str) -> Order | None:
        """The order, or None. Raises Transient, Down, Indeterminate."""
        loaded = await self.store.load(order_id)
        return None if loaded is None else loaded.order

    async def of_customer(
        self, customer_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Order]:
        """See `OrderStore.of_customer`. Raises Transient, Down, Indeterminate."""
        return await self.store.of_customer(customer_id, before=before, limit=limit)

    async def cancel(self, order_id: str, *, key: str = "") -> Cancelled | KeyRefusal:
        """Cancel an order that is not paid yet; asking again changes nothing.

        Args:
            order_id: of the order.
            key: the client's Idempotency-Key, "" if it sent none. One that stands for another wish
                is refused, whatever became of the order.

        Raises:
            Transient, Down: nothing was stored.
            Indeterminate: it may have been cancelled.
        """
        wish = b"cancel " + order_id.encode()
        if key and (refusal := await self.http.misuse(key=key, body=wish)) is not None:
            return refusal
        for _ in range(_ROUNDS):
            loaded = await self.store.load(order_id)
            if loaded is None:
                return Cancelled.UNKNOWN
            order = loaded.order
            # Once refunded, only the mark tells a cancelled order from an expired one.
            if _is_cancelled(order):
                return Cancelled.CANCELLED
            if order.state not in _OPEN:
                return Cancelled.TOO_LATE
            unit = _closing(loaded, OrderCancelled(order_id=order_id), OrderState.CANCELLED, "api")
            try:
                if (met := await self._commit_cancel(unit, key, wish)) is not None:
                    return met
            except Transient:
                continue
            except Indeterminate:
                return await self._look_for_cancel(order_id)
        raise Transient(f"order {order_id} kept changing while it was to be cancelled: try again")

    async def _commit_cancel(
        self, unit: Unit, key: str, wish: bytes
    ) -> Cancelled | KeyRefusal | None:
        """Commit it under its key, if it has one; None: the order has changed meanwhile."""
        if not key:
            is_done = await self.store.commit(unit) is UnitVerdict.COMMITTED
            return Cancelled.CANCELLED if is_done else None
        answer = StoredAnswer(status=_OK, body=b"")
        made = await self.http.commit(unit, key=key, body=wish, answer=answer)
        if isinstance(made, StoredAnswer):
            return Cancelled.CANCELLED
        return None if made is KeyRefusal.EXISTS else made

    async def _look_for_cancel(self, order_id: str) -> Cancelled:
        """After a commit whose answer was lost."""
        unknown = f"nobody knows whether order {order_id} was cancelled: ask again"
        try:
            loaded = await self.store.load(order_id)
        except (Transient, Down):
            # Not "nothing was stored", which these would mean to the caller.
            raise Indeterminate(unknown) from None
        if loaded is not None and _is_cancelled(loaded.order):
            return Cancelled.CANCELLED
        raise Indeterminate(unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The consumer group `orders` and its expiry timer."""

    store: OrderStore
    clock: Clock
    note: Note
    group: str = "orders"

    def handlers(self) -> Mapping[str, Handler]:
        return {"PaymentCaptured": self.on_payment_captured}

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        """A capture that could not be confirmed: the order stays PAID, its dead letter parks it."""
        del event_type
        return Unit(order_id=order_id)

    async def on_payment_captured(self, payload: Payload, context: Context) -> None:
        """PAID -> CONFIRMED."""
        assert isinstance(payload, PaymentCaptured)
        # The event says which version PAID has: nearly always it still is, and no look is needed.
        version = context.envelope.sequence
        for _ in range(_ROUNDS):
            unit = self._confirmation(payload, context, version)
            if await context.settle(unit) is UnitVerdict.COMMITTED:
                return
            loaded = await self.store.load(payload.order_id)
            if loaded is None or loaded.order.state in _BEFORE_PAID:
                raise Transient(f"order {payload.order_id} is not PAID yet")
            if loaded.order.state is not OrderState.PAID:
                self.note(loaded.order.lab_subject, "stale")
                await context.settle(Unit(lab_subject=loaded.order.lab_subject))
                return
            version = loaded.order.version
        raise Transient(f"order {payload.order_id} kept changing while it was to be confirmed")

    def _confirmation(self, payload: PaymentCaptured, context: Context, version: int) -> Unit:
        cause = context.envelope
        event = derive(
            OrderConfirmed(
                order_id=payload.order_id,
                currency=payload.currency,
                amount_cents=payload.amount_cents,
            ),
            by=self.group,
            cause_id=cause.id,
            traceparent=cause.traceparent,
            sequence=version + 1,
            time_us=self.clock.wall_us(),
            lab_subject=cause.lab_subject,
        )
        return Unit(
            lab_subject=cause.lab_subject,
            order_id=payload.order_id,
            change=Change(version=version, to=OrderState.CONFIRMED),
            events=(event,),
        )

    async def run_expiry(self) -> None:
        """PENDING, VALIDATED -> EXPIRED for every order that is due, for ever.

        Runs in every process of the group: compare-and-set decides between rivals. An open intent
        does not hold it up; a capture that lands afterwards is the payment service's to give back.
        """
        while True:
            try:
                due = await self.store.due(_TIMER_BATCH)
                for order in due:
                    await self._expire(order)
                if not due:
                    await self.store.wait_due()
            except LabError:
                # The rows are still due: nothing is lost by asking again a little later.
                await self.clock.sleep_us(_TIMER_PAUSE_US)

    async def _expire(self, order: Order) -> None:
        loaded = Loaded(order=order, intents=(), now_us=max(order.expires_us, self.clock.wall_us()))
        unit = _closing(loaded, OrderExpired(order_id=order.id), OrderState.EXPIRED, "timer")
        # CONFLICT: the order moved on. If it is still due, the next batch has it.
        await self.store.commit(unit)


def _is_cancelled(order: Order) -> bool:
    return order.was_cancelled or order.state is OrderState.CANCELLED


def _closing(loaded: Loaded, payload: Payload, to: OrderState, by: str) -> Unit:
    """A move out of an open state that no event asked for."""
    order = loaded.order
    event = derive(
        payload,
        by=by,
        cause_id=order.id,
        traceparent=order.traceparent,
        sequence=order.version + 1,
        time_us=loaded.now_us,
        lab_subject=order.lab_subject,
    )
    return Unit(
        by=by,
        lab_subject=order.lab_subject,
        order_id=order.id,
        change=Change(version=order.version, to=to),
        events=(event,),
    )
