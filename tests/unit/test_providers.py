"""Third parties: once per key, before the deadline or never, and what a query may say."""

from collections.abc import Awaitable, Callable, Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.domain.errors import Down, Indeterminate, LabError, Permanent, Throttled, Transient
from lab.history.entries import Entry
from lab.ports.faults import CallFault, CallFaultKind, CallFaults
from lab.ports.providers import ChargeState, GatewayAnswer, Known
from lab.providers.antifraud import AntifraudServer
from lab.providers.core import DAY_US, KeyMode, Refused, Remembered, error_of
from lab.providers.mailer import MailerServer
from lab.providers.payment_gateway import GatewayServer
from lab.providers.sim_client import NO_DEADLINE_US, SimProviders
from lab.providers.warehouse import WarehouseServer
from lab.runtime.chance import Chance
from lab.runtime.errors import DeadlockError
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler, sleep_us

SECOND = 1_000_000
MEDIAN = 120_000


class Scripted(CallFaults):
    """Faults in the order of the calls."""

    def __init__(self, *faults: CallFault | None) -> None:
        self.faults = list(faults)

    def strike(self, provider: str, action: str, subject: str) -> CallFault | None:
        return self.faults.pop(0) if self.faults else None


class World:
    """Four third parties, and processes that reach them."""

    def __init__(
        self,
        *faults: CallFault | None,
        key_mode: KeyMode = KeyMode.STRIPE,
        latency_us: int = MEDIAN,
        refused_percent: float = 0,
        key_lifetime_us: int = DAY_US,
    ) -> None:
        self.scheduler = Scheduler()
        self.history: list[Entry] = []
        self.faults = Scripted(*faults)
        now, chance, write = self.scheduler.root.now_us, Chance(3), self.history.append
        self.warehouse = WarehouseServer(
            chance=chance, now_us=now, latency_us=latency_us, write=write,
            refused_percent=refused_percent,
        )  # fmt: skip
        self.antifraud = AntifraudServer(
            chance=chance, now_us=now, latency_us=latency_us, write=write,
            refused_percent=refused_percent,
        )  # fmt: skip
        self.gateway = GatewayServer(
            chance=chance, now_us=now, latency_us=latency_us, write=write, key_mode=key_mode,
            key_lifetime_us=key_lifetime_us, refused_percent=refused_percent,
        )  # fmt: skip
        self.mailer = MailerServer(chance=chance, now_us=now, latency_us=latency_us, write=write)

    def process(self, name: str = "payment-1#1") -> tuple[ProcessLoop, SimProviders]:
        loop = self.scheduler.process(name)
        return loop, SimProviders(
            warehouse=self.warehouse,
            antifraud=self.antifraud,
            gateway=self.gateway,
            mailer=self.mailer,
            caller=loop,
            timers=self.scheduler.root,
            subject_of=lambda order_id: order_id.removeprefix("o"),
            faults=self.faults,
        )

    def ledger(self) -> list[tuple[object, ...]]:
        """Action and key of each movement."""
        return [(entry[5], entry[6]) for entry in self.history if entry[0] == "ledger"]

    def run(self, main: Callable[[SimProviders], Coroutine[object, object, object]]) -> None:
        """Run `main` in a process of its own."""
        loop, providers = self.process()

        async def root() -> None:
            done = self.scheduler.root.create_future()
            task = loop.create_task(main(providers))
            task.add_done_callback(lambda _: done.set_result(None))
            await done
            task.result()

        with self.scheduler:
            self.scheduler.run(root())


def charge(
    providers: SimProviders,
    key: str = "charge:o1.1:1",
    *,
    order: str = "o1.1",
    cents: int = 500,
    deadline_us: int = NO_DEADLINE_US,
) -> Awaitable[GatewayAnswer]:
    return providers.gateway.charge(
        order, key=key, amount_cents=cents, currency="GBP", deadline_us=deadline_us
    )


def test_a_charge_is_captured_and_written_into_the_ledger() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        assert (await charge(providers)).state is ChargeState.CAPTURED

    world.run(main)
    (entry,) = world.history
    assert entry[0] == "ledger"
    assert entry[2:] == (
        "ledger", "1.1", "payment_gateway", "capture", "charge:o1.1:1", "", 500, "GBP",
    )  # fmt: skip


def test_the_same_key_charges_once() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        assert await charge(providers) == await charge(providers)

    world.run(main)
    assert world.ledger() == [("capture", "charge:o1.1:1")]


def test_another_key_charges_again() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        await charge(providers, "a")
        await charge(providers, "b")

    world.run(main)
    assert world.ledger() == [("capture", "a"), ("capture", "b")]


def test_a_key_charges_again_after_its_lifetime() -> None:
    world = World(key_lifetime_us=60 * SECOND)

    async def main(providers: SimProviders) -> None:
        await charge(providers)
        await sleep_us(59 * SECOND)
        await charge(providers)
        assert len(world.ledger()) == 1
        await sleep_us(9 * SECOND)
        await charge(providers)

    world.run(main)
    assert len(world.ledger()) == 2


def test_a_key_with_another_amount_is_refused_for_good() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        await charge(providers, cents=500)
        with pytest.raises(Permanent):
            await charge(providers, cents=501)

    world.run(main)
    assert len(world.ledger()) == 1


def test_the_same_key_in_flight_is_throttled_and_charges_once() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        _, other = world.process("payment-2#1")
        loop, _ = world.process("payment-3#1")
        first = loop.create_task(_quiet(charge(providers)))
        assert not first.done()
        await sleep_us(1)
        with pytest.raises(Throttled) as busy:
            await charge(SimProviders.__new__(SimProviders) if False else providers)
        assert busy.value.after_us > 0
        assert other is not None

    world.run(main)
    assert len(world.ledger()) == 1


async def _quiet(call: Awaitable[object]) -> None:
    await call
