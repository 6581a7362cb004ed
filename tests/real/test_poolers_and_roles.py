"""PostgreSQL as people have it: a pooler in between, a role that may not create, a newer schema."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.domain.errors import Down, EnvironmentNotReady
from lab.domain.order import OrderState
from lab.ports.store import UnitVerdict
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import Links, PostgresServer, connect
from lab.stores.postgres.store import open_store
from tests.contract.server_worlds import PostgresWorld, postgres_world, unique
from tests.contract.store_worlds import SHARDS, in_world, make_change, make_create, state_of
from tests.kit.own_servers import own_pgbouncer
from tests.kit.real_servers import need

pytestmark = pytest.mark.real

IGNORED = "search_path,application_name,default_transaction_isolation,client_min_messages"
POOLERS = {
    "transaction": {"pool_mode": "transaction"},
    "transaction, parameters ignored": {
        "pool_mode": "transaction",
        "ignore_startup_parameters": IGNORED,
    },
    "session, parameters ignored": {
        "pool_mode": "session",
        "ignore_startup_parameters": IGNORED,
    },
}


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    with postgres_world() as made:
        yield made


async def admin(world: PostgresWorld) -> Any:
    return await connect(world.server, plain="pulse-lab test")


async def made_on(dsn: str) -> list[str]:
    """Every schema, and what stands in `public`, of the database."""
    watcher = await connect(PostgresServer(dsn=dsn, schema="public"), plain="pulse-lab test")
    rows = await watcher.fetch(
        "select nspname::text as name from pg_namespace where nspname !~ '^(pg_|lab_test_)' "
        "union all select relname::text from pg_class "
        "where relnamespace = 'public'::regnamespace order by name"
    )
    await watcher.close()
    return [row["name"] for row in rows]


@pytest.mark.parametrize("kind", POOLERS)
def test_a_pooler_is_refused_before_anything_is_made(kind: str, tmp_path: Path) -> None:
    dsn, schema = need("postgres"), f"pooled_{unique('x')}"
    before = asyncio.run(made_on(dsn))
    with own_pgbouncer(tmp_path, dsn, **POOLERS[kind]) as pooled:
        server = PostgresServer(dsn=pooled, schema=schema)
        for use in (
            postgres_schema.check(server),
            postgres_schema.prepare(server, shards=SHARDS),
        ):
            with pytest.raises(EnvironmentNotReady, match=r"a pooler.*name the server itself"):
                asyncio.run(use)
    assert asyncio.run(made_on(dsn)) == before


def test_a_pooler_that_comes_between_later_is_no_use_and_nothing_goes_astray(
    world: PostgresWorld, tmp_path: Path
) -> None:
    async def use(pooled: str) -> None:
        links = Links(replace(world.server, dsn=pooled), 1)
        with pytest.raises(Down, match="a pooler"):
            await links.change("create table astray ()")
        await links.close()
        watcher = await admin(world)
        assert await watcher.fetchval("select to_regclass('public.astray') is null")
        await watcher.close()

    ignoring = POOLERS["transaction, parameters ignored"]
    with own_pgbouncer(tmp_path, world.server.dsn, **ignoring) as pooled:
        world.run(use(pooled))


# ---- roles


@pytest.fixture
def user(world: PostgresWorld) -> Iterator[str]:
    """A role that may use the schema of the world, and make nothing anywhere."""
    schema = world.server.schema
    role = unique("user")
    page = (Path(__file__).parents[2] / "docs" / "standing.md").read_text("utf-8")
    grants = page.partition("```sql\n")[2].partition("```")[0]
    assert grants.count("grant") > 2

    async def run(*statements: str) -> None:
        watcher = await admin(world)
        for statement in statements:
            await watcher.execute(statement)
        await watcher.close()

    granted = grants.replace("ROLE", role).replace("SCHEMA_NAME", schema)
    world.run(run(f"create role {role} login", granted))
    yield role
    world.run(run(f"drop owned by {role}", f"drop role {role}"))


def as_role(server: PostgresServer, role: str) -> PostgresServer:
    parts = urlsplit(server.dsn)
    netloc = f"{role}@{parts.hostname}:{parts.port}"
    return replace(server, dsn=parts._replace(netloc=netloc).geturl())


def test_a_process_whose_role_may_make_nothing_works_in_a_schema_that_is_there(
    world: PostgresWorld, user: str
) -> None:
    async def work() -> None:
        server = as_role(world.server, user)
        assert await postgres_schema.prepare(server, shards=SHARDS) == ()
        store = open_store(server, shards=SHARDS)
        assert await store.orders.commit(make_create()) is UnitVerdict.COMMITTED
        change = make_change(OrderState.CANCELLED)
        assert await store.orders.commit(change) is UnitVerdict.COMMITTED
        assert await state_of(store.orders) == ("CANCELLED", 2)
        shard = await store.outbox.own_shard()
        assert shard is not None
        for each in range(SHARDS):
            await store.outbox.mark_published(await store.outbox.unpublished(each, 10))
        await store.orders.explain_start("g", "e", await store.orders.begin_start("g", "e", 0))
        await store.close()

    world.run(work())


def test_a_missing_right_is_said_with_the_remedy_that_fits(world: PostgresWorld, user: str) -> None:
    async def ask() -> None:
        server = as_role(world.server, user)
        fresh = replace(server, schema=unique("fresh"))
        with pytest.raises(EnvironmentNotReady, match=r"permission denied.*lab migrate") as refused:
            await postgres_schema.prepare(fresh, shards=SHARDS)
        assert "lab up" not in str(refused.value)
        watcher = await admin(world)
        await watcher.execute(f"revoke usage on schema {server.schema} from {user}")
        await watcher.close()
        with pytest.raises(EnvironmentNotReady, match="grant usage on schema"):
            await postgres_schema.prepare(server, shards=SHARDS)

    world.run(ask())


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"path": "/no_such_database"}, "createdb"),
        ({"netloc": "nobody_{0}@{1}"}, "user and password"),
    ],
)
def test_a_wrong_database_or_user_is_said_with_the_remedy_that_fits(
    changes: dict[str, str], remedy: str
) -> None:
    parts = urlsplit(need("postgres"))
    at = f"{parts.hostname}:{parts.port}"
    wrong = {name: text.format(unique("x"), at) for name, text in changes.items()}
    server = PostgresServer(dsn=parts._replace(**wrong).geturl(), schema="s")
    with pytest.raises(EnvironmentNotReady, match=remedy) as refused:
        asyncio.run(postgres_schema.check(server))
    assert "lab up" not in str(refused.value)


# ---- versions beside each other


@in_world
async def test_an_older_lab_goes_on_beside_a_schema_that_a_newer_one_only_added_to(
    world: PostgresWorld,
) -> None:
    watcher = await admin(world)
    newer = "insert into migrations (number, name, sha256, is_addition) values "
    await watcher.execute(f"{newer} (998, '0998_more.sql', 'x', true)")
    assert await postgres_schema.prepare(world.server, shards=SHARDS) == ()
    await watcher.execute(f"{newer} (999, '0999_other.sql', 'x', false)")
    with pytest.raises(EnvironmentNotReady, match=r"newer lab \(migration 999\)"):
        await postgres_schema.prepare(world.server, shards=SHARDS)
    await watcher.close()


@in_world
async def test_a_schema_of_a_lab_that_knew_no_additions_is_brought_up_to_date(
    world: PostgresWorld,
) -> None:
    watcher = await admin(world)
    await watcher.execute("alter table migrations drop column is_addition")
    assert await postgres_schema.prepare(world.server, shards=SHARDS) == ()
    last = max(migration.number for migration in postgres_schema.migrations())
    await watcher.execute("insert into migrations values ($1, 'later.sql', 'x')", last + 1)
    with pytest.raises(EnvironmentNotReady, match="newer lab"):
        await postgres_schema.prepare(world.server, shards=SHARDS)
    await watcher.close()


@in_world
async def test_the_server_lists_its_sessions_by_process(world: PostgresWorld) -> None:
    store = open_store(replace(world.server, member="payment-2#1"), shards=SHARDS)
    await store.orders.commit(make_create())
    watcher = await admin(world)
    found = await watcher.fetchval(
        "select count(*) from pg_stat_activity where application_name like '%' || $1",
        f"{world.server.schema} payment-2#1",
    )
    assert found >= 1
    await watcher.close()
    await store.close()
