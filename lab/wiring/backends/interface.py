"""The backends of a run: a bus, an order store, a dedupe store, third parties, each of some make.

They survive every crash. Here is their interface, the same for each make; `memory` and `real` are
the makes. Not here: their use by one process (`process/`).
"""

import asyncio
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from lab.domain.errors import EnvironmentNotReady, LabError
from lab.history.entries import Entry
from lab.ports.bus import Consumer, Publisher, TopicReader
from lab.ports.dedupe import DedupeStore
from lab.ports.key_retry import KeyRetryStore
from lab.ports.providers import Antifraud, Mailer, PaymentGateway, Warehouse
from lab.ports.retention import RetentionStore
from lab.ports.store import CustomerStore, OrderStore, OutboxStore, StartStore
from lab.runtime.uninterrupted import uninterrupted
from lab.wiring.ports import Life, Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class BusClients:
    """The bus as one process reaches it. `consumer` makes a member of the process's group."""

    publisher: Publisher
    consumer: Callable[[], Consumer]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreClients:
    """The order store as one process reaches it, by port."""

    orders: OrderStore
    outbox: OutboxStore
    starts: StartStore
    key_retry: KeyRetryStore
    customers: CustomerStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdParties:
    """The third parties as one process reaches them."""

    warehouse: Warehouse
    antifraud: Antifraud
    gateway: PaymentGateway
    mailer: Mailer


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The order store at the end of a run, as the result tells it.

    Attributes:
        by_state: how many orders are in each state, by its name.
        subjects: `ordinal.send` of every stored order.
        open_intents: charges and refunds that nobody knows the end of.
    """

    by_state: Mapping[str, int]
    subjects: Sequence[str]
    open_intents: int


class Backend(Protocol):
    """One of the parts a run stands on."""

    @property
    def make(self) -> str:
        """Its name in the result: `memory`, `kafka`, `postgres`, `redis`, `http`."""
        ...

    async def prepare(self, stack: AsyncExitStack) -> None:
        """Make the run's own things there; `stack` takes leave in the end.

        Raises:
            EnvironmentNotReady: it is not there, is too old, or does not let us in.
        """
        ...

    def facts(self) -> AsyncIterator[Entry]:
        """The facts of a run that is over, as far as they are not in the history already."""
        ...

    async def remove(self) -> None:
        """Remove the things that `prepare` made, and nothing else."""
        ...


class BusBackend(Backend, Protocol):
    """The broker."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> BusClients:
        """The clients of one process life; `stack` takes leave for them."""
        ...

    async def lag(self) -> int:
        """Records that some group has not committed."""
        ...

    def reader(self) -> TopicReader:
        """Reads topics whole, for the operator. Used after `prepare`."""
        ...

    def publisher(self) -> Publisher:
        """The operator's own; no fault strikes it. Used after `prepare`."""
        ...


class StoreBackend(Backend, Protocol):
    """The server of the order store."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> StoreClients:
        """The clients of one process life; `stack` takes leave for them."""
        ...

    def retention(self, stack: AsyncExitStack, *, patience_us: int) -> RetentionStore:
        """The old rows; `stack` takes leave.

        Args:
            stack: of the process.
            patience_us: a call may take this long at least; no order waits for it.
        """
        ...

    async def owed(self) -> Mapping[str, int]:
        """`outbox` and `waiting`; rows behind a dead head are left out."""
        ...

    async def is_expiry_due(self) -> bool:
        """Whether an order stands open beyond its expiry: the timer has still to see to it."""
        ...

    async def survey(self) -> Survey:
        """The numbers of its orders and intents now."""
        ...


class DedupeBackend(Backend, Protocol):
    """The server of the dedupe store."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> DedupeStore:
        """The client of one process life; `stack` takes leave for it."""
        ...

    async def owners(self) -> Sequence[str] | None:
        """The process that holds it, for each open claim with a running lease.

        None: the server cannot be asked.
        """
        ...


