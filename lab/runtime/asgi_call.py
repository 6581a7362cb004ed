"""Calls an ASGI app without a server: one request through its full stack, in the caller's task.

The part of a server (sockets, parsing, keep-alive) is left out; so are deadlines, which are the
caller's: a cancelled call is a closed connection to the app.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from lab.ports.http import HttpAnswer

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}


async def call(
    app: AsgiApp,
    method: str,
    path: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | Sequence[bytes] = b"",
    *,
    query: bytes = b"",
) -> HttpAnswer:
    """The app's answer to one request.

    Args:
        app: any ASGI 3 app.
        method: upper case.
        path: decoded, without a query.
        headers: names in lower case.
        body: whole, or in the chunks in which it arrives.
        query: of the address, encoded.

    Raises:
        RuntimeError: the app returned without an answer.
        Exception: the app raised it, also after it had answered 500.
    """
    chunks = [body] if isinstance(body, bytes) else list(body) or [b""]
    chunks.reverse()
    status = 0
    answered: list[tuple[bytes, bytes]] = []
    parts: list[bytes] = []

    async def receive() -> Message:
        if not chunks:
            return {"type": "http.disconnect"}
        chunk = chunks.pop()
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        nonlocal status, answered
        if message["type"] == "http.response.start":
            status = message["status"]
            answered = message["headers"]
        else:
            parts.append(message.get("body", b""))

    await app(_scope(method, path, headers, query), receive, send)
    if not status:
        raise RuntimeError(f"the app did not answer {method} {path!a}")
    return HttpAnswer(
        status=status,
        headers=tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in answered
        ),
        body=b"".join(parts),
    )


def _scope(method: str, path: str, headers: Sequence[tuple[str, str]], query: bytes) -> Message:
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": _quoted(path),
        "root_path": "",
        "query_string": query,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": None,
        "server": None,
    }


@lru_cache(maxsize=256)
def _quoted(path: str) -> bytes:
    # Remembered, because nearly every request is for one path.
    return quote(path, errors="surrogatepass").encode()
