"""How a subscription begins, gives its partitions up, and ends: to the microsecond, in memory.

What every bus promises about that stands in `tests/contract/test_bus.py`. Here a rebalance is a
call of the listener, so that it comes when a test wants it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from lab.bus.facts import event_digest
from lab.domain.errors import Transient
from lab.history.calls import SettleEntry
from lab.history.entries import kind_of
from lab.ports.bus import Ack, Consumer, Delivery, Release, Retry, Settlement, StopReport
from lab.ports.every_call import Method, around_every_call, awaited_methods
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.contract.bus_world import (
    ACK,
    MS,
    Gate,
    Journal,
    MemoryBusWorld,
    MemoryMember,
    S,
    limits,
    outgoing,
    publish,
    settlements,
)
from tests.kit.entries import of_type, without_time

T = TypeVar("T")
LIMITS = limits(revoke_us=500 * MS, rest_us=400 * MS, commit_after_us=10 * MS)


def instead(**calls: Method) -> Callable[[Consumer], Consumer]:
    """A consumer, some calls of which are replaced."""
    assert calls.keys() <= set(awaited_methods(Consumer))

    def wrap(consumer: Consumer) -> Consumer:
        return around_every_call(Consumer, consumer, calls.get)

    return wrap


async def unreachable(*_given: object) -> None:
    raise Transient("no broker")


def run(case: Callable[[MemoryBusWorld], Coroutine[Any, Any, T]], *, fails: str = "") -> T:
    """Run a case over one topic of one partition; nothing may fail that is not said to."""

    async def main() -> T:
        await world.make_topics({"orders": 1})
        return await case(world)

    with Scheduler() as scheduler:
        world = MemoryBusWorld(scheduler)
        result = scheduler.run(main())
        assert [error.message for error in scheduler.errors] == ([fails] if fails else [])
    return result


async def start(world: MemoryBusWorld, handle: Any, **given: Any) -> MemoryMember:
    member = await world.start("m", handle, **({"limits": LIMITS} | given))
    assert isinstance(member, MemoryMember)
    return member


def soon(call: Awaitable[T]) -> "asyncio.Task[T]":
    async def wait() -> T:
        return await call

    return asyncio.get_running_loop().create_task(wait())


def revoke(member: MemoryMember) -> "asyncio.Task[None]":
    subscription = member.subscription
    return soon(member._call(subscription.on_revoked(tuple(subscription.owned))))


def told(member: MemoryMember) -> list[tuple[Any, ...]]:
    """The history without its times."""
    return [without_time(entry) for entry in member.entries]


class Busy:
    """Handlers that never end by themselves; notes when they were cancelled."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self.started = 0
        self.cancelled_us: list[int] = []
        self._is_deaf = is_deaf

    async def __call__(self, _delivery: Delivery) -> Settlement:
        self.started += 1
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.cancelled_us.append(round(asyncio.get_running_loop().time() * 1e6))
                if not self._is_deaf:
                    raise


async def occupied(world: MemoryBusWorld, *, is_deaf: bool = False, **given: Any) -> Any:
    """A member in whose hands one handler runs that does not end."""
    busy = Busy(is_deaf=is_deaf)
    await publish(world, "long")
    member = await start(world, busy, **given)
    await world.until(lambda: busy.started == 1, "it runs")
    return member, busy


async def parked(world: MemoryBusWorld, after_us: int, **given: Any) -> tuple[MemoryMember, int]:
    """A member whose one delivery waits for its second attempt, and when that is due."""

    async def handle(delivery: Delivery) -> Settlement:
        return ACK if delivery.attempt == 2 else Retry(after_us)

    await publish(world, "k")
    member = await start(world, handle, **given)
    await world.until(lambda: len(settlements(member)) == 1, "it is parked")
    (settled,) = of_type(member.entries, SettleEntry)
    return member, settled.t_us + after_us


# ---- the history, and what is not read


