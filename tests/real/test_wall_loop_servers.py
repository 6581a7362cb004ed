"""Claims about processes on the wall clock with real servers: what works, and how they end."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.topics import KafkaTopics
from lab.ports.bus import Consumer, Listener, Outgoing, TopicPartition
from lab.ports.dedupe import Claim, ClaimState
from lab.ports.store import UnitVerdict
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import suspend
from lab.runtime.wall_loop import WallScheduler
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer, connect
from lab.stores.postgres.store import open_store
from lab.stores.redis.dedupe import RedisDedupe, RedisServer, check, forget, make_client
from tests.contract.server_worlds import POLL_US, unique
from tests.contract.store_worlds import SHARDS, make_create
from tests.kit.real_servers import need
from tests.kit.wall_world import SECOND_US, call, run

pytestmark = pytest.mark.real

MS = 1000
RECORDS = 20


# ---- PostgreSQL


@asynccontextmanager
async def schema() -> AsyncIterator[PostgresServer]:
    """A schema of its own."""
    server = PostgresServer(dsn=need("postgres"), schema=unique("wall"), timeout_us=10 * SECOND_US)
    await postgres_schema.prepare(server, shards=SHARDS)
    try:
        yield server
    finally:
        await postgres_schema.drop(server)


def test_an_open_transaction_of_a_killed_process_is_rolled_back() -> None:
    async def main(world: WallScheduler) -> None:
        victim = world.process("victim")
        begun: asyncio.Future[None] = world.root.create_future()

        async def never_commits(server: PostgresServer) -> None:
            connection = await connect(server, plain="pulse-lab test")
            async with connection.transaction():
                await connection.execute("insert into marks values (2)")
                await connection.execute("update marks set n = 3 where n = 1")
                begun.set_result(None)
                await victim.create_future()

        async with schema() as server:
            watcher = await connect(server, plain="pulse-lab test")
            await watcher.execute("create table marks (n int primary key)")
            await watcher.execute("insert into marks values (1)")
            victim.spawn(never_commits(server))
            await begun
            victim.kill()
            # Waits for the lock of the dead one's transaction, with the deadline of a statement.
            await watcher.execute("update marks set n = n where n = 1")
            assert [row["n"] for row in await watcher.fetch("select n from marks")] == [1]
            await watcher.close()

    run(main)


def test_a_shard_of_a_killed_relay_is_free_for_the_next_one() -> None:
    async def main(world: WallScheduler) -> None:
        async with schema() as server:

            async def commits() -> UnitVerdict:
                store = open_store(server, shards=SHARDS, poll_us=POLL_US)
                verdict = await store.orders.commit(make_create())
                await store.close()
                return verdict

            async def relays(owned: "list[int]", *, until: int) -> None:
                store = open_store(server, shards=SHARDS, poll_us=POLL_US)
                while len(owned) < until:
                    shard = await store.outbox.own_shard()
                    if shard is None:
                        await store.outbox.wait_shard()
                    else:
                        owned.append(shard)
                assert await store.outbox.own_shard() is None
                told.set_result(None)
                await asyncio.get_running_loop().create_future()

            assert await call(world.process("api"), commits()) == UnitVerdict.COMMITTED
            lives: list[list[int]] = [[], []]
            for name, owned in zip(("one", "two"), lives, strict=True):
                told = world.root.create_future()
                relay = world.process(name)
                relay.spawn(relays(owned, until=SHARDS))
                await told
                relay.kill()
            assert [sorted(owned) for owned in lives] == [list(range(SHARDS))] * 2

    run(main)


def test_two_processes_share_the_order_store() -> None:
    async def main(world: WallScheduler) -> None:
        async with schema() as server:

            async def writes_or_reads(number: int) -> object:
                store = open_store(server, shards=SHARDS, poll_us=POLL_US)
                names = [f"order-{n}" for n in range(50)]
                if number == 0:
                    calls = [store.orders.commit(make_create(name)) for name in names]
                    result: object = set(await asyncio.gather(*calls))
                else:
                    loaded = await asyncio.gather(*[store.orders.load(name) for name in names])
                    result = [found.order.id for found in loaded if found is not None] == names
                await store.close()
                return result

            found = [await call(world.process(f"p{n}"), writes_or_reads(n)) for n in range(2)]
        assert found == [{UnitVerdict.COMMITTED}, True]

    run(main)


# ---- Redis


def test_a_claim_of_a_killed_process_stays_until_its_lease_ends() -> None:
    async def main(world: WallScheduler) -> list[ClaimState]:
        server = RedisServer(url=need("redis"), prefix=unique("wall"))
        await check(server)

        async def holds(told: "asyncio.Future[Claim]") -> None:
            store = RedisDedupe(server)
            told.set_result(await store.claim("payment", "e", owner="first", lease_us=200 * MS))
            await asyncio.get_running_loop().create_future()
            await store.close()

        async def claims() -> Claim:
            store = RedisDedupe(server)
            claim = await store.claim("payment", "e", owner="second", lease_us=SECOND_US)
            await store.close()
            return claim

        told: asyncio.Future[Claim] = world.root.create_future()
        first, second = world.process("first"), world.process("second")
        first.spawn(holds(told))
        states = [(await told).state]
        first.kill()
        while len(states) < 2 or states[-1] is ClaimState.BUSY:
            states.append((await call(second, claims())).state)
        await forget(server)
        return states

    states = run(main)
    assert states[0] is ClaimState.ACQUIRED
    assert states[1:-1] == [ClaimState.BUSY] * (len(states) - 2)
    assert states[-1] in (ClaimState.ACQUIRED, ClaimState.TAKEOVER)


def test_the_server_sees_the_end_of_a_killed_client() -> None:
    async def main(world: WallScheduler) -> None:
        server = RedisServer(url=need("redis"), prefix=unique("wall"))

        async def connects(told: "asyncio.Future[str]") -> None:
            client = make_client(server)
            told.set_result(str(await client.client_id()))
            await asyncio.get_running_loop().create_future()
            await client.aclose()

        victim, told = world.process("victim"), world.root.create_future()
        victim.spawn(connects(told))
        number = await told
        watcher = make_client(server)
        assert number in [each["id"] for each in await watcher.client_list()]
        victim.kill()
        while number in [each["id"] for each in await watcher.client_list()]:
            await suspend()
        await watcher.aclose()

    run(main)


# ---- Kafka


class Member(Listener):
    """A member of the group that notes what it reads."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.epoch = 0
        self.read: list[tuple[int, int]] = []

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        del partitions

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        del ends
        self.epoch = epoch

    async def read_until(self, count: int) -> None:
        while len(self.read) < count:
            records = await self.consumer.poll(100)
            self.read += [(record.partition, record.offset) for record in records]


