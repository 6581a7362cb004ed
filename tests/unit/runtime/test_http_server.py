"""An ASGI app over real sockets on loopback: ready when it says so, gone when it says so."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.ports.http import NoAnswer, NotSent
from lab.runtime.http_caller import HttpxCaller, http_caller
from lab.runtime.http_server import LOOPBACK, HttpServer, Message, http_server, reserved_port

SECOND = 1_000_000


class App:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.entered = asyncio.Event()
        self.cancelled = False

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        await receive()
        self.entered.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        body = scope["path"].encode()
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


def ask(caller: HttpxCaller) -> Coroutine[Any, Any, Any]:
    return caller.send("POST", "/x", headers=(), body=b"1", timeout_us=10 * SECOND)


def with_app(
    main: Callable[[App, HttpServer], Coroutine[Any, Any, None]], grace_us: int = 2 * SECOND
) -> None:
    async def inside() -> None:
        app = App()
        async with http_server(app, grace_us=grace_us) as server:
            await main(app, server)

    asyncio.run(inside())


def test_it_accepts_connections_on_the_port_that_it_names() -> None:
    async def main(app: App, server: HttpServer) -> None:
        app.go.set()
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"
        async with http_caller(server.url) as caller:
            answer = await ask(caller)
        assert answer.body == b"/x"
        names = [name for name, _ in answer.headers]
        assert names == ["date", "content-length"], "a date, and no name"

    with_app(main)


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    accepted: list[socket.socket] = []

    class Seen(asyncio.SelectorEventLoop):
        def _make_socket_transport(self, sock: socket.socket, *args: Any, **more: Any) -> Any:
            accepted.append(sock)
            return super()._make_socket_transport(sock, *args, **more)  # type: ignore[misc]  # asyncio's own

    async def main() -> None:
        app = App()
        app.go.set()
        async with http_server(app) as server, http_caller(server.url) as caller:
            await ask(caller)
            (own,) = [one for one in accepted if one.getsockname()[1] == server.port]
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    with asyncio.Runner(loop_factory=Seen) as runner:
        runner.run(main())


def test_a_reserved_port_is_nobody_s_and_a_server_may_take_it_again_and_again() -> None:
    async def main() -> None:
        with reserved_port() as port:
            for _ in range(3):
                async with http_caller(f"http://{LOOPBACK}:{port}") as caller:
                    with pytest.raises(NotSent):
                        await ask(caller)
                    app = App()
                    app.go.set()
                    async with http_server(app, port=port) as server:
                        assert server.port == port
                        assert (await ask(caller)).status == 200
            # As the system does for whoever asks for any port.
            with closing(socket.socket()) as other, pytest.raises(OSError, match="in use"):
                other.bind((LOOPBACK, port))

    asyncio.run(main())


def test_a_taken_port_says_which_and_what_to_do() -> None:
    async def main() -> None:
        with closing(socket.socket()) as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(EnvironmentNotReady) as refused:
                async with http_server(App(), port=port):
                    pass
        assert refused.value.address == f"127.0.0.1:{port}"

    asyncio.run(main())


def test_the_signals_stay_the_process_s_own() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def main(_app: App, _server: HttpServer) -> None:
        now = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        # The first is asyncio.run's own.
        assert now[1] == before[1]

    with_app(main)


def test_requests_in_one_breath_are_answered_in_their_order() -> None:
    async def main(app: App, server: HttpServer) -> None:
        app.go.set()
        reader, writer = await asyncio.open_connection(LOOPBACK, server.port)
        head = "GET /%s HTTP/1.1\r\nhost: x\r\n\r\n"
        writer.write((head % "one" + head % "two").encode())
        told = [await reader.readuntil(b"/one"), await reader.readuntil(b"/two")]
        assert all(answer.count(b"HTTP/1.1 200") == 1 for answer in told)
        writer.close()

    with_app(main)


def test_a_connection_that_says_nothing_more_holds_no_stop_up() -> None:
    async def main() -> None:
        app = App()
        app.go.set()
        # Nobody would wait for so long a grace to end.
        async with http_server(app, grace_us=3_600 * SECOND) as server:
            reader, writer = await asyncio.open_connection(LOOPBACK, server.port)
            writer.write(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
            await reader.readuntil(b"/one")
            silent, other = await asyncio.open_connection(LOOPBACK, server.port)
        assert await reader.read() == b""
        assert await silent.read() == b""
        writer.close()
        other.close()

    asyncio.run(main())


def test_stopping_answers_what_is_in_hand_and_takes_nothing_new() -> None:
    async def main(app: App, server: HttpServer) -> None:
        async with http_caller(server.url) as caller, http_caller(server.url) as late:
            call = asyncio.create_task(ask(caller))
            await app.entered.wait()
            server.stop()
            await gone(server)
            with pytest.raises(NotSent):
                await ask(late)
            app.go.set()
            assert (await call).status == 200
        await server._server.stopped.wait()

    with_app(main)


async def gone(server: HttpServer) -> None:
    """Wait until nobody listens any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection(server.host, server.port)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.01)


@pytest.mark.slow
def test_what_outlasts_the_grace_is_cancelled() -> None:
    async def main() -> None:
        app = App()
        async with http_server(app, grace_us=SECOND) as server, http_caller(server.url) as caller:
            call = asyncio.create_task(ask(caller))
            await app.entered.wait()
            server.stop()
            await server._server.stopped.wait()
            assert app.cancelled
            assert (await call).status == 500

    asyncio.run(main())


def test_an_abort_answers_nothing() -> None:
    async def main(app: App, server: HttpServer) -> None:
        async with http_caller(server.url) as caller:
            call = asyncio.create_task(ask(caller))
            await app.entered.wait()
            server.abort()
            with pytest.raises(NoAnswer):
                await call
            await server._server.stopped.wait()
        assert app.cancelled

    with_app(main, grace_us=3_600 * SECOND)


def test_an_exception_in_the_block_is_not_lost() -> None:
    async def main(_app: App, _server: HttpServer) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        with_app(main)
