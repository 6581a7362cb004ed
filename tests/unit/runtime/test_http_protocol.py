"""What clients do to a server below HTTP, over raw sockets: stall, go on for ever, or mumble."""

import asyncio
import errno
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from lab.domain.answers import PROBLEM
from lab.runtime.http_protocol import ReadLimits
from lab.runtime.http_server import HttpServer, Message, http_server

SOON = ReadLimits(head_us=50_000, body_us=50_000, head_bytes=2_000)
LATE = ReadLimits(head_us=3_600_000_000, body_us=3_600_000_000, head_bytes=2_000)
HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"


class Echo:
    """Answers with the whole body; notes how each request ended."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.gone = 0
        self.entered = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        del scope
        body = b""
        self.entered.set()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await self.go.wait()
        self.bodies.append(body)
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


class Raw:
    """A connection whose client writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def to_the_end(self) -> bytes:
        """All that comes until the server has nothing more to say."""
        return await self.reader.read()

    async def answer(self) -> bytes:
        """One answer of the app, whole."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"content-length")]
        return head + await self.reader.readexactly(int(length.split(b":")[1]))


Talk = Callable[
    ["Echo", HttpServer, Callable[[], Coroutine[Any, Any, Raw]]], Coroutine[Any, Any, None]
]


def served(talk: Talk, limits: ReadLimits = LATE) -> None:
    async def inside() -> None:
        app, opened = Echo(), list[Raw]()
        async with http_server(app, limits=limits) as server:

            async def connect() -> Raw:
                opened.append(Raw(*await asyncio.open_connection(server.host, server.port)))
                return opened[-1]

            try:
                await talk(app, server, connect)
            finally:
                for one in opened:
                    one.writer.close()
                    with suppress(OSError):
                        await one.writer.wait_closed()

    asyncio.run(inside())


def problem(told: bytes, status: int, name: str) -> None:
    head, _, body = told.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0].startswith(b"http/1.1 %d " % status)
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    assert any(line.startswith(b"date: ") for line in lines)
    shown = json.loads(body)
    assert (shown["type"], shown["status"]) == (PROBLEM + name, status)


@pytest.mark.parametrize(
    "piece", [b"P", b"POST /x HT", HEAD, HEAD + b"X: ", HEAD + b"Content-Length: 9\r\n"]
)
def test_a_head_that_does_not_end_is_given_up(piece: bytes) -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(piece)
        problem(await client.to_the_end(), 408, "request-timeout")
        assert not app.entered.is_set()

    served(talk, SOON)


def test_a_body_that_does_not_end_is_given_up_and_its_app_is_told() -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(HEAD + b"Content-Length: 90\r\n\r\n", b"{")
        problem(await client.to_the_end(), 408, "request-timeout")
        assert (app.gone, app.bodies) == (1, [])

    served(talk, SOON)


def test_a_body_that_trickles_has_the_same_time_as_one_that_stalls() -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        ended = asyncio.create_task(client.to_the_end())
        for _ in range(10_000):
            if ended.done():
                break
            await client.say(b"1\r\n{\r\n")
            await asyncio.sleep(0.001)
        problem(await ended, 408, "request-timeout")
        assert app.bodies == []

    served(talk, SOON)


@pytest.mark.parametrize("said", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_a_silent_connection_is_closed_without_a_word(said: bytes) -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(said)
        assert await client.to_the_end() == b""
        assert not app.entered.is_set()

    served(talk, SOON)


def test_blank_lines_keep_no_idle_connection_open() -> None:
    async def talk(_app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(HEAD + b"Content-Length: 1\r\n\r\n1")
        await client.answer()
        await client.say(b"\r\n")
        assert await client.to_the_end() == b""

    served(talk, SOON)


def test_a_request_in_hand_outlasts_every_patience_with_clients() -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        app.go.clear()
        slow, stalled = await connect(), await connect()
        await slow.say(HEAD + b"Content-Length: 1\r\n\r\n1")
        await app.entered.wait()
        await stalled.say(HEAD)
        # Both have been timed from the same moment on, and this one has had its time.
        await stalled.to_the_end()
        app.go.set()
        assert (await slow.answer()).endswith(b"\r\n\r\n1")

    served(talk, SOON)


def test_a_body_behind_a_request_that_runs_is_not_hurried() -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        app.go.clear()
        client, stalled = await connect(), await connect()
        one = HEAD + b"Content-Length: 1\r\n\r\n"
        await client.say(one + b"1" + one)
        await app.entered.wait()
        await stalled.say(HEAD)
        await stalled.to_the_end()
        app.go.set()
        assert (await client.answer()).endswith(b"\r\n\r\n1")
        await client.say(b"2")
        assert (await client.answer()).endswith(b"\r\n\r\n2")

    served(talk, SOON)


@pytest.mark.parametrize("after", [b"\r\n\r\n", b""])
def test_a_head_beyond_its_bound_is_refused_whether_or_not_it_ends(after: bytes) -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(HEAD)
        for _ in range(40):
            await client.say(b"X: " + b"x" * 97 + b"\r\n")
        await client.say(after)
        problem(await client.to_the_end(), 431, "head-too-large")
        assert not app.entered.is_set()

    served(talk)


def test_a_head_that_never_ends_is_refused_before_its_end() -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(HEAD + b"X: ")
        ended = asyncio.create_task(client.to_the_end())
        for _ in range(10_000):
            if ended.done():
                break
            await client.say(b"x" * 1_000)
            await asyncio.sleep(0)
        problem(await ended, 431, "head-too-large")
        assert not app.entered.is_set()

    served(talk)


@pytest.mark.parametrize(
    "said",
    [
        b"hello\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nbad name: 1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n1",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_told_so_in_a_problem(said: bytes) -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(said)
        problem(await client.to_the_end(), 400, "malformed-http")
        assert app.bodies == []

    served(talk)


def test_an_old_client_needs_no_host() -> None:
    async def talk(_app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(b"POST /x HTTP/1.0\r\nContent-Length: 1\r\n\r\n1")
        assert (await client.to_the_end()).startswith(b"HTTP/1.1 200 ")

    served(talk)


def test_what_follows_a_good_request_takes_nothing_from_its_answer() -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        app.go.clear()
        client = await connect()
        await client.say(HEAD + b"Content-Length: 1\r\n\r\n1", b"mumble mumble\r\n\r\n")
        await app.entered.wait()
        app.go.set()
        told = await client.to_the_end()
        assert told.startswith(b"HTTP/1.1 200 ")
        assert told.endswith(b"\r\n\r\n1")

    served(talk)


def test_requests_in_one_piece_are_answered_in_turn() -> None:
    async def talk(app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(b"".join(HEAD + b"Content-Length: 1\r\n\r\n%d" % n for n in range(5)))
        answers = [await client.answer() for _ in range(5)]
        assert [one[-1:] for one in answers] == [b"0", b"1", b"2", b"3", b"4"]
        assert app.bodies == [b"0", b"1", b"2", b"3", b"4"]

    served(talk)


def test_a_large_body_in_many_pieces_is_taken_whole_and_the_next_request_has_its_own_bound() -> (
    None
):
    async def talk(_app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        body = b"x" * 300_000
        await client.say(HEAD + b"Content-Length: 300000\r\n\r\n")
        for begin in range(0, len(body), 7_000):
            await client.say(body[begin : begin + 7_000])
        assert (await client.answer()).endswith(body)
        await client.say(HEAD + b"Content-Length: 1\r\n", b"\r\n1")
        assert (await client.answer()).endswith(b"\r\n\r\n1")

    served(talk)


def test_a_wish_for_another_protocol_is_answered_in_this_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(_app: Echo, _server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(
            b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert (await client.answer()).startswith(b"HTTP/1.1 200 ")

    served(talk)
    assert not caplog.records


def test_a_stop_waits_for_no_client_that_has_said_half() -> None:
    async def talk(app: Echo, server: HttpServer, connect: Any) -> None:
        silent, idle, in_head, in_body = [await connect() for _ in range(4)]
        await idle.say(HEAD + b"Content-Length: 1\r\n\r\n1")
        await idle.answer()
        await in_head.say(HEAD)
        app.entered.clear()
        await in_body.say(HEAD + b"Content-Length: 9\r\n\r\n1")
        await app.entered.wait()
        server.stop()
        for one in (silent, idle, in_head):
            assert await one.to_the_end() == b""
        problem(await in_body.to_the_end(), 503, "shed")
        assert app.gone == 1

    served(talk)


def test_a_stop_survives_a_client_that_has_reset_its_connection_just_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_reset(_: asyncio.WriteTransport) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    async def talk(app: Echo, server: HttpServer, connect: Any) -> None:
        client = await connect()
        await client.say(HEAD + b"Content-Length: 9\r\n\r\n1")
        await app.entered.wait()
        transport = client.writer.transport
        monkeypatch.setattr(type(transport), "write_eof", is_reset)
        server.stop()
        await client.to_the_end()
        assert app.gone == 1

    served(talk)
