"""The order store on a real PostgreSQL, beyond the contract: batches, foreign schemas, messages."""

import asyncio
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from msgspec.structs import replace

from lab.domain.errors import (
    Down,
    EnvironmentNotReady,
    Indeterminate,
    LabError,
    Permanent,
    Transient,
    Unclassified,
)
from lab.domain.order import OrderState
from lab.history.entries import kind_of, time_of
from lab.ports.store import (
    HttpKeyRow,
    IntentChange,
    IntentOp,
    Outcome,
    Revenue,
    Unit,
    UnitVerdict,
)
from lab.stores.postgres import facts as postgres_facts
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.errors import Stage, to_lab_error
from lab.stores.postgres.link import Links, PostgresServer, connect
from lab.stores.postgres.store import open_store
from lab.stores.postgres.units import shard_of
from tests.contract.server_worlds import PostgresWorld, postgres_world, unique
from tests.contract.store_worlds import (
    MS,
    SHARDS,
    in_world,
    make_change,
    make_create,
    make_intent,
    make_outcome,
    make_waiting,
    memory_world,
    state_of,
)
from tests.kit.entries import without_time
from tests.kit.real_servers import need

pytestmark = pytest.mark.real

S = OrderState
V = UnitVerdict
SECRET = "s3cr3t-p@ss/w:rd"


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    with postgres_world() as made:
        yield made


async def admin(world: PostgresWorld) -> Any:
    return await connect(world.server, plain="pulse-lab test")


# ---- group commit


@in_world
async def test_concurrent_units_are_committed_together(world: PostgresWorld) -> None:
    store = world.process("api").orders
    await store.commit(make_create("first"))
    watcher = await admin(world)
    before = await watcher.fetchval("select pg_current_xact_id()::text::bigint")
    names = [f"order-{number}" for number in range(200)]
    verdicts = await asyncio.gather(*(store.commit(make_create(name)) for name in names))
    after = await watcher.fetchval("select pg_current_xact_id()::text::bigint")
    await watcher.close()
    assert set(verdicts) == {V.COMMITTED}
    assert after - before < 20, "transactions for two hundred units"


@in_world
async def test_rivals_in_one_batch_get_a_verdict_each(world: PostgresWorld) -> None:
    store = world.process("payment").orders
    names = [f"order-{number}" for number in range(20)]
    await asyncio.gather(*(store.commit(make_create(name)) for name in names))
    units = [
        replace(
            make_change(to, order_id=name),
            outcome=make_outcome(f"{name}-{to}"),
            revenue=Revenue(currency="GBP", amount_cents=1),
        )
        for name in names
        for to in (S.VALIDATED, S.REJECTED, S.CANCELLED)
    ]
    verdicts = await asyncio.gather(*(store.commit(unit) for unit in units))
    assert [verdicts.count(each) for each in (V.COMMITTED, V.CONFLICT)] == [20, 40]
    watcher = await admin(world)
    assert await postgres_facts.revenue(watcher) == {"GBP": 20}
    assert await watcher.fetchval("select count(*) from outcomes") == 20
    assert await watcher.fetchval("select count(*) from outbox") == 40
    await watcher.close()


@in_world
async def test_revenue_is_summed_over_exactly_the_units_that_were_first(
    world: PostgresWorld,
) -> None:
    store = world.process("notification").orders
    paid = Revenue(currency="GBP", amount_cents=7)
    for _ in range(3):
        units = [Unit(outcome=make_outcome(f"e{n}"), revenue=paid) for n in range(50)]
        units += [Unit(outcome=make_outcome(f"e{n}"), revenue=paid) for n in range(50)]
        await asyncio.gather(*(store.commit(unit) for unit in units))
    watcher = await admin(world)
    assert await postgres_facts.revenue(watcher) == {"GBP": 7 * 50}
    await watcher.close()


