"""The role of each process of the lab: the API, the relay, or one consumer group with its service.

A role is built afresh for every life of its process. It ends when it is told to stop, as gently as
`drain` allows. Not here: the life around it (`life`), and the supervisor that starts it again
(`lab.wiring.worlds`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast

from lab.api import make_app
from lab.patterns.breaker import Breaker, NoBreaker
from lab.patterns.compensation import KeepLateCaptures, RefundLateCaptures
from lab.patterns.drain import Background
from lab.patterns.http_idempotency import IgnoredKeys, StoredKeys
from lab.patterns.outbox import Relay
from lab.patterns.provider_key import KeyPerAttempt, KeyPerIntent
from lab.ports.bus import Consumer
from lab.ports.ids import Ids
from lab.ports.service import Service
from lab.ports.strategies import Note
from lab.runtime.asgi_call import AsgiApp
from lab.runtime.processes import AsyncTasks
from lab.services.notification import Notification
from lab.services.orders import Orders, OrdersUseCases
from lab.services.payment import Payment
from lab.services.validation import Validation
from lab.wiring.ports import Host, Life, Ports, wrap_consumer, wrap_ports
from lab.wiring.process.chain import (
    Policy,
    Subscription,
    committing_store,
    make_subscription,
    make_timeout,
)

Third = TypeVar("Third")

_NEVER_US: Final = 2**62


class Api:
    """The HTTP front of the orders service in one process.

    Args:
        in_flight_max: with more requests in hand new work is shed: nothing queues up in memory.
        admitted: told how many are in hand, whenever a request was let in and made them more than
            ever before.
    """

    app: AsgiApp

    def __init__(self, *, in_flight_max: int, admitted: Callable[[int], None]) -> None:
        self.is_stopping = False
        self._in_flight_max = in_flight_max
        self._admitted = admitted
        self._in_flight = self._most = 0
        self._idle: asyncio.Future[None] | None = None

    def refuse(self) -> None:
        """Take no new orders."""
        self.is_stopping = True

    def is_ready(self) -> bool:
        """Whether new work is taken: what `/ready` says. The request that asks is in hand too."""
        is_ready = not self.is_stopping and self._in_flight <= self._in_flight_max
        if is_ready and self._in_flight > self._most:
            self._most = self._in_flight
            self._admitted(self._most)
        return is_ready

    def enter(self) -> None:
        """A request came in."""
        self._in_flight += 1

    def leave(self) -> None:
        """A request was answered, or failed."""
        self._in_flight -= 1
        if not self._in_flight and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def idle(self) -> None:
        """Wait until no request is in hand."""
        while self._in_flight:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle


class ApiRequests(Background):
    """The requests in hand of an API that drains."""

    def __init__(self, api: Api, host: Host) -> None:
        self._api = api
        self._host = host

    def halt(self) -> None:
        self._api.refuse()

    async def finish(self, grace_us: int) -> None:
        await _within(self._host, self._api.idle(), grace_us)


class RelayWork(Background):
    """The batches in hand of a relay that drains."""

    def __init__(self, relay: Relay, host: Host) -> None:
        self._relay = relay
        self._host = host

    def halt(self) -> None:
        """The relay's own stop does it, in `finish`: it ends batches, it begins none."""

    async def finish(self, grace_us: int) -> None:
        await _within(self._host, self._relay.stop(), grace_us)


