"""How an event descends from its cause: its id, its place in the trace, its order's version.

Nothing here is made up: the same cause, emitter and payload give the same event again, so that a
handler that runs twice emits one event twice instead of two.
"""

from lab.domain.codec import encode
from lab.domain.envelope import Envelope
from lab.domain.events import Payload, derived_id
from lab.domain.trace_context import child_of


def derive(
    payload: Payload,
    *,
    by: str,
    cause_id: str,
    traceparent: str,
    sequence: int,
    time_us: int,
    lab_subject: str,
    expires_us: int | None = None,
) -> Envelope:
    """The event that tells of `payload`.

    Args:
        payload: the fact; its type names the event.
        by: the emitter: a consumer group, `api` or `timer`.
        cause_id: id of the event that led to it; of the order where a request or the clock did.
        traceparent: of the cause, see `Envelope`.
        sequence: version of the order after the change.
        time_us: when it was decided, microseconds since the Unix epoch.
        lab_subject: of the order.
        expires_us: see `Envelope`; given only while the order can still expire.
    """
    event_type = type(payload).__name__
    event_id = derived_id(cause_id, by, event_type)
    return Envelope(
        id=event_id,
        type=event_type,
        source=f"/lab/{by}",
        subject=payload.order_id,
        time_us=time_us,
        data=encode(payload),
        correlation_id=payload.order_id,
        causation_id=cause_id,
        sequence=sequence,
        traceparent=child_of(traceparent, event_id),
        expires_us=expires_us,
        lab_subject=lab_subject,
    )
