"""The backends in memory: the servers of `servers`, as the rest of the wiring asks for them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack

from lab.domain.events import READS
from lab.faults.plan.plan import FaultPlan
from lab.faults.provider import ProviderFaults
from lab.history.entries import Entry
from lab.ports.bus import Publisher, TopicReader, Unread
from lab.ports.dedupe import DedupeStore
from lab.ports.retention import RetentionStore
from lab.providers.sim_client import SimProviders
from lab.runtime.ids import subject_of
from lab.runtime.process_loop import ProcessLoop
from lab.stores.memory.retention import MemoryRetention
from lab.wiring.backends.interface import (
    Backend,
    Backends,
    BusBackend,
    BusClients,
    DedupeBackend,
    StoreBackend,
    StoreClients,
    Survey,
    ThirdParties,
    ThirdPartiesBackend,
)
from lab.wiring.backends.memory_servers import Servers
from lab.wiring.ports import Life


def memory_backends(servers: Servers, plan: FaultPlan) -> Backends:
    """All parts of a run in memory; `plan` strikes the calls to third parties."""
    return Backends(
        bus=MemoryBus(servers),
        store=MemoryOrders(servers),
        dedupe=MemoryClaims(servers),
        third=MemoryThirdParties(servers, plan),
    )


class _InMemory(Backend):
    """A backend in memory needs no preparation, and writes its facts when they happen."""

    make = "memory"

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    async def prepare(self, stack: AsyncExitStack) -> None:
        """Nothing to do."""

    async def facts(self) -> AsyncIterator[Entry]:
        nothing: tuple[Entry, ...] = ()
        for entry in nothing:
            yield entry

    async def remove(self) -> None:
        """Nothing to do."""


class MemoryBus(_InMemory, BusBackend):
    """The memory log."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> BusClients:  # noqa: ARG002 - nothing is opened, so nothing has to be closed
        log, loop = self._servers.log, _loop_of(life)
        return BusClients(
            publisher=log.publisher(loop),
            consumer=lambda: log.consumer(life.group, life.member, loop, Unread.EARLIEST),
        )

    async def lag(self) -> int:
        return sum(self._servers.log.lag(group) for group in READS)

    def reader(self) -> TopicReader:
        return self._servers.log.reader()

    def publisher(self) -> Publisher:
        return self._servers.log.publisher(self._servers.timers)


class MemoryOrders(_InMemory, StoreBackend):
    """The order store in memory."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> StoreClients:  # noqa: ARG002 - nothing is opened, so nothing has to be closed
        store = self._servers.store.connect(_loop_of(life))
        return StoreClients(
            orders=store.orders,
            outbox=store.outbox,
            starts=store.orders,
            key_retry=store.key_retry,
            customers=store.orders,
        )

    def retention(self, stack: AsyncExitStack, *, patience_us: int) -> RetentionStore:  # noqa: ARG002 - it answers at once
        return MemoryRetention(self._servers.store)

    async def owed(self) -> Mapping[str, int]:
        store = self._servers.store
        waiting = len(store.key_retry.rows()) - store.key_retry.behind_dead_heads()
        return {"outbox": store.outbox.unpublished, "waiting": waiting}

    async def is_expiry_due(self) -> bool:
        return bool(self._servers.store.due(1))

    async def survey(self) -> Survey:
        store = self._servers.store
        return Survey(
            by_state={state.value: n for state, n in store.orders_by_state.items() if n},
            subjects=[loaded.order.lab_subject for loaded in store.orders()],
            open_intents=store.open_intents,
        )


class MemoryClaims(_InMemory, DedupeBackend):
    """The dedupe store in memory."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> DedupeStore:  # noqa: ARG002 - nothing is opened, so nothing has to be closed
        return self._servers.dedupe.connect()

    async def owners(self) -> Sequence[str]:
        return [owner for _, _, owner, _ in self._servers.dedupe.claims()]


class MemoryThirdParties(_InMemory, ThirdPartiesBackend):
    """The third parties in this process."""

    def __init__(self, servers: Servers, plan: FaultPlan) -> None:
        super().__init__(servers)
        self._faults = ProviderFaults(plan) if ProviderFaults.is_wanted(plan) else None

    async def connect(self, life: Life, stack: AsyncExitStack) -> ThirdParties:  # noqa: ARG002 - nothing is opened, so nothing has to be closed
        servers = self._servers
        third = SimProviders(
            warehouse=servers.warehouse,
            antifraud=servers.antifraud,
            gateway=servers.gateway,
            mailer=servers.mailer,
            caller=_loop_of(life),
            timers=servers.timers,
            subject_of=subject_of,
            faults=self._faults,
        )
        return ThirdParties(
            warehouse=third.warehouse,
            antifraud=third.antifraud,
            gateway=third.gateway,
            mailer=third.mailer,
        )


def _loop_of(life: Life) -> ProcessLoop:
    loop = life.host
    assert isinstance(loop, ProcessLoop), "only a process of this very process reaches memory"
    return loop
