"""The intents of one order: which one is open, which one comes next.

Not here: when to open, raise or close one, which is the payment service's to decide.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from lab.domain.order import Intent, IntentKind, Order, charge_key, refund_key


def open_intent(intents: Sequence[Intent], kind: IntentKind) -> Intent | None:
    """The open one of a kind, or None. There is never more than one."""
    for intent in intents:
        if intent.is_open and intent.kind is kind:
            return intent
    return None


def next_intent(order: Order, intents: Sequence[Intent], kind: IntentKind, charge: str) -> Intent:
    """The one after all earlier ones of its kind; its `send_until_us` is 0: nothing is promised.

    Args:
        order: whose amount it moves.
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
    return replace(intent, send_until_us=until_us)