@in_world
async def test_a_batch_that_fails_is_repeated_unit_by_unit(world: PostgresWorld) -> None:
    store = world.process("api").orders
    await store.commit(make_create("warm"))
    units = [make_create(f"order-{number}") for number in range(10)]
    assert units[3].create is not None
    units[3] = replace(units[3], create=replace(units[3].create, traceparent="NUL \0"))
    said = await asyncio.gather(*(store.commit(unit) for unit in units), return_exceptions=True)
    assert isinstance(said[3], Permanent)
    assert said[:3] + said[4:] == [V.COMMITTED] * 9
    assert await store.load("order-3") is None
    assert await store.load("order-9") is not None


@in_world
async def test_a_batch_that_is_the_victim_of_a_deadlock_is_repeated(world: PostgresWorld) -> None:
    store = world.process("api").orders
    for name in "ab":
        await store.commit(make_create(name))
    rival = await admin(world)
    await rival.execute("set deadlock_timeout = '10s'")
    await rival.execute("begin; select from orders where id = 'b' for update")
    # Sorted by id: the batch holds `a` and waits for `b`.
    units = [make_change(S.CANCELLED, order_id=name) for name in "ab"]
    committing = asyncio.gather(*(store.commit(unit) for unit in units))
    await until_blocked(rival)
    await rival.execute("select from orders where id = 'a' for update")
    await rival.execute("rollback")
    await rival.close()
    assert await committing == [V.COMMITTED] * 2


@in_world
async def test_a_commit_that_waits_too_long_for_a_lock_was_not_applied(
    world: PostgresWorld,
) -> None:
    server = PostgresServer(dsn=world.server.dsn, schema=world.server.schema, timeout_us=400 * MS)
    store = open_store(server, shards=SHARDS)
    await store.orders.commit(make_create())
    rival = await admin(world)
    await rival.execute("begin; select from orders for update")
    with pytest.raises(Transient):
        await store.orders.commit(make_change(S.VALIDATED))
    await rival.execute("rollback")
    await rival.close()
    assert await state_of(store.orders) == ("PENDING", 1)
    await store.close()


async def until_blocked(connection: Any) -> None:
    """Wait until somebody waits for a lock of this connection."""
    sql = (
        "select count(*) from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid))"
    )
    for _ in range(200):
        if await connection.fetchval(sql):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


@in_world
async def test_who_waits_for_a_connection_does_not_wait_for_ever(world: PostgresWorld) -> None:
    server = PostgresServer(
        dsn=world.server.dsn,
        schema=world.server.schema,
        timeout_us=200 * MS,
        connect_us=100 * MS,
    )
    links = Links(server, 1)
    slow = [asyncio.ensure_future(links.read("select pg_sleep(5)")) for _ in range(4)]
    said = await asyncio.wait_for(asyncio.gather(*slow, return_exceptions=True), 5)  # noqa: TID251 - on the real clock
    await links.close()
    assert all(isinstance(each, Down | Transient) for each in said)
    assert any("busy" in str(each) for each in said)


# ---- what a port promises and a service relies on


@in_world
async def test_an_intent_is_not_opened_or_raised_behind_its_instant(world: PostgresWorld) -> None:
    store = world.process("payment").orders
    await store.commit(make_create())
    loaded = await store.load("order-1")
    assert loaded is not None

    def step(op: IntentOp, before_us: int, expected: int = 0) -> Unit:
        change = IntentChange(
            op=op,
            intent=make_intent(send_until_us=9_000 if expected else 5_000),
            while_in=(S.PENDING,),
            expected_send_until_us=expected,
            before_us=before_us,
        )
        return Unit(order_id="order-1", intents=(change,))

    late, early = loaded.now_us - 1, loaded.now_us + 60_000 * MS
    assert await store.commit(step(IntentOp.OPEN, late)) is V.CONFLICT
    assert await store.commit(step(IntentOp.OPEN, early)) is V.COMMITTED
    assert await store.commit(step(IntentOp.RAISE, late, 5_000)) is V.CONFLICT
    assert await store.commit(step(IntentOp.RAISE, early, 5_000)) is V.COMMITTED


