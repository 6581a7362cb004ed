"""A group of the simulated system beside queueing theory: who waits how long for a free worker.

    python -m benchmarks.queueing                       # payment with 1, 2, 4 and 16 workers
    python -m benchmarks.queueing --members 25 --partitions 1000 --workers 16 --orders 4000

Orders come as a Poisson process. In the simulated world nothing but a third party takes time, so
the group `payment` is a queue: a record arrives when it is appended, its service is the call of the
gateway, and the servers are the workers of the member that owns its partition. Each member is a
queue of its own.

Not here: costs in processor time (`costs`, `capacity`): in virtual time code costs nothing.

Source: Erlang 1917 (the wait for one of c servers); Kiefer and Wolfowitz 1955 (the recursion);
Lee and Longton 1959 (services that are not exponential).
"""

import argparse
import heapq
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Final

from lab import run
from lab.history.calls import DeliverEntry, SettleEntry
from lab.history.entries import Entry, kind_of
from lab.history.facts import AppendedEntry
from lab.history.recorder import Sink
from lab.providers import core
from lab.runtime.chance import KeyedChance

GROUP: Final = "payment"
ASKS: Final = "OrderValidated"
SIGMA2: Final = core.SIGMA**2
_ORDER: Final = (
    '{"at":"%s","customer_id":"c%d","country":"DE","currency":"EUR",'
    '"items":[{"sku":"MUG","quantity":1,"unit_price_cents":1490}]}\n'
)


# ---- theory


def erlang_c(servers: int, load: float) -> float:
    """The share of arrivals that wait in M/M/c; `load` is arrival rate times mean service.

    Raises:
        ValueError: the load is not below the number of servers, so the queue never ends.
    """
    if not 0 <= load < servers:
        raise ValueError(f"{servers} servers cannot bear a load of {load:g}")
    # Erlang B by its recursion: factorials would overflow.
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    return servers * blocked / (servers - load * (1 - blocked))


def mean_wait(servers: int, rate: float, service: float, squared_variation: float = 1.0) -> float:
    """The mean wait, in the unit of `service`: exact for M/M/c and M/G/1, else an approximation.

    Args:
        servers: c.
        rate: arrivals in one unit of time.
        service: its mean.
        squared_variation: variance of the service by its squared mean; 1 if it is exponential.
    """
    load = rate * service
    of_exponential = erlang_c(servers, load) * service / (servers - load)
    return of_exponential * (1 + squared_variation) / 2


def waits(arrivals: Iterable[int], services: Iterable[int], servers: int) -> Iterator[int]:
    """How long each arrival waits for the first of `servers` that is free, first come first served.

    Exact for any arrivals (in order) and services; nothing of the lab is in it.
    """
    free = [0] * servers
    for at, takes in zip(arrivals, services, strict=True):
        start = max(at, free[0])
        heapq.heapreplace(free, start + takes)
        yield start - at


def poisson(seed: int, rate: float) -> Iterator[int]:
    """Moments of a Poisson process of `rate` a second, in microseconds; never ends."""
    chance = KeyedChance(seed)
    gaps = (-math.log(1 - chance.u("gap", n)) * 1e6 / rate for n in _endless())
    return (int(at) for at in accumulate(gaps))


def exponential(seed: int, mean: float) -> Iterator[int]:
    """Services with an exponential distribution; never ends."""
    chance = KeyedChance(seed)
    return (int(-math.log(1 - chance.u("service", n)) * mean) for n in _endless())


def _endless() -> Iterator[int]:
    n = 0
    while True:
        yield n
        n += 1


# ---- the lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One member of the group, as its history tells of it. All times in microseconds.

    Attributes:
        arrived, waited, served: of each order, in the order of the arrivals.
    """

    arrived: Sequence[int]
    waited: Sequence[int]
    served: Sequence[int]

    @property
    def rate(self) -> float:
        """Arrivals in a microsecond."""
        return (len(self.arrived) - 1) / (self.arrived[-1] - self.arrived[0])

    def utilisation(self, servers: int) -> float:
        """The share of the servers' time that is service, from the first arrival to the last."""
        return self.rate * fmean(self.served) / servers


class _Watch(Sink):
    """Takes the entries of a run that tell of the group."""

    def __init__(self) -> None:
        self.appended: dict[str, int] = {}
        self.started: dict[str, tuple[str, int]] = {}
        self.settled: dict[str, int] = {}

    def take(self, batch: Sequence[Entry]) -> None:
        for entry in batch:
            kind = kind_of(entry)
            if kind == "appended":
                record = AppendedEntry._make(entry)
                if record.event_type == ASKS:
                    self.appended[record.event_id] = record.t_us
            elif kind == "deliver":
                start = DeliverEntry._make(entry)
                if start.group == GROUP:
                    self.started[start.event_id] = (start.process, start.t_us)
            elif kind == "settle":
                end = SettleEntry._make(entry)
                if end.group == GROUP and end.why == "handled":
                    self.settled[end.event_id] = end.t_us

    def queues(self) -> Mapping[str, Queue]:
        by_member: dict[str, list[tuple[int, int, int]]] = {}
        for event, at in self.appended.items():
            member, start = self.started[event]
            done = self.settled[event] - start
            by_member.setdefault(member, []).append((at, start - at, done))
        return {
            member: Queue(
                arrived=[one[0] for one in rows],
                waited=[one[1] for one in rows],
                served=[one[2] for one in rows],
            )
            for member, rows in sorted(by_member.items())
        }


