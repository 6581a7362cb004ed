"""An order is committed and its event is lost in a crash; or an event tells of a failed commit.

Two systems cannot change in one step, so the event is a row of the transaction that it tells of.
The relay publishes committed rows, then marks them: a crash in between publishes an event again,
under the same id. Order per aggregate is kept because a shard of aggregates has one owner, and
because a batch that failed is repeated whole: nothing overtakes it.

The weak part, `DirectPublish`, publishes after the caller's commit, without a row.
"""

import asyncio
from typing import Final

import msgspec

from lab.domain.envelope import Envelope, to_headers
from lab.domain.errors import Down, Indeterminate, LabError, Throttled, Transient
from lab.domain.events import TOPIC_OF
from lab.history.pen import Pen
from lab.ports.bus import Outgoing, Publisher
from lab.ports.clock import Clock
from lab.ports.pass_through import PassThroughStore
from lab.ports.store import OrderStore, OutboxStore, Unit, UnitVerdict

BACKOFF_US: Final = 50_000
BACKOFF_MAX_US: Final = 2_000_000


def to_record(envelope: Envelope) -> Outgoing:
    """The record that carries an event: topic by its type, key by its order."""
    return Outgoing(
        TOPIC_OF[envelope.type], envelope.subject.encode(), envelope.data, to_headers(envelope)
    )


class Relay:
    """Publishes committed events; one per process.

    It has `lanes` lanes. Each takes one shard for as long as the process lives, and waits for one
    if all are taken: so a relay that stands by takes over when another dies. Errors of store and
    bus make a lane repeat its batch after a backoff, for ever: it skips nothing.

    Args:
        batch: events that a lane publishes at once.
        lanes: shards that this process takes at most.
        pen: for the history.
    """

    def __init__(
        self,
        store: OutboxStore,
        publisher: Publisher,
        clock: Clock,
        *,
        batch: int,
        lanes: int,
        pen: Pen,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._batch = batch
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        self._lanes = [_Lane() for _ in range(lanes)]
        self._is_stopping = False
        self._started_us = 0

    async def run(self) -> None:
        """Relay until `stop`."""
        if self._is_stopping:
            return
        self._started_us = self._clock.wall_us()
        for lane in self._lanes:
            lane.task = asyncio.get_running_loop().create_task(self._run_lane(lane))
        await asyncio.gather(*(lane.task for lane in self._lanes if lane.task is not None))

    async def stop(self) -> None:
        """Finish the batches that are being published, start no more, return. Idempotent."""
        self._is_stopping = True
        for lane in self._lanes:
            if lane.task is not None and lane.rests:
                lane.task.cancel()
        for lane in self._lanes:
            if lane.task is not None:
                await lane.task

    async def _run_lane(self, lane: "_Lane") -> None:
        backoff_us = 0
        while not self._is_stopping:
            try:
                if backoff_us:
                    lane.rests = True
                    await self._clock.sleep_us(backoff_us)
                await self._relay_batch(lane)
                backoff_us = 0
            except LabError as error:
                backoff_us = _next_backoff_us(backoff_us, error)
            except asyncio.CancelledError:
                if not self._is_stopping:
                    raise

    async def _relay_batch(self, lane: "_Lane") -> None:
        """Wait for events, publish them, mark them. `rests` says where a stop may cut in."""
        store = self._store
        lane.rests = True
        if lane.shard is not None:
            await store.wait_unpublished(lane.shard)
        else:
            lane.shard = await store.own_shard()
            if lane.shard is None:
                await store.wait_shard()
                return
        lane.rests = False
        rows = await store.unpublished(lane.shard, self._batch)
        was_new, lane.is_new = lane.is_new, False
        if rows:
            in_doubt = lane.in_doubt
            lane.in_doubt = max(in_doubt, rows[-1].number)
            await self._publisher.publish([to_record(row.envelope) for row in rows])
            await store.mark_published(rows)
            lane.in_doubt = 0
            if in_doubt:
                self._tell("repeated", sum(row.number <= in_doubt for row in rows))
            elif was_new:
                found = [row for row in rows if row.envelope.time_us < self._started_us]
                self._tell("recovered", len(found))

    def _tell(self, what: str, events: int) -> None:
        """Events that a crash or an error would have lost, had they not been rows."""
        if self._write is not None:
            for _ in range(events):
                self._write(("acted", self._now(), self._process, "", "outbox", what))


class _Lane:
    """The state of one lane of a relay.

    Attributes:
        rests: it waits, and has nothing in hand.
        is_new: it has not looked into its shard yet; rows there were left by a predecessor.
        in_doubt: up to this row number some may be published that were not seen to be marked.
    """

    __slots__ = ("in_doubt", "is_new", "rests", "shard", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.shard: int | None = None
        self.rests = False
        self.is_new = True
        self.in_doubt = 0


def keep_rows(inner: OrderStore, publisher: Publisher) -> OrderStore:  # noqa: ARG001 - as below
    """The strong part: the events of a unit are rows of its transaction, for the relay."""
    return inner


class DirectPublish(PassThroughStore):
    """The weak part: no outbox rows; events are published by the caller after its commit."""

    def __init__(self, inner: OrderStore, publisher: Publisher) -> None:
        super().__init__(inner)
        self._publisher = publisher

    async def commit(self, unit: Unit) -> UnitVerdict:
        events = unit.events
        if not events:
            return await self._inner.commit(unit)
        verdict = await self._inner.commit(msgspec.structs.replace(unit, outboxed=False))
        if verdict is UnitVerdict.COMMITTED:
            try:
                await self._publisher.publish([to_record(event) for event in events])
            except Transient as error:
                # A Transient of a committer says that nothing was applied.
                raise Indeterminate(f"committed, but not published: {error}") from error
        return verdict


def _next_backoff_us(last_us: int, error: LabError) -> int:
    """Twice the last one, within bounds, and not shorter than the other side asked for."""
    backoff_us = min(max(BACKOFF_US, 2 * last_us), BACKOFF_MAX_US)
    return max(backoff_us, error.after_us) if isinstance(error, Throttled | Down) else backoff_us
