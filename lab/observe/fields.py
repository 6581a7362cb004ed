"""What documents of every format share: where they come from, times, and names with dots as trees.

Not here: spans (`apm`) and log lines (`ecs_line`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from lab.observe.model import Value
from lab.observe.traces import span_id

ECS_VERSION: Final = "9.4.0"
NAMESPACE: Final = "default"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Document = dict[str, object]
"""A JSON object; its keys have no dots."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans and lines come from.

    Attributes:
        run_id: the name of the run, "" for a standing system.
        environment: the world, such as `simulated`.
        version: of the lab.
    """

    run_id: str
    environment: str
    version: str

    @property
    def labels(self) -> dict[str, str]:
        """What every document says of it."""
        return {"run_id": self.run_id} if self.run_id else {}


def service_name(role: str) -> str:
    """A service as documents name it, such as `lab-payment`."""
    return f"lab-{role}"


def of_this_run(document: Document, origin: Origin) -> Document:
    """The document with an `event.id` that no other run has.

    The ids of spans and lines are functions of the seed, so two runs of one seed share them; what
    is stored under one id is stored once.
    """
    event = document["event"]
    assert isinstance(event, dict)
    if origin.run_id:
        event["id"] = span_id(origin.run_id, event["id"])
    return document


def at(at_us: int) -> str:
    """RFC 3339 in UTC, to the millisecond: no more is kept of a date."""
    return (
        (_EPOCH + timedelta(microseconds=at_us))
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def tree(attributes: Mapping[str, Value]) -> Document:
    """Attributes with dots in their names as objects in objects.

    Where one name is the beginning of another, the shorter gets the key `value`.
    """
    grown: Document = {}
    for name, value in sorted(attributes.items()):
        *path, last = name.split(".")
        place = grown
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                inner = place[part] = {"value": inner}
            place = inner
        place[last] = value
    return grown


def merged(first: Document, second: Document) -> Document:
    """Both trees as one; `first` wins."""
    both = dict(second)
    for name, value in first.items():
        other = both.get(name)
        both[name] = (
            merged(value, other) if isinstance(value, dict) and isinstance(other, dict) else value
        )
    return both
