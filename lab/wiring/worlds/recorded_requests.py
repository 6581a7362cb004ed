"""Requests of a real API in its history: an entry before, if the order is known, and one after.

Not here: the client's side of them (`lab.scenarios.client`), and their metrics (`lab.observe`).
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from lab.history.pen import Pen
from lab.runtime.asgi_call import AsgiApp
from lab.runtime.ids import subject_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CREATE: Final = ("POST", "/orders")
_ORDERS: Final = "/orders/"
_CANCEL: Final = "/cancel"


def recorded_requests(app: AsgiApp, pen: Pen, subject_header: str) -> AsgiApp:
    """`app`, each of whose requests about an order leaves an entry.

    Args:
        app: the orders API.
        pen: of the process.
        subject_header: name of the header by which a lab run names its orders.
    """
    name = subject_header.lower().encode()

    async def recorded(scope: Message, receive: Receive, send: Send) -> None:
        op = _op_of(scope)
        if not op:
            await app(scope, receive, send)
            return
        begun_us, status, location = pen.now(), 0, b""
        given = _header(scope["headers"], name).decode("latin-1")
        named = given or _subject(scope["path"], b"")
        if pen.write is not None and named:
            pen.write(("request.begin", begun_us, pen.process, named, op))

        async def seen(message: Message) -> None:
            nonlocal status, location
            if message["type"] == "http.response.start":
                status = message["status"]
                location = next(
                    (text for key, text in message["headers"] if key == b"location"), b""
                )
            await send(message)

        try:
            await app(scope, receive, seen)
        finally:
            subject = named or _subject(scope["path"], location)
            if pen.write is not None and subject:
                ended_us = pen.now()
                took_us = ended_us - begun_us
                pen.write(("request.end", ended_us, pen.process, subject, op, status, took_us))

    return recorded


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((text for key, text in headers if key == name), b"")


def _op_of(scope: Message) -> str:
    """What a request is for; "" if it is about no order."""
    if scope.get("type") != "http":
        return ""
    path: str = scope["path"]
    if (scope["method"], path) == _CREATE:
        return "create"
    is_cancel = scope["method"] == "POST" and path.startswith(_ORDERS) and path.endswith(_CANCEL)
    return "cancel" if is_cancel else ""


def _subject(path: str, location: bytes) -> str:
    """The order as entries name it, by the path of the request or the answer; "" if none does."""
    place = location.decode("latin-1") or path.removesuffix(_CANCEL)
    order_id = place.removeprefix(_ORDERS) if place.startswith(_ORDERS) else ""
    return subject_of(order_id) or order_id
