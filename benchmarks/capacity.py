"""Capacity on paper: the orders a second of so many worker machines, and the first limit.

    python -m benchmarks.costs > costs.json
    python -m benchmarks.capacity costs.json
    python -m benchmarks.capacity costs.json --machines 10,100,1000 --server-cores 32

Arithmetic only. A worker machine runs copies of API and services until `--busy` of its cores is
used; the rate that this gives is asked of everything that is one for all. The limits of this
arithmetic stand in docs/explanation/scale.md.

Not here: measuring the costs (`costs`), and waiting (`queueing`).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

import msgspec

GROUPS: Final = ("validation", "payment", "notification", "orders")
WORKERS: Final = ("api", *GROUPS)
"""The processes of which a worker machine runs as many as it can, each on a thread of its own."""


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What one confirmed order costs, as `costs` prints it.

    Attributes:
        orders: of the idle run and of the busy one.
        seconds: in which they were posted.
        cpu_ms: processor time by process and server, in milliseconds.
        postgres: `commits`, `rows` written, `wal_bytes`.
        redis: `calls` of a script or command, `net_bytes` in and out.
        kafka: `records`, and `bytes` of their keys, values and headers.
    """

    orders: tuple[int, int]
    seconds: float
    cpu_ms: Mapping[str, float]
    postgres: Mapping[str, float]
    redis: Mapping[str, float]
    kafka: Mapping[str, float]


class Machines(msgspec.Struct, frozen=True, kw_only=True):
    """The assumptions: what one machine, server or disk bears.

    Attributes:
        busy: share of a core that may be used: beyond it queues grow faster than work.
        worker_cores: of one worker machine.
        server_cores: of the machine of one PostgreSQL, and of one broker.
        wal_mb: megabytes a second of log that the disk of one PostgreSQL writes.
        broker_mb: megabytes a second that one broker takes in, copies included.
        copies: of each record.
        partitions: of every topic; more members of a group than these have nothing to do.
        connections: that one PostgreSQL keeps; nothing may pool them.
        connections_each: that a process keeps.
    """

    busy: float = 0.7
    worker_cores: int = 4
    server_cores: int = 32
    wal_mb: float = 200.0
    broker_mb: float = 100.0
    copies: int = 3
    partitions: int = 1_000
    connections: int = 1_000
    connections_each: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How much of one resource a rate asks for.

    Attributes:
        name: of the resource.
        used: by the rate, in `unit`.
        limit: of one of them, in `unit`.
    """

    name: str
    used: float
    limit: float
    unit: str

    @property
    def count(self) -> int:
        """How many of them are needed."""
        return max(1, ceil(self.used / self.limit))

    @property
    def share(self) -> float:
        """Of one of them; 1 is full."""
        return self.used / self.limit


def worker_ms(costs: Costs) -> float:
    """Processor time that an order takes on the worker machines."""
    return sum(costs.cpu_ms[name] for name in WORKERS)


def rate_of(costs: Costs, machines: int, given: Machines) -> float:
    """Orders a second that the worker machines can do, if nothing else is full."""
    return machines * given.worker_cores * given.busy * 1e3 / worker_ms(costs)


def needs(costs: Costs, rate: float, given: Machines) -> tuple[Need, ...]:
    """What a rate asks of everything that is one for all workers, the fullest first."""
    cpu = {name: rate * ms / 1e3 for name, ms in costs.cpu_ms.items()}
    cores = given.server_cores * given.busy
    written = costs.kafka["bytes"] * given.copies
    processes = rate * worker_ms(costs) / 1e3 / given.busy
    members = max(cpu[name] for name in GROUPS) / given.busy
    found = (
        Need(name="PostgreSQL, processor", used=cpu["postgres"], limit=cores, unit="cores"),
        Need(
            name="PostgreSQL, log",
            used=rate * costs.postgres["wal_bytes"] / 1e6,
            limit=given.wal_mb,
            unit="MB/s",
        ),
        # One thread does the commands of a Redis.
        Need(name="Redis, its thread", used=cpu["redis"], limit=given.busy, unit="cores"),
        # A shard has one lane of one relay, and a relay is one thread.
        Need(name="a relay, its thread", used=cpu["relay"], limit=given.busy, unit="cores"),
        Need(
            name="a broker, processor",
            used=cpu["kafka"] * given.copies,
            limit=cores,
            unit="cores",
        ),
        Need(
            name="a broker, records", used=rate * written / 1e6, limit=given.broker_mb, unit="MB/s"
        ),
        Need(name="partitions", used=members, limit=given.partitions, unit="members"),
        Need(
            name="PostgreSQL, connections",
            used=processes * given.connections_each,
            limit=given.connections,
            unit="kept",
        ),
    )
    return tuple(sorted(found, key=lambda need: -need.share))


def full_at(costs: Costs, given: Machines) -> tuple[tuple[str, float, float], ...]:
    """Of each resource: name, the rate at which one is full, and the machines that make it."""
    one = rate_of(costs, 1, given)
    return tuple(
        (need.name, 1 / need.share, 1 / need.share / one) for need in needs(costs, 1.0, given)
    )


def page(costs: Costs, machines: Sequence[int], given: Machines) -> str:
    """Both tables, as Markdown."""
    each = worker_ms(costs)
    a_core = f"{1e3 / each:.0f} orders a second and core"
    lines = [
        f"An order takes {each:.1f} ms of a worker's core: {a_core}.",
        "",
        "| one of them | full at, orders/s | worker machines |",
        "|---|--:|--:|",
    ]
    lines += [
        f"| {name} | {rate:,.0f} | {many:,.1f} |" for name, rate, many in full_at(costs, given)
    ]
    rates = [rate_of(costs, many, given) for many in machines]
    columns = [needs(costs, rate, given) for rate in rates]
    heads = (
        f"{many:,} machines: {rate:,.0f}/s" for many, rate in zip(machines, rates, strict=True)
    )
    lines += ["", f"| asked for, and how many of them | {' | '.join(heads)} |"]
    lines.append(f"|---|{'--:|' * len(machines)}")
    for row in zip(*columns, strict=True):
        cells = (f"{need.used:,.1f} {need.unit}, {need.count:,}" for need in row)
        lines.append(f"| {row[0].name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables of a file of costs."""
    usual = Machines()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("costs", type=Path, help="what benchmarks.costs has printed")
    parser.add_argument("--machines", default="10,100,1000")
    for name in usual.__struct_fields__:
        value = getattr(usual, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    words = vars(parser.parse_args())
    path = words.pop("costs")
    try:
        costs = msgspec.json.decode(path.read_bytes(), type=Costs)
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"{path}: {error}; make it by: python -m benchmarks.costs > {path}")
    wanted = words.pop("machines")
    try:
        machines = [int(word) for word in wanted.split(",")]
    except ValueError:
        parser.error(f"--machines is numbers with commas between them, not {wanted!r}")
    sys.stdout.write(page(costs, machines, Machines(**words)))


if __name__ == "__main__":
    main()
