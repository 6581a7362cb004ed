"""What can be seen of a run: spans and log lines, before anybody has chosen a format for them.

Not here: how they are made out of a history (`process_view`, `run_view`), and what they look like
on their way out (`apm`, `ecs`, `otlp`).

Source: OpenTelemetry trace data model; semantic conventions for messaging, 1.44.
"""

from enum import StrEnum
from typing import Literal

import msgspec

Value = str | int | bool
"""What an attribute may be."""

Attributes = dict[str, Value]
Outcome = Literal["success", "failure", "unknown"]
Level = Literal["debug", "info", "warning", "error"]


class SpanKind(StrEnum):
    """The role of a span, in OpenTelemetry's words."""

    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"
    INTERNAL = "internal"


class SpanLink(msgspec.Struct, frozen=True, gc=False):
    """Another span that this one has to do with, beside its parent."""

    trace_id: str
    span_id: str


class SpanMoment(msgspec.Struct, frozen=True, gc=False):
    """Something that happened at one moment of a span: a span event.

    Attributes:
        at_us: microseconds since 1970.
        name: such as `dedupe.suppressed`.
    """

    at_us: int
    name: str
    attributes: Attributes = {}


class Span(msgspec.Struct, kw_only=True, gc=False):
    """One piece of work, from its begin to its end.

    Attributes:
        trace_id: 32 hex digits; one order is one trace.
        span_id: 16 hex digits, a function of what the history says about the work.
        parent_id: of the span that led to it; "" for the root of the trace.
        entry_id: the outermost span of the same process that contains it, itself if it is that one:
            what APM calls its transaction.
        action: what was done, in one searchable word, such as `attempt`.
        name: such as `process orders`; few different ones.
        service: the role of the process, such as `payment`.
        node: the process life, such as `payment-1#2`.
        subject: the order, as the history names it.
        start_us: microseconds since 1970.
        error: class of what went wrong, "" if nothing did.
        links: first the message that is processed, then earlier attempts at it.
    """

    trace_id: str
    span_id: str
    parent_id: str
    entry_id: str
    action: str
    name: str
    kind: SpanKind
    service: str
    node: str
    subject: str
    start_us: int
    end_us: int
    outcome: Outcome = "success"
    error: str = ""
    attributes: Attributes = msgspec.field(default_factory=dict)
    moments: list[SpanMoment] = msgspec.field(default_factory=list)
    links: list[SpanLink] = msgspec.field(default_factory=list)

    @property
    def is_entry(self) -> bool:
        """Whether no other span of its process contains it."""
        return self.entry_id == self.span_id


class LogLine(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """One line of a log.

    Attributes:
        at_us: microseconds since 1970.
        id: a function of what the history says: the same line twice is stored once.
        message: a sentence of our own; nothing of a customer but ids.
        action: what happened, in one searchable word, such as `dead-letter`.
        duration_us: how long it took, None if it took no time.
        trace_id: of the order, "" if it belongs to none; `span_id` and `entry_id` as in `Span`.
        attributes: further fields, by their full names.
    """

    at_us: int
    id: str
    level: Level
    message: str
    action: str
    service: str
    node: str
    outcome: Outcome = "success"
    subject: str = ""
    trace_id: str = ""
    span_id: str = ""
    entry_id: str = ""
    duration_us: int | None = None
    error: str = ""
    attributes: Attributes = msgspec.field(default_factory=dict)


Seen = Span | LogLine