@in_world
async def test_an_intent_that_was_raised_since_is_not_closed(world: PostgresWorld) -> None:
    store = world.process("payment").orders
    await store.commit(make_create())
    opened = IntentChange(op=IntentOp.OPEN, intent=make_intent(), while_in=(S.PENDING,))
    await store.commit(Unit(order_id="order-1", intents=(opened,)))

    def close(expected: int) -> Unit:
        change = IntentChange(
            op=IntentOp.CLOSE, intent=make_intent(), expected_send_until_us=expected
        )
        return Unit(order_id="order-1", intents=(change,))

    assert await store.commit(close(4_999)) is V.CONFLICT
    assert await store.commit(close(5_000)) is V.COMMITTED


@in_world
async def test_an_order_that_was_cancelled_once_says_so_for_ever(world: PostgresWorld) -> None:
    store = world.process("api").orders
    await store.commit(make_create())
    await store.commit(make_change(S.CANCELLED))
    await store.commit(make_change(S.REFUND_PENDING, version=2))
    loaded = await store.load("order-1")
    assert loaded is not None
    assert (loaded.order.state, loaded.order.was_cancelled) == (S.REFUND_PENDING, True)


@in_world
async def test_ids_of_foreign_records_may_hold_anything(world: PostgresWorld) -> None:
    process = world.process("p")
    store, keys = process.orders, process.key_retry
    odd = "order\0\n\ud800"
    assert await store.load(odd) is None
    assert await store.commit(Unit(outcome=make_outcome(odd, dead_at=0))) is V.COMMITTED
    assert await store.outcome("payment", odd) == (Outcome.DEAD, 0)
    assert await process.starts.begin_start("payment", odd, 0) == 0
    head = await keys.park(make_waiting("e\0", key="k\0"))
    assert head is not None
    assert await keys.finish(head.group, "k\0", "e\0") is None


@in_world
async def test_the_facts_of_a_run_are_those_that_the_store_in_memory_writes(
    world: PostgresWorld,
) -> None:
    opened = IntentChange(op=IntentOp.OPEN, intent=make_intent(), while_in=(S.VALIDATED,))
    closed = IntentChange(op=IntentOp.CLOSE, intent=make_intent())
    row = HttpKeyRow(key="k", body_sha256="ab", status=201, answer=b"{}")
    units = [
        replace(make_create(), http_key=row),
        replace(make_change(S.VALIDATED), outcome=make_outcome("e1"), lab_subject="1.1"),
        Unit(by="payment", order_id="order-1", intents=(opened,)),
        replace(
            make_change(S.PAID, version=2),
            intents=(closed,),
            outcome=make_outcome("e2"),
            revenue=Revenue(currency="GBP", amount_cents=5),
            cause="e2",
        ),
        make_change(S.PAID, version=2),
        Unit(outcome=make_outcome("e3", dead_at=0), lab_subject="2.1"),
        Unit(outcome=make_outcome("e3", redrives=1), lab_subject="2.1"),
    ]

    async def play(orders: Any, keys: Any) -> None:
        for unit in units:
            await orders.commit(unit)
        await keys.park(make_waiting("w1"))
        await keys.arrive(make_waiting("w2"))
        await keys.bury("notification", "order-1", "w1", 0)
        await keys.revive(make_waiting("w1", redrives=1))
        await keys.finish("notification", "order-1", "w1")

    process = world.process("p")
    await play(process.orders, process.key_retry)
    watcher = await admin(world)
    gathered = [entry async for entry in postgres_facts.gather_facts(watcher)]
    # The world of these tests has blocked a customer: in memory the laboratory tells of that.
    assert kind_of(gathered.pop(0)) == "blocked"
    assert await postgres_facts.orders_by_state(watcher) == {"PAID": 1}
    assert await postgres_facts.count_open_intents(watcher) == 0
    assert await postgres_facts.count_left(watcher) == {
        "outbox": 3,
        "waiting": 1,
        "lock": 1,
        "transaction": 0,
    }
    assert [each async for each in postgres_facts.stored_subjects(watcher)] == ["1.1"]
    truth = [without_time(each) async for each in postgres_facts.gather_truth(watcher)]
    assert truth == [
        ("order_truth", "store", "1.1", "PAID", 3, 1_000, "GBP", 0, False),
        ("revenue_truth", "store", "", "GBP", 5),
    ]
    await watcher.close()

    def in_memory() -> list[tuple[object, ...]]:
        with memory_world() as other:
            twin = other.process("p")
            other.run(play(twin.orders, twin.key_retry))
            return other.facts

    told = await asyncio.get_running_loop().run_in_executor(None, in_memory)
    assert list(map(without_time, gathered)) == list(map(without_time, told))
    times: list[object] = [time_of(entry) for entry in gathered]
    assert all(isinstance(t, int) and t > 1_500_000_000_000_000 for t in times)


