"""The order: its states, who may move it where, and its durable traces of money.

Not here: how a transition is stored (`lab.ports.store`) and who decides on it (`lab.services`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NewType

import msgspec

OrderId = NewType("OrderId", str)


class OrderState(StrEnum):
    """Where an order stands."""

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

TRANSITIONS: Final[Mapping[OrderState, Mapping[OrderState, str]]] = {
    S.PENDING: {
        S.VALIDATED: "validation",
        S.REJECTED: "validation",
        S.CANCELLED: "orders",
        S.EXPIRED: "orders",
    },
    S.VALIDATED: {
        S.PAID: "payment",
        S.DECLINED: "payment",
        S.PAYMENT_UNKNOWN: "payment",
        S.CANCELLED: "orders",
        S.EXPIRED: "orders",
    },
    S.PAYMENT_UNKNOWN: {S.PAID: "payment", S.DECLINED: "payment"},
    S.PAID: {S.CONFIRMED: "orders"},
    S.CANCELLED: {S.REFUND_PENDING: "payment"},
    S.EXPIRED: {S.REFUND_PENDING: "payment"},
    S.REFUND_PENDING: {S.REFUNDED: "payment", S.REFUND_FAILED: "payment"},
    S.REFUND_FAILED: {S.REFUNDED: "payment"},
    S.REJECTED: {},
    S.DECLINED: {},
    S.CONFIRMED: {},
    S.REFUNDED: {},
}
"""From each state: the states it may move to, and the service that owns that move."""


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of an order. `unit_price_cents` is in minor units of the order's currency."""

    sku: str
    quantity: int
    unit_price_cents: int


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A request that passed validation; `amount_cents` is the sum of quantity x unit price."""

    customer_id: str
    country: str | None
    currency: str
    items: tuple[Item, ...]
    amount_cents: int


class Order(msgspec.Struct, frozen=True, kw_only=True):
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
    """What the payment service is about to ask of the payment gateway."""

    CHARGE = "charge"
    REFUND = "refund"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A committed promise to tell what became of a call that moves money.

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
