"""The ports of one process life: adapters, wrapped by what strikes them and by what records them.

Outside in: recording of calls, then faults, then the adapter. So a process that dies in a call
leaves a begin without an end, as it would in reality. Wrappers that a run does not need are absent.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from lab.faults.bus.around_ports import around_consumer, around_publisher
from lab.faults.bus.member import Network
from lab.faults.clock import Step, SteppedClock
from lab.faults.plan.plan import FaultPlan
from lab.faults.processes.crash_sites import Role
from lab.faults.processes.strikes import ProcessFaults
from lab.faults.stores import StoreFaults
from lab.history.pen import Pen
from lab.history.recorded_ports import (
    RecordedConsumer,
    RecordedDedupe,
    RecordedPublisher,
    RecordedStore,
)
from lab.history.recorded_providers import (
    RecordedAntifraud,
    RecordedCustomers,
    RecordedGateway,
    RecordedMailer,
    RecordedWarehouse,
)
from lab.ports.bus import Consumer, Publisher
from lab.ports.clock import Clock, Timer
from lab.ports.dedupe import DedupeStore
from lab.ports.every_call import PortType
from lab.ports.key_retry import KeyRetryStore
from lab.ports.providers import Antifraud, Mailer, PaymentGateway, Warehouse
from lab.ports.store import CustomerStore, OrderStore, OutboxStore, StartStore
from lab.runtime.ids import subject_of
from lab.wiring.process.broker_watch import BrokerWatch
from lab.wiring.process.trace_watch import TraceWatch

P = TypeVar("P")


class Host(Protocol):
    """What runs the tasks of one process life: its event loop, simulated or not."""

    def create_task(self, coro: Coroutine[Any, Any, None], /) -> "asyncio.Task[None]":
        """Start a task."""
        ...

    def spawn(self, coro: Coroutine[Any, Any, object], /, *, name: str = ...) -> None:
        """Start a task that nobody waits for; it is kept alive until it ends.

        Its exception is reported under `name`.
        """
        ...

    def call_after_us(self, delay_us: int, callback: Callable[[], object], /) -> "Timer":
        """Run `callback` in `delay_us` from now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of one process.

    Attributes:
        member: its name through all its lives, such as `payment-1`.
        group: its consumer group, or its role.
        pen: what it writes about itself, and under which name.
        faults: its crash points, or None if the run has none.
        stores: what its stores do wrong, or None.
        network: its way to the broker, if a fault may cut it.
        watch: looks on at its calls to the broker, or None.
        follows: looks on at the traces of its orders, or None where they can all be computed.
    """

    member: str
    group: str
    host: Host
    clock: Clock
    pen: Pen
    faults: ProcessFaults | None
    stores: StoreFaults | None = None
    network: Network | None = None
    watch: BrokerWatch | None = None
    follows: TraceWatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Every port that a process of the lab may need: bare adapters, or wrapped ones."""

    orders: OrderStore
    outbox: OutboxStore
    starts: StartStore
    key_retry: KeyRetryStore
    customers: CustomerStore
    dedupe: DedupeStore
    publisher: Publisher
    warehouse: Warehouse
    antifraud: Antifraud
    gateway: PaymentGateway
    mailer: Mailer


def make_life(
    host: Host,
    *,
    pen: Pen,
    clock: Clock,
    member: str,
    group: str,
    role: Role,
    plan: FaultPlan,
    kill: Callable[[], object],
    term: Callable[[], object],
    pause: Callable[[int], object],
    steps: Sequence[Step] = (),
    watch: BrokerWatch | None = None,
    follows: TraceWatch | None = None,
) -> Life:
    """A life on `host`, with the faults that the plan wants and a clock as wrong as `steps`."""
    clock = SteppedClock(clock, steps) if steps else clock
    faults = None
    if ProcessFaults.is_wanted(plan):
        faults = ProcessFaults(
            plan, role=role, group=group, process=member, kill=kill, term=term, pause=pause
        )
    stores = None
    if StoreFaults.is_wanted(plan, group):
        stores = StoreFaults(plan, group=group, clock=clock, subject_of=subject_of)
    return Life(
        member=member,
        group=group,
        host=host,
        clock=clock,
        pen=pen,
        faults=faults,
        stores=stores,
        network=Network(plan, clock) if Network.is_wanted(plan, group) else None,
        watch=watch,
        follows=follows,
    )


