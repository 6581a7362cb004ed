"""Bugs about traces: one begins anew, one is lost on the way, a cause is forged or forgotten."""

from typing import Any, Final

from msgspec.structs import replace

from lab.domain.envelope import Envelope, Headers
from lab.domain.lineage import derive
from lab.patterns.dead_letter import DeadLetterQueue
from lab.patterns.outbox import to_record
from lab.ports.bus import DeadLetter, Delivery, Outgoing, Record
from lab.ports.parking import parked_headers
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

CANCELLED: Final = Setup(scenario="cancellation")
POISON: Final = Setup(scenario="poison-message", orders=100)
THROUGH_TIERS: Final = Setup(scenario="timeouts", settings=(("retry.in_place", 1),))

ANEW: Final = "00-" + "5" * 32 + "-" + "5" * 16 + "-01"


@BUGS.plant(
    "trace-complete",
    "lab.services.payment.derive",
    setup=Setup(),
    witness="PaymentCaptured in payments is in another trace than the first event of its order",
)
def trace_begins_at_the_payment(*args: Any, **given: Any) -> Envelope:
    """The payment service has a tracer of its own, which knows nothing of the caller's."""
    return derive(*args, **{**given, "traceparent": ANEW})


@BUGS.plant(
    "trace-complete",
    "lab.patterns.outbox.to_record",
    setup=Setup(),
    witness="OrderCreated in orders is published under a span that is not its own",
)
def producer_with_a_span_of_its_own(envelope: Envelope) -> Outgoing:
    """The producer is instrumented: it puts its own span into the header, over the event's."""
    given = envelope.traceparent
    return to_record(replace(envelope, traceparent=f"{given[:36]}{'5' * 16}{given[52:]}"))


@BUGS.plant(
    "trace-complete",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=POISON,
    witness=".dlq has no traceparent",
)
class LetterWithoutATrace(DeadLetterQueue):
    """What is parked keeps the headers that somebody thought of: the event's own ones."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        record = delivery.record
        headers = _without_trace(record.headers)
        await super().publish(replace(delivery, record=replace(record, headers=headers)), dead)


@BUGS.plant(
    "trace-complete",
    "lab.patterns.key_lanes.parked_headers",
    setup=THROUGH_TIERS,
    witness=".retry.1 has another traceparent than in ",
)
def retry_in_a_new_trace(record: Record, **given: Any) -> Headers:
    """A retry comes long after, so it begins a trace."""
    headers = _without_trace(parked_headers(record, **given))
    return (*headers, ("traceparent", ANEW.encode()))


@BUGS.plant(
    "trace-complete",
    "lab.services.validation.derive",
    setup=Setup(),
    witness="OrderValidated in validation names no cause",
)
def cause_that_was_forgotten(*args: Any, **given: Any) -> Envelope:
    """The event is made from the order's row, which does not know what led to it."""
    return replace(derive(*args, **given), causation_id="")


@BUGS.plant(
    "trace-complete",
    "lab.services.payment.derive",
    setup=Setup(),
    witness="PaymentCaptured in payments names a cause that stands in no topic",
)
def the_order_for_a_cause(*args: Any, **given: Any) -> Envelope:
    """Everything about an order is caused by the order, one might think."""
    event = derive(*args, **given)
    return replace(event, causation_id=event.subject)


@BUGS.plant(
    "trace-complete",
    "lab.services.orders.derive",
    setup=Setup(),
    witness="OrderConfirmed in orders names OrderConfirmed as its cause",
)
def an_event_that_caused_itself(*args: Any, **given: Any) -> Envelope:
    """The id of the cause is filled in where the id of the event should stand."""
    event = derive(*args, **given)
    return replace(event, causation_id=event.id) if given["by"] == "orders" else event


@BUGS.plant(
    "trace-complete",
    "lab.services.orders.derive",
    setup=CANCELLED,
    witness="OrderCancelled in orders names a cause that is not its order",
)
def a_cancel_that_names_its_request(*args: Any, **given: Any) -> Envelope:
    """The cancel names the request's id, which nobody can look up anywhere."""
    event = derive(*args, **given)
    return replace(event, causation_id="5" * 32) if event.type == "OrderCancelled" else event


def _without_trace(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0] != "traceparent")
