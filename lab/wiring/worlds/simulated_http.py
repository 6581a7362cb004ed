"""The client's way to the API in the simulated world: no socket, but its ways to fail.

Not here: the application (`lab.api`), and the process that it runs in (`simulated`).
"""

import asyncio
from typing import Protocol

from lab.bus.loop.workers import SUBJECT
from lab.domain.envelope import H_SUBJECT
from lab.ports.http import HttpAnswer, HttpCaller
from lab.runtime.asgi_call import call
from lab.runtime.process_loop import SPAWNED, ProcessLoop
from lab.wiring.process.roles import Api
from lab.wiring.process.unexpected import REQUEST


class ApiServer(Protocol):
    """A process that serves the API, in whichever of its lives."""

    @property
    def api(self) -> Api | None:
        """The API that it serves, once it does."""
        ...

    @property
    def loop(self) -> ProcessLoop | None:
        """Of the life that runs, if one does."""
        ...


class SimulatedHttp(HttpCaller):
    """The client's connection to the API: refused while it is down, reset when it dies.

    Args:
        root: loop of the client.
        server: the process that answers.
    """

    def __init__(self, root: ProcessLoop, server: ApiServer) -> None:
        self._root = root
        self._server = server

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer | None:
        loop, api = self._server.loop, self._server.api
        if loop is None or api is None:
            return None
        answered: asyncio.Future[HttpAnswer | None] = self._root.create_future()
        timer = self._root.call_after_us(timeout_us, _resolve, answered, None)
        reset = _Reset(answered)
        loop.on_kill.append(reset)
        loop.spawn(_serve(loop, api, (method, path, headers, body), answered))
        answer = await answered
        timer.cancel()
        if not loop.dead:
            loop.on_kill.remove(reset)
        return answer


class _Reset:
    """The kernel of a dead server closes its connections."""

    __slots__ = ("_answered",)

    def __init__(self, answered: "asyncio.Future[HttpAnswer | None]") -> None:
        self._answered = answered

    def __call__(self) -> None:
        _resolve(self._answered, None)


def _resolve(answered: "asyncio.Future[HttpAnswer | None]", answer: HttpAnswer | None) -> None:
    if not answered.done():
        answered.set_result(answer)


async def _serve(
    loop: ProcessLoop,
    api: Api,
    request: tuple[str, str, tuple[tuple[str, str], ...], bytes],
    answered: "asyncio.Future[HttpAnswer | None]",
) -> None:
    """One request, in a task of the API's process. One that failed resets its connection."""
    answer: HttpAnswer | None = None
    method, target, headers, body = request
    path, _, query = target.partition("?")
    try:
        answer = await call(api.app, method, path, headers, body, query=query.encode())
    except Exception as error:  # noqa: BLE001 - a server goes on with the next request
        told = {
            "message": f"{method} {path} failed",
            "exception": error,
            SPAWNED: REQUEST,
            SUBJECT: dict(headers).get(H_SUBJECT, ""),
        }
        loop.call_exception_handler(told)
    _resolve(answered, answer)
