"""The shutdown sequence of one process, over parts that only note what is asked of them."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lab.patterns.drain import Drain, ExitAtOnce, ShutdownReport
from lab.ports.bus import StopReport
from lab.runtime.virtual_loop import Scheduler, sleep_us

S = 1_000_000


class Parts:
    """Everything that a process consists of; notes the steps with their times."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.steps: list[tuple[str, int]] = []

    def note(self, step: str) -> None:
        self.steps.append((step, self.scheduler.now_us))

    def names(self) -> list[str]:
        return [name for name, _at_us in self.steps]

    def halt(self) -> None:
        self.note("halt")

    async def finish(self, grace_us: int) -> None:
        self.note(f"finish {grace_us / S:g}")

    async def close(self) -> None:
        self.note("close")


class Consumer:
    """A subscription that needs some time to drain."""

    def __init__(self, parts: Parts, name: str, work_us: int, report: StopReport) -> None:
        self._parts = parts
        self._name = name
        self._work_us = work_us
        self._report = report
        self._is_aborted = False

    async def stop(self, grace_us: int) -> StopReport:
        self._parts.note(f"stop {self._name} {grace_us // S}")
        end_us = self._parts.scheduler.now_us + min(self._work_us, grace_us)
        while not self._is_aborted and self._parts.scheduler.now_us < end_us:
            await sleep_us(1_000)
        self._parts.note(f"stopped {self._name}")
        return self._report

    async def abort(self) -> StopReport:
        self._parts.note(f"abort {self._name}")
        self._is_aborted = True
        return self._report


def make_drain(
    parts: Parts,
    *subscriptions: Consumer,
    lame_duck: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Drain:
    return Drain(
        unready=lambda: parts.note("unready"),
        subscriptions=subscriptions,
        background=[parts],
        close=[parts.close],
        now=lambda: parts.scheduler.now_us,
        grace_us=10 * S,
        lame_duck=lame_duck,
    )


def test_the_steps_come_in_order_and_subscriptions_side_by_side() -> None:
    with Scheduler() as scheduler:
        parts = Parts(scheduler)
        slow = Consumer(parts, "slow", 4 * S, StopReport(drained=("a",)))
        fast = Consumer(parts, "fast", 1 * S, StopReport(drained=("b", "c")))
        report = scheduler.run(make_drain(parts, slow, fast).on_signal())
    assert parts.names() == [
        "unready",
        "halt",
        "stop slow 6",
        "stop fast 6",
        "stopped fast",
        "stopped slow",
        "finish 6",
        "close",
    ]
    assert report == ShutdownReport(drained=("a", "b", "c"))


@pytest.mark.parametrize(
    "unclean",
    [
        StopReport(cancelled=("x",)),
        StopReport(abandoned=("x",)),
        StopReport(is_committed=False),
    ],
)
def test_one_unclean_subscription_makes_the_shutdown_unclean(unclean: StopReport) -> None:
    with Scheduler() as scheduler:
        parts = Parts(scheduler)
        clean = Consumer(parts, "clean", S, StopReport(drained=("a",)))
        other = Consumer(parts, "other", S, unclean)
        report = scheduler.run(make_drain(parts, clean, other).on_signal())
    assert not report.is_clean
    assert (report.cancelled, report.abandoned) == (unclean.cancelled, unclean.abandoned)


def test_a_second_signal_aborts_and_both_get_the_same_report() -> None:
    async def main() -> tuple[ShutdownReport, ShutdownReport]:
        drain = make_drain(parts, Consumer(parts, "slow", 5 * S, StopReport(cancelled=("a",))))
        first = scheduler.root.create_task(drain.on_signal())
        await sleep_us(S)
        second = await drain.on_signal()
        return await first, second

    with Scheduler() as scheduler:
        parts = Parts(scheduler)
        first, second = scheduler.run(main())
        assert scheduler.now_us < 2 * S
    assert first == second
    assert first.is_aborted
    assert parts.names()[-3:] == ["stopped slow", "finish 0", "close"]


def test_who_has_used_up_its_grace_has_none_left_to_finish_with() -> None:
    with Scheduler() as scheduler:
        parts = Parts(scheduler)

        class Late(Consumer):
            async def stop(self, grace_us: int) -> StopReport:
                await sleep_us(11 * S)
                return await super().stop(grace_us)

        late = Late(parts, "late", 0, StopReport())
        scheduler.run(make_drain(parts, late).on_signal())
    assert parts.names()[-2:] == ["finish 0", "close"]


def test_a_second_signal_is_told_that_a_shutdown_that_failed_was_not_clean() -> None:
    class Broken(Consumer):
        async def stop(self, grace_us: int) -> StopReport:
            await sleep_us(2 * S)
            raise RuntimeError(f"a bug within {grace_us}")

    async def main() -> ShutdownReport:
        drain = make_drain(parts, Broken(parts, "broken", 0, StopReport()))
        first = scheduler.root.create_task(drain.on_signal())
        await sleep_us(S)
        second = await drain.on_signal()
        with pytest.raises(RuntimeError, match="a bug"):
            await first
        return second

    with Scheduler() as scheduler:
        parts = Parts(scheduler)
        assert scheduler.run(main()) == ShutdownReport(is_clean=False)


def test_what_is_open_is_closed_even_if_a_step_fails() -> None:
    class Broken(Consumer):
        async def stop(self, grace_us: int) -> StopReport:
            raise RuntimeError(f"a bug within {grace_us}")

    with Scheduler() as scheduler:
        parts = Parts(scheduler)
        drain = make_drain(parts, Broken(parts, "broken", 0, StopReport()))
        with pytest.raises(RuntimeError, match="a bug"):
            scheduler.run(drain.on_signal())
    assert parts.names()[-1] == "close"


def test_the_weak_part_touches_nothing() -> None:
    with Scheduler() as scheduler:
        report = scheduler.run(ExitAtOnce().on_signal())
        assert scheduler.now_us == 0
    assert report == ShutdownReport(is_clean=False, is_aborted=True)


def test_a_lame_duck_is_unready_and_serves_on_and_its_grace_begins_after_it() -> None:
    with Scheduler() as scheduler:
        parts = Parts(scheduler)
        drain = make_drain(parts, lame_duck=lambda: sleep_us(30 * S))
        scheduler.run(drain.on_signal())
    assert parts.steps[:2] == [("unready", 0), ("halt", 30 * S)]
    assert parts.names()[-2:] == ["finish 10", "close"]


def test_a_second_signal_ends_the_lame_duck_time_too() -> None:
    async def main() -> ShutdownReport:
        drain = make_drain(parts, lame_duck=lambda: sleep_us(3_600 * S))
        first = scheduler.root.create_task(drain.on_signal())
        await sleep_us(S)
        second = await drain.on_signal()
        assert await first == second
        return second

    with Scheduler() as scheduler:
        parts = Parts(scheduler)
        assert scheduler.run(main()).is_aborted
        assert scheduler.now_us < 2 * S
    assert parts.names() == ["unready", "halt", "finish 0", "close"]
