"""Claims about a crash: it runs no code, not even at the interpreter's exit, and frees nothing."""

import asyncio
import contextlib
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import pytest

from lab import run
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler, sleep_us, suspend
from lab.runtime.virtual_task import VirtualTask

Order = Literal["fifo", "shuffle"]
ORDERS: tuple[Order, ...] = ("fifo", "shuffle")
ROOT = Path(__file__).resolve().parents[2]


class Witness:
    """A program with every kind of clean-up, and a note of which of it ran."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.log.append("context manager")

    async def numbers(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await sleep_us(1000)
        finally:
            self.log.append("async generator")

    async def waits_for_ever(self) -> None:
        lock = asyncio.Lock()
        try:
            async with lock:
                with self.block():
                    await asyncio.get_running_loop().create_future()
        except BaseException as error:
            self.log.append(type(error).__name__)
            raise
        finally:
            self.log.append("finally")
            await suspend()
            self.log.append("finally, later")

    async def reads(self) -> None:
        async for _ in self.numbers():
            pass

    async def ticks(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self.log.append("tick")

    async def asks_twice(self) -> None:
        await asyncio.gather(self.waits_for_ever(), self.waits_for_ever())

    def start(self, process: ProcessLoop) -> None:
        for program in (self.waits_for_ever, self.reads, self.ticks, self.asks_twice):
            process.spawn(program())


def run_and_kill(witness: Witness, order: Order) -> None:
    """Kill a process in the midst of everything, and let go of all that knew it."""
    scheduler = Scheduler(order=order)
    process = scheduler.process("payment")

    async def main() -> None:
        witness.start(process)
        await sleep_us(3_500)
        assert witness.log == ["tick"] * 3
        process.kill()
        process.kill()
        gc.collect()
        await sleep_us(50_000)

    scheduler.run(main())
    assert process.dead
    assert process.live_tasks() == []
    assert len(scheduler.graveyard) == 6


@pytest.mark.parametrize("order", ORDERS)
def test_a_kill_runs_no_code(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness()
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    run_and_kill(witness, order)
    gc.collect()
    assert witness.log == ["tick"] * 3
    assert unraisable == []


def test_a_world_that_was_judged_releases_its_dead_who_reach_nothing_any_more() -> None:
    log: list[str] = []
    scheduler = Scheduler()
    process = scheduler.process("payment")

    async def writes_at_its_end() -> None:
        try:
            await sleep_us(1_000_000)
        finally:
            log.append("end")
            process.call_soon(log.append, "later")
            process.spawn(sleep_us(1))
            raise ValueError

    async def waits_at_its_end() -> None:
        try:
            await sleep_us(1_000_000)
        finally:
            await sleep_us(1)
            log.append("after a wait")

    async def never_ends() -> None:
        while True:
            with contextlib.suppress(BaseException):
                await sleep_us(1_000_000)

    async def main() -> None:
        for program in (writes_at_its_end, waits_at_its_end, never_ends):
            process.spawn(program())
        await sleep_us(1)
        process.kill()

    scheduler.run(main())
    assert log == []
    scheduler.close()
    scheduler.release()

    assert log == ["end"]
    assert len(scheduler.graveyard) == 1


def test_a_living_world_releases_nobody() -> None:
    with pytest.raises(AssertionError):
        Scheduler().release()


@pytest.mark.slow
def test_a_run_leaves_nothing_in_memory() -> None:
    counts = []
    for first in (1, 101, 201):
        for seed in range(first, first + 100):
            run("crashes", seed=seed, orders=2)
        gc.collect()
        counts.append(len(gc.get_objects()))

    assert counts[2] - counts[1] < 100


def run_and_close(witness: Witness) -> None:
    """Close a world in the midst of everything, and let go of it."""

    async def main() -> None:
        witness.start(scheduler.process("payment"))
        scheduler.root.spawn(witness.waits_for_ever())
        await sleep_us(10)

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_closing_a_world_runs_no_code() -> None:
    witness = Witness()
    run_and_close(witness)
    gc.collect()
    assert witness.log == []


EXIT = """
import asyncio, os, sys
from lab.runtime.virtual_loop import Scheduler, sleep_us

async def waits(write=os.write):
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        write(1, b"finally ran")

scheduler = Scheduler()

async def main():
    process = scheduler.process("p")
    process.spawn(waits())
    await sleep_us(1)
    if sys.argv[1] == "kill":
        process.kill()
    else:
        process.live_tasks()[0].cancel()
    await sleep_us(1)

