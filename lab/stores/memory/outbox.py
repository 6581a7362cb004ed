"""The outbox in memory: rows that the relay owes to the bus, in shards, each with one owner.

A marked row keeps nothing but its count: its event stands in the history already.
Not here: reading and publishing (`lab.patterns.outbox`), and the transaction that adds a row
(`store.py`).
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import islice
from zlib import crc32

from lab.domain.envelope import Envelope
from lab.ports.store import OutboxRow, OutboxStore
from lab.stores.memory.base import Crossing, OwnerLife, crosses, crossing, waiter
from lab.stores.memory.outage import Line, Outage


class OutboxTable:
    """The server's side: rows by shard, advisory locks, and the clients that wait for either.

    Attributes:
        published: rows that were marked.
    """

    def __init__(self, shards: int) -> None:
        self.published = 0
        self._number = 0
        self._rows: list[dict[int, OutboxRow]] = [{} for _ in range(shards)]
        self._owners: list[OwnerLife | None] = [None] * shards
        self._readers: list[list[asyncio.Future[None]]] = [[] for _ in range(shards)]
        self._candidates: list[asyncio.Future[None]] = []

    @property
    def unpublished(self) -> int:
        """Rows that are not marked."""
        return sum(map(len, self._rows))

    def append(self, envelope: Envelope) -> None:
        """Owe an event to the bus, and tell the owner of its shard; part of a transaction."""
        self._number = number = self._number + 1
        shard = crc32(envelope.subject.encode()) % len(self._rows)
        self._rows[shard][number] = OutboxRow(number, envelope)
        if self._readers[shard]:
            _wake(self._readers[shard])

    def read(self, shard: int, limit: int) -> list[OutboxRow]:
        """The oldest rows of a shard that are not marked."""
        return list(islice(self._rows[shard].values(), limit))

    def mark(self, rows: Sequence[OutboxRow]) -> None:
        """Mark rows as published; a second time changes nothing."""
        for row in rows:
            shard = crc32(row.envelope.subject.encode()) % len(self._rows)
            if self._rows[shard].pop(row.number, None) is not None:
                self.published += 1

    def owed(self) -> list[Envelope]:
        """The events of all rows that are not marked, in the order of their commits."""
        rows = [row for shard in self._rows for row in shard.values()]
        return [row.envelope for row in sorted(rows, key=lambda row: row.number)]

    def owed_since_us(self, otherwise_us: int) -> int:
        """The time of the oldest event that is owed; `otherwise_us` if none is."""
        times = (row.envelope.time_us for rows in self._rows for row in rows.values())
        return min(times, default=otherwise_us)

    def clear(self) -> None:
        """Forget every row."""
        for rows in self._rows:
            rows.clear()

    def lock(self, life: OwnerLife) -> int | None:
        """Give the lowest shard without owner to `life`; None if there is none."""
        for shard, owner in enumerate(self._owners):
            if owner is None:
                self._owners[shard] = life
                return shard
        return None

    def unlock_all(self, life: OwnerLife) -> None:
        """The owner is gone: its shards are free, and those who wait for one wake up."""
        freed = False
        for shard, owner in enumerate(self._owners):
            if owner is life:
                self._owners[shard] = None
                freed = True
        if freed:
            _wake(self._candidates)

    def reader(self, shard: int) -> "asyncio.Future[None] | None":
        """Done when the shard has rows; None if it has some now."""
        return None if self._rows[shard] else _waiter(self._readers[shard], ("a commit", shard))

    def candidate(self) -> "asyncio.Future[None] | None":
        """Done when a shard is free; None if one is now."""
        return None if None in self._owners else _waiter(self._candidates, "a free shard")


class MemoryOutbox(OutboxStore):
    """One process's way to the outbox."""

    def __init__(self, table: OutboxTable, life: OwnerLife, outage: Outage) -> None:
        self._table = table
        self._life = life
        self._outage = outage
        self._line = Line(outage)
        life.on_kill.append(self._on_kill)

    def _on_kill(self) -> None:
        self._table.unlock_all(self._life)

    @crosses
    def own_shard(self) -> Crossing[int | None]:
        yield
        if self._outage.is_on:
            # A lock belongs to its connection, and is lost with it.
            self._line.refuse()
        return self._table.lock(self._life)

    async def wait_shard(self) -> None:
        waiter = self._table.candidate()
        await (crossing() if waiter is None else waiter)

    @crosses
    def unpublished(self, shard: int, limit: int) -> Crossing[Sequence[OutboxRow]]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        return self._table.read(shard, limit)

    @crosses
    def mark_published(self, rows: Sequence[OutboxRow]) -> Crossing[None]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.mark, rows))
        self._table.mark(rows)

    async def wait_unpublished(self, shard: int) -> None:
        waiter = self._table.reader(shard)
        await (crossing() if waiter is None else waiter)


def _waiter(queue: "list[asyncio.Future[None]]", what: object) -> "asyncio.Future[None]":
    """A place in the queue, for the running process."""
    future = waiter(what)
    queue.append(future)
    return future


def _wake(queue: "list[asyncio.Future[None]]") -> None:
    """Tell everybody in the queue. Some may have given up, or be dead by now."""
    for future in queue:
        if not future.done():
            future.set_result(None)
    queue.clear()
