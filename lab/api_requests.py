"""The request of a client, read with care: headers, body, id.

Not here: what is asked for (`lab.api`), and the rules for an order (`lab.domain.request`).
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

import msgspec
from starlette.types import Receive, Scope

from lab.api_problems import HttpProblem, too_large, unknown
from lab.domain.request import BODY_BYTES_MAX, KEY_LENGTH_MAX, read_key
from lab.domain.trace_context import continued

TRACE: Final = "lab.trace"
"""Where the scope of a request has the trace context in which it came, once it was read."""

_ID_LENGTH_MAX: Final = 64
_KEY: Final = b"idempotency-key"
_PARENT: Final = b"traceparent"
_STATE: Final = b"tracestate"


class ClientGone(Exception):
    """The client hung up before it had said everything: there is nobody to answer."""


class AskedHeaders(msgspec.Struct, gc=False):
    """The headers that matter; `trace` is the client's trace context, "" if none can be read."""

    content_type: bytes
    content_length: bytes
    encoding: bytes
    subject: bytes
    trace: str
    key: str


def read_headers(scope: Scope, subject_header: bytes) -> AskedHeaders:
    """The headers that matter. The trace context is left in the scope too, for onlookers.

    Args:
        scope: of the request.
        subject_header: the name of the one that carries the subject of a lab run.

    Raises:
        HttpProblem: 400, for a key that is none.
    """
    pairs = scope["headers"]
    given = dict(pairs)
    is_plain = len(given) == len(pairs)
    parent, state = given.get(_PARENT, b""), given.get(_STATE, b"")
    if not is_plain:
        parent, state = _all_of(pairs, _PARENT), _all_of(pairs, _STATE)
    trace = continued(parent.decode("latin-1"), state.decode("latin-1")) if parent else ""
    scope[TRACE] = trace
    key = _key(given[_KEY]) if _KEY in given else ""
    if not is_plain and any(name == _KEY and _key(value) != key for name, value in pairs):
        raise HttpProblem("idempotency-key-invalid", "two keys name one request")
    return AskedHeaders(
        given.get(b"content-type", b""),
        given.get(b"content-length", b""),
        given.get(b"content-encoding", b"").lower().strip(),
        given.get(subject_header, b""),
        trace,
        key,
    )


def _all_of(pairs: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    """All values of one header as one. Source: RFC 9110, section 5.3."""
    return b", ".join([value for name, value in pairs if name == wanted and value])


def is_json(content_type: bytes) -> bool:
    """Whether the body says that it is JSON in UTF-8."""
    kind, *parameters = content_type.lower().split(b";")
    charsets = [each.strip() for each in parameters if each.strip().startswith(b"charset=")]
    return kind.strip() == b"application/json" and all(
        charset[len(b"charset=") :].strip(b'"') in (b"utf-8", b"utf8") for charset in charsets
    )


def _key(given: bytes) -> str:
    try:
        return read_key(given.decode("latin-1"))
    except ValueError:
        detail = (
            f"an Idempotency-Key has 1 to {KEY_LENGTH_MAX} printable ASCII characters; "
            'if it begins with ", it is a string of RFC 8941'
        )
        raise HttpProblem("idempotency-key-invalid", detail) from None


def is_known(scope: Scope, tag: bytes) -> bool:
    """Whether the client has this version already, by If-None-Match (compared weakly)."""
    given = b",".join([value for name, value in scope["headers"] if name == b"if-none-match"])
    tags = [one.strip().removeprefix(b"W/") for one in given.split(b",")]
    return b"*" in tags or tag in tags


def read_subject(given: bytes) -> str:
    """The subject of a lab run, "" outside of one.

    Raises:
        HttpProblem: 400.
    """
    if not given:
        return ""
    ordinal, dot, send = given.partition(b".")
    # bytes.isdigit knows ASCII digits only.
    if not (dot and ordinal.isdigit() and send.isdigit() and len(given) <= 32):
        raise HttpProblem("subject-invalid", "the subject of a lab run is ordinal.send")
    return given.decode()


async def read_body(receive: Receive, content_length: bytes) -> bytes:
    """The whole body; the length that the client gives is not trusted.

    Raises:
        HttpProblem: 413.
        ClientGone: it hung up.
    """
    is_number = content_length.isdigit() and len(content_length) < 20
    if is_number and int(content_length) > BODY_BYTES_MAX:
        raise too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        chunks, taken = [body], len(body)
        while message.get("more_body") and taken <= BODY_BYTES_MAX:
            message = await receive()
            chunks.append(message.get("body", b""))
            taken += len(chunks[-1])
        body = b"".join(chunks)
    if message["type"] == "http.disconnect":
        raise ClientGone
    if len(body) > BODY_BYTES_MAX:
        raise too_large()
    return body


def path_id(scope: Scope) -> str:
    """The id in the path, in which %2F and %25 are not decoded yet.

    Raises:
        HttpProblem: 404.
    """
    order_id = unquote(scope["path_params"]["id"])
    if len(order_id) > _ID_LENGTH_MAX or not (order_id.isascii() and order_id.isprintable()):
        raise unknown(order_id)
    return order_id
