"""The facts that services tell each other, their topics, and the groups that read them."""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from lab.domain.order import Item, OrderState


class OrderCreated(msgspec.Struct, frozen=True, kw_only=True):
    """An order was accepted and stored as PENDING."""

    order_id: str
    customer_id: str
    country: str | None
    currency: str
    amount_cents: int
    items: tuple[Item, ...]


class OrderValidated(msgspec.Struct, frozen=True, kw_only=True):
    """Warehouse, antifraud and the customer's record had no objection."""

    order_id: str
    currency: str
    amount_cents: int


class OrderRejected(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody objected; `reason` is one of `out_of_stock`, `fraud`, `customer_blocked`."""

    order_id: str
    reason: str


class PaymentCaptured(msgspec.Struct, frozen=True, kw_only=True):
    """The money was taken under `charge_key`."""

    order_id: str
    charge_key: str
    currency: str
    amount_cents: int


class PaymentDeclined(msgspec.Struct, frozen=True, kw_only=True):
    """The payment gateway declined the card, and `reason` is its own.

    It is `declined` if the gateway was asked later, when it tells no reason any more, and `expired`
    if nothing was taken when the time of the order was up.
    """

    order_id: str
    reason: str


class PaymentUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody could find out whether the charge under `charge_key` happened; a person must look."""

    order_id: str
    charge_key: str


class OrderConfirmed(msgspec.Struct, frozen=True, kw_only=True):
    """The order is paid and confirmed."""

    order_id: str
    currency: str
    amount_cents: int


class OrderCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """The customer cancelled before the payment was captured."""

    order_id: str


class OrderExpired(msgspec.Struct, frozen=True, kw_only=True):
    """The order was not paid before its expiry."""

    order_id: str


class RefundRequested(msgspec.Struct, frozen=True, kw_only=True):
    """A capture landed on a cancelled or expired order and must be given back."""

    order_id: str
    charge_key: str
    currency: str
    amount_cents: int


class PaymentRefunded(msgspec.Struct, frozen=True, kw_only=True):
    """The money of `charge_key` was given back."""

    order_id: str
    charge_key: str


class RefundFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The refund of `charge_key` was refused for good; a person must look."""

    order_id: str
    charge_key: str


Payload = (
    OrderCreated
    | OrderValidated
    | OrderRejected
    | PaymentCaptured
    | PaymentDeclined
    | PaymentUnknown
    | OrderConfirmed
    | OrderCancelled
    | OrderExpired
    | RefundRequested
    | PaymentRefunded
    | RefundFailed
)

PAYLOADS: Final[Mapping[str, type[Payload]]] = {kind.__name__: kind for kind in Payload.__args__}
"""Every known event type, by its name."""

TOPICS: Final = ("orders", "validation", "payments")
"""The main topics; retry topics and dead-letter queues are derived from them, per group."""

TOPIC_OF: Final[Mapping[str, str]] = {
    "OrderCreated": "orders",
    "OrderConfirmed": "orders",
    "OrderCancelled": "orders",
    "OrderExpired": "orders",
    "OrderValidated": "validation",
    "OrderRejected": "validation",
    "PaymentCaptured": "payments",
    "PaymentDeclined": "payments",
    "PaymentUnknown": "payments",
    "RefundRequested": "payments",
    "PaymentRefunded": "payments",
    "RefundFailed": "payments",
}
"""The main topic of each event type."""

READS: Final[Mapping[str, tuple[str, ...]]] = {
    "validation": ("OrderCreated",),
    "payment": ("OrderValidated", "RefundRequested"),
    "orders": ("PaymentCaptured",),
    "notification": (
        "OrderCreated",
        "OrderConfirmed",
        "OrderCancelled",
        "OrderExpired",
        "OrderRejected",
        "PaymentDeclined",
        "PaymentRefunded",
    ),
}
"""The event types that each group handles; other known types are acknowledged unread."""

EVENT_OF_STATE: Final[Mapping[OrderState, str]] = {
    OrderState.PENDING: "OrderCreated",
    OrderState.VALIDATED: "OrderValidated",
    OrderState.REJECTED: "OrderRejected",
    OrderState.PAID: "PaymentCaptured",
    OrderState.DECLINED: "PaymentDeclined",
    OrderState.PAYMENT_UNKNOWN: "PaymentUnknown",
    OrderState.CONFIRMED: "OrderConfirmed",
    OrderState.CANCELLED: "OrderCancelled",
    OrderState.EXPIRED: "OrderExpired",
    OrderState.REFUND_PENDING: "RefundRequested",
    OrderState.REFUNDED: "PaymentRefunded",
    OrderState.REFUND_FAILED: "RefundFailed",
}
"""The one event that tells of the move into each state."""


def topics_of(group: str) -> tuple[str, ...]:
    """The main topics that a group must read, in the order of `TOPICS`."""
    wanted = {TOPIC_OF[name] for name in READS[group]}
    return tuple(topic for topic in TOPICS if topic in wanted)


def derived_id(cause_id: str, handler: str, event_type: str, ordinal: int = 0) -> str:
    """A deterministic event id: a handler that runs again emits the same ids.

    Args:
        cause_id: id of the event (or request) that led to this one.
        handler: the emitter, such as a group name.
        event_type: type of the new event.
        ordinal: position among events of this type from the same cause.
    """
    text = f"{cause_id}\x00{handler}\x00{event_type}\x00{ordinal}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
