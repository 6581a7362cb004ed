"""An order that is confirmed, as the events that tell of it: the bytes that the bench moves.

Not here: the code that moves them (`real_kafka`, `real_postgres`).
"""

from lab.domain.codec import decode
from lab.domain.envelope import Envelope
from lab.domain.events import OrderConfirmed, OrderCreated, OrderValidated, PaymentCaptured
from lab.domain.lineage import derive
from lab.domain.order import Item, OrderId, charge_key

_ITEMS = (
    Item(sku="A", quantity=2, unit_price_cents=500),
    Item(sku="B-77", quantity=1, unit_price_cents=1_999),
)
_TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
_TIME_US = 1_700_000_000_000_000


def make_payload(number: int) -> OrderCreated:
    """What the event of a new order tells; one order for each number."""
    return OrderCreated(
        order_id=f"{number:016x}-{number}.1",
        customer_id=f"C-{number % 997}",
        country="GB",
        currency="GBP",
        amount_cents=sum(each.quantity * each.unit_price_cents for each in _ITEMS),
        items=_ITEMS,
    )


def make_created(number: int) -> Envelope:
    """The event of a new order, as the API makes it."""
    payload = make_payload(number)
    return derive(
        payload,
        by="api",
        cause_id=payload.order_id,
        traceparent=_TRACE,
        sequence=1,
        time_us=_TIME_US,
        lab_subject=f"{number}.1",
    )


def next_event(cause: Envelope) -> Envelope | None:
    """The event by which a service answers; None after the last one."""
    payload = decode(cause.type, cause.data)
    following: OrderValidated | PaymentCaptured | OrderConfirmed
    match payload:
        case OrderCreated(order_id=order_id, currency=currency, amount_cents=cents):
            by = "validation"
            following = OrderValidated(order_id=order_id, currency=currency, amount_cents=cents)
        case OrderValidated(order_id=order_id, currency=currency, amount_cents=cents):
            by = "payment"
            following = PaymentCaptured(
                order_id=order_id,
                charge_key=charge_key(OrderId(order_id), 1),
                currency=currency,
                amount_cents=cents,
            )
        case PaymentCaptured(order_id=order_id, currency=currency, amount_cents=cents):
            by = "orders"
            following = OrderConfirmed(order_id=order_id, currency=currency, amount_cents=cents)
        case _:
            return None
    return derive(
        following,
        by=by,
        cause_id=cause.id,
        traceparent=cause.traceparent,
        sequence=cause.sequence + 1,
        time_us=cause.time_us,
        lab_subject=cause.lab_subject,
    )


def all_events(first: Envelope) -> list[Envelope]:
    """The events of an order, from its first one."""
    events: list[Envelope] = []
    event: Envelope | None = first
    while event is not None:
        events.append(event)
        event = next_event(event)
    return events
