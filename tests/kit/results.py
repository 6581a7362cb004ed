"""Results made by hand, for what shows and checks results."""

from typing import Final

from msgspec.structs import replace

from lab.report.result import (
    CheckResult,
    Fault,
    GoalResult,
    OrderCounts,
    PatternUse,
    Result,
    Times,
    Versions,
)

AT_RISK: Final = ("effect-once", "dedupe-sound", "no-double-charge")
OTHERS: Final = (
    "money-matches",
    "accepted-is-durable",
    "legal-transitions",
    "no-lost-event",
    "outbox-atomic",
    "per-key-order",
    "converges",
)


def make_result() -> Result:
    """A green run."""
    return Result(
        schema_version=1,
        scenario="duplicates",
        summary="every fifth record is delivered twice",
        mode="simulated",
        bus="memory",
        store="memory",
        dedupe="memory",
        seed=7,
        off=(),
        verdict="PASS",
        why="",
        partial=False,
        orders=OrderCounts(
            read=500,
            unreadable=0,
            submitted=500,
            accepted=500,
            refused=0,
            refused_by_reason={},
            by_state={"CONFIRMED": 451, "REJECTED": 31, "DECLINED": 18},
        ),
        unreadable_lines=(),
        checks=tuple(make_check(name) for name in (*AT_RISK, *OTHERS)),
        not_exercised=("idempotency-key", "dlq-sound"),
        faults=(Fault(name="bus.duplicate", fired=96, orders=(3, 37, 41)),),
        patterns=(
            PatternUse(name="dedupe", on=True, acted={"suppressed": 96}),
            PatternUse(name="retry", on=True, acted={"retried": 17, "recovered": 17}),
            PatternUse(name="breaker", on=True, acted={}),
        ),
        goals=(GoalResult(goal="bus.duplicate >= 4 %", reached=True, applicable=True, count=96),),
        metrics={"deliveries": 6410.0, "deliveries_per_order": 4.3, "calls_per_order": 2.2},
        time=Times(virtual_ms=62_000, wall_ms=310),
        history_entries=30_000,
        digest="9f2c41e1aa",
        reproduce="lab run duplicates --seed 7",
        next=("lab run duplicates --off dedupe,inbox", "lab run duplicates --off dedupe"),
        settings_profile="simulated",
        settings={"retry.attempts_max": 6, "retry.tiers_ms": (5_000, 30_000)},
        options={"seed": 7, "off": ["dedupe"], "orders": None},
        run_dir="runs/duplicates/20310504T120001Z-s7",
        versions=Versions(lab="0.1.0", python="3.11.7"),
    )


def make_check(name: str) -> CheckResult:
    """A promise that held."""
    return CheckResult(
        name=name,
        kind="liveness" if name == "converges" else "safety",
        verdict="PASS",
        checked=500,
        violations=0,
        witness="",
        witness_order=None,
        at_risk=name in AT_RISK,
    )


def make_fail() -> Result:
    """A run in which an order was charged twice."""
    green = make_result()
    broken = replace(
        make_check("no-double-charge"),
        verdict="FAIL",
        violations=3,
        witness="order 37: 2 captures, at 4.210s and 9.730s",
        witness_order=37,
    )
    return replace(
        green,
        verdict="FAIL",
        off=("dedupe",),
        why="the second delivery of OrderValidated charged again: dedupe is off",
        checks=tuple(broken if check.name == broken.name else check for check in green.checks),
        patterns=(PatternUse(name="dedupe", on=False, acted={}), *green.patterns[1:]),
    )


def make_unknown() -> Result:
    """A run in which nothing went wrong that should have."""
    goal = GoalResult(goal="bus.duplicate >= 4 %", reached=False, applicable=True, count=0)
    return replace(make_result(), verdict="UNKNOWN", goals=(goal,), faults=())
