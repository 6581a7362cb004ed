"""Bugs between a wish and what comes of it: amounts, customers, mails, answers, cancels."""

import dataclasses
from typing import Any, Final

from msgspec.structs import replace

from lab.api_problems import not_made, unready
from lab.domain.answers import CancelledOrder
from lab.domain.errors import Indeterminate, Permanent, Throttled, Transient
from lab.domain.events import (
    OrderConfirmed,
    OrderCreated,
    Payload,
    PaymentCaptured,
    PaymentRefunded,
    PaymentUnknown,
    RefundRequested,
)
from lab.domain.lineage import derive
from lab.domain.order import IntentKind, NewOrder, Order, OrderState
from lab.domain.request import Reason, Refusal, _at_least_1, parse_order, spelled
from lab.patterns.compensation import RefundLateCaptures
from lab.patterns.http_idempotency import StoredKeys
from lab.ports.providers import ChargeState
from lab.ports.service import Context
from lab.ports.store import HttpKeyRow, Loaded, Unit
from lab.ports.strategies import KeyRefusal, StoredAnswer
from lab.services.notification import Notification
from lab.services.orders import Cancelled, Orders, OrdersUseCases
from lab.services.payment import Payment, _Finding
from lab.stores.memory.http_keys import HttpKeyTable
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

PLAIN: Final = Setup()
CANCELLED: Final = Setup(scenario="cancellation")
REPLAYED: Final = Setup(scenario="client-retries")
CHARGED_ANEW: Final = Setup(
    rate=4,
    faults=(
        "svc.timeout@payment_gateway#every16 first=2",
        "svc.error@payment_gateway#every16 nth=5 status=400",
    ),
)
REFUND_REDRIVEN: Final = Setup(
    faults=(
        "client.cancel#every10 first=1 after=140ms",
        "svc.hang_after_effect@payment_gateway#every10 nth=2",
        "svc.error@payment_gateway#every10 nth=3 status=400",
    ),
    settings=(("operator.redrives", 1),),
)
OTHER_BODY: Final = Setup(faults=("client.same_key_new_body#every10 first=1",))

CHARGED_SO: Final = {"money-matches": "what is charged is what the row says"}
STORED_SO: Final = {
    **CHARGED_SO,
    "decided-as-told": "antifraud is asked about what the row says",
}


# ---- as-ordered


@BUGS.plant(
    "as-ordered",
    "lab.api.parse_order",
    setup=PLAIN,
    witness="its row says",
    falls=STORED_SO,
)
def amount_without_quantity(body: bytes) -> NewOrder | list[Refusal]:
    """The amount is the sum of the prices: nobody thought of those who want two."""
    order = parse_order(body)
    if isinstance(order, list):
        return order
    return replace(order, amount_cents=sum(item.unit_price_cents for item in order.items))


@BUGS.plant(
    "as-ordered",
    "lab.api.parse_order",
    setup=PLAIN,
    witness="its row says",
    falls=STORED_SO,
)
def amount_by_way_of_a_float(body: bytes) -> NewOrder | list[Refusal]:
    """The amount is divided by 100 to be added up, and multiplied by 100 to be stored."""
    order = parse_order(body)
    if isinstance(order, list):
        return order
    return replace(order, amount_cents=int(order.amount_cents / 100 * 100 / 1.0001))


@BUGS.plant(
    "as-ordered",
    "lab.api.parse_order",
    setup=PLAIN,
    witness="minor units of EUR; the client asked for",
    falls=CHARGED_SO,
)
def currency_of_the_shop(body: bytes) -> NewOrder | list[Refusal]:
    """The column has a default, and the field is not handed over."""
    order = parse_order(body)
    return order if isinstance(order, list) else replace(order, currency="EUR")