scheduler.run(main())
print("done", flush=True)
"""


@pytest.mark.parametrize(("how", "printed"), [("kill", "done\n"), ("cancel", "finally randone\n")])
def test_a_killed_process_runs_no_code_at_exit_either(how: str, printed: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", EXIT, how],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == (printed, "")


def test_a_kill_takes_effect_at_the_next_suspension() -> None:
    scheduler = Scheduler()
    process = scheduler.process("payment")
    trace: list[str] = []

    async def program() -> None:
        trace.append("before")
        process.kill()
        trace.append("same step")
        process.call_soon(trace.append, "callback")
        process.call_after_us(5, trace.append, "timer")
        process.call_later(5e-6, trace.append, "timer")
        process.call_at(9e-6, trace.append, "timer")
        process.call_at_us(9, trace.append, "timer")
        process.spawn(program())
        await suspend()
        trace.append("after")

    async def main() -> None:
        process.spawn(program())
        await sleep_us(100)

    scheduler.run(main())
    assert trace == ["before", "same step"]
    assert scheduler.errors == []


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_ready_when_its_process_dies_does_not_run(order: Order) -> None:
    scheduler = Scheduler(order=order, seed=4)
    victim = scheduler.process("victim")
    other = scheduler.process("other")
    trace: list[str] = []

    async def step(name: str) -> None:
        await suspend()
        trace.append(name)

    async def main() -> None:
        for n in range(3):
            victim.spawn(step("victim"))
            other.spawn(step(f"other {n}"))
        # In the midst of the instant, some of them have been ranked by now.
        await suspend()
        for n in range(3):
            victim.call_soon(trace.append, "victim")
            other.call_soon(trace.append, f"callback {n}")
        trace[:] = [name for name in trace if name != "victim"]
        victim.kill()
        await sleep_us(1)

    scheduler.run(main())
    assert sorted(trace) == [f"{what} {n}" for what in ("callback", "other") for n in range(3)]


def test_the_kernel_cleans_up_after_the_dead_on_the_harness() -> None:
    scheduler = Scheduler()
    process = scheduler.process("payment")
    hooks: list[object] = []

    def reset_connections() -> None:
        hooks.append((asyncio.get_running_loop(), process.dead, process.live_tasks()))

    async def suicide() -> None:
        process.kill()
        hooks.append(asyncio.get_running_loop())
        await suspend()

    async def main() -> None:
        process.on_kill.append(reset_connections)
        process.on_kill.append(lambda: hooks.append("second"))
        process.spawn(suicide())
        await sleep_us(1)

    scheduler.run(main())
    assert hooks == [(scheduler.root, True, []), "second", process]


def test_a_wake_up_of_the_dead_comes_to_nothing() -> None:
    scheduler = Scheduler()
    process = scheduler.process("payment")
    trace: list[str] = []
    futures: list[asyncio.Future[None]] = []

    async def program() -> None:
        futures.append(process.create_future())
        await futures[0]
        trace.append("woken")

    async def main() -> None:
        process.spawn(program())
        await sleep_us(1)
        process.kill()
        futures[0].set_result(None)
        lost = process.create_future()
        lost.set_exception(ZeroDivisionError())
        del lost
        await sleep_us(1)

    scheduler.run(main())
    assert trace == []
    assert scheduler.errors == []


def test_a_paused_process_can_be_killed_and_stays_dead() -> None:
    scheduler = Scheduler()
    process = scheduler.process("payment")
    trace: list[str] = []

    async def main() -> None:
        process.call_soon(trace.append, "held")
        process.pause()
        process.kill()
        process.resume()
        process.pause()
        await sleep_us(1)

    scheduler.run(main())
    assert trace == []


def test_timers_of_the_dead_do_not_carry_time_forward() -> None:
    scheduler = Scheduler()
    process = scheduler.process("payment")

    async def main() -> None:
        process.spawn(asyncio.sleep(1e6))
        await sleep_us(5)
        process.kill()

    scheduler.run(main())
    assert scheduler.root.timeline.heap == []
    assert scheduler.now_us == 5


def test_the_task_that_a_crash_interrupted_keeps_its_place_for_the_report() -> None:
    scheduler = Scheduler()
    process = scheduler.process("payment")

    async def main() -> None:
        process.spawn(sleep_us(10), name="sleeper")
        await sleep_us(1)
        process.kill()

    scheduler.run(main())
    (task,) = scheduler.graveyard
    assert isinstance(task, VirtualTask)
    assert task.get_name() == "sleeper"
    assert not task.done()
