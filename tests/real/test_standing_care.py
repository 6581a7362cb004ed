"""A standing system on real servers: made by a step of its own, and cut by age while it stands."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from lab.bus.kafka import retention as kafka_retention
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.cli.app import run_command
from lab.cli.exit_codes import ExitCode
from lab.domain.order import OrderState
from lab.history.entries import kind_of
from lab.ports.store import HttpKeyRow, Unit
from lab.settings import settings_for
from lab.stores.postgres import facts as postgres_facts
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer, connect
from lab.stores.postgres.retention import PostgresRetention
from lab.stores.postgres.store import PostgresStore, open_store
from lab.wiring.process.retention import ages_of
from tests.contract.server_worlds import PostgresWorld, own_database, postgres_world, unique
from tests.contract.store_worlds import SHARDS, in_world, make_change, make_create, make_outcome
from tests.kit.real_servers import need

pytestmark = pytest.mark.real

DAY_MS = 86_400_000
DAY_US = DAY_MS * 1_000
WEEKS = 5
ORDERS_A_DAY = 8
TABLES = ("outbox", "outcomes", "http_keys", "order_versions", "facts")
SETTINGS = settings_for("wall-clock").with_changes({"retention.versions_ms": 14 * DAY_MS})
A_DAY_PASSES = (
    f"update outbox set published_us = published_us - {DAY_US}, time_us = time_us - {DAY_US}",
    *(f"update {name} set at_us = at_us - {DAY_US}" for name in TABLES[1:]),
)


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    with own_database() as dsn, postgres_world(dsn) as made:
        yield made


async def admin(server: PostgresServer) -> Any:
    return await connect(server, plain="pulse-lab test")


async def order_goes_by(store: PostgresStore, name: str) -> None:
    answer = HttpKeyRow(key=name, body_sha256="x", status=201, answer=b"")
    create = msgspec.structs.replace(make_create(name), http_key=answer)
    for unit in (
        create,
        make_change(OrderState.CANCELLED, order_id=name),
        Unit(outcome=make_outcome(name), lab_subject="1.1"),
        Unit(outcome=make_outcome(name, group="orders"), lab_subject="1.1"),
    ):
        await store.orders.commit(unit)


async def publish_all(store: PostgresStore) -> None:
    for shard in range(SHARDS):
        await store.outbox.mark_published(await store.outbox.unpublished(shard, 1_000))


async def sizes(watcher: Any) -> dict[str, int]:
    return {name: await watcher.fetchval(f"select count(*) from {name}") for name in TABLES}


@pytest.mark.slow
@in_world
async def test_tables_that_are_cut_by_age_are_flat_over_weeks(world: PostgresWorld) -> None:
    server = replace(world.server, keeps_facts=False)
    store = open_store(server, shards=SHARDS)
    watcher = await admin(server)
    retention, ages = PostgresRetention(store.links), ages_of(SETTINGS)
    weeks, bytes_ = [], []
    for day in range(7 * WEEKS):
        await asyncio.gather(
            *(order_goes_by(store, f"o-{day}-{number}") for number in range(ORDERS_A_DAY))
        )
        await publish_all(store)
        for statement in A_DAY_PASSES:
            await watcher.execute(statement)
        await retention.cut(ages, limit=10_000)
        if day % 7 == 6:
            weeks.append(await sizes(watcher))
            for name in TABLES:
                await watcher.execute(f"vacuum {name}")
            bytes_.append(
                await watcher.fetchval(
                    "select sum(pg_total_relation_size(n::regclass))::bigint "
                    "from unnest($1::text[]) as n",
                    list(TABLES),
                )
            )
    await watcher.close()
    await store.close()
    assert weeks[2:] == [weeks[2]] * (WEEKS - 2)
    # What is exactly as old as the age was cut with the day.
    assert weeks[-1] == {
        "outbox": 2 * 7 * ORDERS_A_DAY - 2 * ORDERS_A_DAY,
        "outcomes": 2 * 14 * ORDERS_A_DAY - 2 * ORDERS_A_DAY,
        "http_keys": 7 * ORDERS_A_DAY - ORDERS_A_DAY,
        "order_versions": 2 * 14 * ORDERS_A_DAY - 2 * ORDERS_A_DAY,
        "facts": 0,
    }
    assert bytes_[-1] <= 1.1 * bytes_[2]


@in_world
async def test_facts_are_written_for_a_verdict_only(world: PostgresWorld) -> None:
    for keeps_facts in (False, True):
        server = replace(world.server, keeps_facts=keeps_facts)
        store = open_store(server, shards=SHARDS)
        await order_goes_by(store, f"order-{keeps_facts}")
        await store.close()
        watcher = await admin(server)
        kinds = [kind_of(entry) async for entry in postgres_facts.gather_facts(watcher)]
        await watcher.close()
        assert kinds.count("row") == (4 if keeps_facts else 2)
        assert kinds.count("outcome") == (2 if keeps_facts else 0)


@in_world
async def test_a_row_that_somebody_else_has_locked_is_cut_the_next_time(
    world: PostgresWorld,
) -> None:
    store = open_store(world.server, shards=SHARDS)
    await order_goes_by(store, "one")
    await order_goes_by(store, "two")
    other = await admin(world.server)
    await other.execute("begin; select from http_keys where key = 'one' for update")
    retention = PostgresRetention(store.links)
    ages = ages_of(SETTINGS)
    at_once = msgspec.structs.replace(ages, http_keys=1)
    assert (await retention.cut(at_once, limit=10))["http_keys"] == 1
    await other.execute("rollback")
    assert (await retention.cut(at_once, limit=10))["http_keys"] == 1
    await other.close()
    await store.close()


# ---- the commands


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a system of which nothing is there yet; all of it is removed."""
    name = unique("care")
    monkeypatch.setenv("LAB_POSTGRES_DSN", need("postgres"))
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", need("kafka"))
    monkeypatch.setenv("LAB_SET_BUS_PARTITIONS", "1")
    yield name

    async def remove() -> None:
        async with KafkaTopics(kafka_of(name)) as topics:
            await topics.delete()
        await postgres_schema.drop(PostgresServer(dsn=need("postgres"), schema=name))

    asyncio.run(remove())


