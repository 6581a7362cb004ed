"""What came over OTLP to a server on loopback, decoded with OpenTelemetry's own classes.

Not here: the server (`http_stand_in`).
"""

import gzip
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.kit.http_stand_in import StandIn

PATH: Final = "/v1/traces"


def requests_of(backend: StandIn) -> list[ExportTraceServiceRequest]:
    """Every request."""
    found = []
    for method, path, body in backend.asked:
        assert (method, path) == ("POST", PATH)
        is_packed = backend.headers[PATH].get("content-encoding") == "gzip"
        plain_body = gzip.decompress(body) if is_packed else body
        found.append(ExportTraceServiceRequest.FromString(plain_body))
    return found


def spans_of(backend: StandIn) -> dict[str, tuple[dict[str, object], Any]]:
    """Each span by its id, with the attributes of its resource; twice the same ends the test."""
    found: dict[str, tuple[dict[str, object], Any]] = {}
    for request in requests_of(backend):
        for group in request.resource_spans:
            for span in (span for scope in group.scope_spans for span in scope.spans):
                assert span.span_id.hex() not in found
                found[span.span_id.hex()] = (plain(group.resource.attributes), span)
    return found


def plain(attributes: Iterable[Any]) -> dict[str, object]:
    """Attributes as a dict."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
