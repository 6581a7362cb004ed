"""The role of each process of the lab: the API, the relay, or one consumer group with its service.

A role is built afresh for every life of its process. It ends when it is told to stop, as gently as
`drain` allows. Not here: the life around it (`life`), and the supervisor that starts it again
(`lab.wiring.worlds`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.api import Door, make_app
from lab.domain.envelope import H_SUBJECT
from lab.history.pen import Pen
from lab.patterns.breaker import Breaker, NoBreaker
from lab.patterns.drain import Background
from lab.patterns.load_shedding import AdmitAll, LoadShedding
from lab.patterns.outbox import Relay
from lab.ports.bus import Consumer
from lab.ports.every_call import PortType, around_every_call
from lab.ports.ids import Ids
from lab.ports.providers import Antifraud, Mailer, PaymentGateway, Warehouse
from lab.ports.service import Service
from lab.ports.strategies import Note
from lab.ports.usable import Usable
from lab.runtime.asgi_call import AsgiApp
from lab.runtime.ids import SeededIds
from lab.runtime.processes import AsyncTasks
from lab.services.notification import Notification
from lab.services.orders import Orders, OrdersUseCases
from lab.services.payment import Payment
from lab.services.validation import Validation
from lab.wiring.policy import Policy, Switches
from lab.wiring.ports import Host, Life, Ports, wrap_consumer, wrap_ports
from lab.wiring.process.chain import (
    Subscription,
    committing_store,
    make_subscription,
    make_timeout,
)
from lab.wiring.process.readiness import Readiness

Third = TypeVar("Third")


class Api(Door, Usable):
    """The HTTP front of the orders service in one process.

    Args:
        door: lets requests in, or sheds them.
        pen: says how many are in hand, whenever they are more than ever before.

    Attributes:
        readiness: whether the process is to be given work.
    """

    app: AsgiApp

    def __init__(self, *, door: LoadShedding | AdmitAll, pen: Pen) -> None:
        self.readiness = Readiness()
        self.readiness.needs(self)
        self.is_draining = self.is_stopping = False
        self._door = door
        self._pen = pen
        self._in_flight = self._most = 0
        self._idle: asyncio.Future[None] | None = None

    def drain(self) -> None:
        """Ask for no new orders; those that come all the same are taken until `refuse`."""
        self.is_draining = True

    def refuse(self) -> None:
        """Take no new orders."""
        self.is_draining = self.is_stopping = True

    def why_not(self) -> str:
        return "it is draining" if self.is_draining else ""

    async def is_ready(self) -> bool:
        return not await self.readiness.reasons()

    def admits(self) -> bool:
        if self.is_stopping or not self._door.admits(self._in_flight):
            return False
        if self._in_flight > self._most:
            self._most = self._in_flight
            pen = self._pen
            if pen.write is not None:
                pen.write(("admitted", pen.now(), pen.process, "", self._most))
        return True

    def enter(self) -> None:
        self._in_flight += 1

    def leave(self) -> None:
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
    ports, pen = wrap_ports(life, bare, policy.plan), life.pen
    store = committing_store(ports, policy)
    orders = OrdersUseCases(
        store=store,
        ids=ids,
        clock=life.clock,
        http=policy.part(Switches.http_idempotency)(store=store, pen=pen),
        expiry_us=policy.settings.us("orders.expiry_ms"),
    )

    door = policy.part(Switches.load_shedding)(
        in_flight_max=policy.settings.number("api.max_in_flight"), pen=pen
    )
    api = Api(door=door, pen=pen)
    # Outside of runs nobody numbers the orders: what a client says about it is not looked at.
    subject_header = H_SUBJECT if isinstance(ids, SeededIds) else ""
    app = make_app(orders, api, subject_header=subject_header)
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
        pen=life.pen,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One consumer group's process: its subscription, and the task beside it."""

    subscription: Subscription
    beside: Callable[[], Coroutine[Any, Any, None]] | None


def make_worker(life: Life, bare: Ports, consumer: Consumer, policy: Policy) -> Worker:
    """Build one member of a consumer group."""
    ports = wrap_ports(life, bare, policy.plan)
    timeout = make_timeout(life, policy)
    service = _make_service(life, ports, policy, timeout.provider_us)
    session_us = policy.settings.us("bus.session_ms")
    consumer = wrap_consumer(life, consumer, policy.plan, session_us=session_us)
    subscription = make_subscription(life, ports, consumer, policy, service, timeout)
    beside = service.run_expiry if isinstance(service, Orders) else None
    return Worker(subscription=subscription, beside=beside)


def _make_service(life: Life, ports: Ports, policy: Policy, timeout_us: int) -> Service:
    settings = policy.settings
    store = committing_store(ports, policy)
    note = _make_note(life)
    keys = policy.part(Switches.provider_key)(
        query_after=settings.number("provider_key.query_after"),
        lifetime_us=settings.us("provider_key.lifetime_ms"),
        pen=life.pen,
    )
    match life.group:
        case "validation":
            return Validation(
                store=store,
                customers=ports.customers,
                warehouse=_guarded(Warehouse, ports.warehouse, life, policy, "warehouse"),
                antifraud=_guarded(Antifraud, ports.antifraud, life, policy, "antifraud"),
                tasks=AsyncTasks(),
                clock=life.clock,
                timeout_us=timeout_us,
                note=note,
            )
        case "payment":
            return Payment(
                store=store,
                gateway=_guarded(PaymentGateway, ports.gateway, life, policy, "payment_gateway"),
                clock=life.clock,
                keys=keys,
                compensation=policy.part(Switches.compensation)(pen=life.pen),
                timeout_us=timeout_us,
                skew_us=settings.us("provider_key.skew_ms"),
                note=note,
            )
        case "orders":
            return Orders(store=store, clock=life.clock, note=note)
        case _:
            return Notification(
                mailer=_guarded(Mailer, ports.mailer, life, policy, "mailer"),
                clock=life.clock,
                keys=keys,
                timeout_us=timeout_us,
            )


def _make_note(life: Life) -> Note:
    pen, group = life.pen, life.group

    def note(lab_subject: str, what: str) -> None:
        if pen.write is not None:
            pen.write(("acted", pen.now(), pen.process, lab_subject, group, what))

    return note


def _guard(life: Life, policy: Policy, dependency: str) -> Breaker | NoBreaker:
    settings = policy.settings
    return policy.part(Switches.breaker)(
        dependency,
        window_us=settings.us("breaker.window_ms"),
        calls_min=settings.number("breaker.calls_min"),
        failures_percent=settings.number("breaker.failures_percent"),
        open_us=settings.us("breaker.open_ms"),
        clock=life.clock.now_us,
        pen=life.pen,
    )


def _guarded(
    port: PortType[Third], inner: Third, life: Life, policy: Policy, dependency: str
) -> Third:
    """A third party with all its calls behind one breaker."""
    guard = _guard(life, policy, dependency).guard
    return around_every_call(port, inner, lambda _name, call: guard(call))