# ---- hints


@in_world
async def test_a_commit_wakes_the_relay_of_its_shard_at_once(world: PostgresWorld) -> None:
    patient = open_store(world.server, shards=SHARDS, poll_us=30_000 * MS)
    api = world.process("api").orders
    await api.commit(make_create("warm"))
    for shard in range(SHARDS):
        await patient.outbox.mark_published(await patient.outbox.unpublished(shard, 10))
        assert await patient.outbox.unpublished(shard, 10) == []
    waits = [asyncio.ensure_future(patient.outbox.wait_unpublished(n)) for n in range(SHARDS)]
    await asyncio.sleep(0.05)
    assert not any(wait.done() for wait in waits)
    await api.commit(make_create("order-7"))
    woken, _ = await asyncio.wait(waits, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert [waits.index(wait) for wait in woken] == [shard_of("order-7", SHARDS)]
    for wait in waits:
        wait.cancel()
    await patient.close()


# ---- schemas


@in_world
async def test_a_schema_of_somebody_else_is_neither_used_nor_dropped(world: PostgresWorld) -> None:
    name = unique("foreign")
    theirs = replace_schema(world.server, name)
    watcher = await admin(world)
    await watcher.execute(f"create schema {name}; create table {name}.precious (id int)")
    try:
        with pytest.raises(EnvironmentNotReady, match="belongs to somebody else"):
            await postgres_schema.prepare(theirs, shards=SHARDS)
        with pytest.raises(EnvironmentNotReady, match="belongs to somebody else"):
            await postgres_schema.drop(theirs)
        assert await watcher.fetchval(f"select count(*) from {name}.precious") == 0
    finally:
        await watcher.execute(f"drop schema {name} cascade")
        await watcher.close()


@in_world
async def test_many_processes_may_prepare_one_schema_at_once(world: PostgresWorld) -> None:
    server = replace_schema(world.server, unique("many"))
    await asyncio.gather(*(postgres_schema.prepare(server, shards=SHARDS) for _ in range(4)))
    await postgres_schema.prepare(server, shards=SHARDS)
    assert await postgres_schema.drop(server)
    assert not await postgres_schema.drop(server)


@pytest.mark.alone
@in_world
async def test_who_prepares_waits_for_another_longer_than_for_any_statement(
    world: PostgresWorld,
) -> None:
    schema = unique("slow")
    server = PostgresServer(dsn=world.server.dsn, schema=schema, timeout_us=50 * MS)
    other = await admin(world)
    await other.execute("select pg_advisory_lock(hashtext('pulse-lab'), hashtext($1))", schema)
    preparing = asyncio.ensure_future(postgres_schema.prepare(server, shards=SHARDS))
    waits = (
        "select 1 from pg_stat_activity where wait_event = 'advisory' "
        "and query like '%hashtext(%' and now() - query_start > interval '200 ms' "
        "and pid in (select pid from pg_locks where locktype = 'advisory' and not granted)"
    )
    for _ in range(500):
        if preparing.done() or await other.fetchval(waits):
            break
        await asyncio.sleep(0.02)
    await other.execute("select pg_advisory_unlock(hashtext('pulse-lab'), hashtext($1))", schema)
    await preparing
    await other.close()
    assert await postgres_schema.drop(server)


@in_world
async def test_a_schema_made_otherwise_is_refused(world: PostgresWorld) -> None:
    with pytest.raises(EnvironmentNotReady, match=r"outbox.shards = 4, not 5"):
        await postgres_schema.prepare(world.server, shards=SHARDS + 1)
    watcher = await admin(world)
    await watcher.execute("insert into migrations values (999, '0999_later.sql', 'x')")
    with pytest.raises(EnvironmentNotReady, match="newer lab"):
        await postgres_schema.prepare(world.server, shards=SHARDS)
    await watcher.execute("delete from migrations where number = 999")
    await watcher.execute("update migrations set sha256 = 'x' where number = 1")
    with pytest.raises(EnvironmentNotReady, match=r"another 0001_tables.sql"):
        await postgres_schema.prepare(world.server, shards=SHARDS)
    await watcher.close()


def test_migrations_are_numbered_without_a_gap() -> None:
    numbers = [migration.number for migration in postgres_schema.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", ["", "Lab", "a-b", 'x"; drop schema public', "a" * 51])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    server = PostgresServer(dsn=need("postgres"), schema=name)
    with pytest.raises(EnvironmentNotReady, match="no name for a schema"):
        asyncio.run(postgres_schema.prepare(server, shards=SHARDS))


def replace_schema(server: PostgresServer, schema: str) -> PostgresServer:
    return PostgresServer(dsn=server.dsn, schema=schema)


# ---- errors


def test_a_server_that_is_not_there_is_named_with_the_command_that_starts_it() -> None:
    server = PostgresServer(
        dsn=f"postgresql://lab:{quote(SECRET, safe='')}@127.0.0.1:9/lab", schema="s"
    )
    with pytest.raises(EnvironmentNotReady) as refused:
        asyncio.run(postgres_schema.prepare(server, shards=SHARDS))
    assert "127.0.0.1:9/lab" in str(refused.value)
    assert "scripts/servers up postgres" in str(refused.value)

    async def use() -> None:
        links = Links(server, 1)
        with pytest.raises(Down, match=r"127\.0\.0\.1:9/lab") as down:
            await links.change("select 1")
        assert down.value.dependency == "postgres"

    asyncio.run(use())


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://lab:{SECRET}@127.0.0.1:9/lab",  # the / ends the host: the port is no number
        f"postgresql://lab:{SECRET.replace('/', '')}@127.0.0.1:9/lab",
        f"nonsense://lab:{SECRET}@127.0.0.1:9/lab",
        f"postgresql://lab@127.0.0.1:9/lab?password={SECRET}",
        f"postgresql://lab@127.0.0.1:9/lab?sslmode={SECRET}",
    ],
)
def test_a_password_never_appears(dsn: str) -> None:
    server = PostgresServer(dsn=dsn, schema="s")
    with pytest.raises(EnvironmentNotReady) as refused:
        asyncio.run(postgres_schema.prepare(server, shards=SHARDS))
    trace = "".join(traceback.format_exception(refused.value))
    shown = f"{refused.value!s} {refused.value!r} {server!r} {server.where} {trace}"
    for part in ("s3cr3t", "p@ss", "w:rd"):
        assert part not in shown