@asynccontextmanager
async def kafka() -> AsyncIterator[KafkaSettings]:
    """Topics and groups of its own."""
    settings = KafkaSettings(
        bootstrap=need("kafka"),
        prefix=unique("wall"),
        session_us=1500 * MS,
        rebalance_us=3 * SECOND_US,
    )
    async with KafkaTopics(settings) as topics:
        await topics.create({"orders": 2})
        try:
            yield settings
        finally:
            await topics.delete()


async def publishes(settings: KafkaSettings) -> None:
    bus = KafkaBus(settings, "producer")
    records = [Outgoing("orders", b"k%d" % n, b"%d" % n, ()) for n in range(RECORDS)]
    await bus.publisher().publish(records)
    await bus.close()


def test_a_killed_consumer_is_expelled_and_the_next_one_reads_on_from_the_commit() -> None:
    async def main(world: WallScheduler) -> None:
        async with kafka() as settings:
            await call(world.process("producer"), publishes(settings))

            async def consumes(process: ProcessLoop, *, commit: int, members: list[Member]) -> None:
                bus = KafkaBus(settings, process.name)
                member = Member(bus.consumer("group"))
                members.append(member)
                await member.consumer.join(["orders"], member)
                await member.read_until(RECORDS - committed)
                await member.consumer.commit({TopicPartition("orders", 0): commit}, member.epoch)
                told.set_result(None)
                await process.create_future()

            members: list[Member] = []
            committed = 0
            for name in ("first", "second"):
                told = world.root.create_future()
                process = world.process(name)
                process.spawn(consumes(process, commit=3, members=members))
                await told
                process.kill()
                committed = 3
            first, second = (sorted(member.read) for member in members)
            assert len(first) == RECORDS
            assert second == [place for place in first if place not in {(0, n) for n in range(3)}]

    run(main)


def test_a_producer_that_is_killed_while_it_publishes_disturbs_nobody() -> None:
    async def main(world: WallScheduler) -> None:
        async with kafka() as settings:

            async def floods() -> None:
                bus = KafkaBus(settings, "victim")
                while True:
                    record = Outgoing("orders", b"k", b"v" * 1000, ())
                    await bus.publisher().publish([record] * 10)
                    if not told.done():
                        told.set_result(None)

            told: asyncio.Future[None] = world.root.create_future()
            victim = world.process("victim")
            victim.spawn(floods())
            await told
            victim.kill()
            await call(world.process("producer"), publishes(settings))

    run(main)
