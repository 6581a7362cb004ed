"""What a real run says agrees with what anybody finds on the servers, and survives what it should.

Not here: the scenarios (`test_real_runs.py`).
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiokafka
import asyncpg
import pytest
from redis.asyncio import Redis

from lab import run
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.events import READS
from lab.history.facts import LedgerEntry
from lab.providers.ledger_file import ledger_entries
from lab.report.result import Result
from lab.settings import environment
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer
from tests.kit.entries import of_type
from tests.kit.real_servers import control, need, need_control

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(180),
]


@pytest.fixture(autouse=True)
def _servers() -> None:
    for server in ("postgres", "redis", "kafka"):
        need(server)


def entries(result: Result) -> Iterator[Mapping[str, Any]]:
    assert result.run_dir is not None
    with (Path(result.run_dir) / "history.ndjson").open() as lines:
        for line in lines:
            yield json.loads(line)


def test_the_result_agrees_with_the_tables_the_topics_and_the_ledgers(tmp_path: Path) -> None:
    result = run("happy-path", real=True, keep=True, orders=40, rate=40, out=tmp_path)
    assert result.kept is not None
    assert result.run_dir is not None
    try:
        states, types = asyncio.run(_look(result.kept))
    finally:
        asyncio.run(_remove(result.kept))
    assert result.verdict == "PASS"
    assert states == result.orders.by_state == {"CONFIRMED": 40}
    captured = {
        line.subject: line.charge_key
        for line in of_type(ledger_entries(Path(result.run_dir) / "ledger.ndjson"), LedgerEntry)
        if line.action == "capture"
    }
    assert len(captured) == 40
    assert types == Counter(
        OrderCreated=40, OrderValidated=40, PaymentCaptured=40, OrderConfirmed=40
    )


async def _look(name: str) -> tuple[dict[str, int], Counter[str]]:
    """What stands in the order table and in the main topics, as other clients see it."""
    connection = await asyncpg.connect(environment()["POSTGRES_DSN"])
    rows = await connection.fetch(f"select state, count(*) from {name}.orders group by state")
    await connection.close()
    stem = name.replace("_", "-")
    consumer = aiokafka.AIOKafkaConsumer(
        *(f"{stem}.{topic}" for topic in ("orders", "validation", "payments")),
        bootstrap_servers=environment()["KAFKA_BOOTSTRAP"],
        auto_offset_reset="earliest",
    )
    await consumer.start()
    types: Counter[str] = Counter()
    ends = await consumer.end_offsets(consumer.assignment())
    while sum(types.values()) < sum(ends.values()):
        for records in (await consumer.getmany(timeout_ms=10_000)).values():
            types.update(dict(record.headers)["ce_type"].decode() for record in records)
    await consumer.stop()
    return {row["state"]: row["count"] for row in rows}, types


async def _remove(name: str) -> None:
    at = environment()
    await postgres_schema.drop(PostgresServer(dsn=at["POSTGRES_DSN"], schema=name))
    await redis.forget(RedisServer(url=at["REDIS_URL"], prefix=name))
    kafka = KafkaSettings(bootstrap=at["KAFKA_BOOTSTRAP"], prefix=name.replace("_", "-"))
    async with KafkaTopics(kafka) as topics:
        await topics.delete()


def test_of_two_payment_processes_the_one_left_takes_over(tmp_path: Path) -> None:
    result = run(
        "happy-path",
        real=True,
        orders=100,
        rate=12,
        # It comes back when it has long been expelled.
        settings={"run.members": 2, "run.restart_ms": 6_000},
        faults=["proc.crash@payment-1 at=2s"],
        out=tmp_path,
        history="all",
    )
    owned: dict[str, list[int]] = {}
    delivered: Counter[str] = Counter()
    for entry in entries(result):
        if entry["kind"] == "owned":
            owned.setdefault(entry["process"], []).append(len(entry["partitions"]))
        elif entry["kind"] == "deliver":
            delivered[entry["process"]] += 1
    assert result.verdict == "PASS", result.why
    assert min(delivered["payment-1"], delivered["payment-2"]) > 0
    own = owned["payment-2"]
    shared = own.index(min(own))
    assert max(own[shared:]) > own[shared], "it got the partitions of the dead one"


@pytest.mark.alone
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    processes = itertools.cycle((*READS, "relay", "api"))
    result = run(
        "crashes",
        real=True,
        orders=160,
        rate=7,
        faults=[f"proc.crash@{next(processes)} at={second}s" for second in range(1, 25)],
        out=tmp_path,
    )
    kills = sum(entry["kind"] == "life" and entry["event"] == "kill" for entry in entries(result))
    assert kills >= 20
    assert result.verdict == "PASS", result.why


def test_a_process_that_is_told_to_stop_again_while_it_stops_goes_on_stopping(
    tmp_path: Path,
) -> None:
    result = run(
        "happy-path",
        real=True,
        orders=40,
        rate=40,
        faults=["proc.term@validation#every2 first=2"],
        out=tmp_path,
    )
    told = [e for e in entries(result) if e["kind"] == "fault"]
    stops = [e for e in entries(result) if e["kind"] == "life" and e["event"] == "term"]
    assert len(told) > len(stops) > 0, "no signal came twice: this says nothing"
    assert result.verdict == "PASS", result.why


@pytest.mark.alone
def test_servers_that_die_and_come_back_under_load_lose_nothing(tmp_path: Path) -> None:
    for server in ("postgres", "redis", "kafka"):
        need_control(server)

    def strike() -> None:
        asyncio.run(_flush_redis())
        control("stop", "postgres")
        control("start", "postgres")
        control("kill", "kafka")
        time.sleep(10)
        control("start", "kafka")

    striking = threading.Timer(15, strike)
    striking.start()
    try:
        result = run(
            "duplicates",
            real=True,
            orders=200,
            rate=6,
            settings={"run.drain_ms": 120_000},
            out=tmp_path,
        )
    finally:
        striking.join()
    # Redis forgets behind the lab's back: a claim that is at work in that instant cannot be ended.
    broken = {check.name for check in result.checks if check.verdict == "FAIL"}
    assert broken <= {"claim-returned"}, result.why
    assert broken or result.verdict == "PASS", result.why
    assert result.orders.by_state == {"CONFIRMED": 200}


async def _flush_redis() -> None:
    client = Redis.from_url(environment()["REDIS_URL"])
    await client.flushall()
    await client.aclose()
