"""The fact that a record stands in a log, and the digest of its event, the same for every log.

Not here: the positions that a group has committed; each log witnesses them itself.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from lab.domain.envelope import H_ATTEMPT, H_SUBJECT, H_TYPE, Headers
from lab.history.contents import NOTHING, told_by
from lab.history.entries import Entry
from lab.ports.bus import Record

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


def appended_fact(record: Record, t_us: int) -> Entry:
    """The fact that a record stands in the log."""
    found = dict(record.headers)
    attempt = found.get(H_ATTEMPT, b"")
    # A parked record has the bytes of the first one: its digest says so.
    contents = NOTHING if "." in record.topic else told_by(record.value)
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
        found.get("traceparent", b"").decode("utf-8", "replace"),
        found.get("ce_causationid", b"").decode("utf-8", "replace"),
        *contents,
    )


# A record in memory is delivered as the very object that was appended, to several groups.
@lru_cache(maxsize=1_024)
def event_digest(key: bytes, value: bytes, headers: Headers) -> str:
    """A short hash of all that must not change on the way: key, value, the event's own headers."""
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
