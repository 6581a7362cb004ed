"""Deadlines of runs: when they end, whom they end, and that one timer keeps them all.

What an expired run means to a handler and its worker stands in `test_edge.py`.
"""

import asyncio

from lab.patterns.timeout import NEVER_US, NoTimeout, Timeout, Watched
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.chain_parts import PROCESS, SECOND, Entries


class Bench:
    """A timeout of ten seconds whose looks at the clock are counted."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.looks = 0
        self.entries = Entries()
        self.ended_us: list[int] = []
        self._scheduler = scheduler
        self.timeout = Timeout(
            handler_us=10 * SECOND,
            clock=self._clock_us,
            now=lambda: scheduler.now_us,
            process=PROCESS,
            write=self.entries.write,
        )

    def _clock_us(self) -> int:
        self.looks += 1
        return self._scheduler.now_us

    async def hang(self) -> None:
        """Overstay; note when it was ended."""
        run = self.timeout.watch()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            assert run.close() is True
            self.ended_us.append(self._scheduler.now_us)


def test_each_run_ends_at_its_own_deadline_and_the_next_ones_do_too() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = []
        for _ in range(3):
            tasks.append(loop.create_task(bench.hang()))
            await sleep_us(3 * SECOND)
        for task in tasks:
            await task
        await sleep_us(SECOND)
        await bench.hang()

    with Scheduler() as scheduler:
        bench = Bench(scheduler)
        scheduler.run(main())
    assert bench.ended_us == [10 * SECOND, 13 * SECOND, 16 * SECOND, 27 * SECOND]
    assert bench.entries == [
        ("acted", ended_us, PROCESS, "", "timeout", "handler") for ended_us in bench.ended_us
    ]


def test_one_timer_is_enough_for_all_runs() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for task in [loop.create_task(bench.hang()) for _ in range(5)]:
            await task
        await sleep_us(60 * SECOND)

    with Scheduler() as scheduler:
        bench = Bench(scheduler)
        scheduler.run(main())
    assert bench.looks == 5 + 1, "one when each begins, one when the timer is due"


def test_a_run_that_ended_in_time_was_not_ended_by_its_deadline() -> None:
    async def main() -> tuple[Watched, bool]:
        run = bench.timeout.watch()
        was_ended = run.close()
        await sleep_us(60 * SECOND)
        return run, was_ended

    with Scheduler() as scheduler:
        bench = Bench(scheduler)
        run, was_ended = scheduler.run(main())
    assert (was_ended, run.is_expired) == (False, False)
    assert bench.entries == []


def test_without_the_pattern_a_deadline_lies_ages_away() -> None:
    run = NoTimeout().watch()
    assert (run.deadline_us, run.is_closed) == (NEVER_US, False)
    assert run.close() is False
