"""The request of a client, read with care: headers, body, id.

Not here: what is asked for (`lab.api`), and the rules for an order (`lab.domain.request`).
"""

from typing import Final
from urllib.parse import unquote

import msgspec
from starlette.types import Receive, Scope

from lab.api_problems import HttpProblem, too_large, unknown
from lab.domain.request import BODY_BYTES_MAX, KEY_LENGTH_MAX, read_key
from lab.domain.trace_context import continued

_ID_LENGTH_MAX: Final = 64


class ClientGone(Exception):
    """The client hung up before it had said everything: there is nobody to answer."""


class AskedHeaders(msgspec.Struct, gc=False):
    """The headers that matter."""

    content_type: bytes = b""
    content_length: bytes = b""
    encoding: bytes = b""
    key: str = ""
    subject: bytes = b""
    traceparent: bytes = b""
    tracestate: bytes = b""

    def trace(self) -> str:
        """The client's trace context, "" if it has none that can be read."""
        if not self.traceparent:
            return ""
        return continued(self.traceparent.decode("latin-1"), self.tracestate.decode("latin-1"))


def read_headers(scope: Scope, subject_header: bytes) -> AskedHeaders:
    """The headers that matter.

    Args:
        scope: of the request.
        subject_header: the name of the one that carries the subject of a lab run.

    Raises:
        HttpProblem: 400, for a key that is none.
    """
    asked = AskedHeaders()
    for name, value in scope["headers"]:
        if name == b"content-type":
            asked.content_type = value
        elif name == b"idempotency-key":
            key = _key(value)
            if asked.key not in ("", key):
                raise HttpProblem("idempotency-key-invalid", "two keys name one request")
            asked.key = key
        elif name == b"content-length":
            asked.content_length = value
        elif name == b"content-encoding":
            asked.encoding = value.lower().strip()
        elif name == b"traceparent":
            asked.traceparent = _beside(asked.traceparent, value)
        elif name == b"tracestate":
            asked.tracestate = _beside(asked.tracestate, value)
        elif name == subject_header:
            asked.subject = value
    return asked


def _beside(earlier: bytes, value: bytes) -> bytes:
    """Two values of one header as one. Source: RFC 9110, section 5.3."""
    return b"%s, %s" % (earlier, value) if earlier else value


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
