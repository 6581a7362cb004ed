"""The memory log's records: partitions, what a reader sees of them, and the facts they leave.

Deliberately not here: consumer groups (`memory_groups.py`).
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Protocol

from lab.domain.envelope import H_ATTEMPT, H_SUBJECT, H_TYPE, Headers
from lab.history.entries import Entry
from lab.ports.bus import Outgoing, Record, TopicPartition

_EVENT_HEADERS: Final = {
    name: b"\x00%s\x00" % name.encode()
    for name in (
        "ce_specversion",
        "ce_source",
        "ce_subject",
        "ce_time",
        "ce_correlationid",
        "ce_causationid",
        "ce_sequence",
        "ce_id",
        "ce_type",
        "ce_expirytime",
        "content-type",
    )
}


class Reader(Protocol):
    """Somebody who waits at the end of a partition."""

    def appended(self) -> None:
        """There is a record at the end that was not there before."""
        ...


class PartitionLog:
    """One partition: records from `base` on; what lay below was trimmed."""

    __slots__ = ("base", "partition", "readers", "records")

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.base = 0
        self.records: list[Record] = []
        self.readers: list[Reader] = []

    @property
    def end(self) -> int:
        """The offset that the next record will have."""
        return self.base + len(self.records)

    def append(self, outgoing: Outgoing, timestamp_us: int) -> Record:
        """Add a record and wake whoever waits for it."""
        topic, partition = self.partition
        records = self.records
        record = Record(
            topic,
            partition,
            self.base + len(records),
            outgoing.key,
            outgoing.value,
            outgoing.headers,
            timestamp_us,
        )
        records.append(record)
        for reader in self.readers:
            reader.appended()
        return record

    def read(self, offset: int, limit: int) -> Sequence[Record]:
        """At most `limit` records from `offset` on, or from the first that is left."""
        start = max(offset - self.base, 0)
        return self.records[start : start + limit]

    def trim(self, offset: int) -> None:
        """Forget the records below `offset`."""
        del self.records[: offset - self.base]
        self.base = offset


def appended_fact(record: Record, t_us: int) -> Entry:
    """The fact that a record stands in the log."""
    found = dict(record.headers)
    attempt = found.get(H_ATTEMPT, b"")
    return (
        "appended",
        t_us,
        "bus",
        found.get(H_SUBJECT, b"").decode("utf-8", "replace"),
        record.topic,
        record.partition,
        record.offset,
        found.get("ce_id", b"").decode("utf-8", "replace"),
        found.get(H_TYPE, b"").decode("utf-8", "replace"),
        event_digest(record.key, record.value, record.headers),
        int(attempt) if attempt.isdigit() else 0,
    )


def event_digest(key: bytes, value: bytes, headers: Headers) -> str:
    """A short hash of what must not change on the way: key, value, the event's own headers."""
    parts = [b"%d:%d:" % (len(key), len(value)), key, value]
    for name, text in headers:
        mark = _EVENT_HEADERS.get(name)
        if mark is None:
            if not name.startswith("ce_"):
                continue
            mark = name.encode()
        parts.append(mark)
        parts.append(text)
    return blake2b(b"".join(parts), digest_size=8).hexdigest()