def kafka_of(name: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=need("kafka"), prefix=name.replace("_", "-"))


async def kept_ms(name: str) -> tuple[int, int]:
    return await kafka_retention.kept_ms(kafka_of(name), ["orders", "payments"])


async def made_for_ever(name: str) -> None:
    """Topics as a lab made them that knew of no retention."""
    async with KafkaTopics(kafka_of(name)) as topics:
        await topics.create({"orders": 1, "payments": 1})


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_system_is_made_by_one_step_and_cut_by_another(
    system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["prune", "--name", system]) == ExitCode.NOT_READY
    assert "lab migrate" in capsys.readouterr().err
    asyncio.run(made_for_ever(system))
    assert asyncio.run(kept_ms(system))[0] == 0

    assert run_command(["migrate", "--name", system]) == ExitCode.PASS
    said = capsys.readouterr().out
    assert "0001_tables.sql" in said
    assert "validation" in said
    assert run_command(["migrate", "--name", system]) == ExitCode.PASS
    said = capsys.readouterr().out
    assert "up to date" in said
    assert "all there" in said
    kept = settings_for("wall-clock").number("bus.retention_ms")
    assert asyncio.run(kept_ms(system)) == (kept, kept // 7)

    server = PostgresServer(dsn=need("postgres"), schema=system)

    async def orders_of_ten_days_ago() -> None:
        store, watcher = open_store(server, shards=SHARDS), await admin(server)
        await order_goes_by(store, "old")
        await publish_all(store)
        for _ in range(10):
            for statement in A_DAY_PASSES:
                await watcher.execute(statement)
        await order_goes_by(store, "young")
        # What is owed would have the inbox kept.
        await publish_all(store)
        await watcher.close()
        await store.close()

    async def counted() -> dict[str, int]:
        watcher = await admin(server)
        found = await sizes(watcher)
        await watcher.close()
        return found

    asyncio.run(orders_of_ten_days_ago())
    before = asyncio.run(counted())
    command = ["prune", "--name", system, "--older-than", "9d", "--json"]
    expected = {"outbox": 2, "inbox": 2, "http_keys": 1, "order_versions": 2, "facts": 3}
    assert run_command([*command, "--dry-run"]) == ExitCode.PASS
    counting = capsys.readouterr()
    assert msgspec.json.decode(counting.out) == {"dry_run": True, "rows": expected}
    assert counting.err == ""
    assert asyncio.run(counted()) == before
    assert run_command(command) == ExitCode.PASS
    assert msgspec.json.decode(capsys.readouterr().out)["rows"] == expected
    after = asyncio.run(counted())
    assert {name: before[name] - after[name] for name in TABLES} == {
        "outbox": 2,
        "outcomes": 2,
        "http_keys": 1,
        "order_versions": 2,
        "facts": 3,
    }


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_inbox_keeps_what_topics_that_keep_for_ever_may_bring_again(
    system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["migrate", "--name", system, *SET_FOR_EVER]) == ExitCode.PASS
    capsys.readouterr()
    assert run_command(["prune", "--name", system, "--older-than", "1s", "--json"]) == ExitCode.PASS
    said = capsys.readouterr()
    assert "the inbox keeps what is done for ever" in said.err
    assert "inbox" not in msgspec.json.decode(said.out)["rows"]


SET_FOR_EVER = ("--set", "bus.retention_ms=0", "--set", "retention.inbox_ms=0")
