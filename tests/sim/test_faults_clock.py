"""Clocks that are wrong, in the whole system: no promise hangs on a process's time of day."""

import pytest

from lab import run
from lab.faults.table.row import PROCESSES
from lab.report.result import Result

SEEDS = range(1, 7)  # `make soak` runs thousands

WRONG = (
    ("clock.skew@{} by=1h",),
    ("clock.skew@{} by=-20s", "clock.skew@{} by=9s at=1s"),
    ("clock.jump@{} by=48h at=900ms",),
    ("clock.jump@{} by=-10m at=700ms", "clock.jump@{} by=3s at=1500ms"),
)

BESIDE = (
    "svc.error rate=0.2",
    "proc.crash@any rate=0.01",
    "client.cancel rate=0.1",
    "bus.duplicate rate=0.1",
)


def broken(result: Result) -> set[str]:
    return {check.name for check in result.checks if check.verdict == "FAIL"}


def fired(result: Result, kind: str) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == kind)


@pytest.mark.parametrize("wrong", WRONG)
def test_every_promise_holds_while_clocks_are_wrong(wrong: tuple[str, ...]) -> None:
    for seed in SEEDS:
        # Each seed another process, every third all of them.
        struck = PROCESSES if seed % 3 == 0 else (PROCESSES[seed % len(PROCESSES)],)
        faults = [fault.format(process) for process in struck for fault in wrong]

        result = run("happy-path", seed=seed, orders=20, rate=10, faults=(*faults, *BESIDE))

        assert fired(result, "clock.skew") + fired(result, "clock.jump") == len(faults), seed
        assert broken(result) == set(), seed


TIERS = {"retry.tiers_ms": [200_000]}
LATE = "clock.skew@notification at=500ms by=10m"
CRASH = "proc.crash@notification at=3s"


def tried_again_after_ms(*faults: str, off: tuple[str, ...] = ()) -> float:
    """How long a run takes in which mails fail at first, and in which their sender dies."""
    result = run(
        "happy-path",
        seed=1,
        orders=8,
        faults=("svc.error@mailer first=4", CRASH, *faults),
        off=off,
        settings=TIERS,
    )
    assert "retry-law" not in broken(result), "a not-before may be missed by what clocks are wrong"
    return result.time.virtual_ms


def test_what_waits_by_the_time_of_day_comes_too_early_by_a_wrong_clock() -> None:
    off = ("key_lanes",)

    assert tried_again_after_ms(off=off) >= 200_000
    assert tried_again_after_ms(LATE, off=off) < 200_000


def test_what_waits_by_database_time_comes_when_it_is_due() -> None:
    assert tried_again_after_ms(LATE) >= 200_000


def test_wrong_clocks_change_nothing_that_counts() -> None:
    def counted(*faults: str) -> tuple[object, ...]:
        result = run("happy-path", seed=4, orders=20, faults=("svc.error rate=0.2", *faults))
        return result.orders, result.metrics, result.time.virtual_ms

    wrong = [f"clock.skew@{process} by=-3m" for process in PROCESSES]

    assert counted(*wrong) == counted()
