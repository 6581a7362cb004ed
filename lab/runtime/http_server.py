"""Serves an ASGI app over HTTP in a real process, on the loop that runs already.

Signals are the process's own business, and so is its log: uvicorn leaves both alone.
Not here: the apps (`lab.api`, `lab.providers`), and the choice of a loop.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

import uvicorn

from lab.domain.errors import EnvironmentNotReady
from lab.runtime.http_protocol import BoundedProtocol, ReadLimits, ServerConfig

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

LOOPBACK: Final = "127.0.0.1"
KEEP_ALIVE_S: Final = 75
"""Longer than any client of ours keeps an idle connection: the client closes it, so no request
meets a connection that is being closed."""

_SECOND_US: Final = 1_000_000
_LIMITS: Final = ReadLimits()
_CANCELLED_S: Final = 1


class HttpServer:
    """A server that listens. Made by `http_server`; `port` is the one that it really has."""

    def __init__(self, server: "_Uvicorn", host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._server = server

    @property
    def url(self) -> str:
        """The text that a client puts before a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def stop(self) -> None:
        """Take no new connection, answer the requests in hand within the grace, then end."""
        self._server.should_exit = True

    def abort(self) -> None:
        """End now: requests in hand are cancelled, and their clients see a reset."""
        server = self._server
        server.should_exit = server.force_exit = True
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        for task in list(server.server_state.tasks):
            task.cancel()


@contextlib.asynccontextmanager
async def http_server(
    app: AsgiApp,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    grace_us: int = 2 * _SECOND_US,
    limits: ReadLimits = _LIMITS,
) -> AsyncIterator[HttpServer]:
    """A server for the length of the block; inside it connections are accepted.

    Leaving the block stops it gracefully; leaving it by an exception aborts it.

    Args:
        app: any ASGI 3 app; its lifespan events are not sent.
        host: an address of this machine.
        port: 0 takes a free one.
        grace_us: of requests in hand when it stops; then they are cancelled. Whole seconds count.
        limits: of a request until it is there whole.

    Raises:
        EnvironmentNotReady: the port is taken or forbidden, or the address is not this machine's.
    """
    listening = _listen(host, port)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    config = ServerConfig(
        app,
        interface="asgi3",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, -(-grace_us // _SECOND_US)),
    )
    config.read_limits = limits
    server = _Uvicorn(config)
    running = asyncio.get_running_loop().create_task(server.run_on(listening))
    handle = HttpServer(server, host, listening.getsockname()[1])
    try:
        await server.ready.wait()
        if running.done():
            running.result()
        yield handle
    except BaseException:
        handle.abort()
        raise
    finally:
        handle.stop()
        await _ended(running)


class _Uvicorn(uvicorn.Server):
    """A server that says when it is ready and when it has stopped."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()

    async def run_on(self, listening: socket.socket) -> None:
        """Serve until asked to stop."""
        try:
            await self.serve(sockets=[listening])
        finally:
            listening.close()
            self.ready.set()
            self.stopped.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield


def _is_news(record: logging.LogRecord) -> bool:
    """Not a request that was cancelled because the server stops."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


async def _ended(running: "asyncio.Task[None]") -> None:
    """Wait for the end of a server that is to stop, even if the waiter is cancelled."""
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running], timeout=_CANCELLED_S)
        raise


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port of loopback for a server that starts in a moment, and maybe ends and starts again.

    For the length of the block the system gives it to nobody that asks for any port. Nobody listens
    there, so a caller is refused until `http_server` takes it by its number. Only Linux lets two
    sockets stand at one address for that; elsewhere the port is free when the block begins.
    """
    with _listen(LOOPBACK, 0) as standing:
        port: int = standing.getsockname()[1]
        if sys.platform != "linux":
            standing.close()
        yield port


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that the port is known before anything is served."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The loop turns Nagle's algorithm off only where the protocol is named: 40 ms an answer.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise EnvironmentNotReady(
            f"cannot listen there ({error.strerror})",
            server="HTTP",
            address=f"{host}:{port}",
            remedy="stop what uses the port, or choose another (0 takes a free one)",
        ) from error
    return listening
