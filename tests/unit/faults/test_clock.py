"""Clocks that are wrong: which life sees what, and that only the time of day is concerned."""

import pytest

from lab.faults.clock import CLOCK_KINDS, Step, SteppedClock, steps_of, wrong_by_us
from lab.faults.nemesis import Nemesis
from lab.faults.plan.plan import FaultPlan, Firing
from lab.faults.table.spec import FaultError, parse_fault, parse_faults
from lab.runtime.chance import KeyedChance
from lab.runtime.clock import VirtualClock
from lab.runtime.virtual_loop import Scheduler, sleep_us

MS = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND


def make_plan(*texts: str) -> FaultPlan:
    return FaultPlan(parse_faults(texts), seed=1, chance=KeyedChance(1), now_us=lambda: 0)


def steps(*texts: str, member: str = "payment-1", started_us: int = 0) -> list[tuple[int, int]]:
    group = member.partition("-")[0]
    found = steps_of(
        make_plan(*texts).timetable(),
        member=member,
        group=group,
        began_us=100 * SECOND,
        started_us=100 * SECOND + started_us,
    )
    return [(step.at_us - 100 * SECOND, step.by_us) for step in found]


def test_a_clock_steps_at_its_time_and_time_that_is_measured_goes_on() -> None:
    with Scheduler() as scheduler:
        right = VirtualClock(scheduler.process("payment-1"))
        wrong = SteppedClock(right, [Step(2 * SECOND, 5 * MINUTE), Step(3 * SECOND, -MINUTE)])
        seen = []

        async def main() -> None:
            for _ in range(4):
                seen.append((wrong.wall_us() - right.wall_us(), wrong.now_us() - right.now_us()))
                began_us = right.now_us()
                await wrong.sleep_us(SECOND)
                assert right.now_us() - began_us == SECOND

        scheduler.run(main())

    assert seen == [(0, 0), (0, 0), (5 * MINUTE, 0), (4 * MINUTE, 0)]


def test_a_skewed_clock_is_wrong_from_the_start_of_a_life_on() -> None:
    assert steps("clock.skew@payment by=5s") == [(0, 5 * SECOND)]
    assert steps("clock.skew@payment by=5s", started_us=9 * SECOND) == [(0, 5 * SECOND)]
    late = "clock.skew@payment by=-5s at=4s"
    assert steps(late, started_us=3 * SECOND) == [], "not before the next start"
    assert steps(late, started_us=4 * SECOND) == [(4 * SECOND, -5 * SECOND)]


def test_a_clock_jumps_within_a_life_and_stays_so_for_the_next() -> None:
    jump = "clock.jump@payment by=5s at=4s"

    assert steps(jump) == steps(jump, started_us=9 * SECOND) == [(4 * SECOND, 5 * SECOND)]


def test_a_clock_belongs_to_a_process_or_to_all_of_its_group() -> None:
    one = "clock.skew@payment-2 by=1s"

    assert steps(one, member="payment-1") == []
    assert steps(one, member="payment-2") == [(0, SECOND)]
    assert steps("clock.skew@payment by=1s", member="payment-2") == [(0, SECOND)]
    assert steps("proc.crash@payment at=1s", member="payment-2") == []


def test_the_nemesis_tells_when_a_clock_goes_wrong() -> None:
    struck: list[tuple[int, str]] = []
    with Scheduler() as scheduler:
        root = scheduler.root
        plan = FaultPlan(
            parse_faults(["clock.jump@payment at=2s", "clock.skew@api by=1s"]),
            seed=1,
            chance=KeyedChance(1),
            now_us=root.now_us,
        )

        def begin(kind: str, site: str, firing: Firing) -> None:
            assert firing.site == site
            struck.append((root.now_us(), kind))

        async def main() -> None:
            Nemesis(plan, timers=root, begin=begin, end=begin).begin()
            assert [firing.kind for firing in plan.firings] == ["clock.skew"], "at once"
            await sleep_us(5 * SECOND)

        scheduler.run(main())

    assert struck == [(0, "clock.skew"), (2 * SECOND, "clock.jump")]
    assert [firing.number("by") for firing in plan.firings] == [SECOND, 30 * SECOND]


def test_what_a_not_before_may_miss_is_the_sum_of_what_is_wrong() -> None:
    wrong = parse_faults(
        ["clock.skew@payment by=5s", "clock.jump@payment at=1s by=-2s", "svc.slow by=9s"]
    )

    assert wrong_by_us(wrong) == 7 * SECOND
    assert wrong_by_us(()) == 0


@pytest.mark.parametrize("kind", CLOCK_KINDS)
@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (" by=5s", "nothing is none"),
        ("@mailer by=5s", "mailer is none"),
        ("@payment by=soon", "by must be a length of time"),
        ("@payment by=--5s", "by must be a length of time"),
        ("@payment rate=0.5", "rate means nothing"),
        ("@payment#7 by=5s", "#7 means nothing"),
        ("@payment for=5s", "for means nothing"),
    ],
)
def test_what_no_clock_can_do_is_refused(kind: str, rest: str, says: str) -> None:
    with pytest.raises(FaultError, match=says):
        parse_fault(kind + rest)