class ThirdPartiesBackend(Backend, Protocol):
    """The servers of the third parties."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> ThirdParties:
        """The clients of one process life; `stack` takes leave for them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """All parts of one run."""

    bus: BusBackend
    store: StoreBackend
    dedupe: DedupeBackend
    third: ThirdPartiesBackend

    @property
    def all(self) -> tuple[Backend, ...]:
        """In the order in which they are prepared."""
        return (self.bus, self.store, self.dedupe, self.third)

    async def connect(
        self, life: Life, stack: AsyncExitStack
    ) -> tuple[Ports, Callable[[], Consumer]]:
        """Every bare adapter of one process life, and the maker of its consumer."""
        store = await self.store.connect(life, stack)
        bus = await self.bus.connect(life, stack)
        third = await self.third.connect(life, stack)
        ports = Ports(
            orders=store.orders,
            outbox=store.outbox,
            starts=store.starts,
            key_retry=store.key_retry,
            customers=store.customers,
            dedupe=await self.dedupe.connect(life, stack),
            publisher=bus.publisher,
            warehouse=third.warehouse,
            antifraud=third.antifraud,
            gateway=third.gateway,
            mailer=third.mailer,
        )
        return ports, bus.consumer

    async def owed(self) -> Mapping[str, int]:
        """The numbers that wait for no person: `outbox`, `waiting`, `lag`."""
        return {**await self.store.owed(), "lag": await self.bus.lag()}

    async def left(self, now_us: int) -> list[Entry]:
        """Everything owed and held at the end of a run, as far as the servers can be asked."""
        owed = (await self.owed()).items()
        entries: list[Entry] = [("left", now_us, "run", "", what, count) for what, count in owed]
        owners = await self.dedupe.owners()
        if owners is not None:
            leases = Counter(owners).items() or (("run", 0),)
            entries += [("left", now_us, owner, "", "lease", count) for owner, count in leases]
        return entries


async def prepare_whole(
    backend: Backend, stack: AsyncExitStack, *, keep: bool, left: list[str]
) -> None:
    """Prepare a backend; `stack` removes what it made there, unless it is to be kept.

    A caller that is cancelled meanwhile waits until it is prepared: a half-made thing could
    be found by nobody, and would stay there for ever.

    Args:
        backend: one of the run.
        stack: of the run.
        keep: remove nothing.
        left: see `remove`.

    Raises:
        EnvironmentNotReady: the server is not there, or not fit for use.
    """
    _, is_cut = await uninterrupted(backend.prepare(stack))
    if not keep:
        stack.push_async_callback(remove, backend, left)
    if is_cut:
        raise asyncio.CancelledError


async def prepare_all(
    backends: Sequence[Backend], stack: AsyncExitStack, *, keep: bool, left: list[str]
) -> None:
    """Prepare several backends side by side; see `prepare_whole`.

    Raises:
        EnvironmentNotReady: of the first of them that is not there, or not fit for use.
    """
    each = [prepare_whole(one, stack, keep=keep, left=left) for one in backends]
    ends, is_cut = await uninterrupted(_all_ends(each))
    for error in ends:
        if error is not None:
            raise error
    if is_cut:
        raise asyncio.CancelledError


async def _all_ends(works: Iterable[Awaitable[None]]) -> "list[BaseException | None]":
    """How each of them ended: with an error, or well."""
    return await asyncio.gather(*works, return_exceptions=True)


async def remove(backend: Backend, left: list[str]) -> None:
    """Remove everything that a run has made. A server that has gone away takes no verdict along.

    Args:
        backend: one of the run.
        left: takes why something could not be removed.
    """
    try:
        await backend.remove()
    except (LabError, EnvironmentNotReady) as error:
        left.append(str(error))


def not_removed(name: str, left: Sequence[str]) -> tuple[str, ...]:
    """The leftovers of `remove`, in sentences; `name` is the run's on the servers."""
    return tuple(f"what is named {name} could not be removed: {why}" for why in left)


@contextmanager
def telling_what_is_left(name: str, left: Sequence[str]) -> Iterator[None]:
    """A run that ends for want of a server also names its leftovers.

    Args:
        name: of the run on the servers.
        left: see `remove`.
    """
    try:
        yield
    except EnvironmentNotReady as error:
        if not left:
            raise
        raise EnvironmentNotReady(
            f"{error.what}, and what is named {name} could not be removed",
            server=error.server,
            address=error.address,
            remedy=error.remedy,
        ) from error
