"""Spans to any OpenTelemetry backend: OTLP over HTTP, through OpenTelemetry's own exporter.

Needs the extra `pulse-lab[otlp]`. Not here: log lines, which OTLP backends get from files.

Source: OpenTelemetry protocol 1.x; `OTEL_EXPORTER_OTLP_*` variables as the exporter reads them.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from lab.domain.errors import EnvironmentNotReady
from lab.observe.fields import Origin, service_name
from lab.observe.model import Span, SpanKind

BATCH_SPANS: Final = 2_000
_WHY_MAX: Final = 300
_NS: Final = 1_000
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {
    SpanKind.SERVER: otel.SpanKind.SERVER,
    SpanKind.CLIENT: otel.SpanKind.CLIENT,
    SpanKind.PRODUCER: otel.SpanKind.PRODUCER,
    SpanKind.CONSUMER: otel.SpanKind.CONSUMER,
    SpanKind.INTERNAL: otel.SpanKind.INTERNAL,
}


def export(
    spans: Iterable[Span],
    origin: Origin,
    *,
    endpoint: str,
    on_progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Send every span; returns how many. The exporter repeats what may be repeated.

    Args:
        spans: in any order.
        origin: of all of them.
        endpoint: such as `http://localhost:4318`; `/v1/traces` is added.
        on_progress: is called with how many were sent so far.

    Raises:
        EnvironmentNotReady: the backend is away or refuses; what was sent before stays there.
    """
    url = endpoint.rstrip("/") + "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url)
    sent = 0
    resources: dict[tuple[str, str], Resource] = {}
    try:
        for batch in _batches(spans):
            found = [_readable(span, origin, resources) for span in batch]
            with _complaints() as heard:
                is_taken = exporter.export(found) is SpanExportResult.SUCCESS
            if not is_taken:
                why = f" ({' '.join(heard[0].split())[:_WHY_MAX]})" if heard else ""
                raise EnvironmentNotReady(
                    f"it took {sent:,} spans and not the next {len(batch):,}{why}",
                    server="the OpenTelemetry backend",
                    address=url,
                    remedy="start one that takes OTLP over HTTP, or name it: --endpoint URL",
                )
            sent += len(batch)
            on_progress(sent)
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]  # the library gives no type
    return sent


class _Keeper(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record.getMessage())


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """The exporter says why it failed to its log only, once a try: kept, and printed by nobody."""
    heard: list[str] = []
    keeper = _Keeper(heard)
    log = logging.getLogger("opentelemetry")
    was_handed_on = log.propagate
    log.addHandler(keeper)
    log.propagate = False
    try:
        yield heard
    finally:
        log.removeHandler(keeper)
        log.propagate = was_handed_on


def _batches(spans: Iterable[Span]) -> Iterator[list[Span]]:
    batch: list[Span] = []
    for span in spans:
        batch.append(span)
        if len(batch) == BATCH_SPANS:
            yield batch
            batch = []
    if batch:
        yield batch


def _readable(
    span: Span, origin: Origin, resources: dict[tuple[str, str], Resource]
) -> ReadableSpan:
    """A span as the exporter takes it."""
    key = (span.service, span.node)
    resource = resources.get(key)
    if resource is None:
        resource = resources[key] = Resource(
            {
                "service.name": service_name(span.service),
                "service.instance.id": span.node,
                "service.version": origin.version,
                "deployment.environment.name": origin.environment,
            }
        )
    attributes = {
        **span.attributes,
        "lab.order_id": span.subject,
        **({"lab.run_id": origin.run_id} if origin.run_id else {}),
        **({"error.type": span.error} if span.error else {}),
    }
    failed = span.outcome == "failure"
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes=attributes,
        events=[
            Event(moment.name, attributes=moment.attributes, timestamp=moment.at_us * _NS)
            for moment in span.moments
        ],
        links=[otel.Link(_context(link.trace_id, link.span_id)) for link in span.links],
        kind=_KINDS[span.kind],
        status=Status(StatusCode.ERROR, span.error or None) if failed else Status(),
        start_time=span.start_us * _NS,
        end_time=span.end_us * _NS,
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=_SAMPLED)
