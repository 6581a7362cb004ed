"""Each crash point in each service it lies in: it is reached, and no promise breaks there.

With every pattern on. An order passes a point many times, in several services: the first, a middle
and the last order die at each of their visits, in a run of its own.
Not here: crashes at a random port call at a rate (the scenario `crashes`).
"""

import json
from pathlib import Path

import pytest

from lab import run
from lab.domain.events import READS
from lab.faults.table.crash_points import CRASH_POINTS, MID_DRAIN
from lab.report.result import Result

ORDERS = 7
VISITS_MAX = 20

GROUPS = frozenset(READS)
EXISTS = {
    "api.before_commit": {"api"},
    "api.after_commit": {"api"},
    "relay.after_claim": {"relay"},
    "relay.after_publish": {"relay"},
    "consumer.after_fetch": GROUPS,
    "dedupe.after_claim": GROUPS,
    "handler.before_effect": {"payment", "notification"},
    "handler.after_effect": {"payment", "notification"},
    "handler.before_commit": GROUPS,
    "handler.after_commit": GROUPS,
    "handler.after_ack": GROUPS,
    "retry.after_publish": GROUPS,
    "dlq.before_publish": GROUPS,
    "dlq.after_publish": GROUPS,
    "shutdown.mid_drain": GROUPS,
    "any": {"api", "relay", *GROUPS},
}
"""Where each point lies: the services that can die there."""

TROUBLES = (
    "svc.error@warehouse#{} first=1",
    "svc.error@payment_gateway#{} first=1",
    "pg.deadlock@orders#{} nth=2",
    "svc.error@mailer#{} first=1",
)
POISON = (
    "bus.poison@OrderCreated#{}",
    "bus.poison@OrderValidated#{}",
    "bus.poison@PaymentCaptured#{}",
)
WAYS = {
    "retry.after_publish": TROUBLES,
    "dlq.before_publish": POISON,
    "dlq.after_publish": POISON,
}
"""What it takes to come to a point that a healthy order never passes, in each of its services."""


def killed(run_dir: str | None) -> set[str]:
    """The services of the processes that were killed."""
    assert run_dir is not None
    entries = map(json.loads, (Path(run_dir) / "history.ndjson").read_text().splitlines())
    return {
        entry["process"].partition("#")[0].rpartition("-")[0]
        for entry in entries
        if entry["kind"] == "life" and entry["event"] == "kill"
    }


def crashed(*faults: str, seed: int, out: Path) -> Result:
    settings = {"retry.in_place": 1}
    return run(
        "happy-path", orders=ORDERS, rate=10, faults=faults, settings=settings, seed=seed, out=out
    )


def broken(result: Result) -> list[str]:
    return [check.name for check in result.checks if check.verdict == "FAIL"]


def crashes(result: Result) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == "proc.crash")


def test_every_point_has_its_services_here() -> None:
    assert EXISTS.keys() == CRASH_POINTS.keys()


@pytest.mark.parametrize("order", [1, ORDERS // 2 + 1, ORDERS])
@pytest.mark.parametrize("point", [point for point in CRASH_POINTS if point != MID_DRAIN])
def test_no_promise_breaks_wherever_an_order_kills_its_process(
    point: str, order: int, tmp_path: Path
) -> None:
    reached: set[str] = set()
    for way in WAYS.get(point, ("",)):
        for visit in range(1, VISITS_MAX + 1):
            faults = [f"proc.crash@{point}#{order} nth={visit}", way.format(order)]

            result = crashed(*filter(None, faults), seed=order, out=tmp_path)

            assert broken(result) == [], (way, visit)
            if not crashes(result):
                break
            reached |= killed(result.run_dir)
        assert visit < VISITS_MAX, "its visits have an end"
    assert reached == EXISTS[point]


@pytest.mark.parametrize("group", sorted(EXISTS[MID_DRAIN]))
def test_no_promise_breaks_where_a_process_dies_in_its_drain(group: str, tmp_path: Path) -> None:
    for at in ("10ms", "400ms", "650ms"):
        faults = (f"proc.term@{group} at={at}", f"proc.crash@{MID_DRAIN} first=1")

        result = crashed(*faults, seed=1, out=tmp_path)

        assert crashes(result) == 1
        assert killed(result.run_dir) == {group}
        assert broken(result) == []
