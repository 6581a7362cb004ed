"""The work of one process life that has begun and not ended: its open spans.

Not here: which entries begin and end them (`process_view`, `deliveries`).
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Final

from lab.observe.model import (
    Attributes,
    LogLine,
    Outcome,
    Span,
    SpanKind,
    SpanLink,
    SpanMoment,
    Value,
)
from lab.observe.traces import span_id

Emit = Callable[[Span | LogLine], object]
"""Takes what can be seen, each once, when it is complete."""

Key = tuple[str, *tuple[Hashable, ...]]
"""What is done, and whatever tells it from others of its kind."""

OPEN_MAX: Final = 20_000
"""Beyond this the oldest is closed: a process that runs for weeks must not grow by lost ends."""


class OpenSpans:
    """Begins spans, finds them again by a key of the caller's, and hands them out at their end.

    Args:
        process: the process life.
        service: its role.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        emit: see `Emit`.
    """

    def __init__(self, process: str, service: str, *, epoch_us: int, emit: Emit) -> None:
        self._process = process
        self._service = service
        self._epoch_us = epoch_us
        self._emit = emit
        self._open: dict[Key, Span] = {}
        self._of_subject: dict[str, list[Span]] = {}
        self._moment_us = -1
        self._begun: dict[str, int] = {}

    def begin(
        self,
        key: Key,
        t_us: int,
        *,
        trace_id: str,
        span: str,
        parent: str,
        name: str,
        kind: SpanKind,
        subject: str,
        inside: Span | None = None,
        attributes: Attributes | None = None,
        links: tuple[SpanLink, ...] = (),
    ) -> Span:
        """Begin a span; one that is open under the same key ends without an outcome.

        Args:
            key: finds it again; begins with what is done.
            t_us: the history's clock.
            trace_id: see `Span`, as for the arguments without a word here.
            span: its id.
            parent: the id of its parent.
            name: see `Span`.
            kind: see `Span`.
            subject: see `Span`.
            inside: the open span of this process that contains it; None: nothing here does.
            attributes: see `Span`.
            links: see `Span`.
        """
        span = self._unlike(span, t_us)
        if key in self._open:
            self.end(key, t_us, outcome="unknown")
        elif len(self._open) >= OPEN_MAX:
            self.end(next(iter(self._open)), t_us, outcome="unknown", error="lost")
        at_us = self._epoch_us + t_us
        made = Span(
            trace_id=trace_id,
            span_id=span,
            parent_id=parent,
            entry_id=span if inside is None else inside.entry_id,
            action=str(key[0]),
            name=name,
            kind=kind,
            service=self._service,
            node=self._process,
            subject=subject,
            start_us=at_us,
            end_us=at_us,
            attributes=attributes or {},
            links=list(links),
        )
        self._open[key] = made
        if subject:
            self._of_subject.setdefault(subject, []).append(made)
        return made

    def _unlike(self, span: str, t_us: int) -> str:
        """The id, or another if a span of this moment has it: in virtual time moments are long."""
        if t_us != self._moment_us:
            self._moment_us = t_us
            self._begun = {}
        number = self._begun[span] = self._begun.get(span, 0) + 1
        return span if number == 1 else span_id(span, number)

    def find(self, key: Key) -> Span | None:
        """The open span of this key."""
        return self._open.get(key)

    def latest(self, subject: str) -> Span | None:
        """The span of this order that was begun last, of those that are open."""
        spans = self._of_subject.get(subject)
        return spans[-1] if spans else None

    def end(
        self,
        key: Key,
        t_us: int,
        *,
        outcome: Outcome = "success",
        error: str = "",
        attributes: Mapping[str, Value] | None = None,
    ) -> Span | None:
        """End the span of this key and hand it out; None if there is none."""
        span = self._open.pop(key, None)
        if span is None:
            return None
        if span.subject:
            spans = self._of_subject[span.subject]
            spans.remove(span)
            if not spans:
                del self._of_subject[span.subject]
        span.end_us = max(self._epoch_us + t_us, span.start_us)
        span.outcome = outcome
        span.error = error or span.error
        if attributes:
            span.attributes.update(attributes)
        self._emit(span)
        return span

    def note(self, span: Span, t_us: int, name: str, attributes: Attributes | None = None) -> None:
        """Something happened at one moment of an open span."""
        span.moments.append(SpanMoment(self._epoch_us + t_us, name, attributes or {}))

    def calling(self, subject: str, provider: str) -> Span | None:
        """The open call to a third party about this order, the last one if there are several."""
        for span in reversed(self._of_subject.get(subject, ())):
            if span.attributes.get("lab.provider") == provider:
                return span
        return None

    def strike(self, t_us: int, subject: str, kind: str, site: str) -> bool:
        """A fault struck the open work of an order; False if none is open here.

        It belongs to the call of the third party where it struck, else to what was begun last.
        """
        struck = self.calling(subject, site) or self.latest(subject)
        if struck is None:
            return False
        self.note(struck, t_us, "lab.fault", {"lab.fault.kind": kind, "lab.fault.site": site})
        return True

    def close_all(self, t_us: int, *, outcome: Outcome, error: str) -> None:
        """End everything, the innermost first."""
        for key in reversed(list(self._open)):
            self.end(key, t_us, outcome=outcome, error=error)
