"""Faults of processes at work: paused, cancelled, killed whenever a handler starts.

Crash points are in `test_crash_sites.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial

import pytest

from lab.domain.codec import decode
from lab.domain.envelope import Envelope
from lab.domain.events import Payload
from lab.faults.plan.plan import FaultPlan, Firing
from lab.faults.processes.crash_sites import Role
from lab.faults.processes.strikes import CANCELLED_IN, PAUSED_IN, ProcessFaults
from lab.faults.table.spec import parse_faults
from lab.ports.bus import Ack, Delivery, Record, Settlement
from lab.ports.dedupe import Claim, ClaimState, DedupeStore
from lab.ports.service import Context, Handler
from lab.ports.store import Unit, UnitVerdict
from lab.runtime.chance import KeyedChance
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.processes import AsyncTasks
from lab.runtime.virtual_loop import Scheduler, sleep_us, suspend

CALLS = 20
PAUSE_US = 5_000_000


def make_plan(*texts: str, seed: int = 7, explicit: Sequence[Firing] | None = None) -> FaultPlan:
    plan = FaultPlan(
        parse_faults(texts),
        seed=seed,
        chance=KeyedChance(seed),
        now_us=lambda: 0,
        explicit=explicit,
    )
    plan.begin()
    return plan


def make_delivery(subject: str = "1.1") -> Delivery:
    record = Record("validation", 0, 0, b"k", b"{}", (), 0)
    return Delivery(record, "payment", 1, 1, "OrderValidated", "e", subject, 0, starts_known=False)


class Claims(DedupeStore):
    """Counts the claims that were applied."""

    def __init__(self) -> None:
        self.applied = 0

    async def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Claim:
        del group, event_id, owner, lease_us
        await suspend()
        self.applied += 1
        return Claim(ClaimState.ACQUIRED, 1)

    async def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> bool:
        raise NotImplementedError

    async def release(self, group: str, event_id: str, *, owner: str, fence: int) -> bool:
        raise NotImplementedError


class World:
    """One process whose deliveries make so many port calls, one after the other."""

    def __init__(self, plan: FaultPlan, calls: int = CALLS) -> None:
        self.plan = plan
        self.calls = calls
        self.scheduler = Scheduler()
        self.claims = Claims()
        self.paused_for: list[int] = []
        self.settled: list[Settlement] = []
        self.lives = 0
        self._begin_life()

    def _begin_life(self) -> None:
        self.lives += 1
        self.loop = loop = self.scheduler.process(f"payment-1#{self.lives}")
        self.faults = ProcessFaults(
            self.plan,
            role=Role.CONSUMER,
            group="payment",
            process="payment-1",
            kill=loop.kill,
            term=lambda: None,
            pause=lambda for_us: self._pause(loop, for_us),
        )
        self.dedupe = self.faults.around(DedupeStore, self.claims)

    def _pause(self, loop: ProcessLoop, for_us: int) -> None:
        self.paused_for.append(for_us)
        loop.pause()
        self.scheduler.root.call_after_us(for_us, loop.resume)

    def is_alive(self) -> bool:
        return not self.loop.dead

    async def chain(self, _delivery: Delivery) -> Settlement:
        for _ in range(self.calls):
            await self.dedupe.claim("payment", "e", owner="o", lease_us=1)
        return Ack("handled")

    async def deliver(self, *subjects: str) -> None:
        handle = self.faults.around_handle(self.chain)
        for subject in subjects:
            self.settled.append(await handle(make_delivery(subject)))

    def run(self, call: Callable[[], Coroutine[object, object, None]]) -> "asyncio.Task[None]":
        """Run it in the process for a minute."""

        async def root() -> "asyncio.Task[None]":
            task = self.loop.create_task(call())
            await sleep_us(60_000_000)
            return task

        return self.scheduler.run(root())

    @property
    def fired(self) -> list[tuple[str, str, str]]:
        return [(f.kind, f.site, f.subject) for f in self.plan.firings]


# ---- paused


def test_a_process_stands_still_in_the_middle_of_a_delivery_and_then_goes_on() -> None:
    world = World(make_plan("proc.pause@payment#2 by=5s"))
    seen: list[int] = []

    async def watched() -> None:
        await world.deliver("1.1")
        began_us = world.scheduler.now_us
        await world.deliver("2.1")
        assert world.scheduler.now_us == began_us + PAUSE_US
        await world.deliver("3.1")

    async def outside() -> None:
        await sleep_us(1_000)
        seen.append(world.claims.applied)

    world.scheduler.root.spawn(outside())
    task = world.run(watched)

    assert task.done()
    assert task.exception() is None
    low, high = (CALLS + boundary // 2 for boundary in PAUSED_IN)
    assert low <= seen[0] <= high, "the first delivery, and part of the second"
    assert world.fired == [("proc.pause", "payment", "2.1")]
    assert world.settled == [Ack("handled")] * 3


def test_pauses_fall_on_different_calls_of_a_delivery() -> None:
    found = set()
    for seed in range(30):
        world = World(make_plan("proc.pause@payment#1", seed=seed))

        async def outside(world: World = world) -> None:
            await sleep_us(1_000)
            found.add(world.claims.applied)

        world.scheduler.root.spawn(outside())
        _ = world.run(partial(world.deliver, "1.1"))

    assert len(found) > 2
    assert min(found) >= 1, "never before the claim"


def test_a_delivery_of_few_calls_is_settled_and_then_its_process_stands_still() -> None:
    world = World(make_plan("proc.pause@payment#1 by=7s"), calls=1)

    _ = world.run(lambda: world.deliver("1.1", "2.1"))

    assert world.paused_for == [7_000_000]
    assert len(world.settled) == 2


# ---- cancelled


def test_a_cancelled_delivery_ends_in_the_middle_and_settles_nothing() -> None:
    world = World(make_plan("proc.cancel@payment#2"))

    task = world.run(lambda: world.deliver("1.1", "2.1", "3.1"))

    assert task.cancelled()
    assert world.settled == [Ack("handled")], "only the one before it"
    assert world.claims.applied < CALLS + CANCELLED_IN[1]
    assert world.fired == [("proc.cancel", "payment", "2.1")]


def test_a_delivery_of_few_calls_is_cancelled_at_its_end() -> None:
    world = World(make_plan("proc.cancel@payment#1"), calls=0)

    task = world.run(lambda: world.deliver("1.1"))

    assert task.cancelled()
    assert world.settled == []


def test_the_delivery_is_cancelled_also_from_a_call_that_runs_beside_others() -> None:
    world = World(make_plan("proc.cancel@payment#1"))
    ended: list[str] = []

    async def side_by_side(_delivery: Delivery) -> Settlement:
        async def one() -> Claim:
            claim = Claim(ClaimState.DONE)
            try:
                for _ in range(CALLS):
                    claim = await world.dedupe.claim("payment", "e", owner="o", lease_us=1)
            except asyncio.CancelledError:
                ended.append("call")
                raise
            return claim

        try:
            await AsyncTasks().together([one, one], until=lambda _: False)
        except asyncio.CancelledError:
            ended.append("delivery")
            raise
        return Ack("handled")

    async def deliver() -> None:
        await world.faults.around_handle(side_by_side)(make_delivery())

    task = world.run(deliver)

    assert task.cancelled()
    assert ended == ["call", "call", "delivery"]


@pytest.mark.parametrize("kind", ["proc.pause", "proc.cancel"])
def test_healing_saves_a_delivery_that_was_to_be_struck(kind: str) -> None:
    world = World(make_plan(f"{kind}@payment#1"))

    async def deliver() -> None:
        world.plan.heal()
        await world.deliver("1.1")

    _ = world.run(deliver)

    assert world.settled == [Ack("handled")]
    assert world.fired == []


@pytest.mark.parametrize("kind", ["proc.pause", "proc.cancel"])
def test_an_explicit_plan_strikes_the_same_delivery_at_the_same_call(kind: str) -> None:
    first = World(make_plan(f"{kind} rate=0.5"))
    _ = first.run(lambda: first.deliver("1.1", "2.1", "3.1"))
    again = World(make_plan(explicit=first.plan.firings))
    _ = again.run(lambda: again.deliver("1.1", "2.1", "3.1"))

    assert first.fired
    assert again.fired == first.fired
    assert again.claims.applied == first.claims.applied


def test_two_faults_of_one_delivery_both_strike() -> None:
    world = World(make_plan("proc.pause@payment#1", "proc.cancel@payment#1"))

    task = world.run(lambda: world.deliver("1.1"))

    assert task.cancelled()
    # Unless it is over before the other one is due: a cancelled delivery passes nothing more.
    assert ("proc.cancel", "payment", "1.1") in world.fired


# ---- killed at every start of a handler


class Told(Context):
    """A context that only knows whose event it is."""

    attempt = 1
    redrives = 0
    deadline_us = 0

    def __init__(self, subject: str) -> None:
        self.envelope = Envelope(
            id="e",
            type="OrderCancelled",
            source="lab",
            subject="order",
            time_us=0,
            data=b"{}",
            correlation_id="c",
            causation_id="c",
            sequence=1,
            traceparent="t",
            lab_subject=subject,
        )

    async def save(self, unit: Unit) -> UnitVerdict:
        raise AssertionError(unit)

    async def settle(self, unit: Unit) -> UnitVerdict:
        raise AssertionError(unit)


def start_handler(world: World, subject: str, started: list[str]) -> None:
    async def handler(_payload: Payload, context: Context) -> None:
        started.append(context.envelope.lab_subject)

    mine: Mapping[str, Handler] = {"OrderCancelled": handler}
    payload = decode("OrderCancelled", b'{"order_id":"o"}')

    async def call() -> None:
        run: Callable[[Payload, Context], Awaitable[None]]
        run = world.faults.around_handlers(mine)["OrderCancelled"]
        await run(payload, Told(subject))

    _ = world.run(call)


def test_a_deadly_record_kills_its_process_at_each_start_also_after_heal() -> None:
    world = World(make_plan("proc.crash_loop@payment#7"))
    started: list[str] = []

    for is_healed in (False, False, True):
        if is_healed:
            world.plan.heal()
        start_handler(world, "6.1", started)
        assert world.is_alive()
        start_handler(world, "7.1", started)
        assert not world.is_alive()
        world._begin_life()

    assert started == ["6.1"] * 3
    assert world.fired == [("proc.crash_loop", "payment", "7.1")], "one firing: it is one record"


def test_a_record_that_comes_for_the_first_time_after_heal_is_not_deadly() -> None:
    world = World(make_plan("proc.crash_loop@payment#7"))
    started: list[str] = []
    world.plan.heal()

    start_handler(world, "7.1", started)

    assert started == ["7.1"]


def test_nothing_goes_around_handlers_that_nothing_strikes() -> None:
    async def handler(_payload: Payload, _context: Context) -> None: ...

    handlers = {"OrderCancelled": handler}
    world = World(make_plan("proc.crash_loop@orders#7"))

    assert world.faults.around_handlers(handlers) is handlers
