"""Claims about restartable processes, clocks and calls that run side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, TypeVar

import pytest

from lab.runtime.clock import SystemClock, VirtualClock
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.processes import AsyncTasks, SimProcess
from lab.runtime.virtual_loop import Scheduler, sleep_us, suspend
from tests.kit.process_ends import crash_here, wait_exit

T = TypeVar("T")
Order = Literal["fifo", "shuffle"]


def on_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    with Scheduler(seed=5, order="shuffle") as scheduler:
        result = scheduler.run(main)
        assert scheduler.errors == []
    return result


def on_asyncio(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


WORLDS: tuple[Callable[[Coroutine[Any, Any, Any]], Any], ...] = (on_virtual_time, on_asyncio)


# ---- processes


def test_a_restarted_process_runs_its_program_afresh() -> None:
    scheduler = Scheduler()
    trace: list[tuple[str, int]] = []

    async def program(loop: ProcessLoop) -> None:
        memory: list[int] = []
        while True:
            memory.append(1)
            trace.append((loop.name, len(memory)))
            await sleep_us(10)

    process = SimProcess(scheduler, "payment", program)

    async def main() -> None:
        assert process.incarnation == 0
        first = process.start()
        assert process.start() is first, "it runs already"
        await sleep_us(15)
        process.kill()
        second = process.start()
        assert first.dead
        assert process.loop is second
        await sleep_us(15)
        process.kill()
        process.kill()
        assert second.dead
        assert process.incarnation == 2
        await sleep_us(100)

    scheduler.run(main())
    assert trace == [("payment", 1), ("payment", 2), ("payment#2", 1), ("payment#2", 2)]


def test_a_process_ends_with_its_program() -> None:
    scheduler = Scheduler()
    events: list[str] = []

    async def background() -> None:
        await sleep_us(20)
        events.append("background went on")

    async def program(loop: ProcessLoop) -> None:
        loop.on_kill.append(lambda: events.append("connections reset"))
        loop.spawn(background())
        await sleep_us(10)

    process = SimProcess(scheduler, "payment", program)

    async def main() -> None:
        await wait_exit(process)
        process.start()
        await wait_exit(process)
        events.append(f"exit seen at {scheduler.now_us}")
        await sleep_us(100)

    scheduler.run(main())
    assert events == ["connections reset", "exit seen at 10"]


def test_an_exception_of_a_program_is_recorded_and_ends_the_process() -> None:
    scheduler = Scheduler()

    async def program(_loop: ProcessLoop) -> None:
        await suspend()
        raise ZeroDivisionError

    process = SimProcess(scheduler, "payment", program)

    async def main() -> None:
        process.start()
        await wait_exit(process)

    scheduler.run(main())
    assert process.loop is None
    assert [(e.process, type(e.exception)) for e in scheduler.errors] == [
        ("payment", ZeroDivisionError)
    ]


def test_a_process_that_crashes_itself_stops_at_that_await() -> None:
    scheduler = Scheduler()
    trace: list[str] = []

    async def program(_loop: ProcessLoop) -> None:
        try:
            trace.append("before")
            await crash_here()
        finally:
            trace.append("after")

    process = SimProcess(scheduler, "payment", program)

    async def main() -> None:
        process.start()
        await wait_exit(process)
        await sleep_us(10)

    scheduler.run(main())
    assert trace == ["before"]


# ---- clocks


def test_a_virtual_clock_shows_the_time_of_its_process() -> None:
    scheduler = Scheduler(epoch_us=1_000_000)
    clock = VirtualClock(scheduler.process("p", skew_us=7))

    async def main() -> None:
        before = scheduler.steps
        await clock.sleep_us(0)
        assert clock.now_us() == 7
        assert before == scheduler.steps
        await clock.sleep_us(100)

    scheduler.run(main())
    assert (clock.now_us(), clock.wall_us()) == (107, 1_000_107)


def test_the_system_clock_counts_microseconds() -> None:
    clock = SystemClock()
    before, wall = clock.now_us(), clock.wall_us()
    asyncio.run(clock.sleep_us(2_000))
    asyncio.run(clock.sleep_us(-1))
    assert 2_000 <= clock.now_us() - before < 10_000_000
    assert 1_600_000_000_000_000 < wall <= clock.wall_us()


# ---- side by side


class Calls:
    """Calls that end in a given order, and a note of what became of each."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self._begun_s: float | None = None

    def make(self, name: str, rounds: int, outcome: object) -> Callable[[], Awaitable[object]]:
        """A call that takes `rounds` turns from the first one's begin, then returns or raises."""

        async def call() -> object:
            loop = asyncio.get_running_loop()
            if self._begun_s is None:
                self._begun_s = loop.time()
            over = loop.create_future()
            # All count from one instant: timers run in their order, however late the machine is.
            timer = loop.call_at(self._begun_s + rounds * 0.002, over.set_result, None)
            try:
                await over
            except asyncio.CancelledError:
                timer.cancel()
                self.ended.append(f"{name} cancelled")
                raise
            self.ended.append(name)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return call


