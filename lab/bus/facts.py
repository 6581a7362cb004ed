"""The facts of a record in a log: that it stands there, the digest of its event, a letter's words.

Not here: the positions that a group has committed; each log witnesses them itself.
"""

from hashlib import blake2b
from typing import Final

from lab.domain.content_mode import as_readable, event_id_of
from lab.domain.envelope import (
    H_ATTEMPT,
    H_ID,
    H_REDRIVES,
    H_SUBJECT,
    H_TYPE,
    LETTER,
    PLAIN,
    Headers,
    by_name,
    header,
    header_int,
    text_header,
    usable_id,
)
from lab.history.contents import NO_TIME, NOTHING, instant_of, told_by
from lab.history.entries import Entry
from lab.ports.bus import Record, is_main_topic

_KNOWN_MAX: Final = 1_024
_known: Final[dict[int, tuple[Record, str]]] = {}

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
    headers, value = record.headers, record.value
    if PLAIN not in headers:
        headers, value = as_readable(headers, value)
    found = by_name(headers)
    attempt = found.get(H_ATTEMPT, b"")
    contents, decided_us, expires_us = NOTHING, NO_TIME, NO_TIME
    # A parked record has the bytes of the first one: its digest says so.
    if is_main_topic(record.topic):
        contents = told_by(value)
        order_id = contents.order_id.encode()
        if (
            order_id != found.get("ce_subject")
            or order_id != found.get("ce_correlationid")
            or order_id != record.key
        ):
            contents = contents._replace(order_id="")
        epoch_us = record.timestamp_us - t_us
        at_us = instant_of(found.get("ce_time", b""))
        if at_us != NO_TIME:
            decided_us = at_us - epoch_us
        if "ce_expirytime" in found:
            at_us = instant_of(found["ce_expirytime"])
            if at_us != NO_TIME:
                expires_us = at_us - epoch_us
    return (
        "appended",
        t_us,
        "bus",
        found.get(H_SUBJECT, b"").decode("utf-8", "replace"),
        record.topic,
        record.partition,
        record.offset,
        usable_id(found.get(H_ID)),
        found.get(H_TYPE, b"").decode("utf-8", "replace"),
        record_digest(record),
        int(attempt) if attempt.isdigit() else 0,
        found.get("traceparent", b"").decode("utf-8", "replace"),
        found.get("ce_causationid", b"").decode("utf-8", "replace"),
        *contents,
        decided_us,
        expires_us,
    )


def letter_fact(record: Record, t_us: int) -> Entry | None:
    """What a dead letter tells of the death of its event; None of a record that tells of none."""
    if not record.topic.endswith(".dlq"):
        return None
    headers = record.headers
    if header(headers, f"{LETTER}reason") is None:
        return None
    return (
        "letter",
        t_us,
        "bus",
        text_header(headers, H_SUBJECT),
        record.topic,
        record.topic.split(".")[1],
        event_id_of(headers, record.value) or text_header(headers, f"{LETTER}origin"),
        text_header(headers, f"{LETTER}reason"),
        header_int(headers, f"{LETTER}attempts"),
        header_int(headers, f"{LETTER}starts"),
        header_int(headers, H_REDRIVES),
    )


def record_digest(record: Record) -> str:
    """The `event_digest` of a record.

    A record in memory is delivered as the very object that was appended, to several groups, and
    asked for its digest when it is handed over and when it is handled: it is known by its identity.
    """
    known = _known.get(id(record))
    if known is not None and known[0] is record:
        return known[1]
    digest = event_digest(record.key, record.value, record.headers)
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    _known[id(record)] = (record, digest)
    return digest


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