def test_the_history_tells_of_every_step_of_a_subscription() -> None:
    async def case(world: MemoryBusWorld) -> None:
        groups: list[str] = []

        async def handle(delivery: Delivery) -> Settlement:
            groups.append(delivery.group)
            return ACK

        await publish(world, "k")
        (record,) = world.log.records("orders")
        digest = event_digest(record.key, record.value, record.headers)
        member = await start(world, handle)
        await world.until_committed("orders", 1)
        epoch = member.subscription.epoch
        await revoke(member)
        await member.stop(S)
        assert groups == ["group"]
        assert told(member) == [
            ("owned", "m", "", "group", epoch, ("orders/0",)),
            ("held", "m", "", "group", 1),
            ("deliver", "m", "", "group", "orders", 0, 0, epoch, "0", "OrderCreated", 1, digest),
            ("settle", "m", "", "group", "orders", 0, 0, epoch, "0", "ack", "handled", 0),
            ("revoked", "m", "", "group", epoch, ("orders/0",)),
            ("drained", "m", "", "group", 0, 0, 0),
        ]

    run(case)


def test_a_record_that_nobody_reads_is_settled_as_it_comes_in() -> None:
    async def case(world: MemoryBusWorld) -> None:
        journal = Journal(world)
        subject = (("lab_subject", b"7.1"), ("lab-subject", b"7.1"))
        await world.publisher().publish(
            [outgoing("read", b"e1"), outgoing("unread", b"e2", headers=subject)]
        )
        member = await start(world, journal.handler("m"), is_started=False)
        member.subscription._skips = lambda record: record.key == b"unread"
        await member.start_again()
        await world.until_committed("orders", 2)
        epoch = member.subscription.epoch
        assert journal.seen() == ["read"]
        assert member.subscription.in_flight == 0
        settled = of_type(member.entries, SettleEntry)
        (unread,) = [without_time(entry) for entry in settled if entry.event_id == "e2"]
        place = ("group", "orders", 0, 1, epoch)
        assert unread == ("settle", "m", "7.1", *place, "e2", "ack", "unread", 0)

    run(case)


def test_a_stop_leaves_no_gap_below_a_record_that_nobody_reads() -> None:
    async def case(world: MemoryBusWorld) -> None:
        journal, gate = Journal(world), Gate()

        async def work(_delivery: Delivery) -> Settlement:
            await gate.passed()
            return ACK

        await publish(world, "k", "k", "unread", "k")
        member = await start(world, journal.handler("m", work), is_started=False)
        member.subscription._skips = lambda record: record.key == b"unread"
        await member.start_again()
        await world.until(lambda: gate.waiting == 1, "it runs")
        stopping = soon(member.stop(S))
        await sleep_us(MS)
        gate.open()
        assert (await stopping).drained == ("0", "1")
        assert await world.committed("orders") == {0: 3}

    run(case)


def test_an_unread_record_does_not_move_back_what_was_started() -> None:
    async def case(world: MemoryBusWorld) -> None:
        gate = Gate()

        async def work(delivery: Delivery) -> Settlement:
            if delivery.record.key == b"slow":
                await gate.passed()
            return ACK

        member = await start(world, work, is_started=False)
        member.subscription._skips = lambda record: record.key == b"unread"
        await publish(world, "unread")
        await member.start_again()
        await world.until_committed("orders", 1)
        (tracker,) = member.subscription._intake.trackers.values()
        tracker.started = 5
        await publish(world, "unread")
        await world.until_committed("orders", 2)
        assert tracker.started == 5

    run(case)


# ---- bugs


def test_a_task_of_a_subscription_that_fails_is_reported() -> None:
    async def broken(*_given: object) -> None:
        raise ZeroDivisionError

    async def case(world: MemoryBusWorld) -> None:
        async def handle(_delivery: Delivery) -> Settlement:
            return ACK

        await publish(world, "k")
        await start(world, handle, wrap=instead(commit=broken))
        await sleep_us(S)

    run(case, fails="a task of the subscription of group failed")


def test_a_subscription_that_runs_says_so_when_it_is_started() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member = await start(world, Busy())
        with pytest.raises(RuntimeError, match="the subscription of group is running already"):
            await member.start_again()

    run(case)


