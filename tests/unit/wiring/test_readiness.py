"""Whether a process is to be given work: over parts that say so, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from lab.domain.errors import Down
from lab.ports.usable import Usable
from lab.runtime.asgi_call import call
from lab.runtime.virtual_loop import Scheduler, sleep_us
from lab.wiring.process.readiness import Readiness
from lab.wiring.worlds.health import health_app

S = 1_000_000


class Part(Usable):
    """Says what it is told to say."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason

    def why_not(self) -> str:
        return self.reason


class Server:
    """Answers, refuses, or hangs for a while."""

    def __init__(self) -> None:
        self.is_up = True
        self.hangs_us = 0
        self.asked = 0

    async def answers(self) -> None:
        self.asked += 1
        if self.hangs_us:
            await sleep_us(self.hangs_us)
        if not self.is_up:
            raise Down("no connection", dependency="postgres", after_us=0)


def watched(main: Callable[[Readiness, Part, Server], Awaitable[None]]) -> None:
    async def inside() -> None:
        part, server, readiness = Part(), Server(), Readiness()
        async with AsyncExitStack() as stack:
            readiness.needs(part)
            readiness.needs_servers({"PostgreSQL": server.answers}, stack)
            await main(readiness, part, server)

    with Scheduler() as scheduler:
        scheduler.run(inside())


def test_a_part_of_no_use_makes_the_process_unready_and_no_server_is_asked() -> None:
    async def main(readiness: Readiness, part: Part, server: Server) -> None:
        part.reason = "it is draining"
        assert await readiness.reasons() == ["it is draining"]
        assert server.asked == 0
        part.reason = ""
        assert await readiness.reasons() == []

    watched(main)


def test_a_server_that_refuses_makes_it_unready_until_it_answers_again() -> None:
    async def main(readiness: Readiness, _part: Part, server: Server) -> None:
        server.is_up = False
        assert await readiness.reasons() == ["PostgreSQL does not answer"]
        server.is_up = True
        assert await readiness.reasons() == []

    watched(main)


def test_a_server_that_hangs_holds_up_a_probe_for_a_second_only() -> None:
    async def main(readiness: Readiness, _part: Part, server: Server) -> None:
        server.hangs_us = 3_600 * S
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for _ in range(3):
            assert await readiness.reasons() == ["PostgreSQL does not answer"]
        assert loop.time() - begun == pytest.approx(3)
        assert server.asked == 1, "one question at a time"

    watched(main)


def test_many_probes_ask_a_server_once_a_second() -> None:
    async def main(readiness: Readiness, _part: Part, server: Server) -> None:
        for _ in range(10):
            assert await readiness.reasons() == []
        assert server.asked == 1

    watched(main)


def test_a_change_is_told_once() -> None:
    async def main(readiness: Readiness, part: Part, _server: Server) -> None:
        told: list[Sequence[str]] = []
        readiness.tell(told.append)
        await readiness.reasons()
        for part.reason in ("a", "a", "b", "", ""):
            await readiness.reasons()
        assert told == [["a"], ["b"], []]

    watched(main)


def test_the_port_for_operators_names_every_reason() -> None:
    async def main(readiness: Readiness, part: Part, _server: Server) -> None:
        app = health_app(readiness.reasons)
        assert (await call(app, "GET", "/ready")).status == 200
        part.reason = "it has not begun yet"
        answer = await call(app, "GET", "/ready")
        assert (answer.status, answer.body) == (503, b"not ready: it has not begun yet\n")
        assert (await call(app, "GET", "/health")).status == 200, "its loop turns all the same"

    watched(main)
