"""The promise about traces: one trace an order, one span an event, and a cause that is known.

Not here: the spans of a run and how they are shipped, and whether a copy is unchanged otherwise
(`dead_letters`).
"""

import re
from typing import Final

from lab.checks.check import Check
from lab.checks.order_case import TRACE_END, Case
from lab.checks.tables import CAUSED_BY
from lab.history.facts import AppendedEntry

_SPAN: Final = 16
_IS_TRACE: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}").fullmatch
_IS_FLAGS: Final = re.compile(r"-[0-9a-f]{2}").fullmatch


class TraceComplete(Check):
    """Records of an order have the trace of its first event, their event's span, a true cause.

    A span is the first 16 digits of the event's id. The cause is an event of the same order that
    stands in the log and may lead to this one; of what a request, the clock or a dead letter asks
    for it is the order itself. Copies, on retry topics and dead-letter queues too, say the same.
    Source: W3C Trace Context.
    """

    name = "trace-complete"
    sentence = "every event of an order is in its one trace, under its own span, and names its cause"

    def judge(self, case: Case) -> None:
        records = [record for record in case.published.values() if record is not None]
        if case.copies or case.parked:
            records += case.copies + case.parked
        if not records or not case.subject:
            # A record without a subject is not the lab's.
            return
        self.checked += len(records)
        trace, order_id = case.root()
        if not trace:
            # Its first event was never published: `outbox-atomic` and others judge that.
            trace = records[0].traceparent[:TRACE_END]
        for record in records:
            wrong = (
                _strays(case, record)
                or _wrong_place(record, trace)
                or _wrong_cause(case, record, order_id)
            )
            if wrong:
                kind = record.event_type or "an event"
                self.breaks(case, f"{kind} in {record.topic} {wrong}")
                return


def _strays(case: Case, record: AppendedEntry) -> str:
    """The difference between a record and the first one of its event, in words; "" if none."""
    first = case.published.get(record.event_id)
    if first is None or first is record:
        return ""
    if record.traceparent != first.traceparent:
        return f"has {_named(record)}, and in {first.topic} {_named(first)}"
    if record.cause_id != first.cause_id:
        return f"names another cause than in {first.topic}"
    return ""


def _named(record: AppendedEntry) -> str:
    return f"the traceparent {record.traceparent}" if record.traceparent else "no traceparent"


def _wrong_place(record: AppendedEntry, trace: str) -> str:
    """The fault in a record's place in the trace of its order, in words; "" if there is none."""
    given, span_end = record.traceparent, TRACE_END + 1 + _SPAN
    if not given:
        return "has no traceparent"
    is_in_form = _IS_TRACE(given, 0, TRACE_END) and _IS_FLAGS(given, span_end)
    if not is_in_form or given[TRACE_END] != "-":
        return f"has a malformed traceparent: {given}"
    if not given.startswith(trace):
        return "is in another trace than the first event of its order"
    if given[TRACE_END + 1 : span_end] != record.event_id[:_SPAN]:
        return "is published under a span that is not its own"
    return ""


def _wrong_cause(case: Case, record: AppendedEntry, order_id: str) -> str:
    """The fault in the cause that a record names, in words; "" if there is none."""
    cause_id, may_be = record.cause_id, CAUSED_BY.get(record.event_type, ("",))
    if not cause_id:
        return "names no cause"
    if cause_id in case.published:
        cause = case.published[cause_id]
        led = cause.event_type if cause is not None else case.event_type(cause_id)
        return "" if led in may_be else f"names {led} as its cause"
    if "" not in may_be:
        return "names a cause that stands in no topic" if case.is_whole else ""
    told = {answer.answer for answer in case.answers if answer.answer}
    if (order_id and cause_id != order_id) or (told and cause_id not in told):
        return "names a cause that is not its order"
    return ""