def vendor_errors() -> list[type[Exception]]:
    """Every error that the driver can raise."""
    found = [
        value
        for value in vars(asyncpg.exceptions).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
    ]
    return [*found, OSError, ConnectionResetError, TimeoutError]


def test_the_map_of_errors_is_complete() -> None:
    kinds = {}
    for kind in vendor_errors():
        error = kind.__new__(kind, "said")
        error.args = ("said",)
        for stage in Stage:
            found = to_lab_error(error, stage, "h:1/d")
            assert isinstance(found, LabError), kind
            kinds[kind, stage] = type(found)
    change, read = Stage.CHANGE, Stage.READ
    for kind in (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
        assert kinds[kind, change] is Transient
    for kind in (
        asyncpg.AdminShutdownError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.exceptions.TransactionResolutionUnknownError,
        asyncpg.exceptions.StatementCompletionUnknownError,
        asyncpg.InterfaceError,
        ConnectionResetError,
        TimeoutError,
    ):
        assert kinds[kind, change] is Indeterminate, kind
        assert kinds[kind, read] is Down, kind
    for kind in (asyncpg.TooManyConnectionsError, asyncpg.ReadOnlySQLTransactionError):
        assert kinds[kind, change] is Down
    assert kinds[asyncpg.CharacterNotInRepertoireError, change] is Permanent
    assert kinds[asyncpg.UniqueViolationError, change] is Unclassified
    assert {kinds[kind, Stage.CONNECT] for kind in vendor_errors()} == {Down}
