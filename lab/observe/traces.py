"""Which trace an order belongs to, and the ids of spans: functions, so that nobody must be asked.

A span's id is a hash of what the history says about it. Processes that never spoke to each other
agree on it, and the same history gives the same spans each time.

Source: W3C Trace Context, `traceparent`.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol

SPAN_DIGITS: Final = 16
TRACE_DIGITS: Final = 32
EVENT_ID_DIGITS: Final = 32
REMEMBERED_MAX: Final = 50_000


class Traces(Protocol):
    """Knows the trace of an order, and who of its processes says what.

    Attributes:
        has_client: the client is seen: its request is the root of the trace, else the API's is.
        sees_requests: the API says when it has answered.
    """

    has_client: bool
    sees_requests: bool

    def of(self, subject: str) -> str:
        """The trace id of an order, "" if it is not known.

        Args:
            subject: the order as the entries of the history name it.
        """
        ...

    def parent_of(self, subject: str) -> str:
        """The client's span in which the whole order is, "" if its client began no trace."""
        ...


class TraceparentOf(Protocol):
    """The traceparent under which an order is created."""

    def __call__(self, lab_subject: str, /) -> str:
        """See `lab.ports.ids.Ids.traceparent`."""
        ...


class ComputedTraces(Traces):
    """The traces of orders: their traceparent is a function of their subject.

    Args:
        traceparent_of: of a lab run, where it depends on the seed, or of a standing system.
        has_client: see `Traces`.
        sees_requests: see `Traces`.
    """

    def __init__(
        self, traceparent_of: TraceparentOf, *, has_client: bool, sees_requests: bool
    ) -> None:
        self.has_client = has_client
        self.sees_requests = sees_requests
        self._of = lru_cache(maxsize=REMEMBERED_MAX)(lambda who: trace_of(traceparent_of(who)))

    def of(self, subject: str) -> str:
        return self._of(subject) if subject else ""

    def parent_of(self, subject: str) -> str:  # noqa: ARG002 - of a trace that others began
        return ""


def trace_of(traceparent: str) -> str:
    """The trace id in a traceparent, "" if it is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == TRACE_DIGITS else ""


def span_id(*parts: object) -> str:
    """The id of the span that these parts name."""
    text = "\x00".join(map(str, parts))
    return blake2b(text.encode("utf-8", "replace"), digest_size=SPAN_DIGITS // 2).hexdigest()


def root_span(trace_id: str, subject: str) -> str:
    """The root of an order: the request that created it. A client may create several in a trace."""
    return span_id(trace_id, "root", subject)


def message_span(trace_id: str, subject: str, event_id: str) -> str:
    """The span under which an event was published; the root of the order for what is no event.

    An event's own traceparent names it: `lab.domain.trace_context.child_of`.
    """
    if len(event_id) == EVENT_ID_DIGITS and event_id.isalnum():
        return event_id[:SPAN_DIGITS]
    return root_span(trace_id, subject)