async def together(
    calls: Sequence[Callable[[], Awaitable[object]]], decisive: object = "no"
) -> list[object]:
    return await AsyncTasks().together(calls, until=lambda result: result == decisive)


@pytest.mark.parametrize("world", WORLDS)
def test_results_come_in_the_order_of_the_calls(world: Callable[..., Any]) -> None:
    calls = Calls()
    made = [calls.make("slow", 3, "a"), calls.make("fast", 1, "b"), calls.make("medium", 2, "c")]
    assert world(together(made)) == ["a", "b", "c"]
    assert calls.ended == ["fast", "medium", "slow"]


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_to_call_gives_nothing(world: Callable[..., Any]) -> None:
    assert world(together([])) == []


@pytest.mark.parametrize("world", WORLDS)
def test_a_decisive_result_cancels_the_others(world: Callable[..., Any]) -> None:
    calls = Calls()
    made = [calls.make("first", 1, "yes"), calls.make("never", 9999, 1), calls.make("no", 2, "no")]
    assert world(together(made)) == ["yes", None, "no"]
    assert calls.ended == ["first", "no", "never cancelled"]


@pytest.mark.parametrize("world", WORLDS)
def test_the_first_error_cancels_the_others_and_is_raised(world: Callable[..., Any]) -> None:
    calls = Calls()
    made = [calls.make("never", 9999, 1), calls.make("bad", 1, KeyError("lost"))]
    with pytest.raises(KeyError, match="lost"):
        world(together(made))
    assert calls.ended == ["bad", "never cancelled"]


@pytest.mark.parametrize("world", WORLDS)
def test_an_error_after_the_decision_does_not_count(world: Callable[..., Any]) -> None:
    async def fails_when_cancelled() -> object:
        try:
            await asyncio.sleep(99)
        finally:
            raise KeyError("too late")

    made = [fails_when_cancelled, Calls().make("no", 1, "no")]
    assert world(together(made)) == [None, "no"]


@pytest.mark.parametrize("world", WORLDS)
def test_a_decision_after_an_error_does_not_count(world: Callable[..., Any]) -> None:
    async def decides_when_cancelled() -> object:
        try:
            await asyncio.sleep(99)
        except asyncio.CancelledError:
            return "no"
        return "late"

    made = [decides_when_cancelled, Calls().make("bad", 1, KeyError("lost"))]
    with pytest.raises(KeyError, match="lost"):
        world(together(made))


@pytest.mark.parametrize("world", WORLDS)
def test_an_error_of_the_rule_itself_is_raised(world: Callable[..., Any]) -> None:
    def broken(_result: object) -> bool:
        raise ZeroDivisionError

    calls = Calls()
    made = [calls.make("never", 9999, 1), calls.make("one", 1, 1)]
    with pytest.raises(ZeroDivisionError):
        world(AsyncTasks().together(made, until=broken))
    assert calls.ended == ["one", "never cancelled"]


@pytest.mark.parametrize("world", WORLDS)
def test_cancelling_the_caller_cancels_all_calls_and_waits_for_them(
    world: Callable[..., Any],
) -> None:
    calls = Calls()

    async def main() -> None:
        made = [calls.make("a", 9999, 1), calls.make("b", 9999, 1)]
        caller = asyncio.get_running_loop().create_task(together(made))
        await asyncio.sleep(0.001)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert calls.ended == ["a cancelled", "b cancelled"]

    world(main())