async def _within(host: Host, call: Coroutine[Any, Any, None], grace_us: int) -> None:
    """Wait for `call`, for so long at most; then it is cancelled."""
    task = host.create_task(call)
    timer = host.call_after_us(grace_us, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
    timer.cancel()


def make_api(life: Life, bare: Ports, policy: Policy, ids: Ids) -> Api:
    """Build the API of one process life."""
    ports = wrap_ports(life, bare, policy.plan)
    store = committing_store(ports, policy)
    http = (
        StoredKeys(store=store, write=life.write, now=life.now, process=life.process)
        if policy.has("http_idempotency")
        else IgnoredKeys(store=store)
    )
    orders = OrdersUseCases(
        store=store,
        ids=ids,
        clock=life.clock,
        http=http,
        expiry_us=policy.settings.us("orders.expiry_ms"),
    )

    def admitted(requests: int) -> None:
        if life.write is not None:
            life.write(("admitted", life.now(), life.process, "", requests))

    api = Api(in_flight_max=policy.settings.number("api.max_in_flight"), admitted=admitted)
    app = make_app(orders, is_ready=api.is_ready, subject_header="lab-subject")
    api.app = app if life.faults is None else life.faults.around_app(app)
    if life.stores is not None:
        api.app = life.stores.around_app(api.app)
    return api


def make_relay(life: Life, bare: Ports, policy: Policy) -> Relay:
    """Build the relay of one process life."""
    ports = wrap_ports(life, bare, policy.plan)
    return Relay(
        ports.outbox,
        ports.publisher,
        life.clock,
        batch=policy.settings.number("outbox.batch"),
        lanes=policy.settings.number("outbox.shards"),
        write=life.write,
        now=life.now,
        process=life.process,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One consumer group's process: its subscription, and what runs beside it."""

    subscription: Subscription
    beside: Callable[[], Coroutine[Any, Any, None]] | None


def make_worker(life: Life, bare: Ports, consumer: Consumer, policy: Policy) -> Worker:
    """Build one member of a consumer group."""
    ports = wrap_ports(life, bare, policy.plan)
    timeout = make_timeout(life, policy)
    service = _make_service(life, ports, policy)
    session_us = policy.settings.us("bus.session_ms")
    consumer = wrap_consumer(life, consumer, policy.plan, session_us=session_us)
    subscription = make_subscription(life, ports, consumer, policy, service, timeout)
    beside = service.run_expiry if isinstance(service, Orders) else None
    return Worker(subscription=subscription, beside=beside)


def _make_service(life: Life, ports: Ports, policy: Policy) -> Service:
    settings = policy.settings
    store = committing_store(ports, policy)
    note = _make_note(life)
    timeout_us = settings.us("timeout.provider_ms") if policy.has("timeout") else _NEVER_US
    keys = (
        KeyPerIntent(
            query_after=settings.number("provider_key.query_after"),
            lifetime_us=settings.us("provider_key.lifetime_ms"),
        )
        if policy.has("provider_key")
        else KeyPerAttempt()
    )
    match life.group:
        case "validation":
            return Validation(
                store=store,
                customers=ports.customers,
                warehouse=_guarded(ports.warehouse, life, policy, "warehouse", "in_stock"),
                antifraud=_guarded(ports.antifraud, life, policy, "antifraud", "is_fraud"),
                tasks=AsyncTasks(),
                clock=life.clock,
                timeout_us=timeout_us,
                note=note,
            )
        case "payment":
            return Payment(
                store=store,
                gateway=_guarded(
                    ports.gateway, life, policy, "payment_gateway", "charge", "refund", "query"
                ),
                clock=life.clock,
                keys=keys,
                compensation=_make_compensation(life, policy),
                timeout_us=timeout_us,
                skew_us=settings.us("provider_key.skew_ms"),
                note=note,
            )
        case "orders":
            return Orders(store=store, clock=life.clock, note=note)
        case _:
            return Notification(
                mailer=_guarded(ports.mailer, life, policy, "mailer", "send"),
                clock=life.clock,
                keys=keys,
                timeout_us=timeout_us,
            )


def _make_compensation(life: Life, policy: Policy) -> RefundLateCaptures | KeepLateCaptures:
    if not policy.has("compensation"):
        return KeepLateCaptures()
    return RefundLateCaptures(write=life.write, now=life.now, process=life.process)


def _make_note(life: Life) -> Note:
    write, now, process, group = life.write, life.now, life.process, life.group

    def note(lab_subject: str, what: str) -> None:
        if write is not None:
            write(("acted", now(), process, lab_subject, group, what))

    return note


def _guard(life: Life, policy: Policy, dependency: str) -> Breaker | NoBreaker:
    settings = policy.settings
    if not policy.has("breaker"):
        return NoBreaker(dependency)
    return Breaker(
        dependency,
        window_us=settings.us("breaker.window_ms"),
        calls_min=settings.number("breaker.calls_min"),
        failures_percent=settings.number("breaker.failures_percent"),
        open_us=settings.us("breaker.open_ms"),
        clock=life.clock.now_us,
        now=life.now,
        process=life.process,
        write=life.write,
    )


def _guarded(inner: Third, life: Life, policy: Policy, dependency: str, *calls: str) -> Third:
    """A third party with the calls named behind one breaker."""
    guard = _guard(life, policy, dependency).guard
    return cast("Third", SimpleNamespace(**{call: guard(getattr(inner, call)) for call in calls}))