def test_who_waits_for_a_stop_that_fails_is_told_that_nothing_is_known_committed() -> None:
    async def broken() -> None:
        await sleep_us(MS)
        raise ZeroDivisionError

    async def case(world: MemoryBusWorld) -> None:
        member = await start(world, Busy(), wrap=instead(leave=broken))
        await sleep_us(MS)
        first = soon(member.stop(S))
        await sleep_us(1)
        assert await member.stop(S) == StopReport(is_committed=False)
        with pytest.raises(ZeroDivisionError):
            await first

    run(case)


def test_workers_of_an_event_loop_that_ends_are_not_replaced() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, _busy = await occupied(world)
        subscription = member.subscription
        tasks = [*subscription._tasks, *subscription._workers.tasks]
        for task in tasks:
            task.cancel()
        await sleep_us(MS)
        assert all(task.done() for task in subscription._workers.tasks)

    run(case)


# ---- stops


def test_an_abort_cancels_in_the_moment_in_which_it_comes() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, busy = await occupied(world)
        began_us = world.now_us()
        report = await member.abort()
        assert (report.cancelled, busy.cancelled_us) == (("0",), [began_us])
        assert world.now_us() == began_us

    run(case)


def test_a_pause_that_ends_behind_an_abort_starts_nothing() -> None:
    async def case(world: MemoryBusWorld) -> None:
        busy, journal = Busy(is_deaf=True), Journal(world)

        async def work(delivery: Delivery) -> Settlement:
            return await busy(delivery) if delivery.record.key == b"deaf" else Release("down", S)

        await publish(world, "deaf", "paused")
        changes = limits(rest_us=8 * S)
        member = await start(world, journal.handler("m", work), limits=changes)
        await world.until(lambda: bool(settlements(member)), "it is paused")
        stopping = soon(member.stop(60 * S))
        await sleep_us(500 * MS)
        began_us = world.now_us()
        report = await member.abort()
        # The pause has ended while the other one was waited for.
        assert world.now_us() == began_us + changes.rest_us // 4
        assert journal.seen() == ["deaf", "paused"]
        assert report.abandoned == ("0", "1")
        assert await stopping == report

    run(case)


def test_after_a_stop_nothing_is_owned() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, _busy = await occupied(world)
        assert member.subscription.epoch > 0
        await member.stop(MS)
        subscription = member.subscription
        assert (subscription.epoch, subscription.owned, subscription.in_flight) == (0, [], 0)

    run(case)


def test_a_second_stop_shortens_the_first_and_what_runs_is_still_moved() -> None:
    async def case(world: MemoryBusWorld) -> None:
        moved: list[int] = []

        async def move(_delivery: Delivery) -> Settlement:
            moved.append(world.now_us())
            return Ack("parked")

        member, _busy = await occupied(world, move=move)
        began_us = world.now_us()
        first = soon(member.stop(60 * S))
        await sleep_us(MS)
        second = await member.stop(S)
        assert moved == [began_us + MS + S]
        assert await first == second
        assert (second.cancelled, second.drained, second.abandoned) == (("0",), ("0",), ())

    run(case)


def test_an_abort_of_a_stop_moves_nothing() -> None:
    async def case(world: MemoryBusWorld) -> None:
        async def move(_delivery: Delivery) -> Settlement:
            raise AssertionError("it was aborted")

        member, _busy = await occupied(world, move=move)
        first = soon(member.stop(60 * S))
        await sleep_us(MS)
        report = await member.abort()
        assert (report.cancelled, report.drained) == (("0",), ())
        assert await first == report

    run(case)