def wrap_ports(life: Life, bare: Ports, plan: FaultPlan) -> Ports:
    """The adapters of a process life with what strikes them and what records them."""
    dedupe = bare.dedupe if life.stores is None else life.stores.around_dedupe(bare.dedupe)
    publisher = bare.publisher
    if life.watch is not None:
        publisher = life.watch.around_publisher(publisher)
    publisher = around_publisher(publisher, plan=plan, clock=life.clock, network=life.network)
    ports = Ports(
        orders=_struck(life, OrderStore, bare.orders),
        outbox=_struck(life, OutboxStore, bare.outbox),
        starts=_struck(life, StartStore, bare.starts),
        key_retry=_struck(life, KeyRetryStore, bare.key_retry),
        customers=_struck(life, CustomerStore, bare.customers),
        dedupe=_struck(life, DedupeStore, dedupe),
        publisher=_struck(life, Publisher, publisher),
        warehouse=_struck(life, Warehouse, bare.warehouse),
        antifraud=_struck(life, Antifraud, bare.antifraud),
        gateway=_struck(life, PaymentGateway, bare.gateway),
        mailer=_struck(life, Mailer, bare.mailer),
    )
    if life.pen.write is not None:
        ports = _recorded(ports, life.pen)
    if life.follows is None:
        return ports
    return replace(
        ports,
        orders=life.follows.around_store(ports.orders),
        publisher=life.follows.around_publisher(ports.publisher),
    )


def wrap_consumer(life: Life, consumer: Consumer, plan: FaultPlan, *, session_us: int) -> Consumer:
    """A new member of the life's group, with what looks at, strikes and records it."""
    if life.watch is not None:
        consumer = life.watch.around_consumer(consumer)
    consumer = around_consumer(
        consumer,
        plan=plan,
        group=life.group,
        clock=life.clock,
        network=life.network,
        session_us=session_us,
    )
    if life.faults is not None:
        consumer = life.faults.around(Consumer, consumer)
    if life.pen.write is not None:
        consumer = RecordedConsumer(consumer, pen=life.pen, group=life.group)
    if life.follows is not None:
        consumer = life.follows.around_consumer(consumer)
    return consumer


def _struck(life: Life, port: PortType[P], inner: P) -> P:
    """An adapter with the faults of its process life around it."""
    if life.stores is not None:
        inner = life.stores.around(port, inner)
    return inner if life.faults is None else life.faults.around(port, inner)


def _recorded(ports: Ports, pen: Pen) -> Ports:
    """The same ports, with every call in the history."""
    return Ports(
        orders=RecordedStore(ports.orders, pen=pen),
        outbox=ports.outbox,
        starts=ports.starts,
        key_retry=ports.key_retry,
        customers=RecordedCustomers(ports.customers, pen=pen, subject_of=_named_in_history),
        dedupe=RecordedDedupe(ports.dedupe, pen=pen),
        publisher=RecordedPublisher(ports.publisher, pen=pen),
        warehouse=RecordedWarehouse(ports.warehouse, pen=pen, subject_of=_named_in_history),
        antifraud=RecordedAntifraud(ports.antifraud, pen=pen, subject_of=_named_in_history),
        gateway=RecordedGateway(ports.gateway, pen=pen, subject_of=_named_in_history),
        mailer=RecordedMailer(ports.mailer, pen=pen, subject_of=_named_in_history),
    )


def _named_in_history(order_id: str) -> str:
    """The order as entries name it: `ordinal.send` in a lab run, elsewhere its id."""
    return subject_of(order_id) or order_id
