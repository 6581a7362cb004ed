"""The outbox on PostgreSQL: each shard is read by one relay, which holds an advisory lock for it.

The lock lives and dies with one connection, and rows are read and marked over that connection only:
a relay that lost it asks for its shards again before it reads on. A shard that went to another
relay meanwhile is waited for.
Not here: publishing (`lab.patterns.outbox`), and the commit that adds a row.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from lab.domain.envelope import Envelope
from lab.domain.errors import Fenced
from lab.ports.store import OutboxRow, OutboxStore
from lab.stores.postgres.link import Link, PostgresServer, Row

_LOCK: Final = "select pg_try_advisory_lock(hashtext(current_schema() || '.outbox'), $1) as is_mine"
_OWED: Final = (
    "select number, id, type, source, order_id, time_us, data, correlation_id, causation_id, "
    "sequence, traceparent, expires_us, lab_subject from outbox "
    "where shard = $1 and published_us is null order by number limit $2"
)
_MARK: Final = (
    "update outbox set published_us = now_us() "
    "where number = any ($1::bigint[]) and published_us is null"
)


class PostgresOutbox(OutboxStore):
    """One process's way to the outbox.

    Args:
        server: where; the connection is one of its own.
        shards: shards of the outbox, as the schema has them.
        poll_us: how often is looked although nobody gave a hint.
    """

    def __init__(self, server: PostgresServer, *, shards: int, poll_us: int) -> None:
        self._channel = f"{server.schema}.outbox"
        self._link = Link(server, on_open=self._on_open)
        self._shards = shards
        self._poll_us = poll_us
        self._locked_on: dict[int, int] = {}
        self._may_owe = [True] * shards
        self._waiters: list[list[asyncio.Future[None]]] = [[] for _ in range(shards)]
        self._is_taken = False
        self._queue: deque[asyncio.Future[None]] = deque()

    async def own_shard(self) -> int | None:
        await self._enter()
        try:
            await self._link.open()
            for shard in range(self._shards):
                if shard not in self._locked_on and await self._lock(shard):
                    return shard
            return None
        finally:
            self._leave()

    async def wait_shard(self) -> None:
        # A lock that becomes free wakes nobody.
        await asyncio.sleep(self._poll_us / 1e6)

    async def unpublished(self, shard: int, limit: int) -> Sequence[OutboxRow]:
        """See `OutboxStore.unpublished`. A shard that is owned is read under its lock only.

        Raises:
            Fenced: the lock was lost, and another relay has it now.
            Transient, Down: it was not answered.
        """
        await self._enter()
        try:
            await self._link.open()
            is_lost = self._locked_on.get(shard, self._link.opened) != self._link.opened
            if is_lost and not await self._lock(shard):
                raise Fenced(f"shard {shard} of the outbox is another relay's now")
            # Before the look: a later commit gives a hint of its own.
            self._may_owe[shard] = False
            rows = await self._link.read(_OWED, shard, limit)
        finally:
            self._leave()
        if rows:
            self._may_owe[shard] = True
        return [_to_row(row) for row in rows]

    async def mark_published(self, rows: Sequence[OutboxRow]) -> None:
        await self._enter()
        try:
            await self._link.change(_MARK, [row.number for row in rows])
        finally:
            self._leave()

    async def wait_unpublished(self, shard: int) -> None:
        if self._may_owe[shard]:
            return
        loop = asyncio.get_running_loop()
        hint: asyncio.Future[None] = loop.create_future()
        self._waiters[shard].append(hint)
        timer = loop.call_later(self._poll_us / 1e6, _wake, hint)
        try:
            await hint
        finally:
            timer.cancel()
            if hint in self._waiters[shard]:
                self._waiters[shard].remove(hint)

    async def close(self) -> None:
        """Give the shards back; bounded."""
        await self._link.close()

    def abort(self) -> None:
        """End as a killed process does."""
        self._link.abort()

    async def _lock(self, shard: int) -> bool:
        rows = await self._link.read(_LOCK, shard)
        if not rows[0]["is_mine"]:
            return False
        self._locked_on[shard] = self._link.opened
        return True

    async def _on_open(self, connection: Any) -> None:
        connection.add_termination_listener(self._on_lost)
        await connection.add_listener(self._channel, self._on_hint)
        self._hint_all()

    def _on_hint(self, _connection: object, _pid: int, _channel: str, shards: object) -> None:
        for name in str(shards).split(","):
            shard = int(name) if name.isdigit() else self._shards
            if shard < self._shards:
                self._hint(shard)

    def _on_lost(self, _connection: object) -> None:
        # Hints are lost too: a waiting relay looks again, and finds out.
        self._hint_all()

    def _hint_all(self) -> None:
        for shard in range(self._shards):
            self._hint(shard)

    def _hint(self, shard: int) -> None:
        self._may_owe[shard] = True
        waiters, self._waiters[shard] = self._waiters[shard], []
        for hint in waiters:
            _wake(hint)

    async def _enter(self) -> None:
        """Wait for the connection; each caller before has a deadline."""
        if not self._is_taken:
            self._is_taken = True
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._is_taken = False


def _wake(hint: "asyncio.Future[None]") -> None:
    if not hint.done():
        hint.set_result(None)


def _to_row(row: Row) -> OutboxRow:
    return OutboxRow(
        row[0],
        Envelope(
            id=row[1],
            type=row[2],
            source=row[3],
            subject=row[4],
            time_us=row[5],
            data=row[6],
            correlation_id=row[7],
            causation_id=row[8],
            sequence=row[9],
            traceparent=row[10],
            expires_us=row[11],
            lab_subject=row[12],
        ),
    )
