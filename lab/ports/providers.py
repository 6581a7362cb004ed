"""Third parties. Every call has a deadline: the provider executes a request before it, or never.

`deadline_us` is an instant on the caller's monotonic clock (`Clock.now_us`). Common errors:
Transient (not reached, 5xx), Throttled (429, or 409: the same key is in flight), Down (breaker
open, 401, 403), Indeterminate (no answer before the deadline), Permanent (400).
"""

from enum import StrEnum
from typing import Protocol

import msgspec

from lab.domain.order import Item


class Warehouse(Protocol):
    """Knows the stock. Read only."""

    async def in_stock(self, order_id: str, items: tuple[Item, ...], *, deadline_us: int) -> bool:
        """Whether all items can be shipped."""
        ...


class Antifraud(Protocol):
    """Knows bad customers."""

    async def is_fraud(
        self, order_id: str, customer_id: str, amount_cents: int, *, deadline_us: int
    ) -> bool:
        """Whether the order looks fraudulent."""
        ...


class ChargeState(StrEnum):
    """A state of money, as the payment gateway knows it."""

    CAPTURED = "captured"
    DECLINED = "declined"
    REFUNDED = "refunded"
    NONE = "none"
    PENDING = "pending"


class GatewayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a charge or refund. `reason` is set when declined or refused for good."""

    state: ChargeState
    reason: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a query's answer: the fate of the request under `key`."""

    key: str
    state: ChargeState


class PaymentGateway(Protocol):
    """Moves money. Keeps a ledger of its own; remembers keys for a lifetime."""

    async def charge(
        self, order_id: str, *, key: str, amount_cents: int, currency: str, deadline_us: int
    ) -> GatewayAnswer:
        """Capture money once per key: CAPTURED or DECLINED."""
        ...

    async def refund(
        self, order_id: str, *, key: str, charge_key: str, amount_cents: int, deadline_us: int
    ) -> GatewayAnswer:
        """Give a capture back once per key: REFUNDED, or DECLINED if it never will be."""
        ...

    async def query(self, order_id: str, *, deadline_us: int) -> tuple[Known, ...]:
        """All charges and refunds of an order that were executed or are in flight; empty: none."""
        ...


class Mailer(Protocol):
    """Sends mails, once per key while it remembers the key."""

    async def send(self, order_id: str, *, key: str, template: str, deadline_us: int) -> None:
        """Send one mail about an order."""
        ...
