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
_SPAN_END: Final = TRACE_END + len("-") + _SPAN
_FLAGS: Final = frozenset([f"-{flags:02x}" for flags in range(256)])
_SAMPLED: Final = "-01"
"""The flags of nearly all."""
_is_trace: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}").fullmatch


class TraceComplete(Check):
    """Records of an order have the trace of its first event, their event's span, a true cause.

    A span is the first 16 digits of the event's id. The cause is an event of the same order that
    stands in the log and may lead to this one; of what a request, the clock or a dead letter asks
    for it is the order itself. Copies, on retry topics and dead-letter queues too, say the same.
    Source: W3C Trace Context.
    """

    name = "trace-complete"
    sentence = "events of an order are in one trace, each under its own span, and tell their cause"

    def judge(self, case: Case) -> None:
        records = [record for record in case.published.values() if record is not None]
        copies = case.copies + case.parked if case.copies or case.parked else ()
        records += copies
        if not records or not case.subject:
            # A record without a subject is not the lab's.
            return
        self.checked += len(records)
        # If its first event was never published, `outbox-atomic` judges that.
        trace, order_id = case.root() or (records[0].traceparent[:TRACE_END], "")
        is_sound, published = _is_trace(trace), case.published
        for record in records:
            given, event_id, cause_id = record.traceparent, record.event_id, record.cause_id
            wrong = ""
            span = f"{trace}-{event_id[:_SPAN]}"
            if not is_sound or (
                given != f"{span}{_SAMPLED}"
                and (given[:_SPAN_END] != span or given[_SPAN_END:] not in _FLAGS)
            ):
                wrong = _misplaced(case, record, trace)
            # Most are the first record of their event, and led to by one that stands in a topic.
            cause = published.get(cause_id) if cause_id else None
            if not wrong and (
                cause is None
                or cause.event_type not in CAUSED_BY.get(record.event_type, ())
                or (copies and published.get(event_id) is not record)
            ):
                wrong = _wrong_cause(case, record, order_id)
            if wrong:
                self.breaks(case, f"{record.event_type or 'an event'} in {record.topic} {wrong}")
                return


def _misplaced(case: Case, record: AppendedEntry, trace: str) -> str:
    """The fault in the place that a record has in its order's trace, in words."""
    given, first = record.traceparent, case.published.get(record.event_id)
    if not given:
        return "has no traceparent"
    if first is not None and first.traceparent != given:
        return f"has another traceparent than in {first.topic}"
    if not _is_trace(given, 0, TRACE_END) or given[_SPAN_END:] not in _FLAGS:
        return f"has a malformed traceparent: {given}"
    if not given.startswith(f"{trace}-"):
        return "is in another trace than the first event of its order"
    return "is published under a span that is not its own"


def _wrong_cause(case: Case, record: AppendedEntry, order_id: str) -> str:
    """The fault in the cause that a record names, in words; "" if there is none."""
    cause_id, may_be = record.cause_id, CAUSED_BY.get(record.event_type, ("",))
    first = case.published.get(record.event_id)
    if first is not None and first.cause_id != cause_id:
        return f"names another cause than in {first.topic}"
    if not cause_id:
        return "names no cause"
    if cause_id in case.published:
        cause = case.published[cause_id]
        led = case.event_type(cause_id) if cause is None else cause.event_type
        return "" if led in may_be else f"names {led} as its cause"
    if "" not in may_be:
        return "names a cause that stands in no topic" if case.is_whole else ""
    # Without a row the answer may be about the order of an earlier request under the same key.
    told = {answer.answer for answer in case.answers if answer.answer and case.rows}
    if (order_id and cause_id != order_id) or (told and cause_id not in told):
        return "names a cause that is not its order"
    return ""