@pytest.mark.parametrize("is_aborted", [False, True], ids=["", "aborted"])
def test_a_move_that_fails_has_a_quarter_of_the_rest_and_none_after_an_abort(
    is_aborted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, _due_us = await parked(world, 60 * S, move=unreachable_move)
        began_us = world.now_us()
        stopping = soon(member.stop(S))
        await sleep_us(S + 50 * MS)
        if is_aborted:
            await member.abort()
        assert (await stopping).abandoned == ("0",)
        took_us = world.now_us() - began_us
        assert took_us == S + (50 * MS if is_aborted else LIMITS.rest_us // 4)

    run(case)


async def unreachable_move(_delivery: Delivery) -> Settlement:
    return Retry(MS, counts=False)


def test_a_handler_that_ignores_its_cancellation_is_given_a_quarter_of_the_rest() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, busy = await occupied(world, is_deaf=True)
        began_us = world.now_us()
        report = await member.stop(S)
        assert report.abandoned == ("0",)
        assert busy.cancelled_us[0] == began_us + S
        assert world.now_us() == began_us + S + LIMITS.rest_us // 4

    run(case)


def test_a_last_commit_that_fails_has_half_of_the_rest() -> None:
    async def case(world: MemoryBusWorld) -> None:
        async def handle(_delivery: Delivery) -> Settlement:
            return ACK

        await publish(world, "k")
        member = await start(world, handle, wrap=instead(commit=unreachable))
        await world.until(lambda: bool(settlements(member)), "it is acknowledged")
        began_us = world.now_us()
        report = await member.stop(0)
        assert not report.is_committed
        assert world.now_us() == began_us + LIMITS.rest_us // 2

    run(case)


def test_the_consumer_is_not_left_while_a_call_of_it_is_under_way() -> None:
    steps: list[str] = []

    async def slow_poll(_records: int) -> list[Any]:
        await sleep_us(S)
        steps.append("polled")
        return []

    async def leave() -> None:
        steps.append("left")

    async def case(world: MemoryBusWorld) -> None:
        member = await start(world, Busy(), wrap=instead(poll=slow_poll, leave=leave))
        await sleep_us(MS)
        await member.stop(S)

    run(case)
    assert steps == ["polled", "left"]


# ---- partitions that are taken away


def test_a_rebalance_waits_for_what_runs_and_then_fences_it() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, busy = await occupied(world, is_deaf=True)
        began_us = world.now_us()
        await revoke(member)
        assert world.now_us() == began_us + LIMITS.revoke_us
        assert busy.cancelled_us == []
        subscription = member.subscription
        assert (subscription.epoch, subscription.owned) == (0, [])
        assert subscription._settling.drain is None, "its drain ends with the assignment"

    run(case)


def test_what_is_fetched_while_partitions_are_given_up_is_dropped() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, busy = await occupied(world)
        revoking = revoke(member)
        await sleep_us(MS)
        await publish(world, "during")
        await sleep_us(MS)
        assert (busy.started, member.subscription.in_flight) == (1, 1)
        await revoking
        for _ in range(2):  # The first one is still fetched under the assignment that is gone.
            await publish(world, "after")
            await sleep_us(MS)
        assert (busy.started, member.subscription.in_flight) == (1, 0)

    run(case)


def test_an_assignment_that_nobody_took_away_first_fences_the_last_one() -> None:
    async def case(world: MemoryBusWorld) -> None:
        gate = Gate()

        async def work(_delivery: Delivery) -> Settlement:
            await gate.passed()
            return ACK

        await publish(world, "k", "k")
        member = await start(world, work)
        await world.until(lambda: gate.waiting == 1, "it runs")
        subscription = member.subscription
        epoch, ends = subscription.epoch, dict(subscription._intake._ends)
        await member._call(subscription.on_assigned(epoch + 1, ends))
        gate.open()
        await sleep_us(MS)
        assert settlements(member) == [("0", "stale")]
        assert (subscription.epoch, subscription.in_flight) == (epoch + 1, 0)
        kinds = [kind_of(entry) for entry in member.entries]
        assert kinds == ["owned", "held", "deliver", "revoked", "owned", "settle"]

    run(case)


def test_a_rebalance_does_not_wait_for_what_is_parked() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, _due_us = await parked(world, 300 * MS)
        began_us = world.now_us()
        await revoke(member)
        assert world.now_us() == began_us
        await sleep_us(S)
        assert settlements(member) == [("0", "retry")], "it is gone with its partition"

    run(case)


def test_a_stop_during_a_rebalance_waits_for_what_is_parked() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, due_us = await parked(world, 300 * MS)
        stopping = soon(member.stop(S))
        await sleep_us(MS)
        await revoke(member)
        assert world.now_us() == due_us
        assert (await stopping) == StopReport(drained=("0",))
        assert await world.committed("orders") == {0: 1}

    run(case)


@pytest.mark.parametrize("stop_comes_first", [False, True], ids=["rebalance first", "stop first"])
def test_a_stop_is_over_a_quarter_of_the_rest_before_its_partitions_are_gone(
    stop_comes_first: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, busy = await occupied(world)
        stopping = soon(member.stop(60 * S)) if stop_comes_first else None
        await sleep_us(MS)
        began_us = world.now_us()
        revoking = revoke(member)
        await sleep_us(MS)
        report = await (stopping or soon(member.stop(60 * S)))
        assert (report.cancelled, report.abandoned) == (("0",), ())
        by_us = began_us + LIMITS.revoke_us - LIMITS.rest_us // 4
        assert (busy.cancelled_us, world.now_us()) == ([by_us], by_us)
        await revoking
        assert world.now_us() == by_us, "nor does the rebalance wait for anything any more"

    run(case)


def test_a_rebalance_that_is_over_does_not_shorten_a_later_stop() -> None:
    async def case(world: MemoryBusWorld) -> None:
        member, busy = await occupied(world)
        subscription = member.subscription
        epoch, ends = subscription.epoch, dict(subscription._intake._ends)
        await revoke(member)
        await member._call(subscription.on_assigned(epoch + 1, ends))
        began_us = world.now_us()
        await member.stop(3 * S)
        assert busy.cancelled_us == [began_us + 3 * S]

    run(case)


def test_a_stop_that_has_given_up_ends_the_wait_of_a_rebalance() -> None:
    async def case(world: MemoryBusWorld) -> None:
        changes = {"limits": limits(revoke_us=30 * S, rest_us=400 * MS)}
        member, _busy = await occupied(
            world, is_deaf=True, wrap=instead(commit=unreachable), **changes
        )
        stopping = soon(member.stop(S))
        await sleep_us(MS)
        began_us = world.now_us()
        await revoke(member)
        assert world.now_us() == began_us - MS + S + LIMITS.rest_us // 4
        assert (await stopping).abandoned == ("0",)

    run(case)


def test_what_a_stop_still_has_in_hand_when_its_partitions_go_is_abandoned() -> None:
    async def case(world: MemoryBusWorld) -> None:
        changes = {"limits": limits(revoke_us=100 * MS, rest_us=4 * S)}
        member, _busy = await occupied(world, is_deaf=True, **changes)
        stopping = soon(member.stop(S))
        await sleep_us(MS)
        await revoke(member)
        assert (await stopping).abandoned == ("0",)

    run(case)


@pytest.mark.parametrize("is_stop", [False, True], ids=["rebalance", "stop"])
def test_a_rebalance_repeats_its_commit_for_two_seconds_and_a_stop_for_half_of_its_rest(
    is_stop: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def case(world: MemoryBusWorld) -> None:
        gate = Gate()

        async def work(_delivery: Delivery) -> Settlement:
            await gate.passed()
            return ACK

        await publish(world, "k")
        member = await start(world, work, wrap=instead(commit=unreachable))
        await world.until(lambda: gate.waiting == 1, "it runs")
        stopping = soon(member.stop(S)) if is_stop else None
        await sleep_us(MS)
        revoking = revoke(member)
        await sleep_us(MS)
        began_us = world.now_us()
        gate.open()
        await revoking
        took_us = LIMITS.rest_us // 2 if is_stop else 2 * S
        assert world.now_us() == began_us + took_us
        if stopping is not None:
            report = await stopping
            assert (report.drained, report.is_committed) == (("0",), False)

    run(case)
