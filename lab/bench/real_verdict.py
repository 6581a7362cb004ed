"""How long a whole run takes, from the command to its verdict: in real processes, and simulated.

Not here: the process of a run (`whole_run`), and the times of its orders (`open_loop`).
"""

from typing import Final

import msgspec

from lab.bench.latency import Latency
from lab.bench.load import LOAD
from lab.bench.open_loop import OpenLoop, planned_us
from lab.bench.whole_run import run_timed, run_whole
from lab.scenarios.run_options import RunOptions
from lab.wiring.spec import RunSpec, make_spec

_FLOOD: Final = 2_000
"""Orders a second of a load that nobody is waited for: more than the system takes."""

_UNBOUNDED: Final = (
    # The queue stands in the system: a client that asks again would add to the load.
    *("--set", "api.max_in_flight=1000000"),
    *("--set", "client.timeout_ms=120000"),
)


class VerdictTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long one run took, from a new process to its verdict.

    Attributes:
        real_s: wall seconds in real processes.
        simulated_s: of the same run in the simulator.
        orders: how many it had.
        rate: how many of them came a second; they take their time, however fast the rest is.
        latency: of the real run.
    """

    real_s: float
    simulated_s: float
    orders: int
    rate: float
    latency: Latency


def orders_in(seconds: float) -> int:
    """How many orders of the happy path come in so long a time."""
    return max(round(seconds * _rate(_spec(orders=None))), 1)


def measure_verdict(orders: int) -> VerdictTime:
    """Run the happy path, which must pass, on the servers of the environment and simulated.

    Raises:
        BenchError: a verdict was not PASS.
        subprocess.TimeoutExpired: it took far longer than its load.
    """
    spec = _spec(orders)
    rate, asked = _rate(spec), ("--orders", str(orders))
    load_s = orders / rate
    real, times = run_timed("--real", *asked, load_s=load_s, due_us=planned_us(spec))
    return VerdictTime(
        real_s=real.spent_s,
        simulated_s=run_whole(*asked, load_s=load_s).spent_s,
        orders=orders,
        rate=rate,
        latency=_latency(
            times,
            orders_per_s=orders / real.wall_ms * 1_000,
            how=f"{orders:,} orders of {LOAD} --real at {rate:g} a second, each from the moment "
            f"it was due (the client was up to {times.late_us_max / 1_000:,.0f} ms late); "
            "orders/s from the first order to the verdict",
        ),
    )


def flooded_orders_a_second(members: int, orders: int) -> float:
    """Orders a second that come to their end while far more are waiting than can be handled.

    Args:
        members: worker processes of each consumer group.
        orders: how many there are.

    Raises:
        BenchError, subprocess.TimeoutExpired: as above.
    """
    asked = ("--orders", str(orders), "--rate", str(_FLOOD), *_UNBOUNDED)
    members_of = ("--set", f"run.members={members}")
    due_us = planned_us(_spec(orders, rate=_FLOOD))
    _, times = run_timed("--real", *asked, *members_of, load_s=orders / _FLOOD, due_us=due_us)
    return orders / times.spent_us * 1e6


def _spec(orders: int | None, rate: float | None = None) -> RunSpec:
    return make_spec(RunOptions(scenario=LOAD, real=True, orders=orders, rate=rate))


def _rate(spec: RunSpec) -> float:
    assert spec.rate, f"{LOAD} has a rate"
    return spec.rate


def _latency(times: OpenLoop, *, orders_per_s: float, how: str) -> Latency:
    return Latency(
        p50_ms=times.percentile_ms(50),
        p95_ms=times.percentile_ms(95),
        p99_ms=times.percentile_ms(99),
        max_ms=times.percentile_ms(100),
        orders_per_s=orders_per_s,
        how=how,
    )
