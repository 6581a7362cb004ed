"""The order store while PostgreSQL, or the line to it, fails under it."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from lab.domain.errors import Down, Fenced, Indeterminate, LabError, Transient
from lab.domain.order import OrderState
from lab.history.pen import Pen
from lab.patterns.outbox import Relay
from lab.ports.bus import Outgoing, Publisher
from lab.ports.store import OutboxRow, Revenue, Unit, UnitVerdict
from lab.stores.postgres import facts as postgres_facts
from lab.stores.postgres.link import PostgresServer, application, connect
from lab.stores.postgres.store import PostgresStore, open_store
from tests.contract.server_worlds import PostgresWorld, ServerProcess, postgres_world
from tests.contract.store_worlds import (
    MS,
    SHARDS,
    in_world,
    make_change,
    make_create,
    make_outcome,
    state_of,
)
from tests.kit.real_servers import control, need_control
from tests.real.cut_line import CutLine

pytestmark = [pytest.mark.real, pytest.mark.slow]

S = OrderState
V = UnitVerdict


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    with postgres_world() as made:
        yield made


@pytest.fixture
def stoppable(world: PostgresWorld) -> Iterator[None]:
    """The test stops the server; it runs again before the world ends."""
    del world
    need_control("postgres")
    yield
    control("resume", "postgres")
    control("start", "postgres")


async def admin(world: PostgresWorld) -> Any:
    return await connect(world.server, plain="pulse-lab test")


async def in_thread(command: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, control, command, "postgres")


async def cut_off(world: PostgresWorld, watcher: Any) -> int:
    """End every connection of the store in this schema, as an administrator would."""
    return int(
        await watcher.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity "
            "where application_name = $1",
            application(world.server),
        )
    )


async def until(condition: Any, what: str, limit_s: float = 20.0) -> None:
    for _ in range(int(limit_s / 0.02)):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(what)


# ---- a commit whose answer is lost


@in_world
async def test_a_connection_that_is_ended_during_a_commit_leaves_it_in_doubt(
    world: PostgresWorld,
) -> None:
    store = world.process("payment").orders
    await store.commit(make_create())
    rival = await admin(world)
    async with rival.transaction():
        await rival.execute("select from orders for update")
        change = replace(make_change(S.VALIDATED), outcome=make_outcome("e1"))
        committing = asyncio.ensure_future(store.commit(change))
        await until(
            lambda: rival.fetchval(
                "select count(*) > 0 from pg_stat_activity "
                "where pg_backend_pid() = any (pg_blocking_pids(pid))"
            ),
            "nobody waits",
        )
        assert await cut_off(world, rival) >= 1
        with pytest.raises(Indeterminate):
            await committing
    await rival.close()
    assert await state_of(store) == ("PENDING", 1)
    assert await store.commit(change) is V.COMMITTED
    assert await state_of(store) == ("VALIDATED", 2)


@in_world
async def test_a_commit_whose_answer_was_cut_off_is_found_by_looking(world: PostgresWorld) -> None:
    line = CutLine.to(world.server.dsn)
    await line.start()
    server = PostgresServer(dsn=line.through(world.server.dsn), schema=world.server.schema)
    store = open_store(server, shards=SHARDS).orders
    await store.commit(make_create("warm"))
    units = [
        replace(
            make_create(f"order-{number}"),
            outcome=make_outcome(f"e{number}"),
            revenue=Revenue(currency="GBP", amount_cents=1),
        )
        for number in range(5)
    ]
    line.is_mute = True
    said = await asyncio.gather(*(store.commit(unit) for unit in units), return_exceptions=True)
    assert [type(each) for each in said] == [Indeterminate] * 5
    assert line.cuts >= 1
    line.is_mute = False
    assert [await state_of(store, unit.order_id) for unit in units] == [("PENDING", 1)] * 5
    assert [await store.commit(unit) for unit in units] == [V.DONE] * 5
    watcher = await admin(world)
    assert await postgres_facts.revenue(watcher) == {"GBP": 5}
    await watcher.close()
    await store.close()
    await line.stop()


@in_world
async def test_a_read_whose_answer_was_cut_off_is_down_and_the_next_one_works(
    world: PostgresWorld,
) -> None:
    store = world.process("p").orders
    await store.commit(make_create())
    watcher = await admin(world)
    await cut_off(world, watcher)
    for _ in range(20):
        try:
            assert await store.load("order-1") is not None
            break
        except Down:
            await asyncio.sleep(0.01)
    else:
        raise AssertionError("it did not come back")
    await watcher.close()


# ---- the server itself


@pytest.mark.alone
@pytest.mark.usefixtures("stoppable")
@in_world
async def test_a_restarted_server_loses_no_commit_and_is_found_again(
    world: PostgresWorld,
) -> None:
    store = world.process("api").orders
    is_over = False
    committed: list[str] = []
    in_doubt: list[str] = []

    async def submit(feeder: int) -> None:
        number = 0
        while not is_over:
            number += 1
            unit = make_create(f"order-{feeder}-{number}")
            try:
                assert await store.commit(unit) is V.COMMITTED
                committed.append(unit.order_id)
            except Indeterminate:
                in_doubt.append(unit.order_id)
            except (Down, Transient):
                await asyncio.sleep(0.05)

    feeders = [asyncio.ensure_future(submit(feeder)) for feeder in range(8)]
    await asyncio.sleep(0.5)
    await in_thread("kill")
    before = len(committed)
    await asyncio.sleep(0.5)
    await in_thread("start")
    await until(lambda: _grew(committed, before + 50), "nothing is committed any more")
    is_over = True
    await asyncio.gather(*feeders)  # every call ends
    watcher = await admin(world)
    stored = {row["id"] for row in await watcher.fetch("select id from orders")}
    await watcher.close()
    assert set(committed) <= stored
    assert stored - set(committed) <= set(in_doubt)


async def _grew(items: Sequence[object], size: int) -> bool:
    return len(items) >= size


@pytest.mark.alone
@pytest.mark.usefixtures("stoppable")
@in_world
async def test_a_paused_server_makes_nobody_wait_for_ever(
    world: PostgresWorld,
) -> None:
    server = PostgresServer(
        dsn=world.server.dsn,
        schema=world.server.schema,
        timeout_us=300 * MS,
        connect_us=300 * MS,
    )
    store = open_store(server, shards=SHARDS)
    await store.orders.commit(make_create("first"))
    shard = await store.outbox.own_shard()
    assert shard is not None
    await in_thread("pause")
    said = await asyncio.gather(
        *(store.orders.commit(make_create(f"order-{number}")) for number in range(20)),
        *(store.orders.load(f"order-{number}") for number in range(20)),
        store.orders.begin_start("g", "e", 0),
        store.orders.due(1),
        store.key_retry.head("g", "k"),
        store.outbox.unpublished(shard, 1),
        return_exceptions=True,
    )
    await in_thread("resume")
    assert all(isinstance(each, Down | Indeterminate | Transient) for each in said), said
    assert await store.orders.commit(make_create("after")) is V.COMMITTED
    await store.close()


# ---- two relays


class Log(Publisher):
    def __init__(self, records: list[Outgoing]) -> None:
        self.records = records

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await asyncio.sleep(0.001)
        self.records.extend(records)


@in_world
async def test_a_shard_whose_lock_was_lost_is_not_read_behind_its_new_owner(
    world: PostgresWorld,
) -> None:
    one, other, api = world.process("r1"), world.process("r2"), world.process("api")
    mine = [await one.outbox.own_shard() for _ in range(SHARDS)]
    assert sorted(mine, key=str) == list(range(SHARDS))
    assert await other.outbox.own_shard() is None
    watcher = await admin(world)
    await cut_off(world, watcher)
    await watcher.close()
    taken: list[int] = []

    async def all_taken() -> bool:
        try:
            shard = await other.outbox.own_shard()
        except LabError:
            return False
        if shard is not None:
            taken.append(shard)
        return len(taken) == SHARDS

    await until(all_taken, "the lost shards were not free")
    for shard in range(SHARDS):
        with pytest.raises(Fenced, match=f"shard {shard}"):
            await one.outbox.unpublished(shard, 10)
    other.kill()

    async def is_mine_again() -> bool:
        try:
            await one.outbox.unpublished(0, 10)
        except Fenced:
            return False
        return True

    await until(is_mine_again, "a dead relay keeps its shards")
    await api.orders.commit(make_create())


@in_world
async def test_two_relays_whose_connections_are_cut_lose_and_reorder_nothing(
    world: PostgresWorld,
) -> None:
    names = [f"order-{number}" for number in range(10)]
    api = world.process("api")
    records: list[Outgoing] = []
    for name in ("relay-1", "relay-2"):
        process = world.process(name)
        relay = Relay(
            process.outbox,
            Log(records),
            process.clock,
            batch=3,
            lanes=SHARDS,
            pen=Pen(process=name, now=process.clock.now_us),
        )
        process.start(relay.run())
    watcher = await admin(world)
    for version in range(1, 6):
        for name in names:
            unit = (
                make_create(name)
                if version == 1
                else make_change(S.VALIDATED, version=version - 1, order_id=name)
            )
            await committed(api, unit)
        await cut_off(world, watcher)
    await until(
        lambda: watcher.fetchval("select count(*) = 0 from outbox where published_us is null"),
        "events are still owed",
    )
    await watcher.close()
    for name in names:
        own = [
            dict(record.headers)["ce_sequence"] for record in records if record.key == name.encode()
        ]
        assert [int(each) for each in dict.fromkeys(own)] == [1, 2, 3, 4, 5]


async def committed(process: ServerProcess, unit: Unit) -> None:
    """Commit, whatever it takes. Nobody else commits anything about the order."""
    version = 1 if unit.change is None else unit.change.version + 1
    while True:
        try:
            if await process.orders.commit(unit) is not V.COMMITTED:
                # The answer to an earlier try was lost.
                assert (await state_of(process.orders, unit.order_id))[1] == version
        except (Down, Transient, Indeterminate):
            await asyncio.sleep(0.01)
        else:
            return


@in_world
async def test_a_hint_that_was_missed_is_made_good_by_looking(world: PostgresWorld) -> None:
    relay, api = world.process("relay"), world.process("api")
    for shard in range(SHARDS):
        assert await relay.outbox.unpublished(shard, 1) == []
    watcher = await admin(world)
    await watcher.execute(f'set search_path = "{world.server.schema}"')
    await api.orders.commit(make_create())
    waits = [relay.call(relay.outbox.wait_unpublished(shard)) for shard in range(SHARDS)]
    await asyncio.gather(*waits)
    rows: list[OutboxRow] = []
    for shard in range(SHARDS):
        rows += await relay.outbox.unpublished(shard, 10)
    assert len(rows) == 1
    await watcher.close()


@in_world
async def test_nothing_is_left_of_a_store_that_was_closed(world: PostgresWorld) -> None:
    store: PostgresStore = open_store(world.server, shards=SHARDS)
    await asyncio.gather(*(store.orders.commit(make_create(f"o{n}")) for n in range(50)))
    await store.outbox.own_shard()
    await store.key_retry.head("g", "k")
    await store.close()
    with pytest.raises(Down):
        await store.orders.commit(make_create("late"))
    watcher = await admin(world)
    sql = "select count(*) = 0 from pg_stat_activity where application_name = $1"
    name = application(world.server)
    await until(lambda: watcher.fetchval(sql, name), "connections are left")
    await watcher.close()
