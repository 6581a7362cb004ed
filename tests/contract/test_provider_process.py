"""Third parties in a real process: what a kill or a stop of it may cost, and what never."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lab.domain.errors import Indeterminate
from lab.history.facts import LedgerEntry
from lab.ports.clock import Clock
from lab.ports.providers import GatewayAnswer
from lab.providers.core import Request
from lab.providers.http_client import HttpProviders
from lab.providers.ledger_file import ledger_entries
from lab.providers.payment_gateway import CHARGE, QUERY
from lab.runtime.clock import SystemClock
from lab.runtime.http_caller import http_caller
from tests.contract.provider_worlds import (
    MS,
    charge,
    make_third_parties,
    outcome,
    query,
    subject_of,
)
from tests.kit.entries import of_type

TOP = Path(__file__).resolve().parents[2]
KILLS = 4

pytestmark = pytest.mark.slow


class ThirdParties:
    """The process, through all its lives, and a process that calls it."""

    def __init__(self, path: Path, latency_us: int) -> None:
        self.path = path
        self.port = 0
        self.clock: Clock = SystemClock()
        self.providers: HttpProviders
        self._latency_us = latency_us
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        command = ("-m", "tests.contract.provider_process", str(self.path), str(self.port))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            str(self._latency_us),
            cwd=TOP,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await self.start()
            stack.push_async_callback(self.kill)
            http = await stack.enter_async_context(http_caller(f"http://127.0.0.1:{self.port}"))
            self.providers = HttpProviders(
                http=http, clock=self.clock, wall_us=self.clock.wall_us, subject_of=subject_of
            )
            yield


def with_latency(
    latency_us: int,
) -> Callable[[Callable[[Any], Coroutine[Any, Any, None]]], Callable[[Path], None]]:
    def decorate(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
        @wraps(test)
        async def inside(world: ThirdParties) -> None:
            async with world.entered():
                await test(world)

        def run(tmp_path: Path) -> None:
            asyncio.run(inside(ThirdParties(tmp_path / "ledger.ndjson", latency_us)))

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


@with_latency(40 * MS)
async def test_no_kill_makes_a_key_charge_twice(world: Any) -> None:
    orders = [f"o{n}.1" for n in range(24)]
    answered: set[str] = set()
    sends = enough = 0
    kill_now = asyncio.Event()

    async def until_answered(order: str) -> None:
        nonlocal sends
        while order not in answered:
            sends += 1
            answer = await outcome(charge(world, f"c{order}", order=order, within_us=500 * MS))
            if isinstance(answer, GatewayAnswer):
                answered.add(order)
            if len(answered) >= enough:
                kill_now.set()
            await asyncio.sleep(0.001)

    for kill in range(1, KILLS + 1):
        # Every key is asked for again, those too that an earlier life answered.
        answered.clear()
        kill_now.clear()
        enough = 4 * kill
        calls = [asyncio.create_task(until_answered(order)) for order in orders]
        await kill_now.wait()
        await world.kill()
        captured = {line.key for line in ledger_lines(world)}
        assert {f"c{order}" for order in answered} <= captured, "who was told has it in writing"
        await world.start()
        await asyncio.gather(*calls)

    lines = ledger_lines(world)
    assert sends > KILLS * len(orders), "some answers got lost"
    assert sorted(line.key for line in lines) == sorted(f"c{order}" for order in orders)
    assert {line.action for line in lines} == {"capture"}


@with_latency(5 * MS)
async def test_a_request_that_lay_in_a_stopped_process_is_never_executed(world: Any) -> None:
    await charge(world, "first", order="o1.1")
    world.stop()
    assert await outcome(charge(world, "c", order="o2.1", within_us=150 * MS)) is Indeterminate
    world.go_on()

    assert await query(world, "o2.1") == []
    await asyncio.sleep(0.2)
    assert [line.key for line in ledger_lines(world)] == ["first"]


def ledger_lines(world: Any) -> list[LedgerEntry]:
    """The lines of the ledger file, also of a process that is stopped."""
    return of_type(ledger_entries(world.path), LedgerEntry)


SLOW_US = 400 * MS
TRIES = 5


def slow_charges() -> Iterator[tuple[str, int]]:
    """Orders whose charge takes long while a query after it does not; and how long."""
    gateway = make_third_parties(now_us=lambda: 0, write=print, latency_us=SLOW_US)[2]
    for n in range(10_000):
        order = f"o{n}.1"
        latency_us = gateway.latency_us(Request(CHARGE, order, subject_of(order)))
        query_us = gateway.latency_us(Request(QUERY, order, subject_of(order)))
        if latency_us > 2 * SLOW_US and query_us < SLOW_US // 2:
            yield order, latency_us


@with_latency(SLOW_US)
async def test_a_request_whose_time_was_up_in_a_stopped_process_is_not_executed(
    world: Any,
) -> None:
    for order, latency_us in islice(slow_charges(), TRIES):
        within_us = latency_us + 200 * MS
        call = asyncio.create_task(outcome(charge(world, order, order=order, within_us=within_us)))
        await asyncio.sleep(0)
        # Which of the two arrives first is up to the kernel.
        if await query(world, order) == [(order, "pending")]:
            break
        await call
    else:
        raise AssertionError("no charge was in flight")
    world.stop()
    assert await call is Indeterminate
    world.go_on()

    assert await query(world, order) == []
    assert order not in [line.key for line in ledger_lines(world)]
