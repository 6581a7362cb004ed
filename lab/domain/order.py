"""The order: its states and their owners, and its durable traces of money.

Not here: storing a transition (`lab.ports.store`), and deciding on it (`lab.services`).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NewType

import msgspec

OrderId = NewType("OrderId", str)


class OrderState(StrEnum):
    """Where an order stands.

    From each state: the states that it may move to, and the service that moves it. No store sees to
    it; a version that is compared and set keeps two movers apart, and the promise
    `legal-transitions` judges the outcome.

        PENDING          VALIDATED, REJECTED by validation; CANCELLED, EXPIRED by orders
        VALIDATED        PAID, DECLINED, PAYMENT_UNKNOWN by payment; CANCELLED, EXPIRED by orders
        PAYMENT_UNKNOWN  PAID, DECLINED by payment
        PAID             CONFIRMED by orders
        CANCELLED        REFUND_PENDING by payment
        EXPIRED          REFUND_PENDING by payment
        REFUND_PENDING   REFUNDED, REFUND_FAILED by payment
        REFUND_FAILED    REFUNDED by payment
        REJECTED         nothing
        DECLINED         nothing
        CONFIRMED        nothing
        REFUNDED         nothing
    """

    PENDING = "PENDING"
    VALIDATED = "VALIDATED"
    REJECTED = "REJECTED"
    PAID = "PAID"
    DECLINED = "DECLINED"
    PAYMENT_UNKNOWN = "PAYMENT_UNKNOWN"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REFUND_PENDING = "REFUND_PENDING"
    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"


S = OrderState

TERMINAL: Final = (S.CONFIRMED, S.REJECTED, S.DECLINED, S.CANCELLED, S.EXPIRED, S.REFUNDED)
PARKED: Final = (S.PAYMENT_UNKNOWN, S.REFUND_FAILED)


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of an order. `unit_price_cents` is in minor units of the order's currency."""

    sku: str
    quantity: int
    unit_price_cents: int


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request that passed validation; `amount_cents` is the sum of quantity x unit price."""

    customer_id: str
    country: str | None
    currency: str
    items: tuple[Item, ...]
    amount_cents: int


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One order row. `version` starts at 1 and grows by 1 with each transition.

    Attributes:
        lab_subject: `ordinal.send` of the intent in a lab run, "" elsewhere.
        created_us: database time of creation, microseconds since the Unix epoch.
        expires_us: database time at which an unpaid order expires.
        was_cancelled: whether it ever was CANCELLED: after a refund its state tells no more.
    """

    id: OrderId
    lab_subject: str
    state: OrderState
    version: int
    customer_id: str
    country: str | None
    currency: str
    amount_cents: int
    created_us: int
    expires_us: int
    traceparent: str
    was_cancelled: bool = False


class IntentKind(StrEnum):
    """The kind of request that the payment service is about to send to the payment gateway."""

    CHARGE = "charge"
    REFUND = "refund"


class Intent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A committed promise to find out the fate of a call that moves money.

    It is committed before the first send and stays open until the unit of work that settles the
    event closes it. `send_until_us` (database time) is the deadline of every send made under it.
    """

    order_id: OrderId
    kind: IntentKind
    n: int
    key: str
    amount_cents: int
    currency: str
    send_until_us: int
    is_open: bool


def charge_key(order_id: OrderId, n: int) -> str:
    """The provider key of the n-th charge intent of an order."""
    return f"charge:{order_id}:{n}"


def refund_key(charge: str, n: int) -> str:
    """The provider key of the n-th refund intent of a charge."""
    return f"refund:{charge}:{n}"


def open_intent(intents: Sequence[Intent], kind: IntentKind) -> Intent | None:
    """The open one of a kind, or None. There is never more than one."""
    for intent in intents:
        if intent.is_open and intent.kind is kind:
            return intent
    return None


def next_intent(order: Order, intents: Sequence[Intent], kind: IntentKind, charge: str) -> Intent:
    """The one after all earlier ones of its kind; its `send_until_us` is 0: nothing is promised.

    Args:
        order: its amount is moved.
        intents: all of the order.
        kind: of the new one.
        charge: key of the charge that a refund gives back; unused for a charge.
    """
    n = 1 + sum(each.kind is kind for each in intents)
    return Intent(
        order_id=order.id,
        kind=kind,
        n=n,
        key=charge_key(order.id, n) if kind is IntentKind.CHARGE else refund_key(charge, n),
        amount_cents=order.amount_cents,
        currency=order.currency,
        send_until_us=0,
        is_open=True,
    )


def promised(intent: Intent, until_us: int) -> Intent:
    """The intent with another `send_until_us`."""
    return msgspec.structs.replace(intent, send_until_us=until_us)
