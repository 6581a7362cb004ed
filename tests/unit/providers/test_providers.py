"""Third parties: once per key, before the deadline or never, and what a query may say."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar, TypeVarTuple, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.domain.errors import (
    Down,
    Indeterminate,
    LabError,
    Permanent,
    Replayed,
    Throttled,
    Transient,
)
from lab.history.entries import Entry, time_of
from lab.history.facts import AnsweredEntry, LedgerEntry
from lab.ports.faults import CallFault, CallFaultKind, CallFaults
from lab.ports.providers import ChargeState, GatewayAnswer, Known
from lab.providers.antifraud import AntifraudServer
from lab.providers.core import DAY_US, Answer, KeyMode, Refused, Remembered, Request, error_of
from lab.providers.mailer import MailerServer
from lab.providers.payment_gateway import QUERY, GatewayServer
from lab.providers.sim_client import SimProviders
from lab.providers.simulated_wire import NO_DEADLINE_US
from lab.providers.warehouse import WarehouseServer
from lab.runtime.chance import KeyedChance
from lab.runtime.errors import DeadlockError
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.entries import of_type, without_time

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
SECOND = 1_000_000
MEDIAN = 120_000


class Scripted(CallFaults):
    """Faults in the order of the calls."""

    def __init__(self, *faults: CallFault | None) -> None:
        self.faults = list(faults)

    def strike(self, provider: str, action: str, subject: str) -> CallFault | None:
        assert provider
        assert action
        assert subject
        return self.faults.pop(0) if self.faults else None


class CountingTimers:
    """The harness, with the timers that were set on it."""

    def __init__(self, root: ProcessLoop) -> None:
        self.root = root
        self.delays: list[int] = []

    def call_after_us(
        self, delay_us: int, callback: Callable[[Unpack[Ts]], object], *args: *Ts
    ) -> object:
        self.delays.append(delay_us)
        return self.root.call_after_us(delay_us, callback, *args)


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
        self.timers = CountingTimers(self.scheduler.root)
        now, chance, write = self.scheduler.root.now_us, KeyedChance(3), self.history.append
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
            timers=self.timers,
            subject_of=lambda order_id: order_id.removeprefix("o"),
            faults=self.faults,
        )

    def ledger(self) -> list[tuple[object, ...]]:
        """Action and key of each movement."""
        return [(line.action, line.key) for line in of_type(self.history, LedgerEntry)]

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
) -> Coroutine[object, object, GatewayAnswer]:
    return providers.gateway.charge(
        order, key=key, amount_cents=cents, currency="GBP", deadline_us=deadline_us
    )


def test_a_charge_is_captured_and_written_into_the_ledger() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        assert (await charge(providers)).state is ChargeState.CAPTURED

    world.run(main)
    (entry,) = world.history
    assert without_time(entry) == (
        "ledger", "ledger", "1.1", "payment_gateway", "capture", "charge:o1.1:1", "", 500, "GBP",
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
        first = start(charge(providers))
        await sleep_us(1)
        with pytest.raises(Throttled) as busy:
            await charge(providers)
        assert busy.value.after_us > 0
        await first

    world.run(main)
    assert len(world.ledger()) == 1


def start(call: Coroutine[object, object, T]) -> "asyncio.Task[T]":
    return asyncio.get_running_loop().create_task(call)


# ---- deadlines


@given(st.integers(1, 400_000), st.integers(1, 400_000), st.integers(1, 50))
def test_a_request_is_executed_before_its_deadline_or_never(
    left_us: int, latency_us: int, order: int
) -> None:
    world = World(latency_us=latency_us)

    async def main(providers: SimProviders) -> None:
        began_us = world.scheduler.now_us
        deadline_us = began_us + left_us
        answer = None
        try:
            answer = await charge(providers, order=f"o{order}.1", deadline_us=deadline_us)
        except Indeterminate:
            assert world.scheduler.now_us == deadline_us, "it is told at the deadline"
        await sleep_us(10 * SECOND)
        executed = [time_of(entry) for entry in world.history]
        assert all(at <= deadline_us for at in executed)
        assert answer is None or len(executed) == 1
        assert not world.gateway._in_flight

    world.run(main)


def test_a_slow_answer_is_indeterminate_whether_or_not_it_was_executed() -> None:
    def captured(left_us: int) -> int:
        world = World()

        async def main(providers: SimProviders) -> None:
            with pytest.raises(Indeterminate):
                await charge(providers, deadline_us=world.scheduler.now_us + left_us)

        world.run(main)
        return len(world.ledger())

    assert {captured(left_us) for left_us in range(5_000, 60_000, 5_000)} == {0, 1}


def test_a_passed_deadline_hands_nothing_over() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        await sleep_us(10)
        with pytest.raises(Transient):
            await charge(providers, deadline_us=world.scheduler.now_us)
        await sleep_us(10 * SECOND)

    world.run(main)
    assert world.ledger() == []


def test_a_normal_call_takes_one_timer() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        await charge(providers, deadline_us=60 * SECOND)
        assert len(world.timers.delays) == 1

    world.run(main)


def test_the_deadline_is_measured_on_the_callers_clock() -> None:
    world = World()
    loop = world.scheduler.process("skewed", skew_us=30 * SECOND)
    providers = SimProviders(
        warehouse=world.warehouse,
        antifraud=world.antifraud,
        gateway=world.gateway,
        mailer=world.mailer,
        caller=loop,
        timers=world.scheduler.root,
        subject_of=str,
    )

    async def main() -> None:
        with pytest.raises(Transient):
            await charge(providers, deadline_us=20 * SECOND)
        assert (await charge(providers, deadline_us=32 * SECOND)).state is ChargeState.CAPTURED

    async def root() -> None:
        done = world.scheduler.root.create_future()
        task = loop.create_task(main())
        task.add_done_callback(lambda _: done.set_result(None))
        await done
        task.result()

    with world.scheduler:
        world.scheduler.run(root())


# ---- callers that go away


def test_what_a_killed_caller_handed_over_is_executed_and_touches_nothing_of_it() -> None:
    world = World()
    loop, providers = world.process()

    async def root() -> None:
        task = loop.create_task(_quiet(charge(providers)))
        await sleep_us(1)
        loop.kill()
        await sleep_us(10 * SECOND)
        assert not task.done()

    with world.scheduler:
        world.scheduler.run(root())
        assert world.ledger() == [("capture", "charge:o1.1:1")]
        assert world.scheduler.errors == []


def test_what_a_cancelled_caller_handed_over_is_executed() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        first = start(charge(providers))
        await sleep_us(1)
        first.cancel()
        await sleep_us(10 * SECOND)
        assert first.cancelled()

    world.run(main)
    assert len(world.ledger()) == 1


async def _quiet(call: Awaitable[object]) -> None:
    await call


# ---- faults


def test_an_error_moves_nothing_and_its_key_is_free() -> None:
    world = World(CallFault(kind=CallFaultKind.ERROR, status=503))

    async def main(providers: SimProviders) -> None:
        with pytest.raises(Transient):
            await charge(providers)
        assert world.ledger() == []
        assert (await charge(providers)).state is ChargeState.CAPTURED

    world.run(main)


@pytest.mark.parametrize("key_mode", list(KeyMode))
def test_a_stored_error_is_given_again_unless_only_successes_are_kept(key_mode: KeyMode) -> None:
    world = World(
        CallFault(kind=CallFaultKind.ERROR, status=500, is_stored=True), key_mode=key_mode
    )

    async def main(providers: SimProviders) -> None:
        with pytest.raises(Transient):
            await charge(providers)
        if key_mode is KeyMode.STRIPE:
            with pytest.raises(Replayed):
                await charge(providers)
            assert await providers.gateway.query("o1.1", deadline_us=NO_DEADLINE_US) == ()
        else:
            await charge(providers)

    world.run(main)
    assert len(world.ledger()) == (0 if key_mode is KeyMode.STRIPE else 1)


def test_an_error_does_not_overwrite_the_stored_answer() -> None:
    world = World(None, CallFault(kind=CallFaultKind.ERROR, status=500, is_stored=True))

    async def main(providers: SimProviders) -> None:
        await charge(providers)
        with pytest.raises(Transient):
            await charge(providers)
        assert (await charge(providers)).state is ChargeState.CAPTURED

    world.run(main)
    assert len(world.ledger()) == 1


@pytest.mark.parametrize(
    ("kind", "movements"), [(CallFaultKind.TIMEOUT, 0), (CallFaultKind.HANG_AFTER_EFFECT, 1)]
)
def test_without_an_answer_the_caller_learns_nothing_at_its_deadline(
    kind: CallFaultKind, movements: int
) -> None:
    world = World(CallFault(kind=kind))

    async def main(providers: SimProviders) -> None:
        with pytest.raises(Indeterminate):
            await charge(providers, deadline_us=2 * SECOND)
        assert world.scheduler.now_us == 2 * SECOND
        await sleep_us(10 * SECOND)

    world.run(main)
    assert len(world.ledger()) == movements


def test_a_retry_after_a_hang_gets_the_answer_of_the_first_call() -> None:
    world = World(CallFault(kind=CallFaultKind.HANG_AFTER_EFFECT))

    async def main(providers: SimProviders) -> None:
        with pytest.raises(Indeterminate):
            await charge(providers, deadline_us=2 * SECOND)
        assert (await charge(providers)).state is ChargeState.CAPTURED

    world.run(main)
    assert len(world.ledger()) == 1


def test_without_deadline_a_late_reply_is_late_by_its_length() -> None:
    world = World(CallFault(kind=CallFaultKind.LATE_REPLY, by_us=7 * SECOND))

    async def main(providers: SimProviders) -> None:
        assert (await charge(providers)).state is ChargeState.CAPTURED
        executed_us = world.history[0][1]
        assert isinstance(executed_us, int)
        assert world.scheduler.now_us == executed_us + 7 * SECOND

    world.run(main)


def test_without_deadline_a_lost_request_hangs_for_ever() -> None:
    world = World(CallFault(kind=CallFaultKind.TIMEOUT))

    async def main(providers: SimProviders) -> None:
        await charge(providers, deadline_us=NO_DEADLINE_US)

    with pytest.raises(DeadlockError):
        world.run(main)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0, Indeterminate),
        (400, Permanent),
        (404, Permanent),
        (401, Down),
        (403, Down),
        (409, Throttled),
        (429, Throttled),
        (500, Transient),
        (502, Transient),
        (503, Throttled),
    ],
)
def test_every_status_has_its_error_class(status: int, error: type[LabError]) -> None:
    found = error_of("mailer", Refused(status, 7))

    assert type(found) is error
    if isinstance(found, Throttled):
        assert found.after_us == 7
    if isinstance(found, Down):
        assert found.after_us == 1_000_000, "a hint says nothing of our credentials"


def test_a_503_without_a_hint_or_given_again_is_no_throttling() -> None:
    assert type(error_of("mailer", Refused(503))) is Transient
    assert type(error_of("mailer", Refused(503, 7, is_replayed=True))) is Replayed


# ---- queries and refunds


def test_a_query_tells_what_is_in_flight_and_what_was_executed() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        query = providers.gateway.query
        assert await query("o1.1", deadline_us=NO_DEADLINE_US) == ()
        first = start(charge(providers, "c"))
        await sleep_us(1)
        assert _asked(world, "o1.1") == (Known(key="c", state=ChargeState.PENDING),)
        assert _asked(world, "o2.1") == (), "it is in flight for another order"
        await first
        assert await query("o1.1", deadline_us=NO_DEADLINE_US) == (
            Known(key="c", state=ChargeState.CAPTURED),
        )
        await refund(providers, "r", "c")
        assert await query("o1.1", deadline_us=NO_DEADLINE_US) == (
            Known(key="c", state=ChargeState.CAPTURED),
            Known(key="r", state=ChargeState.REFUNDED),
        )
        assert await query("o2.1", deadline_us=NO_DEADLINE_US) == ()

    world.run(main)


def _asked(world: World, order_id: str) -> Answer:
    """What a query that is executed this very moment says."""
    return world.gateway.execute(Request(QUERY, order_id, order_id.removeprefix("o")))


def refund(
    providers: SimProviders, key: str, charge_key: str, cents: int = 500
) -> Coroutine[object, object, GatewayAnswer]:
    return providers.gateway.refund(
        "o1.1", key=key, charge_key=charge_key, amount_cents=cents, deadline_us=NO_DEADLINE_US
    )


def test_a_request_that_is_never_executed_is_pending_until_its_deadline_and_then_gone() -> None:
    world = World(latency_us=60 * SECOND)

    async def main(providers: SimProviders) -> None:
        first = start(charge(providers, "c", deadline_us=2 * SECOND))
        await sleep_us(1)
        assert _asked(world, "o1.1") == (Known(key="c", state=ChargeState.PENDING),)
        with pytest.raises(Indeterminate):
            await first
        assert _asked(world, "o1.1") == ()

    world.run(main)


def test_the_end_of_a_lost_request_does_not_forget_a_later_one_under_its_key() -> None:
    world = World(CallFault(kind=CallFaultKind.HANG_AFTER_EFFECT), latency_us=SECOND)

    async def main(providers: SimProviders) -> None:
        first = start(charge(providers, "c", deadline_us=20 * SECOND))
        while not world.ledger():
            await sleep_us(1_000)
        await sleep_us(20 * SECOND - world.scheduler.now_us - 1)
        second = start(charge(providers, "c"))
        with pytest.raises(Indeterminate):
            await first
        with pytest.raises(Throttled):
            await charge(providers, "c")
        await second

    world.run(main)
    assert len(world.ledger()) == 1


def test_no_more_is_refunded_than_was_captured() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        assert (await refund(providers, "r0", "c")).reason == "charge_unknown"
        await charge(providers, "c")
        assert (await refund(providers, "r1", "c", 501)).reason == "amount_too_large"
        assert (await refund(providers, "r2", "c")).state is ChargeState.REFUNDED
        assert (await refund(providers, "r2", "c")).state is ChargeState.REFUNDED
        assert (await refund(providers, "r3", "c")).reason == "charge_refunded"

    world.run(main)
    assert world.ledger() == [
        ("refund_declined", "r0"),
        ("capture", "c"),
        ("refund_declined", "r1"),
        ("refund", "r2"),
        ("refund_declined", "r3"),
    ]


def test_a_card_is_declined_at_every_try() -> None:
    world = World(refused_percent=30)
    states: dict[str, set[ChargeState]] = {}

    async def main(providers: SimProviders) -> None:
        for n in range(60):
            order = f"o{n}.1"
            answers = [await charge(providers, f"{order}:{k}", order=order) for k in range(2)]
            states[order] = {answer.state for answer in answers}

    world.run(main)
    assert all(len(found) == 1 for found in states.values())
    assert 8 < sum(ChargeState.DECLINED in found for found in states.values()) < 30
    assert {action for action, _ in world.ledger()} == {"capture", "decline"}


def test_a_share_of_the_orders_is_refused_by_warehouse_and_antifraud() -> None:
    world = World(refused_percent=30)
    refused = {"warehouse": 0, "antifraud": 0}

    async def main(providers: SimProviders) -> None:
        for n in range(60):
            order, never = f"o{n}.1", NO_DEADLINE_US
            in_stock = await providers.warehouse.in_stock(order, (), deadline_us=never)
            fraud = await providers.antifraud.is_fraud(order, "c1", 500, deadline_us=never)
            refused["warehouse"] += not in_stock
            refused["antifraud"] += fraud

    world.run(main)
    assert all(8 < count < 30 for count in refused.values()), refused
    told = of_type(world.history, AnsweredEntry)
    assert len(told) == len(world.history) == 120
    objections = {"warehouse": "out_of_stock", "antifraud": "fraud"}
    for name, reason in objections.items():
        assert [(each.provider, each.answer) for each in told].count((name, reason)) == refused[
            name
        ]


def test_a_mail_is_sent_once_per_key() -> None:
    world = World()

    async def main(providers: SimProviders) -> None:
        for key in ("a", "a", "b"):
            await providers.mailer.send(
                "o1.1", key=key, template="received", deadline_us=NO_DEADLINE_US
            )

    world.run(main)
    assert world.ledger() == [("mail", "a"), ("mail", "b")]
    assert world.history[0][7] == "received"


# ---- memory


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 5)), max_size=60))
def test_an_entry_is_remembered_for_one_lifetime_and_not_much_longer(
    steps: list[tuple[int, int]],
) -> None:
    remembered: Remembered[int] = Remembered(800)
    set_at: dict[str, int] = {}
    now_us = 0
    for step, name in steps:
        now_us += step
        for key, at in set_at.items():
            found = remembered.get(key, now_us)
            if now_us < at + 800:
                assert found == at
            if now_us >= at + 900 + 300:
                assert found is None
        remembered.put(str(name), now_us, now_us)
        set_at[str(name)] = now_us


def test_forgotten_entries_cost_no_memory() -> None:
    remembered: Remembered[int] = Remembered(800)

    for now_us in range(10_000):
        remembered.put(str(now_us), now_us, now_us)

    assert len(remembered) <= 901
