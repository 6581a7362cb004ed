"""Scenarios in real processes on real servers: they pass, and break the promise that is at risk.

Loads are small and rates low, so that a busy machine is no fault of its own. Not here: whether
results are right (`test_real_proofs.py`), and what a run leaves (`test_real_traces.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from lab import run
from lab.report.result import Result
from tests.kit.real_servers import need, need_control

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(180),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One real run.

    Attributes:
        breaks: exactly the promises that are broken; empty: it passes.
        stops: the server that the run stops.
    """

    scenario: str
    orders: int
    rate: float
    faults: Sequence[str] = ()
    off: Sequence[str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    breaks: frozenset[str] = frozenset()
    stops: str = ""

    def __str__(self) -> str:
        """As pytest shows it."""
        without = f" without {','.join(self.off)}" if self.off else ""
        return f"{self.scenario}{without}{' and ' + self.stops if self.stops else ''}"


def passing(scenario: str, orders: int, rate: float, *faults: str, **more: object) -> Row:
    """A row with every pattern."""
    stops, settings = more.pop("stops", ""), more.pop("settings", {})
    assert isinstance(stops, str)
    assert isinstance(settings, Mapping)
    assert not more
    return Row(
        scenario=scenario,
        orders=orders,
        rate=rate,
        faults=faults,
        stops=stops,
        settings=settings,
    )


ASYNCIO: Mapping[str, object] = {"process.loop": "asyncio"}
"""The other loop: all other rows run on uvloop, which tests have."""

PASSING = (
    passing("duplicates", 40, 20),
    passing("lost-acks", 30, 20),
    passing("reordering", 40, 20),
    passing("timeouts", 40, 15),
    passing("hung-after-charge", 30, 15),
    passing("cancellation", 40, 15),
    passing("poison-message", 50, 25),
    passing("crashes", 30, 10, settings=ASYNCIO),
    passing("graceful-shutdown", 60, 10, settings=ASYNCIO),
    passing("client-retries", 50, 25),
    passing("redis-evicted", 30, 15),
    passing(
        "happy-path",
        60,
        10,
        "bus.rebalance#every15 first=1",
        "proc.pause@payment#20 by=5s",
        settings={"run.members": 2},
    ),
    passing("happy-path", 30, 10, "bus.down at=1s for=4s", stops="kafka"),
    passing("happy-path", 30, 10, "pg.shutdown at=1s for=3s", stops="postgres"),
    passing(
        "happy-path", 30, 10, "redis.down at=1s for=3s", "bus.duplicate rate=0.2", stops="redis"
    ),
)

BROKEN = (
    Row(
        scenario="duplicates",
        orders=30,
        rate=15,
        off=("dedupe", "inbox"),
        breaks=frozenset({"effect-once"}),
    ),
    Row(
        scenario="crash-between-commit-and-publish",
        orders=30,
        rate=10,
        off=("outbox",),
        settings={"run.drain_ms": 16_000},
        breaks=frozenset({"no-lost-event", "outbox-atomic", "converges"}),
    ),
    Row(
        scenario="hung-after-charge",
        orders=30,
        rate=15,
        off=("provider_key",),
        breaks=frozenset({"no-double-charge", "money-matches"}),
    ),
    Row(
        scenario="timeouts",
        orders=40,
        rate=15,
        off=("retry",),
        settings={"run.drain_ms": 13_000},
        breaks=frozenset({"converges"}),
    ),
    Row(
        scenario="graceful-shutdown",
        orders=60,
        rate=10,
        off=("drain",),
        breaks=frozenset({"graceful-shutdown"}),
    ),
    Row(
        scenario="poison-message",
        orders=50,
        rate=25,
        off=("dead_letter",),
        settings={"run.drain_ms": 13_000},
        # It would be beyond its attempts, which breaks dlq-complete, after a minute.
        breaks=frozenset({"converges", "drains"}),
    ),
    Row(
        scenario="client-retries",
        orders=50,
        rate=25,
        off=("http_idempotency",),
        breaks=frozenset({"idempotency-key"}),
    ),
    Row(
        scenario="cancellation",
        orders=40,
        rate=15,
        off=("compensation",),
        breaks=frozenset({"money-matches"}),
    ),
    # The spike comes with order 101. Some hundred requests wait for the database then.
    Row(
        scenario="black-friday",
        orders=200,
        rate=20,
        off=("load_shedding",),
        settings={"api.max_in_flight": 20},
        breaks=frozenset({"bounded"}),
    ),
)


ALWAYS = (
    *("duplicates", "timeouts", "poison-message", "crashes", "graceful-shutdown"),
    *("client-retries", "happy-path", "happy-path and kafka", "duplicates without dedupe,inbox"),
    *("crash-between-commit-and-publish without outbox", "graceful-shutdown without drain"),
    "hung-after-charge without provider_key",
)
"""The rows of `make test`; the others take a quarter of an hour more and are for `make soak`."""


def of_every_run(rows: Sequence[Row]) -> list[object]:
    """The rows as parameters, marked: those for the soak, and those that stop a server."""
    return [
        pytest.param(
            row,
            marks=[
                *([] if str(row) in ALWAYS else [pytest.mark.soak]),
                *([pytest.mark.alone] if row.stops else []),
            ],
        )
        for row in rows
    ]


def broken(result: Result) -> frozenset[str]:
    """The promises that did not hold."""
    return frozenset(check.name for check in result.checks if check.verdict == "FAIL")


def told(result: Result) -> Mapping[str, str]:
    """Why, for whoever reads a red test."""
    return {check.name: check.witness for check in result.checks if check.verdict == "FAIL"}


def run_for_real(row: Row) -> Result:
    """Run it, on servers that may be stopped if it stops one."""
    for server in ("postgres", "redis", "kafka"):
        need(server)
    if row.stops:
        need_control(row.stops)
    return run(
        row.scenario,
        real=True,
        orders=row.orders,
        rate=row.rate,
        faults=row.faults,
        off=row.off,
        settings=row.settings,
    )


@pytest.mark.parametrize("row", of_every_run(PASSING), ids=str)
def test_a_scenario_passes_in_real_processes(row: Row) -> None:
    result = run_for_real(row)

    assert (result.verdict, result.why) == ("PASS", ""), told(result)
    assert result.mode == "real"
    assert result.orders.accepted >= row.orders
    assert all(fault.fired for fault in result.faults)


@pytest.mark.parametrize("row", of_every_run(BROKEN), ids=str)
def test_without_its_pattern_the_same_promise_breaks_as_in_the_simulator(row: Row) -> None:
    result = run_for_real(row)

    assert result.verdict == "FAIL"
    assert broken(result) == row.breaks, told(result)


@pytest.mark.parametrize(
    ("scenario", "make", "server"),
    [
        ("duplicates", {"bus": "kafka"}, "kafka"),
        ("timeouts", {"store": "postgres"}, "postgres"),
        ("duplicates", {"dedupe": "redis"}, "redis"),
        ("crashes", {"wall_clock": True}, ""),
    ],
    ids=["kafka", "postgres", "redis", "wall clock"],
)
def test_one_real_part_alone_changes_no_verdict(
    scenario: str, make: Mapping[str, object], server: str
) -> None:
    if server:
        need(server)

    result = run(scenario, orders=40, rate=20, **make)  # type: ignore[arg-type]  # one flag

    assert (result.verdict, result.why) == ("PASS", ""), told(result)
    assert result.mode == "wall-clock"
    assert result.orders.accepted == 40


@pytest.mark.parametrize(
    ("make", "server"),
    [({"bus": "kafka"}, "kafka"), ({"store": "postgres"}, "postgres")],
    ids=["kafka", "postgres"],
)
def test_one_real_part_alone_saves_no_promise(make: Mapping[str, str], server: str) -> None:
    need(server)

    result = run("duplicates", orders=30, rate=20, off=["dedupe", "inbox"], **make)  # type: ignore[arg-type]  # one flag

    # A record that comes again with its position is handled again too, and so out of order.
    assert {"effect-once"} <= broken(result) <= {"effect-once", "per-key-order"}, told(result)
