"""How a process is, over HTTP: alive, and ready for work. On a port for operators only.

Not here: the API's own answers to the same questions (`lab.api`), metrics (`process_metrics`).
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from lab.runtime.asgi_call import AsgiApp

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TEXT: Final = [(b"content-type", b"text/plain")]


def health_app(reasons: Callable[[], Awaitable[Sequence[str]]]) -> AsgiApp:
    """`/health`: 200 while its loop turns; `/ready`: 503 with every reason why not."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:  # noqa: ARG001 - no body
        status, body = 404, b"not found\n"
        if scope.get("path") == "/health":
            status, body = 200, b"alive\n"
        elif scope.get("path") == "/ready":
            against = await reasons()
            status = 503 if against else 200
            body = f"not ready: {'; '.join(against)}\n".encode() if against else b"ready\n"
        await send({"type": "http.response.start", "status": status, "headers": _TEXT})
        await send({"type": "http.response.body", "body": body})

    return app
