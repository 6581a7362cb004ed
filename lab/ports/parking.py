"""The retry path: the place of an event that is not tried again in place, and its record.

Times in headers are wall time in microseconds since the Unix epoch, as decimal digits.
"""

from typing import Final, Protocol

import msgspec

from lab.domain.envelope import (
    H_ATTEMPT,
    H_DISCARD,
    H_FIRST_FAILURE,
    H_GROUP,
    H_NOT_BEFORE,
    H_ORIGIN,
    H_REDRIVES,
    Headers,
    header,
)
from lab.ports.bus import Delivery, Record, Settlement, is_main_topic, main_topic

_TRANSPORT: Final = (
    H_ATTEMPT,
    H_NOT_BEFORE,
    H_FIRST_FAILURE,
    H_ORIGIN,
    H_GROUP,
    H_REDRIVES,
    H_DISCARD,
)


class Parking(Protocol):
    """Takes events out of the lanes of a process and brings them back later."""

    async def park(
        self, delivery: Delivery, *, tier: int, delay_us: int, counts: bool = True
    ) -> Settlement:
        """Its run failed: it is to be tried again in `delay_us`, through retry topic `tier`.

        `counts`: the run was an attempt.

        Raises:
            Transient, Down, Indeterminate: it is not parked, or half; the delivery is not settled.
        """
        ...


def is_parked(record: Record) -> bool:
    """Whether a record stands in a topic of the retry path."""
    return not is_main_topic(record.topic)


def is_redrive(record: Record) -> bool:
    """Whether a record stands in the retry topic that takes redrives and discards."""
    return record.topic.endswith(".retry")


def is_discard(record: Record) -> bool:
    """Whether a record says that its event is not to be run again."""
    return header(record.headers, H_DISCARD) is not None


def origin_of(record: Record) -> str:
    """`topic/partition/offset` of a record where it first stood."""
    origin = header(record.headers, H_ORIGIN)
    if origin is not None:
        return origin.decode(errors="replace")
    return f"{record.topic}/{record.partition}/{record.offset}"


def original(record: Record) -> Record:
    """A record as it stood in its main topic, as far as its headers tell."""
    if "." not in record.topic:
        return record
    parts = origin_of(record).rsplit("/", 2)
    known = len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal()
    return msgspec.structs.replace(
        record,
        topic=main_topic(record.topic),
        partition=int(parts[1]) if known else record.partition,
        offset=int(parts[2]) if known else record.offset,
        headers=tuple(pair for pair in record.headers if pair[0] not in _TRANSPORT),
    )


def parked_headers(
    record: Record,
    *,
    group: str,
    attempt: int,
    not_before_us: int,
    first_failure_us: int,
    redrives: int,
) -> Headers:
    """A record's headers on the retry path: `attempt` is the one that comes next."""
    kept = tuple(pair for pair in record.headers if pair[0] not in _TRANSPORT)
    return (
        *kept,
        (H_ATTEMPT, b"%d" % attempt),
        (H_NOT_BEFORE, b"%d" % max(not_before_us, 0)),
        (H_FIRST_FAILURE, b"%d" % first_failure_us),
        (H_ORIGIN, origin_of(record).encode()),
        (H_GROUP, group.encode()),
        (H_REDRIVES, b"%d" % redrives),
    )
