"""`GET /metrics` in front of any ASGI app, and the clock on each of its requests.

What only a server knows (a lag, the outbox) is asked for when somebody scrapes (`sampled`). Nothing
of it is on the way of an order.
Not here: what is counted (`metrics`).
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter_ns
from typing import Any, Final

import msgspec
from prometheus_client import make_asgi_app

from lab.domain.answers import PROBLEM, SHED
from lab.observe import metric_table as table
from lab.observe.metrics import ProcessMetrics, make_registry
from lab.observe.sampled import Sampled
from lab.runtime.asgi_call import AsgiApp, Message

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH: Final = "/metrics"
OTHER: Final = "other"
"""The route of a request that no route takes: paths are the client's, and have no end."""
NO_ANSWER: Final = "none"

_ASKED_ONLY: Final = ("/ready",)
"""Routes whose refusal costs nobody an order."""


class _Problem(msgspec.Struct):
    type: str


_problem: Final = msgspec.json.Decoder(_Problem).decode


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
