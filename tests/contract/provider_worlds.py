"""Worlds in which the third parties are held to their contract: simulated, and HTTP on loopback.

A test is written against `ProviderWorld`; it never sees what is behind the ports.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from lab.domain.errors import LabError
from lab.history.entries import Entry
from lab.history.facts import LedgerEntry
from lab.ports.clock import Clock
from lab.ports.faults import CallFault, CallFaults
from lab.ports.providers import Antifraud, GatewayAnswer, Mailer, PaymentGateway, Warehouse
from lab.providers.antifraud import AntifraudServer
from lab.providers.core import DAY_US, KeyMode, Server
from lab.providers.http_client import HttpProviders
from lab.providers.http_front import make_front
from lab.providers.ledger_file import LedgerFile, ledger_file
from lab.providers.mailer import MailerServer
from lab.providers.payment_gateway import GatewayServer
from lab.providers.sim_client import SimProviders
from lab.providers.warehouse import WarehouseServer
from lab.runtime.chance import KeyedChance
from lab.runtime.clock import SystemClock, VirtualClock
from lab.runtime.http_caller import HttpxCaller, http_caller
from lab.runtime.http_server import HttpServer, http_server, reserved_port
from lab.runtime.virtual_loop import Scheduler
from tests.kit.entries import of_type

MS = 1_000
SEED = 3
LATENCY_US = 20 * MS
SOON_US = 10_000 * MS
"""Longer than anything takes that is to come at all."""


class Providers(Protocol):
    """The four third parties, as one process reaches them."""

    @property
    def warehouse(self) -> Warehouse: ...

    @property
    def antifraud(self) -> Antifraud: ...

    @property
    def gateway(self) -> PaymentGateway: ...

    @property
    def mailer(self) -> Mailer: ...


class Scripted(CallFaults):
    """Faults in the order of the calls."""

    def __init__(self) -> None:
        self.faults: list[CallFault | None] = []
        self.calls = 0

    def strike(self, provider: str, action: str, subject: str) -> CallFault | None:
        self.calls += 1
        assert provider
        assert action
        assert subject
        return self.faults.pop(0) if self.faults else None


class ProviderWorld(Protocol):
    """Third parties, a process that calls them, and time."""

    faults: Scripted
    clock: Clock
    providers: Providers

    async def ledger(self) -> list[Entry]:
        """All that was done, oldest first."""
        ...

    async def restart(self) -> None:
        """Kill the process of the third parties, and start it again."""
        ...

    def start(self, call: Coroutine[Any, Any, "T"]) -> "asyncio.Task[T]":
        """Begin a call beside the others."""
        ...


T = TypeVar("T")


def subject_of(order_id: str) -> str:
    return order_id.removeprefix("o")


def make_third_parties(
    *,
    now_us: Callable[[], int],
    write: Callable[[Entry], None],
    latency_us: int = LATENCY_US,
    key_mode: KeyMode = KeyMode.STRIPE,
    refused_percent: float = 0,
) -> tuple[WarehouseServer, AntifraudServer, GatewayServer, MailerServer]:
    every: dict[str, Any] = {
        "chance": KeyedChance(SEED), "now_us": now_us, "latency_us": latency_us, "write": write,
    }  # fmt: skip
    shares: dict[str, Any] = {"refused_percent": refused_percent}
    return (
        WarehouseServer(**every, **shares),
        AntifraudServer(**every, **shares),
        GatewayServer(**every, **shares, key_mode=key_mode, key_lifetime_us=DAY_US),
        MailerServer(**every, key_lifetime_us=DAY_US),
    )


class SimulatedProviders:
    """Virtual time. The servers outlive everything, so there is nothing to start again."""

    def __init__(self, scheduler: Scheduler, *, skew_us: int = 0, **servers: Any) -> None:
        del skew_us  # only a process of its own can be late by more than it was told to be
        self._scheduler = scheduler
        self._history: list[Entry] = []
        self._loop = scheduler.process("payment-1#1")
        self.faults = Scripted()
        self.clock: Clock = VirtualClock(self._loop)
        warehouse, antifraud, gateway, mailer = make_third_parties(
            now_us=scheduler.root.now_us, write=self._history.append, **servers
        )
        self.providers: Providers = SimProviders(
            warehouse=warehouse,
            antifraud=antifraud,
            gateway=gateway,
            mailer=mailer,
            caller=self._loop,
            timers=scheduler.root,
            subject_of=subject_of,
            faults=self.faults,
        )

    async def ledger(self) -> list[Entry]:
        return list(self._history)

    async def restart(self) -> None:
        """Servers of the simulated world survive every kill."""

    def start(self, call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        return self._loop.create_task(call)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        async def root() -> None:
            done = self._scheduler.root.create_future()
            task = self._loop.create_task(main)
            task.add_done_callback(lambda _: done.set_result(None))
            await done
            task.result()

        self._scheduler.run(root())


class HttpWorld:
    """Real time, real sockets, one loop for both sides."""

    def __init__(self, path: Path, *, skew_us: int = 0, **servers: Any) -> None:
        self._path = path
        self._skew_us = skew_us
        self._servers = servers
        self._port: int
        self._running: AsyncExitStack | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.faults = Scripted()
        self.clock: Clock = SystemClock()
        self.http: HttpxCaller
        self.providers: Providers
        self.ledger_file: LedgerFile
        self.server: HttpServer

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """The world for the length of the block."""
        async with AsyncExitStack() as stack:
            self._port = stack.enter_context(reserved_port())
            await self._begin()
            stack.push_async_callback(self._end)
            url = f"http://127.0.0.1:{self._port}"
            self.http = await stack.enter_async_context(http_caller(url))
            self.providers = HttpProviders(
                http=self.http,
                clock=self.clock,
                wall_us=self.clock.wall_us,
                subject_of=subject_of,
            )
            yield
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ledger(self) -> list[Entry]:
        answer = await self.http.send("GET", "/ledger", headers=(), body=b"", timeout_us=SOON_US)
        assert answer.status == 200
        return [tuple(msgspec.json.decode(line)) for line in answer.body.splitlines()]

    async def restart(self) -> None:
        await self._end()
        await self._begin()

    def start(self, call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.append(task)
        return task

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        async def inside() -> None:
            async with self.entered():
                await main

        asyncio.run(inside())

    async def _begin(self) -> None:
        """A process of the third parties, as far as one loop can be one."""
        stack = AsyncExitStack()
        ledger = stack.enter_context(ledger_file(self._path, clock=self.clock))
        self.ledger_file = ledger
        servers: tuple[Server, ...] = make_third_parties(
            now_us=self.clock.now_us, write=ledger.write, **self._servers
        )
        app = make_front(
            servers,
            ledger=ledger,
            clock=self.clock,
            faults=self.faults,
            skew_us=self._skew_us,
        )
        self.server = await stack.enter_async_context(http_server(app, port=self._port))
        stack.callback(self.server.abort)
        self._running = stack

    async def _end(self) -> None:
        stack, self._running = self._running, None
        if stack is not None:
            await stack.aclose()


@contextmanager
def simulated_world(_path: Path, **servers: Any) -> Iterator[SimulatedProviders]:
    with Scheduler() as scheduler:
        yield SimulatedProviders(scheduler, **servers)


@contextmanager
def http_world(path: Path, **servers: Any) -> Iterator[HttpWorld]:
    yield HttpWorld(path / "ledger.ndjson", **servers)


WORLDS: dict[str, Callable[..., Any]] = {"simulated": simulated_world, "http": http_world}
"""Every world, by the name that its tests carry. A new transport adds itself here."""


def in_world(
    **servers: Any,
) -> Callable[[Callable[[Any], Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Run an `async` test inside a world whose servers are made with these arguments."""

    def decorate(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[..., None]:
        def run(make_world: Callable[..., Any], tmp_path: Path) -> None:
            with make_world(tmp_path, **servers) as world:
                world.run(test(world))

        # Not `wraps`: pytest would look through it and see the arguments of the test itself.
        for name in functools.WRAPPER_ASSIGNMENTS:
            setattr(run, name, getattr(test, name))
        run.__annotations__ = {}
        return run

    return decorate


# ---- calls


def charge(
    world: ProviderWorld,
    key: str = "charge:o1.1:1",
    *,
    order: str = "o1.1",
    cents: int = 500,
    within_us: int = SOON_US,
) -> Coroutine[Any, Any, GatewayAnswer]:
    return world.providers.gateway.charge(
        order,
        key=key,
        amount_cents=cents,
        currency="GBP",
        deadline_us=world.clock.now_us() + within_us,
    )


def refund(
    world: ProviderWorld, key: str, charge_key: str, cents: int = 500
) -> Coroutine[Any, Any, GatewayAnswer]:
    return world.providers.gateway.refund(
        "o1.1",
        key=key,
        charge_key=charge_key,
        amount_cents=cents,
        deadline_us=world.clock.now_us() + SOON_US,
    )


def mail(world: ProviderWorld, key: str, template: str = "received") -> Coroutine[Any, Any, None]:
    return world.providers.mailer.send(
        "o1.1", key=key, template=template, deadline_us=world.clock.now_us() + SOON_US
    )


async def query(world: ProviderWorld, order: str = "o1.1") -> list[tuple[str, str]]:
    """Key and state of what the gateway knows about an order."""
    known = await world.providers.gateway.query(order, deadline_us=world.clock.now_us() + SOON_US)
    return [(each.key, each.state.value) for each in known]


async def wait_handed_over(world: ProviderWorld, calls: int) -> None:
    """Wait until the third parties have so many calls in hand, or had them."""
    while world.faults.calls < calls:
        await world.clock.sleep_us(MS)


async def ledger_lines(world: ProviderWorld) -> list[LedgerEntry]:
    """The lines of the ledger."""
    return of_type(await world.ledger(), LedgerEntry)


async def movements(world: ProviderWorld) -> list[tuple[str, str]]:
    """Action and key of each line of the ledger."""
    return [(line.action, line.key) for line in await ledger_lines(world)]


async def outcome(call: Awaitable[object]) -> object:
    """What a call returned, or the class of what it raised."""
    try:
        return await call
    except LabError as error:
        return type(error)
