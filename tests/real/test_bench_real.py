"""`lab bench --real` measures every figure on real servers, however fast they are."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from lab.bench.baselines import lifecycle_sql, redis_set
from lab.bench.real import measure_real
from lab.bench.real_rounds import RealSizes
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.settings import environment
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer, connect
from tests.kit.real_servers import need

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]

SMALL = RealSizes(
    events=400,
    hops=50,
    lives=60,
    lives_raw_s=1,
    keys=300,
    keys_raw=300,
    posts=50,
    orders=20,
)


async def ours_on_the_servers() -> set[str]:
    """Everything of a bench that stands on the servers."""
    async with KafkaTopics(KafkaSettings(bootstrap=need("kafka"))) as topics:
        names = set(await topics._call(topics._admin.list_topics))
    connection: Any = await asyncpg.connect(need("postgres"))
    try:
        names |= {
            row["nspname"] for row in await connection.fetch("select nspname from pg_namespace")
        }
    finally:
        await connection.close()
    async with Redis.from_url(need("redis")) as client:
        async for key in client.scan_iter(match="bench-*", count=1_000):
            names.add(key.decode())
    return {name for name in names if name.startswith(("bench-", "bench_"))}


def test_a_small_bench_measures_every_figure_and_leaves_nothing_behind() -> None:
    before = asyncio.run(ours_on_the_servers())
    told: list[tuple[int, int, str]] = []

    report = measure_real(
        environment(),
        rounds=1,
        sizes=SMALL,
        on_progress=lambda done, total, what: told.append((done, total, what)),
    )

    assert [figure.name for figure in report.figures] == [
        "Kafka, events handled",
        "Kafka, three hops",
        "PostgreSQL, lives of orders",
        "Redis, keys deduplicated",
        "Redis, keys claimed",
        "HTTP, orders posted",
        "lab run happy-path --real",
    ]
    for figure in report.figures:
        assert figure.value > 0, figure
        assert figure.baseline > 0, figure
        assert figure.ratio == pytest.approx(figure.value / figure.baseline)
        assert figure.low <= figure.high
    assert set(report.servers) == {"Kafka", "PostgreSQL", "Redis"}
    assert [done for done, _, _ in told] == list(range(told[0][1]))
    assert asyncio.run(ours_on_the_servers()) <= before


@asynccontextmanager
async def schema() -> AsyncIterator[PostgresServer]:
    server = PostgresServer(dsn=need("postgres"), schema=f"bench_{secrets.token_hex(5)}")
    await postgres_schema.prepare(server, shards=4)
    try:
        yield server
    finally:
        await postgres_schema.drop(server)


def test_the_plain_statements_take_an_order_through_its_whole_life() -> None:
    async def case() -> None:
        async with schema() as server:
            connection = await connect(server, plain="pulse-lab test")
            todo = [
                one._replace(sql=one.sql.replace(":k", "$1").replace(":n", "$1"))
                for one in lifecycle_sql.statements(150)
            ]
            await lifecycle_sql._one_order(connection, todo, "1")
            facts = await connection.fetch(
                "select (select state || version from orders), "
                "(select count(*) from order_versions), (select count(*) from outcomes), "
                "(select count(*) from intents where not is_open), (select count(*) from facts), "
                "(select count(*) from outbox where published_us is not null), "
                "(select count(*) from http_keys)"
            )
            await connection.close()
        assert tuple(facts[0]) == ("CONFIRMED4", 4, 5, 1, 8, 4, 1)

    asyncio.run(case())


def test_without_the_servers_programs_the_baselines_are_measured_by_the_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle_sql, "find_pgbench", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    prefix = f"bench-{secrets.token_hex(5)}"

    async def prepare() -> PostgresServer:
        server = PostgresServer(dsn=need("postgres"), schema=f"bench_{secrets.token_hex(5)}")
        await postgres_schema.prepare(server, shards=4)
        return server

    server = asyncio.run(prepare())
    try:
        lives = lifecycle_sql.orders_a_second(server.dsn, server.schema, event_bytes=9, seconds=1)
        keys = redis_set.sets_a_second(need("redis"), prefix, 50)
    finally:
        asyncio.run(postgres_schema.drop(server))
        asyncio.run(forget(prefix))

    assert lives.rate > 0
    assert "no pgbench here" in lives.by
    assert keys.rate > 0
    assert "no redis-benchmark here" in keys.by


async def forget(prefix: str) -> None:
    async with Redis.from_url(need("redis")) as client:
        keys = [key async for key in client.scan_iter(match=f"{prefix}:*")]
        assert len(keys) == 50
        await client.unlink(*keys)
