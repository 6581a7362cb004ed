"""Faults of PostgreSQL and Redis in the whole system: they strike, and no promise breaks."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lab import run
from lab.faults.table.kinds import KINDS
from lab.report.result import Result

ORDERS = 25
SEEDS = range(1, 7)  # `make soak` runs thousands
OTHERS = ("bus.duplicate rate=0.2", "proc.crash@any rate=0.005", "client.cancel rate=0.1")

RATED = (
    "pg.deadlock",
    "pg.serialization",
    "pg.conn_loss_before_commit",
    "pg.conn_loss_after_commit",
    "pg.pool_exhausted",
    "pg.slow",
    "redis.slow",
    "redis.evict",
    "redis.early_expire",
)
OUTAGES = ("pg.shutdown at=300ms for=5s", "redis.down at=300ms for=5s")


def in_system(
    *faults: str,
    seed: int,
    off: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
) -> Result:
    order = "shuffle" if seed % 2 else "fifo"
    return run(
        "happy-path",
        orders=ORDERS,
        rate=20,
        faults=faults,
        seed=seed,
        off=off,
        settings={"run.order": order, **(settings or {})},
    )


def broken(result: Result) -> dict[str, str]:
    return {check.name: check.witness for check in result.checks if check.verdict == "FAIL"}


def fired(result: Result, kind: str) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == kind)


@pytest.mark.parametrize("kind", RATED)
def test_no_promise_breaks_whatever_statement_or_command_is_struck(kind: str) -> None:
    for seed in SEEDS:
        rate = 0.05 if seed % 2 else 0.3
        result = in_system(f"{kind} rate={rate}", *OTHERS, seed=seed)

        assert broken(result) == {}, seed
        assert fired(result, kind) > 0


@pytest.mark.parametrize(
    ("kind", "group"), [(kind, group) for kind in RATED for group in KINDS[kind].sites]
)
def test_no_promise_breaks_where_the_first_of_every_order_is_struck(kind: str, group: str) -> None:
    result = in_system(f"{kind}@{group}", "bus.duplicate rate=0.2", seed=3)

    assert broken(result) == {}
    assert fired(result, kind) > 0


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("others", [(), OTHERS], ids=["alone", "mixed"])
def test_no_promise_breaks_over_an_outage(outage: str, others: tuple[str, ...]) -> None:
    for seed in SEEDS:
        result = in_system(outage, *others, seed=seed)

        assert broken(result) == {}, seed
        assert fired(result, outage.partition(" ")[0]) == 1


def test_all_of_them_together_break_no_promise() -> None:
    rated = [f"{kind} rate=0.05" for kind in RATED]
    for seed in SEEDS:
        result = in_system(
            *rated, *OUTAGES, *OTHERS, "svc.error rate=0.1", "proc.term@payment at=1s", seed=seed
        )

        assert broken(result) == {}, seed


@pytest.mark.parametrize("when_down", ["open", "closed"])
def test_with_redis_down_for_good_the_inbox_decides_or_everybody_waits(when_down: str) -> None:
    settings = {"dedupe.when_down": when_down}
    result = in_system(
        "redis.down at=0s for=60s", "bus.duplicate rate=0.3", seed=4, settings=settings
    )

    assert broken(result) == {}
    assert result.time.virtual_ms > 60_000
    acted = next(use.acted for use in result.patterns if use.name == "inbox")
    # Of those who wait, only what was under way when Redis went gets as far as the inbox.
    assert (acted.get("suppressed", 0) > 10) is (when_down == "open")


@pytest.mark.parametrize(
    "memory_lost", ["redis.evict rate=0.5", "redis.early_expire rate=0.5", OUTAGES[1]]
)
def test_without_the_inbox_what_redis_forgets_takes_effect_twice(memory_lost: str) -> None:
    faults = (memory_lost, "bus.duplicate rate=0.3")
    for seed in (1, 2, 3):
        assert broken(in_system(*faults, seed=seed)) == {}
        assert set(broken(in_system(*faults, seed=seed, off=["inbox"]))) == {"effect-once"}


def test_during_an_outage_of_the_store_orders_are_shed_and_taken_in_afterwards(
    tmp_path: Path,
) -> None:
    result = run(
        "happy-path",
        orders=ORDERS,
        faults=["pg.shutdown at=300ms for=10s"],
        history="all",
        out=tmp_path,
    )

    answers: Counter[tuple[int, str]] = Counter()
    for line in next(tmp_path.rglob("history.ndjson")).read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] == "http.end":
            answers[entry["status"], entry["problem"]] += 1
            if 300_000 < entry["t_us"] < 10_300_000:
                assert entry["status"] == 503
    # One request was under way when the store went.
    assert answers[503, "indeterminate"] == 1
    assert answers[503, "shed"] > ORDERS
    assert answers[201, ""] == result.orders.accepted == ORDERS
    assert broken(result) == {}


def test_a_higher_rate_strikes_wherever_a_lower_one_does() -> None:
    def struck(rate: float) -> set[int]:
        result = in_system(f"pg.slow@api rate={rate} by=1ms", seed=6)
        return {order for fault in result.faults for order in fault.orders}

    low, high = struck(0.1), struck(0.4)
    assert low < high


def test_switching_a_pattern_off_moves_no_fault() -> None:
    with_it, without = (
        {
            order
            for fault in in_system("pg.slow@api rate=0.3 by=1ms", seed=7, off=off).faults
            for order in fault.orders
        }
        for off in ((), ("dedupe",))
    )
    assert with_it == without
