"""Spans as documents of the APM schema: what Kibana's trace view reads from `traces-apm-*`.

A span that no other span of its process contains is a transaction there, every other is a span.
Not here: OTLP (`otlp`), log lines (`ecs_line`).

Source: elastic/kibana, the required fields of its trace waterfall; elastic/apm-data, OpenTelemetry
spans to APM events.
"""

from typing import Final

from lab.observe.fields import (
    ECS_VERSION,
    NAMESPACE,
    Document,
    Origin,
    at,
    merged,
    service_name,
    tree,
)
from lab.observe.model import Span, SpanKind
from lab.observe.traces import span_id

KILLED: Final = "process.killed"
_AGENT: Final = "opentelemetry/python"


def span_documents(span: Span, origin: Origin) -> list[Document]:
    """The document of a span, and that of the error if its process was killed in the middle."""
    documents = [_span_document(span, origin)]
    if span.error == KILLED:
        documents.append(_error_document(span, origin))
    return documents


def _span_document(span: Span, origin: Origin) -> Document:
    event = "transaction" if span.is_entry else "span"
    document = _base(span, origin, dataset="apm", at_us=span.start_us)
    document["processor"] = {"event": event, "name": "transaction"}
    document["event"] = {
        "id": span_id(span.trace_id, span.span_id),
        "action": span.action,
        "outcome": span.outcome,
    }
    took = {"us": span.end_us - span.start_us}
    if span.is_entry:
        document["span"] = {"id": span.span_id}
        document["transaction"] = {
            "id": span.span_id,
            "name": span.name,
            "type": _transaction_type(span),
            "result": span.error or "Success",
            "sampled": True,
            "duration": took,
        }
    else:
        document["transaction"] = {"id": span.entry_id}
        document["span"] = {
            "id": span.span_id,
            "name": span.name,
            "duration": took,
            **_span_type(span),
        }
        document = merged(document, _target(span))
    if span.parent_id:
        document["parent"] = {"id": span.parent_id}
    if span.links:
        links = [
            {"trace": {"id": link.trace_id}, "span": {"id": link.span_id}} for link in span.links
        ]
        document["span"] = {**_object(document["span"]), "links": links}
    if span.error:
        document["error"] = {"type": span.error}
    document = merged(document, tree(span.attributes))
    if span.moments:
        _add_moments(document, span)
    return document


def _add_moments(document: Document, span: Span) -> None:
    """The APM schema has no events of a span: their names, and what is searched for."""
    names = [moment.name for moment in span.moments]
    lab = _object(document.get("lab", {}))
    lab["moments"] = names
    faults = [str(m.attributes["lab.fault.kind"]) for m in span.moments if m.name == "lab.fault"]
    if faults:
        lab["faults"] = faults
    document["lab"] = lab


def _base(span: Span, origin: Origin, *, dataset: str, at_us: int) -> Document:
    kind = "traces" if dataset == "apm" else "logs"
    return {
        "@timestamp": at(at_us),
        "timestamp": {"us": at_us},
        "ecs": {"version": ECS_VERSION},
        "data_stream": {"type": kind, "dataset": dataset, "namespace": NAMESPACE},
        "agent": {"name": _AGENT, "version": origin.version},
        "service": {
            "name": service_name(span.service),
            "version": origin.version,
            "environment": origin.environment,
            "node": {"name": span.node},
            "language": {"name": "python"},
        },
        "host": {"name": span.node},
        "trace": {"id": span.trace_id},
        "labels": {**origin.labels, "order_id": span.subject},
    }


def _error_document(span: Span, origin: Origin) -> Document:
    """What Kibana marks red on the waterfall: the process died in the middle of this work."""
    document = _base(span, origin, dataset="apm.error", at_us=span.end_us)
    document["processor"] = {"event": "error", "name": "error"}
    error_id = span_id(span.trace_id, span.span_id, "error")
    document["event"] = {"id": error_id, "action": "kill"}
    document["parent"] = {"id": span.span_id}
    document["transaction"] = {"id": span.entry_id}
    document["error"] = {
        "id": error_id,
        "grouping_key": span_id(KILLED, span.service, span.name),
        "exception": [{"type": span.error, "message": f"{span.node} was killed in {span.name}"}],
    }
    return document


def _transaction_type(span: Span) -> str:
    if span.kind in (SpanKind.CONSUMER, SpanKind.PRODUCER):
        return "messaging"
    return (
        "request"
        if "http.request.method" in span.attributes or span.kind is SpanKind.SERVER
        else "unknown"
    )


def _span_type(span: Span) -> Document:
    if "db.system.name" in span.attributes:
        return {"type": "db", "subtype": span.attributes["db.system.name"], "action": "commit"}
    if span.kind is SpanKind.PRODUCER:
        return {"type": "messaging", "subtype": "kafka", "action": "send"}
    if span.kind is SpanKind.CLIENT:
        return {"type": "external", "subtype": "http"}
    return {"type": "app", "subtype": "internal"}


def _target(span: Span) -> Document:
    """What a span that leaves its process calls: the dependencies that Kibana draws."""
    attributes = span.attributes
    if "db.system.name" in attributes:
        kind, name = str(attributes["db.system.name"]), "orders"
    elif span.kind is SpanKind.PRODUCER:
        kind, name = "kafka", str(attributes.get("messaging.destination.name", "several"))
    elif "lab.provider" in attributes:
        kind, name = "http", str(attributes["lab.provider"])
    else:
        return {}
    resource = name if kind == "http" else f"{kind}/{name}"
    return {
        "service": {"target": {"type": kind, "name": name}},
        "span": {"destination": {"service": {"resource": resource}}},
    }


def _object(value: object) -> Document:
    assert isinstance(value, dict)
    return dict(value)
