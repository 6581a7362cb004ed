"""Requests of a real API in its history: an entry before, if the order is known, and one after.

Not here: the client's side of them (`lab.scenarios.client`), and their metrics (`lab.observe`).
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

from lab.api_requests import TRACE
from lab.bus.loop.workers import SUBJECT
from lab.history.pen import Pen
from lab.runtime.asgi_call import AsgiApp
from lab.runtime.ids import subject_of
from lab.runtime.process_loop import SPAWNED
from lab.wiring.process.trace_watch import TraceWatch
from lab.wiring.process.unexpected import REQUEST, note_unexpected

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CREATE: Final = ("POST", "/orders")
_ORDERS: Final = "/orders/"
_CANCEL: Final = "/cancel"


def recorded_requests(
    app: AsgiApp, pen: Pen, subject_header: str, follows: TraceWatch | None = None
) -> AsgiApp:
    """`app`, each of whose requests about an order leaves an entry.

    Args:
        app: the orders API.
        pen: of the process.
        subject_header: name of the header by which a lab run names its orders.
        follows: is told in which trace a request about an order came; None: traces are computed.
    """
    name = subject_header.lower().encode()

    async def recorded(scope: Message, receive: Receive, send: Send) -> None:
        op = _op_of(scope)
        given = _header(scope.get("headers", ()), name).decode("latin-1")
        named = given or _subject(scope.get("path", ""), b"")
        if not op:
            with _noting(pen, named):
                await app(scope, receive, send)
            return
        begun_us, status, location = pen.now(), 0, b""
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
            with _noting(pen, named):
                await app(scope, receive, seen)
        finally:
            subject = named or _subject(scope["path"], location)
            if follows is not None:
                follows.request(subject, scope.get(TRACE, ""))
            if pen.write is not None and subject:
                ended_us = pen.now()
                took_us = ended_us - begun_us
                pen.write(("request.end", ended_us, pen.process, subject, op, status, took_us))

    return recorded


@contextmanager
def _noting(pen: Pen, subject: str) -> Iterator[None]:
    """Write down an exception of a request; the server goes on with the next one."""
    try:
        yield
    except Exception as error:
        note_unexpected(pen, {"exception": error, SPAWNED: REQUEST, SUBJECT: subject})
        raise


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
