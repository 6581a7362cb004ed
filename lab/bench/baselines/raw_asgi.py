"""A bare ASGI app, and a client that costs little: the most that a server of ASGI apps can do.

Nothing of the lab is used here; the server that runs the app is the caller's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

CONNECTIONS: Final = 16
BODY: Final = (
    b'{"customer_id":"C-1","country":"GB","currency":"GBP","items":['
    b'{"sku":"A","quantity":2,"unit_price_cents":500},'
    b'{"sku":"B-77","quantity":1,"unit_price_cents":1999}]}'
)

_ANSWER: Final = b'{"order_id":"00000000-0000-0000-0000-000000000000","state":"PENDING"}'
_HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_ANSWER)),
]
_CREATED: Final = b"HTTP/1.1 201 "
_LENGTH: Final = b"content-length: "
_TIMEOUT_S: Final = 60

Message = Any


async def raw_app(
    scope: Message,  # noqa: ARG001 - the shape of any ASGI app
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Read the request, say 201 with a body as the lab's."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 201, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


async def requests_a_second(host: str, port: int, count: int) -> float:
    """Orders that are posted over a few connections, each connection waiting for its answer.

    Raises:
        ConnectionError: the server hung up, or said anything but 201.
        TimeoutError: it took more than a minute.
    """
    loop = asyncio.get_running_loop()
    requests = iter([_request(number) for number in range(count)])
    ends: list[asyncio.Future[None]] = []
    start_s = time.perf_counter()
    for _ in range(min(CONNECTIONS, count)):
        end: asyncio.Future[None] = loop.create_future()
        ends.append(end)
        await loop.create_connection(lambda end=end: _Client(requests, end), host, port)  # type: ignore[misc]  # no type is inferred for a lambda with a default
    ended, waiting = await asyncio.wait(ends, timeout=_TIMEOUT_S)
    if waiting:
        raise TimeoutError(f"{count} requests were not answered within {_TIMEOUT_S} s")
    for one in ended:
        one.result()
    return count / (time.perf_counter() - start_s)


def _request(number: int) -> bytes:
    return (
        b"POST /orders HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        b"lab-subject: %d.1\r\nidempotency-key: key-%d-%d\r\ncontent-length: %d\r\n\r\n%b"
        % (number, time.monotonic_ns(), number, len(BODY), BODY)
    )


class _Client(asyncio.Protocol):
    """One connection, which posts the next request when the last one was answered."""

    def __init__(self, requests: Iterator[bytes], end: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._end = end
        self._answer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data
        head = answer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = answer.find(_LENGTH) + len(_LENGTH)
        if len(answer) < head + 4 + int(answer[at : answer.find(b"\r", at)]):
            return
        if answer.startswith(_CREATED):
            self._post()
        else:
            said = answer[: answer.find(b"\r")].decode("latin-1")
            self._fail(ConnectionError(f"the server said {said!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the server hung up"))

    def _post(self) -> None:
        self._answer = b""
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
            return
        if not self._end.done():
            self._end.set_result(None)
        self._transport.close()

    def _fail(self, why: Exception) -> None:
        if not self._end.done():
            self._end.set_exception(why)
        self._transport.close()
