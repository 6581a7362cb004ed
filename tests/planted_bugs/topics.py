"""Bugs about what stands in the topics: other bytes, other places, handlers that get others."""

import json
from itertools import count
from typing import Final

from msgspec.structs import replace

from lab.bus.memory.consumer import MemoryConsumer
from lab.domain.envelope import Envelope, Headers
from lab.patterns.outbox import to_record
from lab.ports.bus import Delivery, Outgoing, Record
from lab.ports.key_retry import WaitingRow, row_of
from lab.ports.parking import parked_headers
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

REPEATED: Final = Setup(faults=("bus.publish_unknown@orders#every10 first=1",))
THROUGH_TIERS: Final = Setup(scenario="timeouts", settings=(("retry.in_place", 1),))

_SENDS: Final = count()


# ---- log-sound


@BUGS.plant(
    "log-sound",
    "lab.patterns.outbox.to_record",
    setup=REPEATED,
    witness="OrderCreated is not the same bytes in orders/",
)
def stamped_when_sent(envelope: Envelope) -> Outgoing:
    """The relay writes the time of its publish into the event: sent twice, it is two events."""
    return to_record(replace(envelope, time_us=envelope.time_us + next(_SENDS)))


@BUGS.plant(
    "log-sound",
    "lab.patterns.outbox.to_record",
    setup=Setup(),
    witness="its records in orders stand in partition",
    falls={"as-ordered": "the key names no order"},
)
def keyed_by_event(envelope: Envelope) -> Outgoing:
    """Records are keyed by their event, which spreads them so evenly."""
    return replace(to_record(envelope), key=envelope.id.encode())


@BUGS.plant(
    "log-sound",
    "lab.patterns.key_lanes.parked_headers",
    setup=THROUGH_TIERS,
    witness="is not the same bytes in orders/",
)
def headers_that_retries_need(
    record: Record,
    *,
    group: str,
    attempt: int,
    not_before_us: int,
    first_failure_us: int,
    redrives: int,
) -> Headers:
    """A record in a retry topic keeps the headers that somebody thought of."""
    kept = parked_headers(
        record,
        group=group,
        attempt=attempt,
        not_before_us=not_before_us,
        first_failure_us=first_failure_us,
        redrives=redrives,
    )
    return tuple(pair for pair in kept if pair[0] != "ce_sequence")


@BUGS.plant(
    "log-sound",
    "lab.bus.memory.log.MemoryConsumer",
    setup=Setup(),
    witness="and that is not what stands there",
    falls={"handler-input": "handlers are given what the consumer made of the record"},
)
class ConsumerThatDecodes(MemoryConsumer):
    """The client library parses values and hands out what it would write itself."""

    def _take(self, max_records: int) -> list[Record]:
        records = super()._take(max_records)
        return [replace(record, value=_written_anew(record.value)) for record in records]


def _written_anew(value: bytes) -> bytes:
    return json.dumps(json.loads(value), indent=1).encode()


# ---- handler-input


@BUGS.plant(
    "handler-input",
    "lab.patterns.key_lanes.row_of",
    setup=THROUGH_TIERS,
    witness="and it was not what stands in",
    falls={"log-sound": "the alarm of such a row carries its bytes to the retry topic"},
)
def row_of_parsed(delivery: Delivery, *, attempts: int, not_before_us: int = 0) -> WaitingRow:
    """The column is JSON: what comes out of it is not the text that went in."""
    row = row_of(delivery, attempts=attempts, not_before_us=not_before_us)
    return replace(row, record=replace(row.record, value=_written_anew(row.record.value)))