@BUGS.plant(
    "as-ordered",
    "lab.api.parse_order",
    setup=PLAIN,
    witness="its row has another customer or country",
)
def country_is_left_out(body: bytes) -> NewOrder | list[Refusal]:
    """A field that may be missing is missing always."""
    order = parse_order(body)
    return order if isinstance(order, list) else replace(order, country=None)


@BUGS.plant(
    "as-ordered",
    "lab.services.orders.derive",
    setup=PLAIN,
    witness="OrderCreated tells of other items",
    falls={"decided-as-told": "the warehouse is asked about what the event tells"},
)
def items_without_quantity(payload: Payload, **told: Any) -> Any:
    """The event is filled from the catalogue, where each thing is there once."""
    if isinstance(payload, OrderCreated):
        items = tuple(replace(item, quantity=1) for item in payload.items)
        payload = replace(payload, items=items)
    return derive(payload, **told)


@BUGS.plant(
    "as-ordered",
    "lab.services.orders.derive",
    setup=PLAIN,
    witness="OrderCreated tells of another customer",
    falls={"decided-as-told": "antifraud is asked about what the event tells"},
)
def the_customer_of_the_form(payload: Payload, **told: Any) -> Any:
    """The event takes its customer from the address, and the address is not of the buyer."""
    if isinstance(payload, OrderCreated):
        payload = replace(payload, customer_id=payload.customer_id[:-1])
    return derive(payload, **told)


