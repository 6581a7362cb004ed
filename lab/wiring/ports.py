"""The ports of one process life: adapters, wrapped by what strikes them and by what records them.

Outside in: recording of calls, then faults, then the adapter. So a process that dies in a call
leaves a begin without an end, as it would in reality. Wrappers that a run does not need are absent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lab.faults.boundaries import Port, Role
from lab.faults.bus_member import Network
from lab.faults.bus_ports import around_consumer, around_publisher
from lab.faults.clock import SteppedClock, steps_of
from lab.faults.plan import FaultPlan
from lab.faults.process import ProcessFaults
from lab.faults.provider import ProviderFaults
from lab.faults.stores import StoreFaults
from lab.history.recorded import (
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
from lab.history.recorder import Write
from lab.ports.bus import Consumer, Publisher, Unread
from lab.ports.clock import Clock
from lab.ports.dedupe import DedupeStore
from lab.ports.key_retry import KeyRetryStore
from lab.ports.providers import Antifraud, Mailer, PaymentGateway, Warehouse
from lab.ports.store import CustomerStore, OrderStore, OutboxStore, StartStore
from lab.providers.sim_client import SimProviders
from lab.runtime.clock import VirtualClock
from lab.runtime.ids import subject_of
from lab.runtime.process_loop import ProcessLoop
from lab.wiring.servers import Servers

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of one process.

    Attributes:
        process: its name in the history, such as `payment-1#2`.
        member: its name through all its lives, such as `payment-1`.
        group: its consumer group, or its role.
        write: takes entries, or None if nobody looks.
        now: the history's clock.
        faults: its crash points, or None if the run has none.
        stores: what its stores do wrong, or None.
        network: its way to the broker, if a fault may cut it.
    """

    process: str
    member: str
    group: str
    loop: ProcessLoop
    clock: Clock
    write: Write | None
    now: Callable[[], int]
    faults: ProcessFaults | None
    stores: StoreFaults | None = None
    network: Network | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Every port that a process of the lab may need."""

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
    loop: ProcessLoop,
    *,
    member: str,
    group: str,
    role: Role,
    plan: FaultPlan,
    write: Write | None,
    now: Callable[[], int],
    kill: Callable[[], object],
    term: Callable[[], object],
    pause: Callable[[int], object],
) -> Life:
    """A life on `loop`, with the crash points that the plan wants."""
    faults = None
    if ProcessFaults.is_wanted(plan):
        faults = ProcessFaults(
            plan, role=role, group=group, process=member, kill=kill, term=term, pause=pause
        )
    stores = None
    if StoreFaults.is_wanted(plan, group):
        clock = VirtualClock(loop)
        stores = StoreFaults(plan, group=group, clock=clock, subject_of=subject_of)
    return Life(
        process=loop.name,
        member=member,
        group=group,
        loop=loop,
        clock=_clock(loop, member, group, plan),
        write=write,
        now=now,
        faults=faults,
        stores=stores,
        network=Network(plan, VirtualClock(loop)) if Network.is_wanted(plan, group) else None,
    )


def _clock(loop: ProcessLoop, member: str, group: str, plan: FaultPlan) -> Clock:
    """The clock of a life that begins now, as wrong as the plan wants it."""
    clock = VirtualClock(loop)
    now_us = clock.now_us()
    steps = steps_of(
        plan.timetable(),
        member=member,
        group=group,
        began_us=now_us - plan.now_us(),
        started_us=now_us,
    )
    return SteppedClock(clock, steps) if steps else clock


def make_ports(life: Life, servers: Servers, plan: FaultPlan) -> Ports:
    """Connect a process life to the servers."""

    def struck(port: Port, inner: P) -> P:
        if life.stores is not None:
            inner = life.stores.around(port, inner)
        return inner if life.faults is None else life.faults.around(port, inner)

    store = servers.store.connect(life.loop)
    publisher = around_publisher(
        servers.log.publisher(life.loop), plan=plan, clock=life.clock, network=life.network
    )
    third = SimProviders(
        warehouse=servers.warehouse,
        antifraud=servers.antifraud,
        gateway=servers.gateway,
        mailer=servers.mailer,
        caller=life.loop,
        timers=servers.timers,
        subject_of=subject_of,
        faults=ProviderFaults(plan) if ProviderFaults.is_wanted(plan) else None,
    )
    ports = Ports(
        orders=struck(Port.ORDERS, store.orders),
        outbox=struck(Port.OUTBOX, store.outbox),
        starts=struck(Port.STARTS, store.orders),
        key_retry=struck(Port.KEY_RETRY, store.key_retry),
        customers=struck(Port.CUSTOMERS, store.orders),
        dedupe=struck(Port.DEDUPE, servers.dedupe.connect()),
        publisher=struck(Port.PUBLISHER, publisher),
        warehouse=struck(Port.WAREHOUSE, third.warehouse),
        antifraud=struck(Port.ANTIFRAUD, third.antifraud),
        gateway=struck(Port.GATEWAY, third.gateway),
        mailer=struck(Port.MAILER, third.mailer),
    )
    return ports if life.write is None else _recorded(ports, life, life.write)


def make_consumer(life: Life, servers: Servers, plan: FaultPlan, *, session_us: int) -> Consumer:
    """A new member of the life's group."""
    consumer = around_consumer(
        servers.log.consumer(life.group, life.member, life.loop, Unread.EARLIEST),
        plan=plan,
        group=life.group,
        clock=life.clock,
        network=life.network,
        session_us=session_us,
    )
    if life.faults is not None:
        consumer = life.faults.around(Port.CONSUMER, consumer)
    if life.write is not None:
        consumer = RecordedConsumer(
            consumer, write=life.write, now=life.now, process=life.process, group=life.group
        )
    return consumer


def _recorded(ports: Ports, life: Life, write: Write) -> Ports:
    """The same ports, with every call in the history."""
    now, process = life.now, life.process
    return Ports(
        orders=RecordedStore(ports.orders, write=write, now=now, process=process),
        outbox=ports.outbox,
        starts=ports.starts,
        key_retry=ports.key_retry,
        customers=RecordedCustomers(
            ports.customers, write=write, now=now, process=process, subject_of=subject_of
        ),
        dedupe=RecordedDedupe(ports.dedupe, write=write, now=now, process=process),
        publisher=RecordedPublisher(ports.publisher, write=write, now=now, process=process),
        warehouse=RecordedWarehouse(
            ports.warehouse, write=write, now=now, process=process, subject_of=subject_of
        ),
        antifraud=RecordedAntifraud(
            ports.antifraud, write=write, now=now, process=process, subject_of=subject_of
        ),
        gateway=RecordedGateway(
            ports.gateway, write=write, now=now, process=process, subject_of=subject_of
        ),
        mailer=RecordedMailer(
            ports.mailer, write=write, now=now, process=process, subject_of=subject_of
        ),
    )
