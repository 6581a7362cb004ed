"""The spans and log lines of one process life: a fold over its entries, one after the other.

It needs nothing from other processes, so the same fold runs beside a process that works and over a
history that is finished, and gives the same ids. What is open when a life is killed ends there, as
a failure: no span stays open.

The tree of one order:

```
POST /orders                      the client, or the API where nobody else saw the client
  POST /orders                    the API: its commit below
  send orders                     the relay, OrderCreated; its span is the one in the traceparent
    process orders                one delivery to one group, linked to the message
      attempt 1                   one run of the chain: calls, commits, decisions as moments
      wait tier.1                 the time in a retry topic
      send orders.payment.dlq     the dead letter
    send validation               the next event: an event hangs below the event that caused it
```

Not here: the order of lines over processes (`run_view`), formats (`apm`, `ecs`, `otlp`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lab.history.entries import Entry
from lab.history.requests import SLIP_SEND
from lab.observe.deliveries import Deliveries, is_failure
from lab.observe.lines import LineMaker
from lab.observe.model import Attributes, Outcome, Span, SpanKind, SpanLink
from lab.observe.open_spans import Emit, OpenSpans
from lab.observe.traces import Traces, message_span, root_span, span_id

API: Final = "api"
SENT_MAX: Final = 50_000
_CREATE: Final = "create"
_ROUTES: Final = {"create": "POST /orders", "cancel": "POST /orders/{id}/cancel"}
_DEDUPLICATES: Final = ("dedupe", "inbox")
_KEY_TAKEN: Final = "key_taken"
_UNNAMED: Final = "request"
"""In the simulated world the API does not say which of its routes it serves."""
_ENDS: Final[Mapping[str, tuple[Outcome, str]]] = {
    "kill": ("failure", "process.killed"),
    "exited": ("failure", "process.exited"),
    "aborted": ("failure", "process.aborted"),
    "stopped": ("unknown", ""),
}


class ProcessView:
    """The fold of one process life.

    Args:
        process: its name, such as `payment-1#2`.
        service: its role; "": as its name says.
        traces: see `Traces`.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        emit: see `Emit`.
        sent: shared with other views, if they look at the same run.
    """

    def __init__(
        self,
        process: str,
        *,
        service: str = "",
        traces: Traces,
        epoch_us: int,
        emit: Emit,
        sent: "Sent | None" = None,
    ) -> None:
        self.process = process
        self.service = service or service_of(process)
        self._epoch_us = epoch_us
        self._traces = traces
        self._sent = sent or Sent()
        self._spans = OpenSpans(process, self.service, epoch_us=epoch_us, emit=emit)
        self._deliveries = Deliveries(self._spans, traces)
        self._lines = LineMaker(process, self.service, epoch_us=epoch_us, traces=traces, emit=emit)
        self._folds: Mapping[object, Callable[[Any], None]] = {
            "http.begin": self._http_begin,
            "http.end": self._http_end,
            "request.begin": self._request_begin,
            "request.end": self._request_end,
            "commit.begin": self._commit_begin,
            "commit.end": self._commit_end,
            "publish.begin": self._publish_begin,
            "publish.end": self._publish_end,
            "acted": self._acted,
            "life": self._life,
            **self._deliveries.folds(),
        }

    def take(self, entry: Entry) -> None:
        """The next entry of this process."""
        fold = self._folds.get(entry[0])
        if fold is not None:
            fold(entry)
        self._lines.take(entry, self._spans)

    def calls(self, subject: str, provider: str) -> bool:
        """Whether a call to this third party is open here, about this order."""
        return self._spans.calling(subject, provider) is not None

    def strike(self, t_us: int, subject: str, kind: str, site: str) -> bool:
        """A fault struck here; False if no open work of this process has to do with it."""
        return self._spans.strike(t_us, subject, kind, site)

    def close(self, t_us: int) -> None:
        """The history is over: what is open now has no end in it."""
        self._spans.close_all(t_us, outcome="unknown", error="")

    # ---- the client, and the API

    def _http_begin(self, entry: Any) -> None:
        _, t_us, _, subject, op, key, _, send, *_ = entry
        trace = self._traces.of(subject)
        if not trace:
            return
        # A cancel of an order that nobody made is about nothing that came before.
        is_root = op == _CREATE or send == SLIP_SEND
        span = self._spans.begin(
            ("request", "client", subject, op, send),
            t_us,
            trace_id=trace,
            span=root_span(trace, subject) if is_root else span_id(trace, "http", op, send, t_us),
            parent="" if is_root else root_span(trace, subject),
            name=_ROUTES[op],
            kind=SpanKind.CLIENT,
            subject=subject,
        )
        span.attributes = {
            "http.request.method": "POST",
            "url.path": "/orders" if op == _CREATE else "/orders/{id}/cancel",
            "lab.idempotency_key": key,
            "lab.send": send,
        }

    def _http_end(self, entry: Any) -> None:
        _, t_us, _, subject, op, _, _, send, status, problem, *_ = entry
        told: Attributes = {"http.response.status_code": status} if status else {}
        if problem:
            told["lab.problem"] = problem
        self._spans.end(
            ("request", "client", subject, op, send),
            t_us,
            outcome="unknown" if not status else "failure" if status >= 500 else "success",
            error="" if status else "no_answer",
            attributes=told,
        )

    def _request_begin(self, entry: Any) -> None:
        _, t_us, _, subject, op = entry
        trace = self._traces.of(subject)
        if trace:
            self._begin_request(t_us, subject, trace, op)

    def _request_end(self, entry: Any) -> None:
        _, t_us, _, subject, op, status, took_us = entry
        trace = self._traces.of(subject)
        if not trace:
            return
        span = self._spans.find(("request", subject))
        if span is None:
            # Nothing was stored for it, such as for a request that was repeated.
            span = self._begin_request(t_us - took_us, subject, trace, op)
        span.name = _ROUTES.get(op, op)
        if span.trace_id != trace:
            # Whose order it is about was seen when it was looked up.
            span.trace_id, span.parent_id = trace, root_span(trace, subject)
        span.start_us = min(span.start_us, self._epoch_us + t_us - took_us)
        self._spans.end(
            ("request", subject),
            t_us,
            outcome="failure" if status >= 500 or not status else "success",
            attributes={"http.request.method": "POST", "http.response.status_code": status},
        )

    def _begin_request(
        self, t_us: int, subject: str, trace: str, op: str, *, is_root: bool = False
    ) -> Span:
        root = root_span(trace, subject)
        return self._spans.begin(
            ("request", subject),
            t_us,
            trace_id=trace,
            span=root if is_root else span_id(trace, "request", self.process, t_us),
            parent=self._traces.parent_of(subject) if is_root else root,
            name=_ROUTES.get(op, op),
            kind=SpanKind.SERVER,
            subject=subject,
        )

    # ---- commits and publishes, by whomever

    def _commit_begin(self, entry: Any) -> None:
        _, t_us, _, subject, group, event_id, settles = entry
        trace = self._traces.of(subject)
        if not trace:
            return
        inside = self._deliveries.attempt(group, event_id)
        if inside is None and self.service == API:
            inside = self._spans.find(("request", subject))
            if inside is None:
                # An order that has no name before it is stored is created here.
                is_root = not self._traces.has_client
                op = _CREATE if is_root else _UNNAMED
                inside = self._begin_request(t_us, subject, trace, op, is_root=is_root)
        parent = message_span(trace, subject, event_id) if inside is None else inside.span_id
        self._spans.begin(
            ("commit", subject, group, event_id, settles),
            t_us,
            trace_id=trace if inside is None else inside.trace_id,
            span=span_id(parent, "commit", self.process, settles, t_us),
            parent=parent,
            name="commit",
            kind=SpanKind.CLIENT,
            subject=subject,
            inside=inside,
            attributes={
                "db.system.name": "postgresql",
                "db.operation.name": "commit",
                "lab.settles": settles,
            },
        )

    def _commit_end(self, entry: Any) -> None:
        _, t_us, _, subject, group, event_id, settles, result = entry
        failed = is_failure(result)
        self._spans.end(
            ("commit", subject, group, event_id, settles),
            t_us,
            outcome="failure" if failed else "success",
            error=result if failed else "",
            attributes={"lab.result": result},
        )
        if self.service == API and (result == _KEY_TAKEN or not self._traces.sees_requests):
            # In the simulated world the API says nothing of requests: this was all of its work. And
            # under a key that is taken there is another order, of which the answer tells.
            self._spans.end(("request", subject), t_us, outcome="failure" if failed else "success")

    def _publish_begin(self, entry: Any) -> None:
        _, t_us, _, _, topic, event_ids, cause_ids, subjects = entry
        for event_id, cause_id, subject in zip(event_ids, cause_ids, subjects, strict=True):
            trace = self._traces.of(subject)
            if trace:
                self._begin_send(t_us, trace, subject, topic, event_id, cause_id)

    def _begin_send(
        self, t_us: int, trace: str, subject: str, topic: str, event_id: str, cause_id: str
    ) -> None:
        inside = self._deliveries.attempt_at(subject, event_id)
        # A topic of one group (`orders.payment.retry.1`) gets the event again, under another span.
        is_first = "." not in topic
        message = message_span(trace, subject, event_id)
        if is_first and self._sent.first(event_id):
            span, parent = message, message_span(trace, subject, cause_id)
            request = self._spans.find(("request", subject)) if self.service == API else None
            inside = request or self._deliveries.attempt_at(subject, cause_id)
        else:
            parent = message if inside is None else inside.span_id
            span = span_id(parent, "send", topic, self.process, t_us)
            is_first = False
        self._spans.begin(
            ("publish", topic, event_id),
            t_us,
            trace_id=trace,
            span=span,
            parent=parent,
            # A relay that sends to several topics at once says no topic.
            name=f"send {topic}" if topic else "send",
            kind=SpanKind.PRODUCER,
            subject=subject,
            inside=inside,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                **({"messaging.destination.name": topic} if topic else {}),
                "messaging.message.id": event_id,
            },
            links=() if is_first else (SpanLink(trace, message),),
        )

    def _publish_end(self, entry: Any) -> None:
        _, t_us, _, _, topic, event_ids, result = entry
        failed = is_failure(result)
        for event_id in event_ids:
            self._spans.end(
                ("publish", topic, event_id),
                t_us,
                outcome="failure" if failed else "success",
                error=result if failed else "",
            )

    # ---- decisions of patterns, and the end of the process

    def _acted(self, entry: Any) -> None:
        _, t_us, _, subject, pattern, what = entry
        if what == "suppressed" and pattern in _DEDUPLICATES:
            self._deliveries.suppressed(subject, pattern)
        span = self._spans.latest(subject)
        if span is not None:
            self._spans.note(span, t_us, f"{pattern}.{what}")
        elif self.service == API and (trace := self._traces.of(subject)):
            # Answered without a commit, such as a repeated request.
            span = self._begin_request(t_us, subject, trace, _UNNAMED)
            self._spans.note(span, t_us, f"{pattern}.{what}")
            if not self._traces.sees_requests:
                self._spans.end(("request", subject), t_us)

    def _life(self, entry: Any) -> None:
        _, t_us, _, _, event = entry
        if event in _ENDS:
            outcome, error = _ENDS[event]
            self._spans.close_all(t_us, outcome=outcome, error=error)
            self._deliveries.forget()


class Sent:
    """Which events were published before: an event has one span of its own, its copies have others.

    Bounded: of an event that is published again after very many others, both copies have the span.
    """

    def __init__(self) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()

    def first(self, event_id: str) -> bool:
        """Whether it is published for the first time; it is remembered."""
        if event_id in self._young or event_id in self._old:
            return False
        if len(self._young) >= SENT_MAX:
            self._old, self._young = self._young, set()
        self._young.add(event_id)
        return True


def service_of(process: str) -> str:
    """The role of a process life: `payment` of `payment-1#2`."""
    return process.partition("#")[0].rstrip("0123456789").rstrip("-") or process
