"""Records as the lab writes them, and what is wrong with one by `elk/fields.csv`.

Not here: how a server takes them (`search_server`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from elk.generator.fields import Field, read_fields

Record = dict[str, Any]

FIELDS: Final = read_fields()
EPOCH_US: Final = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_LISTS: Final = ("lab.faults", "lab.moments", "tags")


def make_log(number: int, *, action: str = "retry", **fields: object) -> Record:
    """A log record with what every one has; `fields` by names with `__` for the dots."""
    return _with(
        {
            **_common(number, "logs", "orders.lab"),
            "event.action": action,
            "log.level": "info",
            "message": f"record {number}",
        },
        fields,
    )


def make_transaction(number: int, *, action: str = "deliver", **fields: object) -> Record:
    """A transaction with what every one has; it has no parent."""
    return _with(
        {
            **_span_fields(number, action, "transaction"),
            "transaction.name": "process orders",
            "transaction.type": "messaging",
            "transaction.sampled": True,
            "transaction.duration.us": 1_000 + number,
        },
        fields,
    )


def make_span(number: int, *, action: str = "attempt", **fields: object) -> Record:
    """A span with what every one has; `number - 1` is its transaction."""
    return _with(
        {
            **_span_fields(number, action, "span"),
            "transaction.id": f"{number - 1:016x}",
            "parent.id": f"{number - 1:016x}",
            "span.name": "attempt",
            "span.type": "app",
            "span.duration.us": 500,
        },
        fields,
    )


def make_error(number: int, **fields: object) -> Record:
    """An error record with what every one has: `number` is the span that it is about."""
    record = _span_fields(number, "kill", "error")
    del record["span.id"], record["event.outcome"]
    return _with(
        {
            **record,
            "data_stream.type": "logs",
            "data_stream.dataset": "apm.error",
            "error.id": f"{number:016x}",
            "error.exception": [{"type": "process.killed", "message": "killed"}],
            "parent.id": f"{number:016x}",
        },
        fields,
    )


def faults_of(record: Mapping[str, object]) -> list[str]:
    """Everything that is wrong with a record; [] if nothing is."""
    flat: dict[str, list[object]] = {}
    for name, value in leaves_of(record, ""):
        flat.setdefault(name, []).append(value)
    found = [f"{name} is not on the list" for name in flat if name not in FIELDS]
    for name in flat.keys() & FIELDS.keys():
        found += [fault for value in flat[name] if (fault := _fault(FIELDS[name], value))]
    kind = "log"
    if flat.get("data_stream.type") == ["traces"] or "processor.event" in flat:
        kind = str(flat.get("processor.event", ["span"])[0])
    missing = [one.name for one in FIELDS.values() if kind in one.required and one.name not in flat]
    return sorted(found + [f"{name} is missing in a {kind}" for name in missing])


def _fault(field: Field, value: object) -> str:
    match field.type:
        case "long":
            fits = isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            fits = isinstance(value, bool)
        case "date":
            fits = isinstance(value, str) and bool(_TIME.fullmatch(value))
        case _:
            fits = isinstance(value, str)
    if not fits:
        return f"{field.name} is no {field.type}: {value!r}"
    if field.values and value not in field.values:
        return f"{field.name} may not be {value!r}"
    return ""


def leaves_of(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from leaves_of(below, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and (name in _LISTS or any(isinstance(v, Mapping) for v in value)):
        for one in value:
            yield from leaves_of(one, name)
    else:
        yield name, value


def _common(number: int, kind: str, dataset: str) -> Record:
    return {
        "@timestamp": _time(number),
        "data_stream.type": kind,
        "data_stream.dataset": dataset,
        "data_stream.namespace": "default",
        "ecs.version": "9.4.0",
        "event.id": f"run-1/{kind}/{number}",
        "host.name": "here",
        "labels.run_id": "run-1",
        "service.name": "lab-orders",
    }


def _span_fields(number: int, action: str, kind: str) -> Record:
    return {
        **_common(number, "traces", "apm"),
        "agent.name": "opentelemetry/python",
        "agent.version": "1.45.2",
        "event.action": action,
        "event.outcome": "success",
        "processor.event": kind,
        "span.id": f"{number:016x}",
        "timestamp.us": EPOCH_US + number * 1_000,
        "trace.id": f"{1:032x}",
        "transaction.id": f"{number:016x}",
    }


def _time(number: int) -> str:
    seconds, ms = divmod(number, 1_000)
    minutes, seconds = divmod(seconds, 60)
    return f"2026-01-01T00:{minutes:02}:{seconds:02}.{ms:03}Z"


def _with(flat: Record, fields: Mapping[str, object]) -> Record:
    """The nested record of dotted names."""
    named = {name.replace("__", "."): value for name, value in fields.items()}
    nested: Record = {}
    for name, value in {**flat, **named}.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested
