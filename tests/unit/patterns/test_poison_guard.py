"""The poison guard: starts without an end are counted, then run alone, then are dead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from lab.domain.errors import Down, Indeterminate, LabError, Transient
from lab.patterns.poison_guard import PoisonGuard, SoloGate
from lab.ports.bus import Ack, DeadLetter, Delivery, Handle, Settlement
from lab.ports.store import StartStore
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.chain_parts import (
    GROUP,
    PROCESS,
    SECOND,
    Entries,
    Inner,
    Stores,
    make_delivery,
    make_pen,
)
from tests.kit.stepping import at_once

KEY = (GROUP, "e1", 0)


def make_guard(
    stores: Stores,
    inner: Handle,
    *,
    gate: SoloGate | None = None,
    entries: Entries | None = None,
    store: StartStore | None = None,
) -> PoisonGuard:
    return PoisonGuard(
        inner,
        store=store or stores.store.orders,
        gate=gate or SoloGate(),
        solo_starts=3,
        pen=make_pen(stores.hand.now_us, entries),
    )


async def hang(_delivery: Delivery) -> Settlement:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("it hangs")


def start_and_die(stores: Stores, *, starts_known: bool = False) -> None:
    """A process starts the event's handler and is killed in it."""

    async def run() -> None:
        await make_guard(stores, hang)(make_delivery(starts_known=starts_known))

    async def main() -> None:
        process = scheduler.process(PROCESS)
        _running = process.create_task(run())
        await sleep_us(SECOND)
        process.kill()

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_a_record_that_kills_its_worker_is_dead_after_three_solo_starts() -> None:
    stores, entries, inner = Stores(), Entries(), Inner()

    start_and_die(stores, starts_known=True)
    for _ in range(4):
        start_and_die(stores)
    delivery = make_delivery()
    settled = at_once(make_guard(stores, inner, entries=entries)(delivery))

    assert settled == DeadLetter(
        "starts", "Poison", "4 starts of its handler had no end that anybody knows"
    )
    assert delivery.starts == 4
    assert inner.seen == []
    start, buried = entries
    assert (start[0], start[3], start[-1]) == ("start", "1.1", 4)
    assert buried == ("acted", 0, PROCESS, "1.1", "poison_guard", "buried")


def test_the_third_solo_start_is_still_made() -> None:
    stores, inner = Stores(), Inner()
    for _ in range(3):
        start_and_die(stores)

    assert at_once(make_guard(stores, inner)(make_delivery())) == Ack("handled")
    assert len(inner.seen) == 1


def test_a_start_without_an_unexplained_one_before_it_is_not_solo() -> None:
    stores, entries, gate = Stores(), Entries(), SoloGate()
    assert gate.try_enter()

    settled = at_once(make_guard(stores, Inner(), gate=gate, entries=entries)(make_delivery()))

    assert settled == Ack("handled")
    assert entries == []


def test_after_one_unexplained_start_it_runs_solo() -> None:
    stores, entries = Stores(), Entries()
    start_and_die(stores)

    settled = at_once(make_guard(stores, Inner(), entries=entries)(make_delivery()))

    assert settled == Ack("handled")
    assert entries.of("acted") == [("poison_guard", "solo")]


def test_a_start_that_is_surely_the_first_is_not_recorded() -> None:
    stores = Stores()

    at_once(make_guard(stores, Inner())(make_delivery(starts_known=True)))
    start_and_die(stores, starts_known=True)

    assert stores.server.starts == {}


@pytest.mark.parametrize(
    "end", [Ack("handled"), Transient("503"), asyncio.CancelledError()], ids=type
)
def test_every_known_end_explains_the_start(end: Settlement | BaseException) -> None:
    stores = Stores()
    guard = make_guard(stores, Inner(end))

    for _ in range(10):
        with contextlib.suppress(LabError, asyncio.CancelledError):
            at_once(guard(make_delivery()))

    assert stores.server.starts == {}


def test_a_redrive_starts_counting_anew() -> None:
    stores, inner = Stores(), Inner()
    for _ in range(4):
        start_and_die(stores)

    settled = at_once(make_guard(stores, inner)(make_delivery(redrives=1)))

    assert settled == Ack("handled")


class ForgetsEnds(StartStore):
    """Is down when an end is to be told, while `is_down`."""

    def __init__(self, store: StartStore) -> None:
        self._store = store
        self.is_down = True

    async def begin_start(self, group: str, event_id: str, redrives: int) -> int:
        return await self._store.begin_start(group, event_id, redrives)

    async def explain_start(self, group: str, event_id: str, redrives: int) -> None:
        if self.is_down:
            raise Down("store", dependency="store", after_us=1)
        await self._store.explain_start(group, event_id, redrives)


def test_a_store_that_cannot_be_told_of_ends_makes_no_poison_of_an_event() -> None:
    stores = Stores()
    store, inner = ForgetsEnds(stores.store.orders), Inner()
    guard = make_guard(stores, inner, store=store)

    for _ in range(6):
        delivery = make_delivery()
        assert at_once(guard(delivery)) == Ack("handled")
        assert delivery.starts == 0
    assert stores.server.starts == {KEY: 6}
    store.is_down = False
    at_once(guard(make_delivery()))

    assert stores.server.starts == {}


def test_starts_that_another_process_could_not_tell_of_count() -> None:
    stores = Stores()
    store = ForgetsEnds(stores.store.orders)
    for _ in range(4):
        at_once(make_guard(stores, Inner(), store=store)(make_delivery()))

    assert isinstance(at_once(make_guard(stores, Inner())(make_delivery())), DeadLetter)


def test_an_end_that_cannot_be_told_changes_nothing_about_it() -> None:
    stores = Stores()
    store = ForgetsEnds(stores.store.orders)

    assert at_once(make_guard(stores, Inner(), store=store)(make_delivery())) == Ack("handled")
    assert stores.server.starts == {KEY: 1}


class LosesAnswers(StartStore):
    """Applies a call or does not, and does not say which."""

    def __init__(self, store: StartStore, *, begins: bool = True, ends: int = 0) -> None:
        self._store = store
        self._begins = begins
        self._ends = ends

    async def begin_start(self, group: str, event_id: str, redrives: int) -> int:
        found = await self._store.begin_start(group, event_id, redrives)
        if self._begins:
            raise Indeterminate("the connection was lost at commit")
        return found

    async def explain_start(self, group: str, event_id: str, redrives: int) -> None:
        self._ends -= 1
        if self._ends >= 0:
            raise Transient("deadlock")
        await self._store.explain_start(group, event_id, redrives)


def test_a_start_whose_count_is_in_doubt_never_makes_an_innocent_event_dead() -> None:
    stores, inner = Stores(), Inner()
    guard = make_guard(stores, inner, store=LosesAnswers(stores.store.orders))

    for _ in range(10):
        with pytest.raises(Indeterminate):
            at_once(guard(make_delivery()))

    assert stores.server.starts == {}
    assert inner.seen == []


class Interrupted(StartStore):
    """Its caller is cancelled when one of its calls, by name, has been made or is to be made."""

    def __init__(self, store: StartStore, call: str, *, is_made: bool) -> None:
        self._store = store
        self._cuts = [call]
        self._is_made = is_made

    async def begin_start(self, group: str, event_id: str, redrives: int) -> int:
        async with self._cut("begin_start"):
            return await self._store.begin_start(group, event_id, redrives)

    async def explain_start(self, group: str, event_id: str, redrives: int) -> None:
        async with self._cut("explain_start"):
            await self._store.explain_start(group, event_id, redrives)

    @contextlib.asynccontextmanager
    async def _cut(self, call: str) -> AsyncIterator[None]:
        is_cut = call in self._cuts
        if is_cut:
            self._cuts.remove(call)
        if is_cut and not self._is_made:
            raise asyncio.CancelledError
        yield
        if is_cut:
            raise asyncio.CancelledError


@pytest.mark.parametrize("call", ["begin_start", "explain_start"])
@pytest.mark.parametrize("is_made", [True, False])
def test_a_cancel_in_a_call_of_the_guard_leaves_no_start_unexplained(
    call: str, *, is_made: bool
) -> None:
    stores = Stores()
    store = Interrupted(stores.store.orders, call, is_made=is_made)

    with pytest.raises(asyncio.CancelledError):
        at_once(make_guard(stores, Inner(), store=store)(make_delivery()))

    assert not stores.server.starts.get(KEY)


def test_an_end_is_told_again_while_that_may_help() -> None:
    stores = Stores()
    patient = LosesAnswers(stores.store.orders, begins=False, ends=2)
    at_once(make_guard(stores, Inner(), store=patient)(make_delivery()))
    assert stores.server.starts == {}

    deaf = LosesAnswers(stores.store.orders, begins=False, ends=10**9)
    at_once(make_guard(stores, Inner(), store=deaf)(make_delivery()))
    assert stores.server.starts == {KEY: 1}


def test_a_solo_run_shares_its_process_with_no_other_handler() -> None:
    stores = Stores()
    start_and_die(stores)
    gate, running, most, seen = SoloGate(), 0, 0, []

    async def handle(delivery: Delivery) -> Settlement:
        nonlocal running, most
        running += 1
        seen.append((delivery.event_id, running))
        await sleep_us(SECOND)
        running -= 1
        return Ack("handled")

    async def run(event_id: str, *, is_known: bool) -> None:
        guard = make_guard(stores, handle, gate=gate)
        await guard(make_delivery(event_id, starts_known=is_known))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(run(f"a{n}", is_known=True)) for n in range(3)]
        await sleep_us(1)
        tasks.append(loop.create_task(run("e1", is_known=False)))
        await sleep_us(1)
        tasks += [loop.create_task(run(f"b{n}", is_known=True)) for n in range(2)]
        for task in tasks:
            await task

    with Scheduler() as scheduler:
        scheduler.run(main())

    assert [event_id for event_id, _ in seen] == ["a0", "a1", "a2", "e1", "b0", "b1"]
    assert dict(seen)["e1"] == 1
    assert dict(seen)["a2"] == 3
    assert dict(seen)["b1"] == 2, "those behind it run together again"


def test_who_wants_to_be_alone_waits_for_all_and_is_alone_then() -> None:
    gate = SoloGate()

    async def main() -> None:
        assert gate.try_enter()
        assert gate.try_enter()
        solo = asyncio.get_running_loop().create_task(gate.enter(solo=True))
        await sleep_us(1)
        gate.leave()
        await sleep_us(1)
        assert not solo.done(), "one is still inside"
        gate.leave()
        await solo
        assert not gate.try_enter(), "it is to be alone"

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_one_that_is_cancelled_in_the_queue_lets_the_next_in() -> None:
    gate = SoloGate()
    entered = []

    async def enter(name: str, *, solo: bool) -> None:
        await gate.enter(solo=solo)
        entered.append(name)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await gate.enter(solo=False)
        solo = loop.create_task(enter("solo", solo=True))
        after = loop.create_task(enter("after", solo=False))
        await sleep_us(1)
        assert entered == []
        solo.cancel()
        await after
        gate.leave()
        gate.leave()
        await gate.enter(solo=True)
        entered.append("free again")

    with Scheduler() as scheduler:
        scheduler.run(main())
    assert entered == ["after", "free again"]


def test_all_that_wait_may_be_cancelled_at_once() -> None:
    gate = SoloGate()

    async def enter() -> None:
        await gate.enter(solo=False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await gate.enter(solo=True)
        waiting = [loop.create_task(enter()) for _ in range(3)]
        await sleep_us(1)
        for task in waiting:
            task.cancel()
        gate.leave()
        for task in waiting:
            with pytest.raises(asyncio.CancelledError):
                await task
        await gate.enter(solo=True)

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_those_that_wait_behind_a_running_one_may_be_cancelled_at_once() -> None:
    gate = SoloGate()

    async def enter(*, solo: bool) -> None:
        await gate.enter(solo=solo)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert gate.try_enter()
        waiting = [loop.create_task(enter(solo=solo)) for solo in (True, False, False)]
        await sleep_us(1)
        for task in waiting:
            task.cancel()
        for task in waiting:
            with pytest.raises(asyncio.CancelledError):
                await task
        assert gate.try_enter()

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_one_that_is_cancelled_when_just_let_in_leaves_at_once() -> None:
    gate = SoloGate()

    async def enter() -> None:
        await gate.enter(solo=True)

    async def main() -> None:
        await gate.enter(solo=True)
        waiting = asyncio.get_running_loop().create_task(enter())
        await sleep_us(1)
        gate.leave()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert gate.try_enter()

    with Scheduler() as scheduler:
        scheduler.run(main())