@BUGS.plant(
    "as-ordered",
    "lab.wiring.process.roles.Orders",
    setup=PLAIN,
    witness="its revenue was",
    falls={"effect-once": "the revenue is what the event tells"},
)
class ConfirmedWithoutTax(Orders):
    """The confirmation tells the net amount."""

    def _confirmation(self, payload: PaymentCaptured, context: Context, version: int) -> Unit:
        net = replace(payload, amount_cents=payload.amount_cents * 100 // 119)
        return super()._confirmation(net, context, version)


@BUGS.plant(
    "as-ordered",
    "lab.wiring.policy.Switches.compensation.strong",
    setup=CANCELLED,
    witness="RefundRequested tells of",
)
class RefundOfHalf(RefundLateCaptures):
    """The request tells of what a refund costs, and the gateway is told the amount by the order."""

    def of_late_capture(self, order: Order, charge_key: str) -> RefundRequested | None:
        request = super().of_late_capture(order, charge_key)
        return request and replace(request, amount_cents=request.amount_cents // 2)


@BUGS.plant(
    "as-ordered",
    "lab.services.notification.Revenue",
    setup=PLAIN,
    witness="its revenue was",
)
def revenue_as_a_float(*, currency: str, amount_cents: int) -> Any:
    """The counter adds up floats, which are equal as long as there are few of them."""
    from lab.ports.store import Revenue

    return Revenue(currency=currency, amount_cents=float(amount_cents))  # type: ignore[arg-type]  # the bug


@BUGS.plant(
    "as-ordered",
    "lab.services.notification.Revenue",
    setup=PLAIN,
    witness="its revenue was",
    falls={"effect-once": "it is not the row's either"},
)
def revenue_in_one_currency(*, currency: str, amount_cents: int) -> Any:
    """All revenue is counted as if it were euros."""
    from lab.ports.store import Revenue

    del currency
    return Revenue(currency="EUR", amount_cents=amount_cents)


@BUGS.plant(
    "as-ordered",
    "lab.services.payment.derive",
    setup=PLAIN,
    witness="PaymentCaptured names no order, or another one in its key, subject or correlation",
)
def correlated_by_its_cause(payload: Payload, **told: Any) -> Any:
    """Cause and correlation are one to whoever wrote it: a search finds the half of each order."""
    return replace(derive(payload, **told), correlation_id=told["cause_id"])


# ---- refused-for-a-reason


@BUGS.plant(
    "refused-for-a-reason",
    "lab.domain.request.ITEMS_MAX",
    value=2,
    setup=PLAIN,
    witness="it was refused with 422, and not for what it breaks",
)
def a_limit_of_a_test() -> None:
    """The limit was lowered to try it out, and the change went along."""


@BUGS.plant(
    "refused-for-a-reason",
    "lab.domain.request._at_least_1",
    setup=Setup(faults=("client.unsound_order#13",)),
    witness="it breaks a rule, and was accepted with 201",
    falls={"excuse-earned": "nobody can read the event"},
)
def a_bool_is_an_int(given: object, field: str, reason: Reason, refusals: list[Refusal]) -> int:
    """`isinstance(True, int)`: true is a quantity."""
    number = _at_least_1(int(given) if given is True else given, field, reason, refusals)
    return given if given is True else number


@BUGS.plant(
    "refused-for-a-reason",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=PLAIN,
    witness="its key was said to stand for another order, and there is none",
)
class OneKeyForAll(StoredKeys):
    """The answers are kept by the method and path of the request: one client's hide the next."""

    async def commit(
        self, unit: Unit, *, key: str, body: bytes, answer: StoredAnswer
    ) -> StoredAnswer | KeyRefusal:
        return await super().commit(unit, key=key and "POST /orders", body=body, answer=answer)


@BUGS.plant(
    "refused-for-a-reason",
    "lab.api.parse_order",
    setup=REPLAYED,
    witness="it was refused with 422, and not for what it breaks",
)
def the_first_reason(body: bytes) -> NewOrder | list[Refusal]:
    """One reason is enough to refuse an order, and the form shows one line."""
    order = parse_order(body)
    return order[:1] if isinstance(order, list) else order


@BUGS.plant(
    "refused-for-a-reason",
    "lab.domain.request._at_least_1",
    setup=REPLAYED,
    witness="it was refused with 422, and not for what it breaks",
)
def a_price_is_a_quantity(
    given: object, field: str, reason: Reason, refusals: list[Refusal]
) -> int:
    """The line about the price was copied from that about the quantity, reason and all."""
    del reason
    return _at_least_1(given, field, Reason.QUANTITY_BELOW_1, refusals)


@BUGS.plant(
    "refused-for-a-reason",
    "lab.api.retry_after",
    "lab.api_problems.retry_after",
    setup=Setup(
        rate=200,
        faults=("pg.slow@api rate=1 by=200ms",),
        settings=(("api.max_in_flight", 2),),
    ),
    witness="it was answered with 503, and not told until when",
)
def seconds_in_ms(after_us: int) -> tuple[tuple[bytes, bytes], ...]:
    """The header has milliseconds, and clients read seconds."""
    return ((b"retry-after", b"%d" % max(1_000, after_us // 1_000)),)


# ---- gateway-agrees


@BUGS.plant(
    "gateway-agrees",
    "lab.services.payment._Finding",
    setup=Setup(scenario="declined-cards"),
    witness="it is DECLINED for declined; the gateway said card_declined",
)
def finding_without_a_reason(state: ChargeState, *known: Any, **_: Any) -> _Finding:
    """The finding takes state, intent and key of the answer; its reason is left at the default."""
    return _Finding(state, *known[:2])


@BUGS.plant(
    "gateway-agrees",
    "lab.wiring.process.roles.Payment",
    setup=Setup(
        orders=10,
        rate=1,
        faults=(
            "svc.timeout@payment_gateway#1 first=2",
            "svc.error@payment_gateway#1 nth=5 status=400",
        ),
    ),
    witness="PaymentUnknown names a charge that was given up",
)
class UnknownIsTheFirst(Payment):
    """An order has one charge, so the first one is the one that nobody knows of."""

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        unit = await super().on_dead(order_id, event_type)
        if not unit.events:
            return unit
        loaded = await self._load(order_id)
        unknown = PaymentUnknown(order_id=order_id, charge_key=loaded.intents[0].key)
        return self._move(loaded, OrderState.PAYMENT_UNKNOWN, unknown)


@BUGS.plant(
    "gateway-agrees",
    "lab.wiring.process.roles.Payment",
    setup=Setup(faults=("svc.error@payment_gateway#every10 first=1",)),
    witness="it became DECLINED, and the ledger has no decline",
)
class ErrorIsADecline(Payment):
    """Whatever the gateway answers but success is a decline to the customer."""

    async def _send(
        self, loaded: Loaded, intent: Any, context: Context, started_us: int, *rest: Any
    ) -> _Finding | None:
        try:
            return await super()._send(loaded, intent, context, started_us, *rest)
        except Transient:
            fresh = await self._load(loaded.order.id)
            opened = next(each for each in fresh.intents if each.is_open)
            return _Finding(ChargeState.DECLINED, opened, opened.key)


@BUGS.plant(
    "converges",
    "lab.wiring.process.roles.Payment",
    setup=REFUND_REDRIVEN,
    witness="it is REFUND_FAILED at the end, by a refusal after the refund was made",
)
class WhatIsSentBackIsDoneAgain(Payment):
    """A person wants the refund to be made, so it is, whatever the gateway says of it."""

    async def _query(self, loaded: Loaded, intent: Any, context: Context) -> _Finding:
        finding = await super()._query(loaded, intent, context)
        if context.redrives and finding.state is ChargeState.REFUNDED:
            return dataclasses.replace(finding, state=ChargeState.DECLINED)
        return finding


@BUGS.plant(
    "gateway-agrees",
    "lab.wiring.process.roles.Payment",
    setup=CANCELLED,
    witness="PaymentRefunded names a charge",
)
class RefundNamesItself(Payment):
    """The event about a refund names the refund where it should name the charge."""

    def _move(self, loaded: Loaded, to: OrderState, payload: Payload, *rest: Any) -> Unit:
        if isinstance(payload, PaymentRefunded):
            payload = replace(payload, charge_key=f"refund:{payload.charge_key}:1")
        return super()._move(loaded, to, payload, *rest)


@BUGS.plant(
    "gateway-agrees",
    "lab.wiring.process.roles.Payment",
    setup=CANCELLED,
    witness="it became REFUNDED, and the ledger has no refund",
    falls={"money-matches": "what was taken is kept"},
)
class RefundByHand(Payment):
    """Refunds were done by hand once: the order is marked, and nobody asks the gateway."""

    async def _find_out(
        self,
        loaded: Loaded,
        kind: IntentKind,
        context: Context,
        started_us: int,
        charge: str = "",
    ) -> _Finding | None:
        if kind is IntentKind.REFUND:
            return _Finding(ChargeState.REFUNDED)
        return await super()._find_out(loaded, kind, context, started_us, charge)


# ---- mails-owed


@BUGS.plant(
    "mails-owed",
    "lab.wiring.process.roles.Notification",
    setup=Setup(faults=("svc.error@mailer#every10 first=1 status=400",)),
    witness="OrderCreated was handled without a mail `received`",
)
class RefusedMailIsForgotten(Notification):
    """A mail that the mailer refuses is not worth an alarm: it is logged, and all is well."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        try:
            await super().on_news(payload, context)
        except Permanent:
            await context.settle(Unit(lab_subject=context.envelope.lab_subject))


@BUGS.plant(
    "mails-owed",
    "lab.services.notification._TEMPLATES",
    value={
        "OrderCreated": "received",
        "OrderConfirmed": "received",
        "OrderCancelled": "cancelled",
        "OrderExpired": "expired",
        "OrderRejected": "rejected",
        "PaymentDeclined": "declined",
        "PaymentRefunded": "refunded",
    },
    setup=PLAIN,
    witness="a mail `received` was sent in place of `confirmed`",
    falls={"effect-once": "there are two mails of one template"},
)
def a_template_is_copied() -> None:
    """A line was copied, and its right side not changed."""


@BUGS.plant(
    "mails-owed",
    "lab.wiring.process.roles.Notification",
    setup=PLAIN,
    witness="OrderConfirmed was handled without a mail `confirmed`",
)
class MailOrRevenue(Notification):
    """The branch that counts the revenue forgot the mail."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        if not isinstance(payload, OrderConfirmed):
            await super().on_news(payload, context)
            return
        from lab.ports.store import Revenue

        revenue = Revenue(currency=payload.currency, amount_cents=payload.amount_cents)
        await context.settle(Unit(lab_subject=context.envelope.lab_subject, revenue=revenue))


@BUGS.plant(
    "mails-owed",
    "lab.wiring.process.roles.Notification",
    setup=PLAIN,
    witness="a mail `cancelled` was sent",
    falls={"effect-once": "so there are more mails than events"},
)
class TwoMailsForOne(Notification):
    """A confirmed order closes its basket, and the customer hears that the basket was cancelled."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        if isinstance(payload, OrderConfirmed):
            envelope = context.envelope
            await self.mailer.send(
                envelope.subject,
                key=f"basket:{envelope.subject}",
                template="cancelled",
                deadline_us=context.deadline_us,
            )
        await super().on_news(payload, context)


# ---- cancel-granted


@BUGS.plant(
    "cancel-granted",
    "lab.api.CancelledOrder",
    setup=CANCELLED,
    witness="its cancel was granted, and the answer names another order",
)
def the_answer_of_the_example(order_id: str) -> CancelledOrder:
    """The answer was copied out of the document, with the order that stands there."""
    return CancelledOrder("9f2c" * 8 if order_id else order_id)


@BUGS.plant(
    "cancel-granted",
    "lab.services.orders._OPEN",
    value=(OrderState.PENDING,),
    setup=CANCELLED,
    witness="while it was VALIDATED",
)
def validated_is_too_late() -> None:
    """The list of states in which may be cancelled is one short."""


@BUGS.plant(
    "cancel-granted",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=CANCELLED,
    witness="its cancel was answered with 404, and it was accepted",
)
class CancelAsksAReplica(OrdersUseCases):
    """The order is read from a replica, where some orders are not yet."""

    async def cancel(self, order_id: str, *, key: str = "") -> Cancelled | KeyRefusal:
        loaded = await self.store.load(order_id)
        if loaded is not None and loaded.order.state is OrderState.VALIDATED:
            return Cancelled.UNKNOWN
        return await super().cancel(order_id, key=key)


@BUGS.plant(
    "cancel-granted",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=REPLAYED,
    witness="its cancel was answered with 409, and nobody made that order",
)
class WhatIsNotThereIsOver(OrdersUseCases):
    """An order that cannot be found has surely gone its way already."""

    async def cancel(self, order_id: str, *, key: str = "") -> Cancelled | KeyRefusal:
        met = await super().cancel(order_id, key=key)
        return Cancelled.TOO_LATE if met is Cancelled.UNKNOWN else met


@BUGS.plant(
    "cancel-granted",
    "lab.services.orders._is_cancelled",
    setup=CANCELLED,
    witness="answered with 409, and it was cancelled",
)
def refunded_is_too_late(order: Order) -> bool:
    """The state tells of the last move only: behind a refund nobody knows of the cancel."""
    return order.state is OrderState.CANCELLED


@BUGS.plant(
    "cancel-granted",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=CANCELLED,
    witness="its cancel was answered with 409",
)
class LostIsTooLate(OrdersUseCases):
    """The connection broke before the commit, the look finds nothing, and that is called late."""

    async def _look_for_cancel(self, order_id: str) -> Cancelled:
        try:
            return await super()._look_for_cancel(order_id)
        except Indeterminate:
            return Cancelled.TOO_LATE


@BUGS.plant(
    "cancel-granted",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=CANCELLED,
    witness="its cancel was told that nothing was stored, and it was cancelled",
)
class DownIsNothing(OrdersUseCases):
    """The store cannot be asked what became of the commit, and the client is told: try again."""

    async def _look_for_cancel(self, order_id: str) -> Cancelled:
        loaded = await self.store.load(order_id)
        if loaded is not None and loaded.order.was_cancelled:
            return Cancelled.CANCELLED
        raise Indeterminate("nobody knows whether it was cancelled")


@BUGS.plant(
    "mails-owed",
    "lab.wiring.process.roles.Notification",
    setup=Setup(scenario="timeouts"),
    witness="was handled without a mail",
)
class ConflictIsSent(Notification):
    """409: that mail is on its way already, so nothing is left to do."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        try:
            await super().on_news(payload, context)
        except Throttled:
            await context.settle(Unit(lab_subject=context.envelope.lab_subject))


# ---- idempotency-key


@BUGS.plant(
    "idempotency-key",
    "lab.api.not_made",
    setup=REPLAYED,
    witness="a repetition was told that nothing was stored, while the first one ran",
)
def running_is_shed(why: KeyRefusal) -> Exception:
    """Come again later: that is what a 503 says, too."""
    return unready() if why is KeyRefusal.RUNNING else not_made(why)


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=REPLAYED,
    witness="the same body was answered with 201, then with 409",
)
class ConflictForARepetition(StoredKeys):
    """A key that was used is a conflict, whatever came with it."""

    async def _look(self, unit: Unit, key: str, sha256: str) -> StoredAnswer | KeyRefusal:
        del unit, key, sha256
        return KeyRefusal.RUNNING


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=REPLAYED,
    witness="the same body got two different answers",
)
class AnswerMadeAnew(StoredKeys):
    """The answer to a repetition is made of the order as it is now, and not the stored one."""

    async def _look(self, unit: Unit, key: str, sha256: str) -> StoredAnswer | KeyRefusal:
        found = await super()._look(unit, key, sha256)
        if isinstance(found, KeyRefusal):
            return found
        return replace(found, body=found.body.replace(b"PENDING", b"STORED"))


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=REPLAYED,
    witness="the same body was answered with 201, then with 200",
    falls={"accepted-is-durable": "an accepted order is answered with 201, at every try"},
)
class NothingWasCreated(StoredKeys):
    """A repetition creates nothing, so it is answered with 200."""

    async def _look(self, unit: Unit, key: str, sha256: str) -> StoredAnswer | KeyRefusal:
        found = await super()._look(unit, key, sha256)
        return found if isinstance(found, KeyRefusal) else replace(found, status=200)


@BUGS.plant(
    "idempotency-key",
    "lab.stores.memory.store.HttpKeyTable",
    setup=REPLAYED,
    witness="the same body was answered with 201, then with 422",
    falls={"refused-for-a-reason": "who never got the first answer is refused for good"},
)
class HashOfTheWrongText(HttpKeyTable):
    """The hash of the body is stored with a salt, and compared without it."""

    def find(self, key: str) -> HttpKeyRow | None:
        row = super().find(key)
        return row and replace(row, body_sha256=row.body_sha256[::-1])


@BUGS.plant(
    "idempotency-key",
    "lab.api.spelled",
    setup=OTHER_BODY,
    witness="different bodies, both accepted",
)
def wish_without_a_currency(order: NewOrder) -> bytes:
    """The key stands for the amount and the goods; the shop had one currency then."""
    return spelled(replace(order, currency="EUR"))


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=OTHER_BODY,
    witness="another body was answered with 409",
)
class OtherBodyIsAConflict(StoredKeys):
    """The client is told to come again later, with a body that will never be taken."""

    async def _look(self, unit: Unit, key: str, sha256: str) -> StoredAnswer | KeyRefusal:
        found = await super()._look(unit, key, sha256)
        return KeyRefusal.RUNNING if found is KeyRefusal.OTHER_BODY else found
