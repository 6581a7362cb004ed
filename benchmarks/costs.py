"""What one order costs each part of the real system: a busy run less an idle one of equal length.

    scripts/servers up && eval "$(scripts/servers env)"
    python -m benchmarks.costs --orders 60,900 --seconds 30 > costs.json

What a run pays once (start, schema, topics, checks) and what it pays a second (polls, heartbeats)
is in both runs and falls out. The counters of the servers are of the whole server: nothing else may
use them meanwhile. Processor time is read from `/proc`, so the servers must run on this machine,
which must be a Linux.

Not here: what follows from the costs (`capacity`).
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from redis.asyncio import Redis

from benchmarks.capacity import Costs
from lab.bench import real_postgres, real_redis
from lab.settings import environment
from lab.wiring.backends.readiness import addresses

PROCESSES: Final = ("api", "relay", "validation", "payment", "notification", "orders")
_TICKS: Final = 100
"""USER_HZ, in which Linux tells the time of a process."""
_STILL_S_MAX: Final = 60
_LOOK_S: Final = 0.05
_LIVES: Final = (1_000, 5_000)
_KEYS: Final = 5
"""Deliveries of an order, each of which claims a key and completes it."""
_COMM_MAX: Final = 15
_COUNTERS: Final = (
    "select xact_commit, tup_inserted + tup_updated + tup_deleted, "
    "pg_current_wal_lsn() - '0/0'::pg_lsn from pg_stat_database "
    "where datname = current_database()"
)


Counters = dict[str, float]
"""Name and value; names of one kind begin with its name and a dot."""


def per_order(idle: Counters, busy: Counters, orders: tuple[int, int], seconds: float) -> Costs:
    """The costs of one order, out of what two runs added to each counter.

    Raises:
        ValueError: the second run is not the busier one, or costs nothing more of something.
    """
    if orders[1] <= orders[0]:
        raise ValueError(f"the second run must have more orders than the first, not {orders}")
    more = orders[1] - orders[0]
    each = {name: (busy[name] - idle.get(name, 0.0)) / more for name in busy}
    free = [name for name, value in each.items() if value <= 0]
    if free:
        raise ValueError(f"{', '.join(free)}: lost in noise; take more orders")

    def of(kind: str) -> dict[str, float]:
        head = f"{kind}."
        return {
            name.removeprefix(head): float(f"{value:.4g}")
            for name, value in sorted(each.items())
            if name.startswith(head)
        }

    return Costs(
        orders=orders,
        seconds=seconds,
        cpu_ms=of("cpu_ms"),
        postgres=of("postgres"),
        redis=of("redis"),
        kafka=of("kafka"),
    )


# ---- processor time


def _stat(pid: str) -> tuple[str, str, float, float] | None:
    """Name, parent, own milliseconds and those of ended children."""
    try:
        text = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    own, ended = (int(rest[n]) + int(rest[n + 1]) for n in (11, 13))
    return name, rest[1], own * 1_000 / _TICKS, ended * 1_000 / _TICKS


def _everybody() -> Iterator[tuple[str, tuple[str, str, float, float]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (found := _stat(folder.name)) is not None:
            yield folder.name, found


def _server_ms(port: int) -> float:
    """Processor time of whoever listens on a port of this machine, children included."""
    pid = _listener(port)
    found = _stat(pid)
    assert found is not None, f"the process on port {port} has ended"
    children = sum(stat[2] for _, stat in _everybody() if stat[1] == pid)
    return found[2] + found[3] + children


def _listener(port: int) -> str:
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
            field = line.split()
            if field[3] == "0A" and int(field[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{field[9]}]")
    for folder in Path("/proc").glob("[0-9]*"):
        if any(_target(handle) in inodes for handle in _handles(folder)):
            return folder.name
    raise LookupError(f"no process of this machine listens on port {port}, or it may not be seen")


def _handles(folder: Path) -> list[Path]:
    try:
        return list((folder / "fd").iterdir())
    except OSError:
        return []  # It has ended, or is somebody else's.


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:
        return ""  # It was closed meanwhile.


def _watch(run: "subprocess.Popen[bytes]") -> Counters:
    """Processor time of each process of a run, by its service, until the run ends."""
    names = {f"lab {name}"[:_COMM_MAX]: name for name in PROCESSES}
    spent: dict[str, tuple[str, float]] = {}
    while run.poll() is None:
        everybody = dict(_everybody())
        family = {str(run.pid)}
        # A child may stand before its parent.
        while more := {pid for pid, stat in everybody.items() if stat[1] in family} - family:
            family |= more
        for pid in family & everybody.keys():
            head = everybody[pid][0].rpartition("-")[0] or everybody[pid][0]
            if head in names:
                spent[pid] = (names[head], everybody[pid][2])
        time.sleep(_LOOK_S)
    return {
        f"cpu_ms.{name}": sum(ms for one, ms in spent.values() if one == name) for name in PROCESSES
    }


# ---- counters of the servers


async def _counters(variables: Mapping[str, str]) -> Counters:
    dsn, url = variables["POSTGRES_DSN"], variables["REDIS_URL"]
    kafka = variables["KAFKA_BOOTSTRAP"].split(",")[0]
    found = await _postgres(dsn)
    found["cpu_ms.postgres"] = _server_ms(urlsplit(dsn).port or 5432)
    found["cpu_ms.redis"] = _server_ms(urlsplit(url).port or 6379)
    found["cpu_ms.kafka"] = _server_ms(int(kafka.rpartition(":")[2]))
    redis: Any = Redis.from_url(url)
    try:
        stats = await redis.info("stats")
    finally:
        await redis.aclose()
    found["redis.calls"] = float(stats["total_commands_processed"])
    net = stats["total_net_input_bytes"] + stats["total_net_output_bytes"]
    found["redis.net_bytes"] = float(net)
    return found


async def _postgres(dsn: str) -> Counters:
    """The counters once they stand still: a backend tells of its work when it has ended."""
    connection = await asyncpg.connect(dsn)
    try:
        before: Sequence[float] = ()
        for _ in range(_STILL_S_MAX):
            now = [float(value) for value in await connection.fetchrow(_COUNTERS)]
            if before and now[1] == before[1]:
                break
            before = now
            await asyncio.sleep(1)
        else:
            raise TimeoutError("somebody else works on this PostgreSQL: its counters do not rest")
    finally:
        await connection.close()
    names = ("postgres.commits", "postgres.rows", "postgres.wal_bytes")
    return dict(zip(names, now, strict=True))


async def _records(bootstrap: str, prefix: str) -> Counters:
    """Records and bytes of the topics of a run that was kept."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await admin.start()
    await consumer.start()
    records = size = 0
    try:
        topics = [topic for topic in await admin.list_topics() if topic.startswith(prefix)]
        parts = [
            TopicPartition(topic["topic"], part["partition"])
            for topic in await admin.describe_topics(topics)
            for part in topic["partitions"]
        ]
        ends = await consumer.end_offsets(parts)
        consumer.assign([part for part in parts if ends[part]])
        await consumer.seek_to_beginning()
        while records < sum(ends.values()):
            batch = await consumer.getmany(timeout_ms=1_000)
            for record in (one for many in batch.values() for one in many):
                records += 1
                size += len(record.key or b"") + len(record.value or b"")
                size += sum(len(name) + len(value) for name, value in record.headers)
    finally:
        await consumer.stop()
        await admin.close()
    return {"kafka.records": float(records), "kafka.bytes": float(size)}


