"""The envelope: one event with its identity, causes and time, and its form as a record's headers.

The form is CloudEvents 1.0, Kafka binary mode. Headers that may change on the way (`lab-*`) are not
part of the event; they are named here because every bus must carry them.

Source: CloudEvents specification 1.0, Kafka protocol binding; W3C Trace Context.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from lab.domain.errors import Poison
from lab.domain.trace_context import continued, is_plain, made_up, parted

Headers = tuple[tuple[str, bytes], ...]

H_ID: Final = "ce_id"
H_TYPE: Final = "ce_type"
H_SUBJECT: Final = "lab-subject"
H_ATTEMPT: Final = "lab-attempt"
H_NOT_BEFORE: Final = "lab-not-before"
H_FIRST_FAILURE: Final = "lab-first-failure"
H_ORIGIN: Final = "lab-origin"
H_GROUP: Final = "lab-group"
H_REDRIVES: Final = "lab-redrives"
H_DISCARD: Final = "lab-discard"
LETTER: Final = "lab-dlq-"
"""How the headers begin that a dead letter has beside those of its record."""

EVENT_ID_BYTES_MAX: Final = 512
"""Of an id by which an event is known. Every store takes it; PostgreSQL indexes no 2,700 bytes."""

_REQUIRED: Final = frozenset(
    {
        *("ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_correlationid"),
        *("ce_causationid", "ce_sequence", "traceparent"),
    }
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_LENGTH: Final = len("1970-01-01T00:00:00.000000Z")
_SPEC: Final = ("ce_specversion", b"1.0")
PLAIN: Final = ("content-type", b"application/json")
"""The header by which a record of the lab is known to be in binary mode."""

_NAMED_MAX: Final = 1_024
_named: Final[dict[int, tuple[Headers, Mapping[str, bytes]]]] = {}


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event on its way. Immutable; equal ids mean the same event.

    Attributes:
        subject: the order id; also the partition key.
        time_us: when it was decided, microseconds since the Unix epoch.
        data: the payload, JSON bytes of a struct of `lab.domain.events`.
        sequence: the order's version after the change it tells of.
        traceparent: its trace context, with a client's tracestate (`lab.domain.trace_context`).
        expires_us: instant (database time) after which only the expiry path may run, or None.
        lab_subject: `ordinal.send` of the order in a lab run, "" elsewhere; a transport header.
    """

    id: str
    type: str
    source: str
    subject: str
    time_us: int
    data: bytes
    correlation_id: str
    causation_id: str
    sequence: int
    traceparent: str
    expires_us: int | None = None
    lab_subject: str = ""


def to_headers(envelope: Envelope) -> Headers:
    """Headers of the record that carries `envelope`; `data` is the record's value."""
    traceparent, tracestate = parted(envelope.traceparent)
    pairs = [
        _SPEC,
        PLAIN,
        ("ce_source", envelope.source.encode()),
        ("ce_subject", envelope.subject.encode()),
        ("ce_time", format_time(envelope.time_us)),
        ("ce_correlationid", envelope.correlation_id.encode()),
        ("ce_causationid", envelope.causation_id.encode()),
        ("ce_sequence", b"%012d" % envelope.sequence),
        ("traceparent", traceparent.encode()),
        (H_SUBJECT, envelope.lab_subject.encode()),
        ("ce_id", envelope.id.encode()),
        (H_TYPE, envelope.type.encode()),
    ]
    if tracestate:
        pairs.append(("tracestate", tracestate.encode()))
    if envelope.expires_us is not None:
        pairs.append(("ce_expirytime", format_time(envelope.expires_us)))
    return tuple(pairs)


