"""Requests over real sockets on loopback: what is told of those that got no answer."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from typing import Any

import httpcore
import httpx
import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.ports.http import HttpAnswer, NoAnswer, NotSent, PoolExhausted
from lab.runtime.http_caller import GIVEN_UP_MAX, NO_TIMEOUT_US, HttpxCaller, http_caller, meaning
from lab.runtime.http_server import http_server

MS = 1_000
SECOND = 1_000_000

MEANINGS: dict[type[Exception], type[Exception]] = {
    httpx.ConnectError: NotSent,
    httpx.ConnectTimeout: NotSent,
    httpx.PoolTimeout: PoolExhausted,
    httpx.ProxyError: NotSent,
    httpx.UnsupportedProtocol: NotSent,
    httpx.ReadTimeout: NoAnswer,
    httpx.WriteTimeout: NoAnswer,
    httpx.ReadError: NoAnswer,
    httpx.WriteError: NoAnswer,
    httpx.CloseError: NoAnswer,
    httpx.LocalProtocolError: NoAnswer,
    httpx.RemoteProtocolError: NoAnswer,
    httpx.DecodingError: NoAnswer,
    httpx.TooManyRedirects: NoAnswer,
}
FAMILIES = {
    httpx.HTTPError, httpx.RequestError, httpx.TransportError, httpx.TimeoutException,
    httpx.NetworkError, httpx.ProtocolError,
}  # fmt: skip
OURS = {
    httpx.HTTPStatusError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError,
    httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead,
}  # fmt: skip
"""Raised only to who calls `raise_for_status`, reads a stream twice, or makes a wrong address."""


def test_every_exception_of_httpx_has_a_meaning() -> None:
    known = {
        each
        for each in vars(httpx).values()
        if isinstance(each, type) and issubclass(each, Exception)
    }

    assert known == MEANINGS.keys() | FAMILIES | OURS


@pytest.mark.parametrize("kind", list(MEANINGS))
def test_an_exception_of_httpx_says_how_far_the_request_got(kind: type[Any]) -> None:
    assert type(meaning(kind("x"))) is MEANINGS[kind]


def test_a_failure_that_nobody_knows_says_nothing() -> None:
    assert type(meaning(OSError("x"))) is NoAnswer


# ---- over sockets

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
OK = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nx-one: 2\r\ncontent-length: 2\r\n\r\nhi"


class Requests(list[bytes]):
    """Heads of the requests that a server has read."""

    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()


@asynccontextmanager
async def calling(
    serve: Serve, *, connections_max: int = 4
) -> AsyncIterator[tuple[HttpxCaller, "Requests"]]:
    """A caller of a server that reads a request and then does what `serve` says."""
    requests = Requests()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while head := await _read_head(reader):
                requests.append(head)
                requests.came.set()
                await serve(reader, writer)

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with http_caller(f"http://127.0.0.1:{port}", connections_max=connections_max) as caller:
        yield caller, requests
    server.close()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def answer_ok(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    await writer.drain()


async def never_answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def get(caller: HttpxCaller, timeout_us: int = 5 * SECOND) -> Coroutine[Any, Any, HttpAnswer]:
    return caller.send("GET", "/x", headers=(("from", "Zoë"),), body=b"", timeout_us=timeout_us)


def test_an_answer_comes_with_its_status_headers_and_body() -> None:
    async def main() -> None:
        async with calling(answer_ok) as (caller, requests):
            answer = await get(caller)
            assert answer.status == 200
            assert answer.body == b"hi"
            assert answer.headers == (("x-one", "1"), ("x-one", "2"), ("content-length", "2"))
            assert await get(caller, NO_TIMEOUT_US) == answer
        assert len(requests) == 2
        assert b"\r\nfrom: Zo\xeb\r\n" in requests[0]

    asyncio.run(main())


def test_a_connection_is_used_again() -> None:
    peers = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        await answer_ok(reader, writer)

    async def main() -> None:
        async with calling(serve) as (caller, _):
            for _ in range(5):
                await get(caller)

    asyncio.run(main())
    assert len(peers) == 1


def test_as_many_connections_are_open_as_are_allowed_and_no_more() -> None:
    open_now = most = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.05)
        open_now -= 1
        writer.write(OK)

    async def main() -> None:
        async with calling(serve, connections_max=6) as (caller, _):
            answers = await asyncio.gather(*(get(caller) for _ in range(20)))
        assert {answer.status for answer in answers} == {200}

    asyncio.run(main())
    assert most == 6


@pytest.mark.parametrize("told", [b"", b"HTTP/1.1 200 OK\r\n", OK[:-1], b"nonsense\r\n\r\n"])
def test_a_torn_answer_is_no_answer_and_is_not_asked_for_again(told: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(told)
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with calling(serve) as (caller, requests):
            with pytest.raises(NoAnswer):
                await get(caller)
            assert await caller.request("GET", "/", headers=(), body=b"", timeout_us=SECOND) is None
        assert len(requests) == 2

    asyncio.run(main())


def test_no_answer_in_time_is_told_in_time_even_if_bytes_keep_coming() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.partition(b"\r\n\r\n")[0])
        while not writer.is_closing():  # The head does not end.
            writer.write(b"\r\nx: y")
            await asyncio.sleep(0.02)

    async def main() -> None:
        async with calling(serve) as (caller, _):
            began = time.monotonic()
            with pytest.raises(NoAnswer):
                await get(caller, 100 * MS)
            assert time.monotonic() - began >= 0.1

    asyncio.run(main())


def test_a_refused_connection_sent_nothing() -> None:
    async def main() -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        async with http_caller(f"http://127.0.0.1:{port}") as caller:
            with pytest.raises(NotSent):
                await get(caller)
            assert await caller.request("GET", "/", headers=(), body=b"", timeout_us=SECOND) is None

    asyncio.run(main())


def test_a_connection_that_is_not_made_in_time_sent_nothing() -> None:
    async def main() -> None:
        with closing(socket.socket()) as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            # Nobody accepts: the queue is full, and the kernel drops who knocks.
            knocking = [socket.socket() for _ in range(4)]
            for each in knocking:
                each.setblocking(False)  # noqa: FBT003 - the standard library's
                each.connect_ex(deaf.getsockname())
            async with http_caller(f"http://127.0.0.1:{deaf.getsockname()[1]}") as caller:
                with pytest.raises(NotSent):
                    await get(caller, 150 * MS)
            for each in knocking:
                each.close()

    asyncio.run(main())


@pytest.mark.slow
def test_a_pool_without_a_free_connection_is_told_from_a_lost_request() -> None:
    async def main() -> None:
        async with calling(never_answer, connections_max=1) as (caller, requests):
            first = asyncio.create_task(get(caller, 400 * MS))
            await requests.came.wait()
            with pytest.raises(PoolExhausted):
                await get(caller, 150 * MS)
            with pytest.raises(NoAnswer):
                await first
        assert len(requests) == 1

    asyncio.run(main())


@pytest.mark.slow
def test_a_wait_for_a_connection_that_ends_as_one_becomes_free_costs_none() -> None:
    """A process that stands still finds both at once, at any step of its loop."""
    is_silent = True

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (never_answer if is_silent else answer_ok)(reader, writer)

    def stand_still() -> None:
        time.sleep(0.06)

    async def main() -> None:
        nonlocal is_silent
        async with calling(answer, connections_max=1) as (caller, requests):
            for steps in range(16):
                requests.came.clear()
                first = asyncio.create_task(get(caller))
                await requests.came.wait()
                second = asyncio.create_task(get(caller, 150 * MS))
                await asyncio.sleep(0.001)
                first.cancel()
                for _ in range(steps):
                    await asyncio.sleep(0)
                stand_still()
                await asyncio.wait([first, second])
                assert second.exception() is not None
            is_silent = False
            assert (await get(caller)).status == 200

    asyncio.run(main())


def test_a_cancelled_call_stays_cancelled_and_frees_its_connection() -> None:
    async def main() -> None:
        async with calling(never_answer, connections_max=1) as (caller, requests):
            call = asyncio.create_task(get(caller))
            await requests.came.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            with pytest.raises(NoAnswer):
                await get(caller, 150 * MS)
        assert len(requests) == 2

    asyncio.run(main())


def test_requests_that_are_cancelled_while_they_connect_cost_no_connection() -> None:
    async def slow(_scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> None:
        async with (
            http_server(slow) as server,
            http_caller(server.url, connections_max=8) as caller,
        ):

            def ask() -> "asyncio.Task[HttpAnswer]":
                return asyncio.get_running_loop().create_task(
                    caller.send("GET", "/", headers=(), body=b"", timeout_us=3_000_000)
                )

            for steps in range(60):
                asked = [ask() for _ in range(8)]
                for _ in range(steps % 12):
                    await asyncio.sleep(0)
                for one in asked:
                    one.cancel()
                await asyncio.wait(asked)
            answers = await asyncio.gather(*[ask() for _ in range(8)])
            assert [answer.status for answer in answers] == [200] * 8

    asyncio.run(main())


class Counting:
    """Answers at once, or never; counts the connections that ever came."""

    def __init__(self) -> None:
        self.came: set[Any] = set()
        self.is_silent = False
        self.all_are_here = asyncio.Barrier(1)
        self.asked = asyncio.Semaphore(0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.came.add(scope["client"])
        self.asked.release()
        await receive()
        if self.is_silent:
            await receive()
            return
        await self.all_are_here.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def rounds(self, caller: HttpxCaller) -> int:
        """Connections that were new in five rounds of as many calls as may run at once."""
        before, self.all_are_here = 0, asyncio.Barrier(8)
        for number in range(6):
            answers = await asyncio.gather(*[get(caller) for _ in range(8)])
            assert {one.status for one in answers} == {200}
            # The first round opens what is missing.
            before = before if number else len(self.came)
        return len(self.came) - before


def test_a_connection_that_the_library_has_left_behind_costs_no_other_one_its_life() -> None:
    async def main() -> None:
        app = Counting()
        async with (
            http_server(app) as server,
            http_caller(server.url, connections_max=8) as caller,
        ):
            assert await app.rounds(caller) == 0
            for pool in caller._pools:
                core: Any = pool._client.http._transport
                # As after a call that was cancelled while it tidied up: neither used nor idle.
                lost = core._pool.create_connection(httpcore.URL(server.url).origin)
                core._pool._connections.insert(0, lost)
                assert not lost.is_idle()
                assert not lost.is_closed()
            assert await app.rounds(caller) == 0

    asyncio.run(main())


@pytest.mark.slow
def test_after_an_outage_in_which_calls_are_given_up_at_every_step_connections_last_again() -> None:
    async def main() -> None:
        app = Counting()
        async with (
            http_server(app) as server,
            http_caller(server.url, connections_max=8) as caller,
        ):
            for app.is_silent in (True, False):
                for steps in range(0, 60, 3):
                    calls = [asyncio.ensure_future(get(caller)) for _ in range(8)]
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    for one in calls:
                        one.cancel()
                    await asyncio.wait(calls)
            assert await app.rounds(caller) == 0

    asyncio.run(main())


def test_a_client_with_many_calls_given_up_is_replaced_and_closes_what_it_had() -> None:
    async def main() -> None:
        app = Counting()
        async with (
            http_server(app) as server,
            http_caller(server.url, connections_max=1) as caller,
        ):
            (pool,) = caller._pools
            first = pool._client
            for _ in range(GIVEN_UP_MAX):
                app.is_silent = True
                call = asyncio.ensure_future(get(caller))
                await app.asked.acquire()
                call.cancel()
                await asyncio.wait([call])
            app.is_silent = False
            assert (await get(caller)).status == 200
            assert pool._client is not first
            assert first.http.is_closed
            assert not pool._retired

    asyncio.run(main())


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:8001",
        "ftp://me:swordfish@h:1",
        "http://me:swordfish@h:99999",
        "http://a..b:1",
    ],
)
def test_an_address_that_is_none_is_refused_before_the_first_call(address: str) -> None:
    async def main() -> None:
        async with http_caller(address):
            raise AssertionError("nothing can be called there")

    with pytest.raises(EnvironmentNotReady, match="its address cannot be read") as told:
        asyncio.run(main())
    assert "LAB_PROVIDERS_URL" in str(told.value)
    assert "swordfish" not in str(told.value)
