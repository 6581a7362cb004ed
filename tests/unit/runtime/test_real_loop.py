"""The loop of a real process: uvloop if it is there and wanted, and what a process asks of it."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lab.runtime import real_loop
from lab.runtime.http_server import http_server
from lab.runtime.real_loop import UVLOOP, run_on
from lab.settings import settings_for
from lab.wiring.worlds.assignment import Assignment
from lab.wiring.worlds.signals import ProcessSignals

LOOPS = (UVLOOP, "asyncio")


@pytest.fixture(autouse=True)
def signals_of_the_tests() -> Iterator[None]:
    mine = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in mine}
    yield
    gc.unfreeze()
    for number, handler in before.items():
        signal.signal(number, handler)


async def loop_of() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_a_real_process_runs_on_uvloop_unless_it_is_told_not_to() -> None:
    assert settings_for("wall-clock").text("process.loop") == UVLOOP
    assert run_on(UVLOOP, loop_of()).partition(".")[0] == UVLOOP
    assert run_on("asyncio", loop_of()).partition(".")[0] == "asyncio"


def test_without_the_extra_it_runs_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_loop, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, UVLOOP, None)
    assert run_on(UVLOOP, loop_of()).partition(".")[0] == "asyncio"


@pytest.mark.parametrize("loop", LOOPS)
def test_an_error_of_the_process_comes_out(loop: str) -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run_on(loop, fail())


@pytest.mark.parametrize("loop", LOOPS)
def test_signals_heal_stop_and_stop_again(loop: str) -> None:
    heard: list[str] = []

    async def process() -> None:
        signals = ProcessSignals(
            Assignment(
                role="relay",
                member="relay-1",
                group="relay",
                name="test",
                postgres_dsn="",
                redis_url="",
                kafka_bootstrap="",
            )
        )
        healed, again = asyncio.Event(), asyncio.Event()
        signals.on_heal(healed.set)
        signals.on_again(again.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await healed.wait()
        heard.append("healed")
        os.kill(os.getpid(), signal.SIGTERM)
        await signals.wait()
        heard.append("stopped")
        os.kill(os.getpid(), signal.SIGINT)
        await again.wait()
        heard.append("again")

    run_on(loop, process())
    assert heard == ["healed", "stopped", "again"]


@pytest.mark.parametrize("loop", LOOPS)
def test_the_end_of_the_input_is_heard(loop: str) -> None:
    async def process() -> None:
        ended = asyncio.Event()
        reads, writes = os.pipe()
        asyncio.get_running_loop().add_reader(reads, ended.set)
        os.close(writes)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(reads)
        os.close(reads)

    run_on(loop, process())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_answers_and_ends_gracefully_with_a_request_in_hand(loop: str) -> None:
    async def process() -> Any:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            entered.set()
            await leave.wait()
            headers = [(b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"ok"})

        async with http_server(app) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            await entered.wait()
            server.stop()
            leave.set()
            answer = await reader.read()
            writer.close()
            return answer

    assert run_on(loop, process()).endswith(b"ok")