def from_headers(headers: Headers, value: bytes) -> Envelope:
    """The envelope that a record carries.

    Raises:
        Poison: a required header is missing or cannot be read, or the id is too long; the message
            names all that are missing.
    """
    found = by_name(headers)
    if not found.keys() >= _REQUIRED:
        missing = ", ".join(name for name in sorted(_REQUIRED) if name not in found)
        raise Poison(f"the record has no header {missing}")
    event_id = usable_id(found[H_ID])
    if not event_id:
        size = len(found[H_ID])
        raise Poison(
            f"the event's id has {size} bytes; it must be 1 to {EVENT_ID_BYTES_MAX} of UTF-8"
        )
    try:
        expiry, subject = found.get("ce_expirytime"), found["ce_subject"].decode()
        return Envelope(
            id=event_id,
            type=found[H_TYPE].decode(),
            source=found["ce_source"].decode(),
            subject=subject,
            time_us=parse_time(found["ce_time"]),
            data=value,
            correlation_id=found["ce_correlationid"].decode(),
            causation_id=found["ce_causationid"].decode(),
            sequence=int(found["ce_sequence"]),
            traceparent=trace_of(found) or made_up(subject),
            expires_us=None if expiry is None else parse_time(expiry),
            lab_subject=found.get(H_SUBJECT, b"").decode(),
        )
    except (ValueError, UnicodeDecodeError) as bad:
        raise Poison(f"a header of the record cannot be read: {bad}") from None


def trace_of(found: Mapping[str, bytes]) -> str:
    """The trace context that a record has, "" if it has none that can be read."""
    parent, state = found.get("traceparent", b""), found.get("tracestate", b"")
    if not state and is_plain(parent):
        return parent.decode()
    return continued(parent.decode("latin-1"), state.decode("latin-1"))


@lru_cache(maxsize=4_096)
def usable_id(given: bytes | None) -> str:
    """The id of an event; "" if none is known: it is missing, too long, no UTF-8, or has a NUL.

    Two events must never be taken for one because their ids were mended to the same text.
    """
    if not given or len(given) > EVENT_ID_BYTES_MAX or b"\0" in given:
        return ""
    try:
        return given.decode()
    except UnicodeDecodeError:
        return ""


def by_name(headers: Headers) -> Mapping[str, bytes]:
    """The last value of each header. The next one who asks is given the same mapping.

    A record keeps its headers on its way through a process: publisher, log and every group that
    reads it look into the very same ones, so they are known by their identity.
    """
    known = _named.get(id(headers))
    if known is not None and known[0] is headers:
        return known[1]
    found = dict(headers)
    if len(_named) >= _NAMED_MAX:
        _named.clear()
    _named[id(headers)] = (headers, found)
    return found


def header(headers: Headers, name: str) -> bytes | None:
    """The last value of `name`, or None."""
    return by_name(headers).get(name)


def text_header(headers: Headers, name: str) -> str:
    """The last value of `name` as text, "" if it is missing; bytes beyond UTF-8 are replaced."""
    return by_name(headers).get(name, b"").decode("utf-8", "replace")


def header_int(headers: Headers, name: str, default: int = 0) -> int:
    """The last value of `name` as a decimal number; `default` if it is missing or no number."""
    value = header(headers, name)
    if value is None or not value.isdigit() or len(value) > 18:
        return default
    return int(value)


def with_headers(headers: Headers, **changes: bytes) -> Headers:
    """`headers` with each transport header of `changes` replaced; `_` in a name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    kept = tuple(pair for pair in headers if pair[0] not in named)
    return (*kept, *named.items())


def format_time(time_us: int) -> bytes:
    """RFC 3339 in UTC with microseconds."""
    seconds, micros = divmod(time_us, 1_000_000)
    return b"%s.%06dZ" % (_format_second(seconds), micros)


@lru_cache(maxsize=256)
def _format_second(seconds: int) -> bytes:
    # Remembered, because the events of one moment are many and the calendar is slow.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def parse_time(text: bytes) -> int:
    """Microseconds since the Unix epoch of an RFC 3339 instant.

    Raises:
        ValueError: if `text` is none or has no offset.
    """
    # As `format_time` writes it, nearly always: of the events of one moment the second is known.
    if len(text) == _TIME_LENGTH and text[19:20] == b"." and text[20:26].isdigit():
        return _parse_second(text[:19] + text[26:]) + int(text[20:26])
    return _parse_any(text)


@lru_cache(maxsize=256)
def _parse_second(text: bytes) -> int:
    if b"." in text:
        raise ValueError(f"{text!r} has two fractions")
    return _parse_any(text)


def _parse_any(text: bytes) -> int:
    instant = datetime.fromisoformat(text.decode())
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
