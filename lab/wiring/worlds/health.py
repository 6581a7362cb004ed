"""How a process is, over HTTP: alive, and ready for work.

Not here: the API's own answers to the same questions (`lab.api`), metrics (`process_metrics`).
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from lab.runtime.asgi_call import AsgiApp
from lab.wiring.process.roles import Api

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TEXT: Final = [(b"content-type", b"text/plain")]


def health_app(is_ready: Callable[[], bool]) -> AsgiApp:
    """`/health`: 200 while it lives; `/ready`: 503 before it begins and while it drains."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:  # noqa: ARG001 - no body
        status, body = 404, b"not found\n"
        if scope.get("path") == "/health":
            status, body = 200, b"alive\n"
        elif scope.get("path") == "/ready":
            status, body = (200, b"ready\n") if is_ready() else (503, b"not ready\n")
        await send({"type": "http.response.start", "status": status, "headers": _TEXT})
        await send({"type": "http.response.body", "body": body})

    return app


def counted(api: Api) -> AsgiApp:
    """The API's app, each of whose requests its drain waits for."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        api.enter()
        try:
            await api.app(scope, receive, send)
        finally:
            api.leave()

    return app
