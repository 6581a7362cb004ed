"""Notification: one mail for each thing that a customer wants to know, and the revenue counter.

The mailer forgets a key some day and the counter never knew any: that an event counts once is the
business of dedupe and inbox around this file. Not here: orders, which mails do not touch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lab.domain.events import READS, OrderConfirmed, Payload
from lab.ports.clock import Clock
from lab.ports.providers import Mailer
from lab.ports.service import Context, Handler
from lab.ports.store import Revenue, Unit
from lab.ports.strategies import ProviderKeys

_TEMPLATES: Final[Mapping[str, str]] = {
    "OrderCreated": "received",
    "OrderConfirmed": "confirmed",
    "OrderCancelled": "cancelled",
    "OrderExpired": "expired",
    "OrderRejected": "rejected",
    "PaymentDeclined": "declined",
    "PaymentRefunded": "refunded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """The consumer group `notification`.

    Attributes:
        timeout_us: limit of a call to the mailer; the handler's deadline may be nearer.
    """

    mailer: Mailer
    clock: Clock
    keys: ProviderKeys
    timeout_us: int
    group: str = "notification"

    def handlers(self) -> Mapping[str, Handler]:
        return dict.fromkeys(READS[self.group], self.on_news)

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        """The customer hears nothing, the order is none the worse."""
        del event_type
        return Unit(order_id=order_id)

    async def on_news(self, payload: Payload, context: Context) -> None:
        """Send the mail about an event; count the revenue of a confirmed order."""
        envelope = context.envelope
        await self.mailer.send(
            envelope.subject,
            key=self.keys.of_mail(envelope.id, context.attempt),
            template=_TEMPLATES[envelope.type],
            deadline_us=min(context.deadline_us, self.clock.now_us() + self.timeout_us),
        )
        revenue = None
        if isinstance(payload, OrderConfirmed):
            revenue = Revenue(currency=payload.currency, amount_cents=payload.amount_cents)
        # It changes no order, so no rival can come first.
        await context.settle(Unit(lab_subject=envelope.lab_subject, revenue=revenue))
