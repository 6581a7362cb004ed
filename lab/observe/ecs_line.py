"""Log lines as documents of the Elastic Common Schema.

Not here: the logging of a process about itself (`ecs`), spans (`apm`).

Source: Elastic Common Schema 9.4, the fields of `log`, `event`, `service`, `trace`.
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
from lab.observe.model import LogLine

DATASET: Final = "orders.lab"


def line_document(line: LogLine, origin: Origin) -> Document:
    """The document of one line."""
    event: Document = {
        "id": line.id,
        "kind": "event",
        "dataset": DATASET,
        "action": line.action,
        "outcome": line.outcome,
    }
    if line.duration_us is not None:
        event["duration"] = line.duration_us * 1000
    labels = dict(origin.labels)
    document: Document = {
        "@timestamp": at(line.at_us),
        "log": {"level": line.level},
        "message": line.message,
        "ecs": {"version": ECS_VERSION},
        "data_stream": {"type": "logs", "dataset": DATASET, "namespace": NAMESPACE},
        "event": event,
        "host": {"name": line.node},
        "service": {
            "name": service_name(line.service),
            "version": origin.version,
            "environment": origin.environment,
            "node": {"name": line.node},
        },
    }
    if line.subject:
        labels["order_id"] = line.subject
    if labels:
        document["labels"] = labels
    for name, value in (
        ("trace", line.trace_id),
        ("span", line.span_id),
        ("transaction", line.entry_id),
    ):
        if value:
            document[name] = {"id": value}
    if line.error:
        document["error"] = {"type": line.error}
    return merged(document, tree(line.attributes))
