"""Which trace an order belongs to, and the ids of spans: functions, so that nobody must be asked.

A span's id is a hash of what the history says about it. Processes that never spoke to each other
agree on it, and the same history gives the same spans each time.

Source: W3C Trace Context, `traceparent`.
"""

from collections import OrderedDict
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


class TraceparentOf(Protocol):
    """The traceparent under which an order of a lab run is created."""

    def __call__(self, lab_subject: str, /) -> str:
        """See `lab.ports.ids.Ids.traceparent`."""
        ...


class TracesOfRun(Traces):
    """The traces of a lab run: there a traceparent is a function of seed and subject."""

    has_client = True

    def __init__(self, traceparent_of: TraceparentOf, *, sees_requests: bool) -> None:
        self.sees_requests = sees_requests
        self._of = lru_cache(maxsize=REMEMBERED_MAX)(lambda who: trace_of(traceparent_of(who)))

    def of(self, subject: str) -> str:
        return self._of(subject) if subject else ""


class LearnedTraces(Traces):
    """The traces of a standing system: read off the events that come by; the youngest are kept."""

    has_client = False
    sees_requests = True

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()

    def learn(self, subject: str, traceparent: str) -> None:
        """Remember the trace of an order."""
        known = self._known
        if subject in known:
            known.move_to_end(subject)
        elif trace_id := trace_of(traceparent):
            known[subject] = trace_id
            if len(known) > REMEMBERED_MAX:
                known.popitem(last=False)

    def of(self, subject: str) -> str:
        return self._known.get(subject, "")


def trace_of(traceparent: str) -> str:
    """The trace id in a traceparent, "" if it is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == TRACE_DIGITS else ""


def span_id(*parts: object) -> str:
    """The id of the span that these parts name."""
    text = "\x00".join(map(str, parts))
    return blake2b(text.encode("utf-8", "replace"), digest_size=SPAN_DIGITS // 2).hexdigest()


def root_span(trace_id: str) -> str:
    """The root of a trace: the request that created the order."""
    return span_id(trace_id, "root")


def message_span(trace_id: str, event_id: str) -> str:
    """The span under which an event was published; the root for what is no event.

    An event's own traceparent names it: `lab.domain.lineage.child_of`.
    """
    if len(event_id) == EVENT_ID_DIGITS and event_id.isalnum():
        return event_id[:SPAN_DIGITS]
    return root_span(trace_id)