def simulated(
    *, orders: int, rate: float, settings: Mapping[str, object], seed: int = 1
) -> Mapping[str, Queue]:
    """Run the happy path with Poisson arrivals; the queue of each member of the group.

    Raises:
        RuntimeError: the run did not pass, so its times say nothing.
    """
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "orders.ndjson")
        path.write_text("".join(_lines(seed, orders, rate)), encoding="utf-8")
        done = run("happy-path", orders_from=path, settings=settings, seed=seed, watch=watch)
    if done.verdict != "PASS":
        raise RuntimeError(f"the run did not pass: {done.verdict} {done.why}")
    return watch.queues()


def _lines(seed: int, orders: int, rate: float) -> Iterator[str]:
    begin = datetime(2026, 4, 5, tzinfo=UTC)
    for number, at_us in zip(range(orders), poisson(seed, rate), strict=False):
        at = begin + timedelta(microseconds=at_us)
        yield _ORDER % (at.isoformat(timespec="microseconds"), number % 256)


@contextmanager
def exponential_latencies() -> Iterator[None]:
    """Third parties answer after exponential times with the same mean, for M/M/c as in the books.

    The lab's own are lognormal: no call of a real third party takes no time at all.
    """
    usual: Callable[[int], tuple[int, ...]] = core._quantiles  # noqa: SLF001 - no policy of a run

    def drawn(median_us: int) -> tuple[int, ...]:
        mean_us = median_us * math.exp(SIGMA2 / 2)
        return tuple(
            round(-mean_us * math.log(1 - (n + 0.5) / core.QUANTILES))
            for n in range(core.QUANTILES)
        )

    core._quantiles = drawn  # type: ignore[assignment]  # noqa: SLF001 - put back below
    try:
        yield
    finally:
        core._quantiles = usual  # type: ignore[assignment]  # noqa: SLF001 - as it was


# ---- side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of the lab beside theory; waits in milliseconds.

    Attributes:
        busy: the share of the workers' time that was service.
        lab: mean wait in the lab.
        by_hand: mean wait of the same arrivals and services by `waits`.
        parted: orders whose wait is not the same in both.
        theory: mean wait by `mean_wait`, of the rate and the mean service that the run had.
        pooled: the same if any worker could take any order.
    """

    members: int
    workers: int
    orders: int
    busy: float
    lab: float
    by_hand: float
    parted: int
    theory: float
    pooled: float


def compare(
    *, workers: int, members: int, partitions: int, busy: float, orders: int, is_exponential: bool
) -> Row:
    """Run the lab so that its workers are `busy` for that share of their time, and compare."""
    mean_us = 120_000 * math.exp(SIGMA2 / 2)
    squared = 1.0 if is_exponential else math.exp(SIGMA2) - 1
    each = busy * workers / mean_us
    settings = {
        "bus.workers": workers,
        "bus.partitions": partitions,
        "run.members": members,
        # Validation has as many workers: it must not be the queue.
        "validation.latency_ms": 1,
    }
    with exponential_latencies() if is_exponential else nullcontext():
        queues = simulated(orders=orders, rate=each * members * 1e6, settings=settings).values()
    pairs = [
        pair
        for one in queues
        for pair in zip(one.waited, waits(one.arrived, one.served, workers), strict=True)
    ]
    rate = fmean(one.rate for one in queues)
    service = fmean(took for one in queues for took in one.served)
    return Row(
        members=members,
        workers=workers,
        orders=orders,
        busy=fmean(one.utilisation(workers) for one in queues),
        lab=fmean(one for one, _ in pairs) / 1e3,
        by_hand=fmean(one for _, one in pairs) / 1e3,
        parted=sum(one != other for one, other in pairs),
        theory=mean_wait(workers, rate, service, squared) / 1e3,
        pooled=mean_wait(workers * members, rate * members, service, squared) / 1e3,
    )


def main() -> None:
    """Print one row for each number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", default="1,2,4,16", help="bus.workers, several with commas")
    parser.add_argument("--members", type=int, default=1, help="run.members [1]")
    parser.add_argument("--partitions", type=int, default=8, help="bus.partitions [8]")
    parser.add_argument("--busy", type=float, default=0.8, help="share of the workers' time [0.8]")
    parser.add_argument("--orders", type=int, default=2_000, help="of each run [2000]")
    parser.add_argument("--lognormal", action="store_true", help="the lab's own latencies")
    given = parser.parse_args()
    write = sys.stdout.write
    write("members workers orders  busy   lab ms  by hand  parted  theory  pooled\n")
    for workers in (int(word) for word in given.workers.split(",")):
        row = compare(
            workers=workers,
            members=given.members,
            partitions=given.partitions,
            busy=given.busy,
            orders=given.orders,
            is_exponential=not given.lognormal,
        )
        write(
            f"{row.members:7} {row.workers:7} {row.orders:6} {row.busy:5.2f} {row.lab:8.1f} "
            f"{row.by_hand:8.1f} {row.parted:7} {row.theory:7.1f} {row.pooled:7.1f}\n"
        )


if __name__ == "__main__":
    main()
