"""Rounds, histories and reports of a bench with numbers that are easy to divide."""

from typing import Any

import msgspec

from lab.bench import real_figures
from lab.bench import simulated_figures as figures
from lab.bench.bench import BenchReport
from lab.bench.figures import SCHEMA_VERSION, Figure
from lab.bench.interpreter import this_machine
from lab.bench.latency import Latency
from lab.bench.pattern_costs import PatternCost
from lab.bench.real import RealReport
from lab.bench.real_rounds import RealRound, RealSizes
from lab.bench.real_verdict import VerdictTime
from lab.bench.rounds import Round, Sizes
from lab.patterns import NAMES

LATENCY = Latency(p50_ms=10, p95_ms=20, p99_ms=200, max_ms=800, orders_per_s=500, how="so")

_ROUND: dict[str, Any] = {
    "hop_us": 3.0,
    "order_us": 150.0,
    "core_us": 60.0,
    "chaos_us": 180.0,
    "skeleton_us": 40.0,
    "steps": 40.0,
    "timers": 6.0,
    "paced_s": 0.2,
    "short_seeds": 20.0,
    "short_calm": 40.0,
    "long_seeds": 10.0,
    "long_calm": 20.0,
    "tiny_runs": 400.0,
    "tiny_default": 200.0,
    "bus_us": 20.0,
    "queue_us": 2.0,
    "bare_s": 0.02,
    "help_s": 0.2,
    "run_s": 0.8,
    "patterns": dict.fromkeys(NAMES, PatternCost(on_us=150.0, off_us=120.0)),
}
_REAL_ROUND: dict[str, Any] = {
    "events": 6_000.0,
    "events_raw": 12_000.0,
    "disorders_raw": 900,
    "hops": 1_000.0,
    "hops_raw": 5_000.0,
    "lives": 900.0,
    "lives_raw": 300.0,
    "lives_by": "pgbench",
    "keys": 12_000.0,
    "claims": 30_000.0,
    "keys_raw": 24_000.0,
    "keys_by": "redis-benchmark",
    "posts": 4_000.0,
    "posts_raw": 8_000.0,
    "two_workers": 60.0,
    "one_worker": 40.0,
}


def make_round(**changes: Any) -> Round:
    """A round of simulated measurements."""
    return Round(sizes=Sizes(orders=1_000), **{**_ROUND, **changes})


def make_real_round(**changes: Any) -> RealRound:
    """A round of measurements on servers."""
    return RealRound(sizes=RealSizes(), **{**_REAL_ROUND, **changes})


def make_verdict(*, orders: int = 200, real_s: float = 9.0) -> VerdictTime:
    """The time of a whole run."""
    return VerdictTime(real_s=real_s, simulated_s=3.0, orders=orders, rate=20.0, latency=LATENCY)


def make_report(**changes: Any) -> BenchReport:
    """A report of simulated figures."""
    report = BenchReport(
        schema_version=SCHEMA_VERSION,
        lab="0",
        machine=this_machine(),
        rounds=1,
        parts=figures.USUAL,
        full=False,
        hop_us=3.0,
        hop_us_low=3.0,
        hop_us_high=3.0,
        figures=figures.all_of([make_round()]),
        latency=LATENCY,
        wall_s=1.0,
    )
    return msgspec.structs.replace(report, **changes)


def make_real_report(**changes: Any) -> RealReport:
    """A report of figures of real servers."""
    found: tuple[Figure, ...] = real_figures.all_of([make_real_round()], make_verdict())
    report = RealReport(
        schema_version=SCHEMA_VERSION,
        lab="0",
        machine=this_machine(),
        servers={"Kafka": "4.0", "PostgreSQL": "15", "Redis": "7"},
        rounds=1,
        parts=real_figures.USUAL,
        figures=found,
        latency=LATENCY,
        wall_s=1.0,
    )
    return msgspec.structs.replace(report, **changes)
