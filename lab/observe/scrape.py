"""`GET /metrics` in front of any ASGI app, and the clock on each of its requests.

What only a server knows (a lag, the outbox) is asked for when somebody scrapes, one question at a
time and not more often than once a second; whoever scrapes waits a second for the answer, and if
there is none by then, the value is absent. Nothing of it is on the way of an order.
Not here: what is counted (`metrics`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter_ns
from typing import Any, Final, Generic, TypeVar

import msgspec
from prometheus_client import make_asgi_app

from lab.domain.answers import PROBLEM, SHED
from lab.domain.errors import LabError
from lab.observe import metric_table as table
from lab.observe.metrics import ProcessMetrics, make_registry
from lab.runtime.asgi_call import AsgiApp, Message

T = TypeVar("T")
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH: Final = "/metrics"
OTHER: Final = "other"
"""The route of a request that no route takes: paths are the client's, and have no end."""
NO_ANSWER: Final = "none"

FRESH_S: Final = 1.0
"""A younger value is not asked for again."""
WAIT_S: Final = 1.0
KEPT_S: Final = 15.0
"""An older value is none."""

_ASKED_ONLY: Final = ("/ready",)
"""Routes whose refusal costs nobody an order."""


class _Problem(msgspec.Struct):
    type: str


_problem: Final = msgspec.json.Decoder(_Problem).decode


class Sampled(Generic[T]):
    """A value that a server knows. Used from one event loop.

    Args:
        ask: asks for it, and ends within some bound; a LabError says that it is not known now.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._value: T | None = None
        self._at_s = 0.0

    @property
    def value(self) -> T | None:
        """The last answer, None if there is none or if it is too old to say anything."""
        age_s = asyncio.get_running_loop().time() - self._at_s
        return self._value if age_s <= KEPT_S else None

    async def refresh(self) -> None:
        """Ask, unless the value is fresh; wait for the answer, for a second at most."""
        loop = asyncio.get_running_loop()
        if self._asking is None:
            if self._value is not None and loop.time() - self._at_s <= FRESH_S:
                return
            self._asking = loop.create_task(self._look())
        await asyncio.wait((self._asking,), timeout=WAIT_S)

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _look(self) -> None:
        try:
            self._value = await self._ask()
        except LabError:
            self._value = None
        finally:
            self._at_s = asyncio.get_running_loop().time()
            self._asking = None


def with_metrics(
    app: AsgiApp, metrics: ProcessMetrics, sampled: Sequence[Sampled[Any]] = ()
) -> AsgiApp:
    """`app`, and beside it `/metrics`, in either of Prometheus' text formats."""
    exposition: AsgiApp = make_asgi_app(make_registry(metrics))

    async def scraped(scope: Message, receive: Receive, send: Send) -> None:
        if scope.get("path") != PATH:
            await app(scope, receive, send)
            return
        for one in sampled:
            await one.refresh()
        await exposition(scope, receive, send)

    return scraped


def timed(app: AsgiApp, metrics: ProcessMetrics) -> AsgiApp:
    """`app`, each of whose requests is timed and counted under its route.

    An endpoint names its route by an attribute `route`, such as `/orders/{id}`.
    """
    in_hand = 0
    metrics.read(table.REQUESTS_IN_FLIGHT, lambda: {(): in_hand})

    async def measured(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal in_hand
        status, begun_ns = NO_ANSWER, perf_counter_ns()

        def seen(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            elif status[0] in "45":
                _count_problem(metrics, _route_of(scope), message.get("body", b""))
            return send(message)

        in_hand += 1
        try:
            await app(scope, receive, seen)
        finally:
            in_hand -= 1
            took_us = (perf_counter_ns() - begun_ns) // 1_000
            metrics.answered(_route_of(scope), status, took_us)

    return measured


def _route_of(scope: Message) -> str:
    route: str = getattr(scope.get("endpoint"), "route", OTHER)
    return route


def _count_problem(metrics: ProcessMetrics, route: str, body: bytes) -> None:
    """Count a problem that we made; an answer that a fault has spoiled is none."""
    try:
        name = _problem(body).type
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    is_shed = name == SHED and route not in _ASKED_ONLY
    metrics.refused(route, name.removeprefix(PROBLEM), is_shed=is_shed)
