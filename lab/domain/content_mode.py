"""The two forms in which a record may carry an event: binary mode, and structured mode.

The lab writes binary mode: attributes are headers, the payload is the value. A foreign program may
write structured mode, where the value holds attributes and payload as one JSON object. Such a
record is read as the one in binary mode that means the same; it stays as it is on its way.
Not here: the attributes themselves (`lab.domain.envelope`).

Source: CloudEvents specification 1.0, Kafka protocol binding and JSON event format.
"""

from base64 import b64decode
from typing import Final

import msgspec

from lab.domain.envelope import H_ID, H_TYPE, PLAIN, Headers, header, text_header, usable_id
from lab.domain.errors import Poison

CONTENT_TYPE: Final = "content-type"
STRUCTURED: Final = b"application/cloudevents+json"
_HEADERS_OF_THEIR_OWN: Final = frozenset({"traceparent", "tracestate"})
"""Extensions that the lab reads as plain headers."""

_VERSION: Final = b"1.0"
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_scalar: Final = msgspec.json.Decoder(str | int | bool | None).decode


def is_structured(content_type: bytes | None) -> bool:
    """Whether a record with this `content-type` is in structured mode."""
    return content_type is not None and content_type[: len(STRUCTURED)].lower() == STRUCTURED


def in_binary_mode(headers: Headers, value: bytes) -> tuple[Headers, bytes]:
    """The headers and the payload of a record, whichever mode it is in.

    Raises:
        Poison: it is in structured mode, and its value is no event.
    """
    if PLAIN in headers or not is_structured(header(headers, CONTENT_TYPE)):
        return headers, value
    try:
        members = _members(value)
        encoded = members.pop("data_base64", None)
        data = members.pop("data", b"")
        if encoded is not None:
            data = b64decode(msgspec.json.decode(encoded, type=str), validate=True)
        attributes = tuple(
            pair for name, raw in members.items() for pair in _header(name, _scalar(raw))
        )
    except (msgspec.MsgspecError, ValueError, RecursionError) as bad:
        raise Poison(f"no event in structured mode: {bad}") from None
    kept = tuple(
        pair for pair in headers if pair[0] != CONTENT_TYPE and not pair[0].startswith("ce_")
    )
    return (*kept, *attributes), bytes(data)


def as_readable(headers: Headers, value: bytes) -> tuple[Headers, bytes]:
    """The same; what cannot be read is left as it is."""
    try:
        return in_binary_mode(headers, value)
    except Poison:
        return headers, value


def event_id_of(headers: Headers, value: bytes) -> str:
    """The id of the event in a record; "" if there is none that can be used."""
    return usable_id(header(as_readable(headers, value)[0], H_ID))


def event_type_of(headers: Headers, value: bytes) -> str:
    """The type of the event in a record; bytes beyond UTF-8 are replaced."""
    return text_header(as_readable(headers, value)[0], H_TYPE)


def is_event(headers: Headers) -> bool:
    """Whether headers in binary mode hold what every event must have, of whatever type it is."""
    found = dict(headers)
    return (
        found.get("ce_specversion") == _VERSION
        and bool(usable_id(found.get(H_ID)))
        and all(_is_text(found.get(name)) for name in ("ce_source", H_TYPE))
    )


def _is_text(given: bytes | None) -> bool:
    try:
        return bool(given and given.decode())
    except UnicodeDecodeError:
        return False


def _header(name: str, value: str | int | bool | None) -> Headers:  # noqa: FBT001 - a value of JSON
    """An attribute as a header; null is as good as none."""
    if value is None:
        return ()
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if name == "datacontenttype":
        return ((CONTENT_TYPE, text.encode()),)
    plain = name in _HEADERS_OF_THEIR_OWN
    return ((name if plain else f"ce_{name}", text.encode(errors="replace")),)
