"""Worlds whose stores are real servers: PostgreSQL for the order store, Redis for dedupe.

Each world has a schema and a key prefix of its own and takes them away at its end. Its processes
live in one event loop; a killed one loses its connections and its tasks at once, as the operating
system would have it.
"""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis import Redis

from lab.ports.clock import Clock
from lab.ports.dedupe import DedupeStore
from lab.ports.key_retry import KeyRetryStore
from lab.ports.retention import RetentionStore
from lab.ports.store import CustomerStore, OrderStore, OutboxStore, StartStore
from lab.runtime.clock import SystemClock
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer, connect
from lab.stores.postgres.retention import PostgresRetention
from lab.stores.postgres.store import PostgresStore, open_store
from lab.stores.redis.dedupe import RedisDedupe, RedisServer, check, forget
from tests.contract.store_worlds import BLOCKED, SHARDS
from tests.kit.real_servers import need

T = TypeVar("T")

POLL_US = 100_000
_numbers = itertools.count(1)


def unique(name: str) -> str:
    """A name that no other test, in this process or beside it, has taken."""
    return f"lab_test_{name}_{os.getpid()}_{next(_numbers)}"


class ServerProcess:
    """A process of such a world: its connections, and its tasks."""

    orders: OrderStore
    starts: StartStore
    customers: CustomerStore
    outbox: OutboxStore
    key_retry: KeyRetryStore
    retention: RetentionStore
    dedupe: DedupeStore
    clock: Clock

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.store: PostgresStore | None = None
        self.tasks: list[asyncio.Task[Any]] = []

    def call(self, inside: Coroutine[Any, Any, T]) -> Awaitable[T]:
        task = asyncio.get_running_loop().create_task(inside)
        self.tasks.append(task)
        return task

    def start(self, inside: Coroutine[Any, Any, object]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(inside))

    def kill(self) -> None:
        if self.store is not None:
            self.store.abort()
        for task in self.tasks:
            task.cancel()


class ServerWorld:
    """Real servers, real time."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.processes: list[ServerProcess] = []

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(main)

    async def sleep_us(self, us: int) -> None:
        await asyncio.sleep(us / 1e6)

    def forget_dedupe(self) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        """Kill every process, and wait until nothing of it is left."""
        for process in self.processes:
            process.kill()
        tasks = [task for process in self.processes for task in process.tasks]
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.02)  # for handshakes that nobody waits for any more


class PostgresWorld(ServerWorld):
    """The order store on PostgreSQL."""

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self.server = server

    def process(self, name: str) -> ServerProcess:  # noqa: ARG002 - a connection has no name
        process = ServerProcess()
        store = open_store(self.server, shards=SHARDS, poll_us=POLL_US)
        process.store = store
        process.orders = process.starts = process.customers = store.orders
        process.outbox, process.key_retry = store.outbox, store.key_retry
        process.retention = PostgresRetention(store.links)
        self.processes.append(process)
        return process


class RedisWorld(ServerWorld):
    """The dedupe store on Redis."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.server = server

    def process(self, name: str) -> ServerProcess:  # noqa: ARG002 - a connection has no name
        process = ServerProcess()
        process.dedupe = RedisDedupe(self.server)
        self.processes.append(process)
        return process

    def forget_dedupe(self) -> None:
        # From inside the world's loop, where a test cannot wait: over a connection of its own.
        with Redis.from_url(self.server.url) as client:
            for key in client.scan_iter(match=f"{self.server.prefix}:*"):
                client.delete(key)

    async def end(self) -> None:
        await super().end()
        for process in self.processes:
            await process.dedupe.close()  # type: ignore[attr-defined]  # it is a RedisDedupe


@contextmanager
def redis_world() -> Iterator[RedisWorld]:
    """A key prefix of its own."""
    server = RedisServer(url=need("redis"), prefix=unique("dedupe"))
    world = RedisWorld(server)
    with world.runner as runner:
        runner.run(check(server))
        try:
            yield world
        finally:
            runner.run(world.end())
            runner.run(forget(server))


@contextmanager
def own_database() -> Iterator[str]:
    """A database of its own, for `vacuum` spares what any session of the same one may still see."""
    dsn, name = need("postgres"), unique("database")

    async def execute(statement: str) -> None:
        connection = await connect(PostgresServer(dsn=dsn, schema=""), plain="pulse-lab test")
        # The server makes a checkpoint first: what others have written is waited for.
        await connection.execute(statement, timeout=60)
        await connection.close()

    asyncio.run(execute(f"create database {name}"))
    try:
        yield urlsplit(dsn)._replace(path=f"/{name}").geturl()
    finally:
        asyncio.run(execute(f"drop database {name} with (force)"))


@contextmanager
def postgres_world(dsn: str = "") -> Iterator[PostgresWorld]:
    """A schema of its own.

    Args:
        dsn: the database, where it may not be that of the other tests.
    """
    server = PostgresServer(dsn=dsn or need("postgres"), schema=unique("store"))
    world = PostgresWorld(server)
    with world.runner as runner:
        runner.run(postgres_schema.prepare(server, shards=SHARDS))
        runner.run(postgres_schema.block_customers(server, [BLOCKED]))
        try:
            yield world
        finally:
            runner.run(world.end())
            runner.run(postgres_schema.drop(server))
