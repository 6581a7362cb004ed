"""Claims about virtual time, its deadlock report, and the real world kept out of it."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import pytest

from lab.runtime.errors import (
    DeadlockError,
    LivelockError,
    RealIOError,
    SimulationError,
    TimeLimitError,
)
from lab.runtime.virtual_loop import Scheduler, VirtualLoop, sleep_us, suspend

YEAR_US = 365 * 24 * 3600 * 1_000_000
Order = Literal["fifo", "shuffle"]
ORDERS: tuple[Order, ...] = ("fifo", "shuffle")


async def nothing() -> None:
    return


# ---- time


def test_timers_of_one_instant_fire_in_the_order_they_were_set() -> None:
    scheduler = Scheduler()
    fired: list[int] = []

    async def main() -> None:
        loop = scheduler.root
        for n in range(0, 40, 4):
            loop.call_later(1, fired.append, n)
            loop.call_at(1.0, fired.append, n + 1)
            loop.call_at_us(1_000_000, fired.append, n + 2)
            loop.call_after_us(1_000_000, fired.append, n + 3)
        await sleep_us(1_000_000)

    scheduler.run(main())
    assert fired == list(range(40))
    assert scheduler.now_us == 1_000_000


def test_an_idle_virtual_year_costs_two_steps() -> None:
    scheduler = Scheduler()
    seen: list[int] = []

    async def main() -> None:
        for _ in range(2):
            seen.append(scheduler.root.now_us())
            await sleep_us(YEAR_US)

    scheduler.run(main())
    assert seen == [0, YEAR_US]
    assert scheduler.steps < 10


def test_seconds_of_asyncio_add_up_exactly_over_a_year() -> None:
    scheduler = Scheduler()

    async def main() -> None:
        await asyncio.sleep(YEAR_US / 1e6)
        for _ in range(1000):
            await asyncio.sleep(0.001)

    scheduler.run(main())
    assert scheduler.now_us == YEAR_US + 1_000_000


def test_a_cancelled_timer_does_not_move_the_clock() -> None:
    scheduler = Scheduler()

    async def main() -> None:
        for _ in range(1000):
            scheduler.root.call_after_us(YEAR_US, print, "never").cancel()
        await sleep_us(5)

    scheduler.run(main())
    assert scheduler.now_us == 5


def test_cancelled_timers_do_not_pile_up() -> None:
    scheduler = Scheduler()

    async def main() -> None:
        for _ in range(10_000):
            scheduler.root.call_after_us(YEAR_US, print, "never").cancel()

    scheduler.run(main())
    assert len(scheduler.root.timeline.heap) < 200


def test_a_timer_in_the_past_fires_now_and_time_never_goes_back() -> None:
    scheduler = Scheduler()
    fired: list[int] = []

    async def main() -> None:
        await sleep_us(100)
        scheduler.root.call_at_us(3, lambda: fired.append(scheduler.now_us))
        await sleep_us(1)

    scheduler.run(main())
    assert fired == [100]
    assert scheduler.now_us == 101


def test_a_sleep_cancelled_when_it_is_due_raises_only_in_the_sleeper() -> None:
    scheduler = Scheduler()
    ended: list[str] = []

    async def sleeper() -> None:
        try:
            await sleep_us(10)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main() -> None:
        loop = scheduler.root
        tasks: list[asyncio.Task[None]] = []

        def cancel_sleeper() -> None:
            tasks[0].cancel()

        loop.call_after_us(10, cancel_sleeper)
        tasks.append(task := loop.create_task(sleeper()))
        await sleep_us(20)
        assert task.cancelled()

    scheduler.run(main())
    assert ended == ["cancelled"]
    assert scheduler.errors == []


def test_a_sleep_of_nothing_still_gives_way() -> None:
    scheduler = Scheduler()
    trace: list[str] = []

    async def other() -> None:
        trace.append("other")

    async def main() -> None:
        for us in (0, -5):
            task = scheduler.root.create_task(other())
            await sleep_us(us)
            trace.append("main")
            await task

    scheduler.run(main())
    assert trace == ["other", "main"] * 2
    assert scheduler.now_us == 0


def test_skew_shows_in_the_clock_and_not_in_a_delay() -> None:
    scheduler = Scheduler(epoch_us=1_000)
    ahead = scheduler.process("ahead", skew_us=5_000_000)
    seen: list[object] = []

    async def program() -> None:
        loop = asyncio.get_running_loop()
        seen.append((ahead.now_us(), ahead.wall_us(), loop.time()))
        await sleep_us(1_000_000)
        ahead.call_at_us(7_000_000, lambda: seen.append(scheduler.now_us))
        loop.call_at(7.5, lambda: seen.append(scheduler.now_us))

    async def main() -> None:
        ahead.spawn(program())
        await sleep_us(10_000_000)

    scheduler.run(main())
    assert seen == [(5_000_000, 5_001_000, 5.0), 2_000_000, 2_500_000]


def test_the_run_fails_when_virtual_time_would_pass_its_limit() -> None:
    scheduler = Scheduler()
    reached: list[int] = []

    async def main() -> None:
        await sleep_us(1000)
        reached.append(scheduler.now_us)
        await sleep_us(1)

    with pytest.raises(TimeLimitError, match=r"1,001 us, is past 1,000 us"):
        scheduler.run(main(), until_us=1000)
    assert reached == [1000]


# ---- running


def test_run_returns_the_result_and_raises_the_exception_of_main() -> None:
    scheduler = Scheduler()

    async def good() -> int:
        await suspend()
        return 7

    async def bad() -> None:
        await suspend()
        raise KeyError("lost")

    assert scheduler.run(good()) == 7
    with pytest.raises(KeyError, match="lost"):
        scheduler.run(bad())
    assert scheduler.run(good()) == 7


def test_a_later_run_goes_on_where_the_last_one_ended() -> None:
    scheduler = Scheduler()
    ticks: list[int] = []

    async def ticker() -> None:
        for _ in range(4):
            await sleep_us(10)
            ticks.append(scheduler.now_us)

    async def start() -> None:
        scheduler.process("ticker").spawn(ticker())
        await sleep_us(25)

    scheduler.run(start())
    assert ticks == [10, 20]
    scheduler.run(sleep_us(100))
    assert ticks == [10, 20, 30, 40]


def test_run_refuses_a_running_loop_and_a_closed_world() -> None:
    scheduler = Scheduler()

    async def nested() -> None:
        scheduler.run(nothing())

    with pytest.raises(RuntimeError, match="running event loop"):
        scheduler.run(nested())
    scheduler.close()
    with pytest.raises(SimulationError, match="closed"):
        scheduler.run(nothing())


def test_automatic_collection_is_off_during_a_run_and_back_after_it() -> None:
    states: list[bool] = []

    async def main() -> None:
        states.append(gc.isenabled())
        raise ValueError("on purpose")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="on purpose"):
        Scheduler().run(main())
    assert states == [False]
    assert gc.isenabled()


def test_cycles_are_collected_at_the_same_instants_in_every_run() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            freed[-1] += 1

    freed = [0]

    async def main() -> None:
        for count in range(20_500):
            if count % 100 == 0:
                freed.append(0)
            Cycle()
            await sleep_us(1)

    traces = []
    for noise in (0, 5000):
        kept: list[list[int]] = [[] for _ in range(noise)]
        freed = [0]
        Scheduler().run(main())
        traces.append(freed)
        freed = [0]
        gc.collect()
        assert len(kept) == noise
    assert traces[0] == traces[1]
    assert sum(traces[0]) > 19_000


def test_an_error_in_a_callback_ends_the_run_and_names_the_process() -> None:
    scheduler = Scheduler()
    process = scheduler.process("payment")

    def broken() -> None:
        raise ZeroDivisionError("oops")

    async def main() -> None:
        process.call_soon(broken)
        await sleep_us(1)

    with pytest.raises(SimulationError, match=r"'payment' failed at 0 us: ZeroDivisionError"):
        scheduler.run(main())
    assert [(e.process, type(e.exception)) for e in scheduler.errors] == [
        ("payment", ZeroDivisionError)
    ]


def test_an_exception_of_a_task_that_nobody_awaits_is_recorded() -> None:
    scheduler = Scheduler()

    async def broken() -> None:
        raise ZeroDivisionError("oops")

    async def main() -> None:
        scheduler.process("payment").spawn(broken())
        await sleep_us(1)

    scheduler.run(main())
    assert [(e.process, type(e.exception)) for e in scheduler.errors] == [
        ("payment", ZeroDivisionError)
    ]


def test_a_keyboard_interrupt_leaves_the_run_at_once() -> None:
    scheduler = Scheduler()
    after: list[str] = []

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        try:
            scheduler.process("p").spawn(interrupted())
            await sleep_us(1)
        finally:
            after.append("ran")

    with pytest.raises(KeyboardInterrupt):
        scheduler.run(main())
    gc.collect()
    assert after == []


def test_endless_work_at_one_instant_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.runtime.virtual_loop._STEPS_PER_LOOK", 1000)
    scheduler = Scheduler()

    async def spin() -> None:
        while True:
            await suspend()

    with pytest.raises(LivelockError, match="time stands still after 1,000 steps"):
        scheduler.run(spin())


def test_much_work_of_many_tasks_at_one_instant_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.runtime.virtual_loop._STEPS_PER_LOOK", 1000)
    scheduler = Scheduler()

    async def work() -> None:
        for _ in range(100):
            await suspend()

    async def main() -> None:
        for _ in range(50):
            scheduler.root.spawn(work())
        await sleep_us(1)

    scheduler.run(main())
    assert scheduler.steps > 5_000


def test_what_asyncio_offers_works_on_a_process() -> None:
    scheduler = Scheduler()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    closed: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for n in range(10):
                yield n
                await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0)
            closed.append(scheduler.now_us)

    async def in_time() -> str:
        async with asyncio.timeout(0.5):  # noqa: TID251 - that it works at all
            await asyncio.sleep(1)
        return "late"

    async def main() -> None:
        variable.set("set")
        queue: asyncio.Queue[str] = asyncio.Queue()
        asyncio.get_running_loop().call_later(1, lambda: queue.put_nowait(variable.get()))
        assert await queue.get() == "set"
        with pytest.raises(TimeoutError):
            await in_time()
        async with asyncio.Lock(), asyncio.Semaphore(1):
            assert await asyncio.gather(*[asyncio.sleep(2 - n, n) for n in range(3)]) == [0, 1, 2]
        async for n in numbers():
            if n == 2:
                break
        await asyncio.sleep(0.1)

    scheduler.run(main())
    assert closed == [5_500_000]
    assert scheduler.errors == []


# ---- deadlock


def test_a_deadlock_names_who_waits_for_what() -> None:
    scheduler = Scheduler()
    payment = scheduler.process("payment")
    stopped = scheduler.process("stopped")

    async def ask_gateway() -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        answer.waiting_for = ("answer of the gateway", 17)  # type: ignore[attr-defined]  # read by the report
        await answer

    async def handler() -> None:
        await ask_gateway()

    async def dead_end() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        payment.spawn(handler(), name="worker-3")
        payment.spawn(dead_end())
        stopped.spawn(sleep_us(10), name="sleeper")
        await suspend()
        stopped.pause()
        await asyncio.Queue[int]().get()

    with pytest.raises(DeadlockError) as caught:
        scheduler.run(main())
    text = str(caught.value)
    assert "harness: main at runtime/test_virtual_loop.py:" in text
    assert "payment: worker-3 at runtime/test_virtual_loop.py:" in text
    assert ".ask_gateway, waiting for ('answer of the gateway', 17)" in text
    assert "stopped (paused): sleeper at runtime/virtual_loop.py:" in text
    assert "ZeroDivisionError" in text


def test_a_deadlock_report_is_bounded_and_names_awaited_tasks() -> None:
    scheduler = Scheduler()

    async def for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        tasks = [scheduler.root.create_task(for_ever(), name=f"t{n}") for n in range(100)]
        await tasks[3]

    with pytest.raises(DeadlockError) as caught:
        scheduler.run(main())
    assert "main.<locals>" not in str(caught.value).splitlines()[0]
    assert "waiting for the task t3" in str(caught.value)
    assert "... and 61 more" in str(caught.value)


# ---- order


def trace_of(order: Order, seed: int) -> list[tuple[int, int]]:
    """The order in which eight tasks of six steps at one instant ran."""
    trace: list[tuple[int, int]] = []

    async def steps(task: int) -> None:
        for step in range(6):
            trace.append((task, step))
            await suspend()

    async def main() -> None:
        await asyncio.gather(*[steps(task) for task in range(8)])

    with Scheduler(seed=seed, order=order) as scheduler:
        scheduler.run(main())
    return trace


def test_fifo_takes_turns() -> None:
    assert trace_of("fifo", 1) == [(task, step) for step in range(6) for task in range(8)]


def test_shuffle_depends_on_the_seed_alone() -> None:
    traces = [trace_of("shuffle", seed) for seed in range(20)]
    assert traces == [trace_of("shuffle", seed) for seed in range(20)]
    assert len({tuple(trace) for trace in traces}) == 20


def test_shuffle_lets_every_task_be_first_and_any_pair_swap() -> None:
    firsts: dict[int, int] = {}
    swaps = 0
    for seed in range(400):
        trace = trace_of("shuffle", seed)
        firsts[trace[0][0]] = firsts.get(trace[0][0], 0) + 1
        swaps += trace.index((0, 0)) > trace.index((1, 0))
    assert sorted(firsts) == list(range(8))
    assert min(firsts.values()) > 25, "50 expected of each"
    assert 150 < swaps < 250


def test_shuffle_starves_nobody() -> None:
    scheduler = Scheduler(seed=3, order="shuffle")
    spins = 0
    worst = 0

    async def spin() -> None:
        nonlocal spins
        while not done.done():
            spins += 1
            await suspend()

    async def main() -> None:
        nonlocal worst
        tasks = [scheduler.root.create_task(spin()) for _ in range(3)]
        for _ in range(200):
            before = spins
            await suspend()
            worst = max(worst, spins - before)
        done.set_result(None)
        await asyncio.gather(*tasks)

    done = scheduler.root.create_future()
    scheduler.run(main())
    assert 6 < worst < 3 * 40


def test_shuffle_keeps_the_order_of_callbacks() -> None:
    scheduler = Scheduler(seed=1, order="shuffle")
    ran: list[int] = []

    async def main() -> None:
        for n in range(50):
            scheduler.root.call_soon(ran.append, n)
        await sleep_us(1)

    scheduler.run(main())
    assert ran == list(range(50))


def test_tasks_are_numbered_by_their_scheduler_and_hash_to_their_number() -> None:
    for _ in range(2):
        scheduler = Scheduler()

        async def main(scheduler: Scheduler = scheduler) -> list[tuple[int, str]]:
            tasks = [scheduler.process(f"p{n}").create_task(nothing()) for n in range(3)]
            await sleep_us(1)
            return [(hash(task), task.get_name()) for task in tasks]

        assert scheduler.run(main()) == [(2, "task-2"), (3, "task-3"), (4, "task-4")]


# ---- processes


@pytest.mark.parametrize("order", ORDERS)
def test_a_paused_process_is_held_and_goes_on_in_its_order(order: Order) -> None:
    scheduler = Scheduler(order=order)
    process = scheduler.process("p")
    trace: list[object] = []

    async def main() -> None:
        for n in (3, 1, 2):
            process.call_after_us(n * 10, trace.append, n)
        process.call_soon(trace.append, "ready before the pause")
        process.pause()
        process.pause()
        process.call_soon(trace.append, "made ready in the pause")
        await sleep_us(25)
        assert trace == []
        assert process.now_us() == 25
        process.resume()
        process.resume()
        await sleep_us(100)

    scheduler.run(main())
    assert trace == ["ready before the pause", "made ready in the pause", 1, 2, 3]


def test_timers_of_a_paused_process_do_not_carry_time_forward() -> None:
    scheduler = Scheduler()
    process = scheduler.process("p")

    async def main() -> None:
        process.call_after_us(YEAR_US, print, "never")
        process.pause()
        await scheduler.root.create_future()

    with pytest.raises(DeadlockError, match="virtual time 0 us"):
        scheduler.run(main())


def test_the_harness_can_be_neither_killed_nor_paused() -> None:
    scheduler = Scheduler()
    for act in (scheduler.root.kill, scheduler.root.pause):
        with pytest.raises(SimulationError, match="is the harness and cannot be"):
            act()


def test_a_future_of_another_process_wakes_its_owner() -> None:
    scheduler = Scheduler()
    process = scheduler.process("p")
    loops: list[object] = []

    async def waiter(future: asyncio.Future[str]) -> None:
        loops.append((await future, asyncio.get_running_loop()))

    async def main() -> None:
        future = process.create_future()
        process.spawn(waiter(future))
        await sleep_us(1)
        future.set_result("hello")
        await sleep_us(1)

    scheduler.run(main())
    assert loops == [("hello", process)]


def test_asyncio_refuses_state_shared_by_two_processes() -> None:
    scheduler = Scheduler()
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def get() -> int:
        return await queue.get()

    async def main() -> None:
        first = scheduler.process("a").create_task(get())
        await sleep_us(1)
        second = scheduler.process("b").create_task(get())
        await sleep_us(1)
        assert not first.done()
        with pytest.raises(RuntimeError, match="different event loop"):
            second.result()

    with scheduler:
        scheduler.run(main())


# ---- the real world

LOOP_CALLS: dict[str, Callable[[asyncio.AbstractEventLoop], object]] = {
    "add_reader": lambda loop: loop.add_reader(0, print),
    "sock_recv": lambda loop: loop.sock_recv(socket.socket.__new__(socket.socket), 1),
    "create_connection": lambda loop: loop.create_connection(asyncio.Protocol, "localhost", 80),
    "getaddrinfo": lambda loop: loop.getaddrinfo("localhost", 80),
    "subprocess_exec": lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, "true"),
    "run_in_executor": lambda loop: loop.run_in_executor(None, print),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(print),
    "add_signal_handler": lambda loop: loop.add_signal_handler(2, print),
    "run_until_complete": lambda loop: loop.run_until_complete(loop.create_future()),
    "stop": lambda loop: loop.stop(),
}


@pytest.mark.parametrize("name", sorted(LOOP_CALLS))
@pytest.mark.parametrize("of", ["harness", "payment"])
def test_a_call_of_the_loop_that_needs_the_real_world_raises(name: str, of: str) -> None:
    async def program() -> None:
        LOOP_CALLS[name](asyncio.get_running_loop())

    assert_refused(
        rf"loop\.{name}\(\) was called in the simulated process '{of}': \w+", program, of
    )


def test_every_method_of_a_loop_is_either_simulated_or_refused() -> None:
    public = [name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_")]
    missing = [
        name
        for name in public
        if getattr(VirtualLoop, name) is getattr(asyncio.AbstractEventLoop, name)
    ]
    assert missing == []


def test_to_thread_raises() -> None:
    async def program() -> None:
        await asyncio.to_thread(print)  # noqa: TID251 - it must raise

    assert_refused(r"run_in_executor", program, "payment")


GUARDED_CALLS: dict[str, Callable[[], object]] = {
    "time.sleep": lambda: time.sleep(0),
    "time.time": lambda: +time.time(),
    "time.time_ns": lambda: +time.time_ns(),
    "threading.Thread.start": lambda: threading.Thread(target=print).start(),
    "socket.connect": lambda: with_socket(lambda s: s.connect(("127.0.0.1", 9))),
    "socket.connect_ex": lambda: with_socket(lambda s: s.connect_ex(("127.0.0.1", 9))),
    "socket.bind": lambda: with_socket(lambda s: s.bind(("127.0.0.1", 0))),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("localhost", 80),
    "subprocess.Popen": lambda: subprocess.Popen([sys.executable, "-V"]),
}


def with_socket(act: Callable[[socket.socket], object]) -> None:
    with socket.socket() as opened:
        act(opened)


@pytest.mark.parametrize("name", sorted(GUARDED_CALLS))
def test_the_real_world_raises_in_a_simulated_process(name: str) -> None:
    async def program() -> None:
        GUARDED_CALLS[name]()

    assert_refused(rf"^{name}\(\) was called in the simulated process", program, "payment")


def test_a_handler_that_swallows_the_error_hides_nothing() -> None:
    async def program() -> None:
        with contextlib.suppress(RealIOError):
            time.time()

    assert_refused(r"time\.time\(\)", program, "payment")


def test_everything_real_is_back_after_a_run() -> None:
    scheduler = Scheduler()
    before = (time.time, time.sleep, threading.Thread.start, subprocess.Popen.__init__)

    async def main() -> None:
        assert time.time is not before[0]
        assert "connect" in vars(socket.socket)
        scheduler.process("p").call_soon(lambda: +time.time())
        await sleep_us(1)

    with pytest.raises(RealIOError):
        scheduler.run(main())
    assert before == (time.time, time.sleep, threading.Thread.start, subprocess.Popen.__init__)
    assert not {"connect", "connect_ex", "bind"} & set(vars(socket.socket))


def test_the_harness_may_read_the_wall_clock_and_a_process_may_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler = Scheduler()
    thread_ran: list[float] = []

    async def program() -> None:
        logging.getLogger("lab.test").warning("hello")
        thread_ran.append(time.monotonic())

    async def main() -> None:
        assert time.time() > 0
        thread = threading.Thread(target=lambda: thread_ran.append(time.time()))
        thread.start()
        scheduler.process("p").spawn(program())
        await sleep_us(1)
        thread.join()

    scheduler.run(main())
    assert len(thread_ran) == 2
    assert caplog.messages == ["hello"]


def assert_refused(pattern: str, program: Callable[[], Awaitable[None]], of: str) -> None:
    """`program`, run in the process called `of`, ends the run with a RealIOError."""
    scheduler = Scheduler()

    async def main() -> None:
        process = scheduler.root if of == "harness" else scheduler.process(of)
        task = process.create_task(as_coroutine(program))
        with contextlib.suppress(RealIOError):
            await task
        await sleep_us(1)

    with pytest.raises(RealIOError, match=pattern):
        scheduler.run(main())
    assert os.getpid(), "the process is still alive"


async def as_coroutine(program: Callable[[], Awaitable[None]]) -> None:
    await program()
