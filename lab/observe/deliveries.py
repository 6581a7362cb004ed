"""The spans of deliveries: each with its attempts, and what each attempt did.

A delivery is open from its first hand-over until it is settled for good. An attempt is one
hand-over: from `deliver` to `settle`. Not here: the rest of a process (`process_view`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lab.observe.model import Attributes, Outcome, Span, SpanKind, SpanLink
from lab.observe.open_spans import OpenSpans
from lab.observe.traces import Traces, message_span, span_id

SUPPRESSED_BY: Final = "labels.suppressed_by"
_Place = tuple[str, str, str, int, int, int]
_STAYS: Final = ("retry", "release")
"""Settlements after which the delivery is handed over again."""
_OUTCOMES: Final[Mapping[str, Outcome]] = {
    "ack": "success",
    "dead": "failure",
    # Not due yet, given back, or no longer ours: nothing was decided.
    "retry": "unknown",
    "release": "unknown",
    "stale": "unknown",
}


_CUSTOMERS: Final = "customers"
"""Whose calls have a person as their key, who is shown nowhere."""


class Deliveries:
    """Folds over what a member of a consumer group says of its work.

    Args:
        spans: the open spans of the process.
        traces: see `Traces`.
    """

    def __init__(self, spans: OpenSpans, traces: Traces) -> None:
        self._spans = spans
        self._traces = traces
        self._attempts: dict[tuple[str, str], Span] = {}
        """The running attempt at an event, by group and event."""
        self._first: dict[str, str] = {}
        """The span of the first attempt of each open delivery, by the delivery's span."""
        self._running: dict[str, list[Span]] = {}
        """The running attempts at the events of an order, by its subject."""
        self._open: dict[_Place, str] = {}
        """The deliveries in hand, and the event of each."""
        self._lost: set[_Place] = set()
        """Of these, those at work in a partition that was given to another member meanwhile."""
        self._delivery_of: dict[str, Span] = {}
        """The delivery of each running attempt, by the attempt's span."""

    def folds(self) -> Mapping[object, Callable[[Any], None]]:
        """What to call with the entries of each kind."""
        return {
            "deliver": self._deliver,
            "settle": self._settle,
            "handle.begin": self._handle_begin,
            "handle.end": self._handle_end,
            "call.begin": self._call_begin,
            "call.end": self._call_end,
            "claim": self._claim,
            "retrying": self._retrying,
            "buried": self._buried,
            "revoked": self._revoked,
        }

    def attempt(self, group: str, event_id: str) -> Span | None:
        """The running attempt at an event."""
        return self._attempts.get((group, event_id))

    def attempt_at(self, subject: str, event_id: str) -> Span | None:
        """The running attempt at an event of an order, whichever group this process works for."""
        for span in self._running.get(subject, ()):
            if span.attributes["messaging.message.id"] == event_id:
                return span
        return None

    def suppressed(self, subject: str, by: str) -> None:
        """A duplicate was stopped: the delivery that is at work says by which pattern."""
        running = self._running.get(subject)
        if running:
            self._delivery_of[running[-1].span_id].attributes.setdefault(SUPPRESSED_BY, by)

    def forget(self) -> None:
        """The process has ended: nothing of it runs."""
        self._delivery_of.clear()
        self._open.clear()
        self._lost.clear()
        self._attempts.clear()
        self._running.clear()
        self._first.clear()

    # ---- a delivery

    def _deliver(self, entry: Any) -> None:
        (
            _,
            t_us,
            _,
            subject,
            group,
            topic,
            partition,
            offset,
            epoch,
            event_id,
            kind,
            attempt,
            *_,
        ) = entry
        trace = self._traces.of(subject)
        if not trace:
            return
        key: _Place = ("deliver", group, topic, partition, offset, epoch)
        self._open[key] = event_id
        delivery = self._spans.find(key)
        message = message_span(trace, subject, event_id)
        if delivery is None:
            delivery = self._spans.begin(
                key,
                t_us,
                trace_id=trace,
                span=span_id(trace, event_id, *key, t_us),
                parent=message,
                name=f"process {topic}",
                kind=SpanKind.CONSUMER,
                subject=subject,
                attributes=_message(group, topic, partition, offset, event_id, kind),
                links=(SpanLink(trace, message),),
            )
        self._begin_attempt(t_us, delivery, group, event_id, attempt)

    def _begin_attempt(
        self, t_us: int, delivery: Span, group: str, event_id: str, number: int
    ) -> None:
        first = self._first.get(delivery.span_id)
        span = self._spans.begin(
            ("attempt", group, event_id),
            t_us,
            trace_id=delivery.trace_id,
            span=span_id(delivery.span_id, "attempt", number, t_us),
            parent=delivery.span_id,
            name=f"attempt {number}",
            kind=SpanKind.INTERNAL,
            subject=delivery.subject,
            inside=delivery,
            attributes={
                "lab.attempt": number,
                "messaging.consumer.group.name": group,
                "messaging.message.id": event_id,
            },
            links=() if first is None else (SpanLink(delivery.trace_id, first),),
        )
        self._first.setdefault(delivery.span_id, span.span_id)
        self._attempts[group, event_id] = span
        self._delivery_of[span.span_id] = delivery
        self._running.setdefault(delivery.subject, []).append(span)

    def _settle(self, entry: Any) -> None:
        _, t_us, _, _, group, topic, partition, offset, epoch, event_id, settlement, why, after = (
            entry
        )
        key: _Place = ("deliver", group, topic, partition, offset, epoch)
        delivery = self._spans.find(key)
        if delivery is None:
            return
        told: Attributes = {"lab.settlement": settlement}
        if why:
            told["lab.settlement_reason"] = why
        if after:
            told["lab.after_ms"] = after // 1000
        attempt = self._attempts.pop((group, event_id), None)
        outcome = _OUTCOMES[settlement]
        if attempt is not None:
            self._stop_running(attempt)
            if attempt.error:
                outcome = "failure"
            self._spans.end(("attempt", group, event_id), t_us, outcome=outcome, attributes=told)
        if settlement not in _STAYS or key in self._lost:
            self._end(key, delivery, t_us, outcome, told)

    def _end(
        self, key: "_Place", delivery: Span, t_us: int, outcome: Outcome, told: Attributes
    ) -> None:
        self._first.pop(delivery.span_id, None)
        self._open.pop(key, None)
        self._lost.discard(key)
        self._spans.end(key, t_us, outcome=outcome, attributes=told)

    def _revoked(self, entry: Any) -> None:
        """Nothing waits here any more for partitions that others work on now."""
        _, t_us, _, _, group, _, partitions = entry
        gone = set(partitions)
        for key, event_id in list(self._open.items()):
            _, of_group, topic, partition, _, _ = key
            if of_group != group or f"{topic}/{partition}" not in gone:
                continue
            delivery = self._spans.find(key)
            if (group, event_id) in self._attempts:
                self._lost.add(key)
            elif delivery is not None:
                self._end(key, delivery, t_us, "unknown", {"lab.settlement_reason": "revoked"})

    def _stop_running(self, attempt: Span) -> None:
        del self._delivery_of[attempt.span_id]
        running = self._running[attempt.subject]
        running.remove(attempt)
        if not running:
            del self._running[attempt.subject]

    # ---- inside an attempt

    def _handle_begin(self, entry: Any) -> None:
        _, t_us, _, _, group, event_id, event_type, _, sequence, *_ = entry
        span = self._attempts.get((group, event_id))
        if span is not None:
            span.attributes["lab.handler"] = f"on_{event_type}"
            span.attributes["lab.sequence"] = sequence
            self._spans.note(span, t_us, "handler.start")

    def _handle_end(self, entry: Any) -> None:
        _, t_us, _, _, group, event_id, _, _, result, _ = entry
        span = self._attempts.get((group, event_id))
        if span is not None:
            span.attributes["lab.handler_result"] = result
            if result != "ok":
                span.error = result
            self._spans.note(span, t_us, "handler.end", {"lab.handler_result": result})

    def _call_begin(self, entry: Any) -> None:
        _, t_us, _, subject, provider, action, key, _ = entry
        running = self._running.get(subject)
        if not running:
            return
        inside = running[-1]
        self._spans.begin(
            ("call", subject, provider, action, key),
            t_us,
            trace_id=inside.trace_id,
            span=span_id(inside.span_id, provider, action, key, t_us),
            parent=inside.span_id,
            name=f"{action} {provider}",
            kind=SpanKind.CLIENT,
            subject=subject,
            inside=inside,
            attributes={"lab.provider": provider, "lab.action": action}
            | ({"lab.key": key} if key and provider != _CUSTOMERS else {}),
        )

    def _call_end(self, entry: Any) -> None:
        _, t_us, _, subject, provider, action, key, result, late_us, _, hint_us = entry
        good = not is_failure(result)
        told: Attributes = {"lab.result": result}
        if late_us:
            told["lab.late_ms"] = late_us // 1000
        if hint_us:
            told["lab.retry_after_ms"] = hint_us // 1000
        self._spans.end(
            ("call", subject, provider, action, key),
            t_us,
            outcome="success" if good else "failure",
            error="" if good else result,
            attributes=told,
        )

    def _claim(self, entry: Any) -> None:
        _, t_us, _, _, group, event_id, state, fence = entry
        self._note(group, event_id, t_us, f"dedupe.{state}", {"lab.fence": fence})

    def _buried(self, entry: Any) -> None:
        _, t_us, _, _, group, event_id, reason, attempts, starts, redrives = entry
        told: Attributes = {
            "lab.reason": reason,
            "lab.attempts": attempts,
            "lab.starts": starts,
            "lab.redrives": redrives,
        }
        self._note(group, event_id, t_us, "dead_letter", told)

    def _retrying(self, entry: Any) -> None:
        _, t_us, _, subject, group, event_id, attempt, error_class, where, delay_us = entry
        span = self._attempts.get((group, event_id))
        if span is None:
            return
        span.error = span.error or error_class
        told: Attributes = {
            "lab.tier": where,
            "lab.delay_ms": delay_us // 1000,
            "lab.error_class": error_class,
        }
        self._spans.note(span, t_us, "retry", told)
        if where.startswith("tier."):
            key = ("wait", group, event_id)
            self._spans.begin(
                key,
                t_us,
                trace_id=span.trace_id,
                span=span_id(span.span_id, "wait", where),
                parent=span.parent_id,
                name=f"wait {where}",
                kind=SpanKind.INTERNAL,
                subject=subject,
                inside=span,
                attributes={**told, "lab.attempt": attempt},
            )
            # What is planned is known now; whoever fetches it then may be another process.
            self._spans.end(key, t_us + delay_us)

    def _note(
        self, group: str, event_id: str, t_us: int, name: str, attributes: Attributes
    ) -> None:
        span = self._attempts.get((group, event_id))
        if span is not None:
            self._spans.note(span, t_us, name, attributes)


def is_failure(result: str) -> bool:
    """Whether the `result` of a call is no answer: the name of an error class, or `cancelled`."""
    return result[:1].isupper() or result == "cancelled"


def _message(
    group: str, topic: str, partition: int, offset: int, event_id: str, event_type: str
) -> Attributes:
    """OpenTelemetry's attributes of a message that is processed."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
        "messaging.message.id": event_id,
        "messaging.consumer.group.name": group,
        "lab.event_type": event_type,
    }