def one_run(orders: int, rate: float, settings: Sequence[str]) -> Counters:
    """What a run of so many orders adds to each counter.

    Raises:
        subprocess.CalledProcessError: its promises did not hold, or it could not run.
        ValueError: the machine could not keep up.
    """
    variables = addresses(environment())
    before = asyncio.run(_counters(variables))
    lab = [sys.executable, "-m", "lab"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out:
        words = ["run", "happy-path", "--real", "--keep", "--json", "--out", folder]
        words += ["--orders", str(orders), "--rate", str(rate)]
        words += [word for setting in settings for word in ("--set", setting)]
        with subprocess.Popen([*lab, *words], stdout=out) as run:
            spent = _watch(run)
        if run.returncode:
            raise subprocess.CalledProcessError(run.returncode, words)
        out.seek(0)
        result = msgspec.json.decode(out.read())
        ended = result["orders"]["by_state"].get("CONFIRMED", 0)
        if ended != orders:
            raise ValueError(f"{ended} of {orders} orders were confirmed: take fewer a second")
        name = str(result["kept"])
        after = asyncio.run(_counters(variables))
    prefix = f"{name.replace('_', '-', 1)}."
    kept = asyncio.run(_records(variables["KAFKA_BOOTSTRAP"], prefix))
    clean = [*lab, "clean", name, "--yes"]
    subprocess.run(clean, stdout=subprocess.DEVNULL, check=True)
    return {**{key: after[key] - before[key] for key in after}, **spent, **kept}


def batched(costs: Costs) -> Costs:
    """The same with PostgreSQL and Redis as they are when many callers share each call.

    The lives of `lab bench --real` are lived by 512 callers of one process, and its claims are
    made by as many handlers as it has.
    """
    variables = addresses(environment())
    found = []
    for many in _LIVES:
        before = asyncio.run(_counters(variables))
        real_postgres.orders_a_second(variables["POSTGRES_DSN"], orders=many, raw_seconds=1)
        real_redis.keys_a_second(variables["REDIS_URL"], keys=_KEYS * many, raw_keys=1_000)
        after = asyncio.run(_counters(variables))
        found.append({name: after[name] - before[name] for name in after})
    more = _LIVES[1] - _LIVES[0]
    each = {name: (found[1][name] - found[0][name]) / more for name in found[0]}
    # A key is claimed twice there and completed once; a delivery claims it once and completes it.
    cpu = {"postgres": each["cpu_ms.postgres"], "redis": each["cpu_ms.redis"] * 2 / 3}
    return msgspec.structs.replace(
        costs,
        cpu_ms={**costs.cpu_ms, **{name: round(value, 4) for name, value in cpu.items()}},
        postgres={name: round(each[f"postgres.{name}"], 2) for name in costs.postgres},
    )


def main() -> None:
    """Measure, and print the costs as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", default="60,900", help="of the two runs [60,900]")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run [30]")
    parser.add_argument("--set", action="append", default=[], help="as of `lab run`")
    parser.add_argument("--batched", type=Path, metavar="COSTS", help="of a file, see `batched`")
    given = parser.parse_args()
    if given.batched:
        _print(batched(msgspec.json.decode(given.batched.read_bytes(), type=Costs)))
        return
    idle, busy = (int(word) for word in given.orders.split(","))
    runs = [one_run(orders, orders / given.seconds, given.set) for orders in (idle, busy)]
    _print(per_order(runs[0], runs[1], (idle, busy), given.seconds))


def _print(costs: Costs) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(costs)).decode() + "\n")


if __name__ == "__main__":
    main()
