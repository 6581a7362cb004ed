"""Key lanes: a later event of an order does not overtake an earlier one that waits for its retry.

A mail about "received" fails and goes through a retry topic; the mail about "confirmed" is sent at
once, and the customer reads them in the wrong order. Or the retry of an old state overwrites a new.

The rule: while a key has a lock row, its unfinished events are rows in the order store, the failed
one as head. First failure: commit lock and head row, then publish to the tier, then ack. A later
record of the key becomes a row, or is one already: ack. The record in a retry topic is only an
alarm: whatever the state of its own event, it runs the head when due, then the next. It is
acknowledged only after the last row and the lock were deleted in one transaction, or a new alarm
for the head was published, or the head is dead. Behind a dead head rows stay until somebody sends
it back (`redrive`), or discards it: such a record lets the event live again, or deletes its row.

A record of a main topic runs no head. If its event is the head, or if somebody else may have run
it, it is acknowledged only after an alarm for a live head was published: it may be the last one
that knows of the lock (docs/adr/0006).

The weak part has tiers without a lock: the record itself goes to the retry topic and comes back
whenever its time has come, whatever happened to its key meanwhile.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from lab.domain.envelope import H_ATTEMPT, H_FIRST_FAILURE, H_NOT_BEFORE, header_int
from lab.domain.errors import LabError
from lab.history.pen import Pen
from lab.history.recorder import Now
from lab.patterns.inbox import DEAD, DONE, Look, Republish, follow
from lab.patterns.retry import give_back
from lab.ports.bus import (
    Ack,
    Delivery,
    Handle,
    Ordering,
    Outgoing,
    Publisher,
    Record,
    Retry,
    Settlement,
    main_topic,
    retry_topic,
)
from lab.ports.key_retry import Arrival, HeadRun, KeyRetryStore, WaitingRow, key_of, row_of, run_of
from lab.ports.parking import (
    Parking,
    is_discard,
    is_parked,
    is_redrive,
    original,
    parked_headers,
)

_UNTOLD_KEPT: Final = 4_096

PARKED: Final = Ack("parked")
DISCARDED: Final = Ack("discarded")
AGAIN: Final = Retry(0, counts=False)


class KeyParking(Parking):
    """Where events of a locked key wait: rows in the order store, alarms in the retry topics.

    Args:
        store: rows and locks.
        publisher: takes the alarms.
        group: the consumer group.
        tiers_us: delays of the retry topics; the first is tier 1.

    Attributes:
        ordering: the order that the workers of the subscription must keep.
    """

    ordering: Final = Ordering.KEY

    def __init__(
        self,
        *,
        store: KeyRetryStore,
        publisher: Publisher,
        group: str,
        tiers_us: Sequence[int],
        **_: object,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._group = group
        self._tiers_us = tuple(tiers_us)

    def link(
        self, inner: Handle, *, republish: Republish, look: Look, again_us: int, pen: Pen
    ) -> "KeyLanes":
        """The link of the chain; the retry link inside parks here, so this part is made first."""
        return KeyLanes(
            inner,
            parking=self,
            store=self._store,
            group=self._group,
            republish=republish,
            look=look,
            again_us=again_us,
            pen=pen,
        )

    async def park(
        self, delivery: Delivery, *, tier: int, delay_us: int, counts: bool = True
    ) -> Settlement:
        _, now_us = await self._store.head(self._group, key_of(delivery.record))
        attempts = delivery.attempt if counts else delivery.attempt - 1
        row = row_of(delivery, attempts=attempts, not_before_us=now_us + delay_us)
        if not isinstance(delivery, HeadRun):
            return await self._lock(row, tier)
        if not await self._store.reschedule(row):
            # Somebody else has finished it meanwhile: look again.
            return AGAIN
        return await self.alarm(row, tier)

    async def move(self, delivery: Delivery) -> Settlement:
        """To the retry path as it is: it is not running and must leave this process.

        `AGAIN` says that it has an outcome.
        """
        if is_parked(delivery.record):
            record = delivery.record
            copy = Outgoing(record.topic, record.key, record.value, record.headers)
            await self._publisher.publish((copy,))
            return PARKED
        row = row_of(delivery, attempts=delivery.attempt - 1)
        if delivery.wait_us:
            _, now_us = await self._store.head(self._group, row.key)
            row = msgspec.structs.replace(row, not_before_us=now_us + delivery.wait_us)
        return await self._lock(row, tier=1)

    async def _lock(self, row: WaitingRow, tier: int) -> Settlement:
        head = await self._store.park(row)
        if head is None:
            # It has an outcome: the links inside say which.
            return AGAIN
        if head.event_id != row.event_id:
            # Behind a head that has an alarm, or a main record that will see to one.
            return PARKED
        if head.attempts < row.attempts and not await self._store.reschedule(row):
            return AGAIN
        return await self.alarm(row, tier)

    async def alarm(self, head: WaitingRow, tier: int) -> Settlement:
        """Publish an alarm for a head; only then may the record that stood for it be settled."""
        record = head.record
        headers = parked_headers(
            record,
            group=self._group,
            attempt=head.attempts + 1,
            not_before_us=head.not_before_us,
            first_failure_us=head.first_failure_us,
            redrives=head.redrives,
        )
        topic = retry_topic(record.topic, self._group, tier)
        await self._publisher.publish((Outgoing(topic, record.key, record.value, headers),))
        return PARKED

    async def see_to_alarm(self, record: Record) -> WaitingRow | None:
        """Before a main record is settled: publish an alarm if its key has a live head.

        The alarm goes to the shortest tier that covers the rest of the head's delay.

        Returns:
            The head, dead or alive.
        """
        head, now_us = await self._store.head(self._group, key_of(record))
        if head is not None and not head.is_dead:
            left_us = head.not_before_us - now_us
            shorter = sum(us < left_us for us in self._tiers_us)
            await self.alarm(head, min(shorter + 1, len(self._tiers_us)))
        return head


class KeyLanes:
    """The link that keeps the order of a key through its retries.

    Args:
        inner: the next link.
        parking: of the same store and group.
        store: rows and locks.
        group: the consumer group.
        republish: publishes the dead letter of an event that is dead already.
        look: asks the authority for the outcome of an event.
        again_us: after a failure of store or publisher.
        pen: for the history.
    """

    def __init__(
        self,
        inner: Handle,
        *,
        parking: KeyParking,
        store: KeyRetryStore,
        group: str,
        republish: Republish,
        look: Look,
        again_us: int,
        pen: Pen,
    ) -> None:
        self._inner = inner
        self._parking = parking
        self._store = store
        self._group = group
        self._republish = republish
        self._look = look
        self._again_us = again_us
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        # Attempts that were made at a head, and that the store did not take down.
        self._untold: dict[tuple[str, int], int] = {}

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        try:
            if is_parked(delivery.record):
                return await self._on_alarm(delivery)
            # A record of a main topic. Every delivery waits in here: a method more would be felt.
            arrival, _ = await self._store.arrive(row_of(delivery, attempts=delivery.attempt - 1))
            match arrival:
                case Arrival.FREE | Arrival.DONE:
                    settled = await self._inner(delivery)
                    if isinstance(settled, Ack) and not delivery.starts_known:
                        await self._parking.see_to_alarm(delivery.record)
                    return settled
                case Arrival.HEAD:
                    head = await self._parking.see_to_alarm(delivery.record)
                    return DONE if head is None else DEAD if head.is_dead else PARKED
                case Arrival.WAITING | Arrival.APPENDED:
                    self._acted(delivery, "held")
                    return PARKED
        except LabError as error:
            return give_back(error, self._again_us)

    async def move(self, delivery: Delivery) -> Settlement:
        """A drain moves a delivery that is not running to the retry path; counts no attempt."""
        try:
            settled = await self._parking.move(delivery)
            return await self._follow(delivery) if settled is AGAIN else settled
        except LabError as error:
            return give_back(error, self._again_us)

    async def _follow(self, delivery: Delivery) -> Settlement:
        """Settle an event as its outcome says, without the links inside.

        These ask the dedupe store first, and wait: for a store that is down, for somebody's claim.
        A process that stops has not the time, and no handler would be started anyhow.
        """
        found = await self._look(delivery.group, delivery.event_id)
        settled = None if found is None else await follow(delivery, found, self._republish)
        if settled is None:
            return AGAIN
        if not delivery.starts_known:
            await self._parking.see_to_alarm(delivery.record)
        return settled

    async def _on_alarm(self, alarm: Delivery) -> Settlement:
        key = key_of(alarm.record)
        if is_redrive(alarm.record):
            row = row_of(alarm, attempts=0)
            if is_discard(alarm.record):
                await self._store.discard(row)
                # Also if it was gone: the worker that deleted it may have died before this.
                await self._parking.see_to_alarm(alarm.record)
                return DISCARDED
            if not await self._store.revive(row):
                arrival, _ = await self._store.arrive(row)
                if arrival in {Arrival.FREE, Arrival.DONE}:
                    return await self._redriven(alarm)
        head, now_us = await self._store.head(self._group, key)
        if head is None:
            return DONE
        run = run_of(head, alarm)
        if self._untold:
            known = self._untold.get((run.event_id, run.redrives), 0)
            run.attempt = max(run.attempt, known + 1)
        if head.is_dead:
            await self._republish(run)
            return DEAD
        if head.not_before_us > now_us:
            # A copy of an alarm: the head has gone on to another tier meanwhile.
            is_late = header_int(alarm.record.headers, H_NOT_BEFORE) < head.not_before_us
            return Retry(head.not_before_us - now_us, counts=False, by_tier=not is_late)
        return await self._run_head(run)

    async def _run_head(self, run: HeadRun) -> Settlement:
        """Run a head that is due; its alarm is settled as it ends."""
        key, event_id = key_of(run.record), run.event_id
        settled = await self._inner(run)
        match settled:
            case Ack(why="parked"):
                return settled
            case Ack(why="dead"):
                await self._store.bury(self._group, key, event_id, run.redrives)
                return settled
            case Ack():
                left = await self._store.finish(self._group, key, event_id)
                return settled if left is None else AGAIN
            case Retry(after_us=after_us, counts=True):
                return await self._again(run, after_us)
            case _:
                return settled

    async def _again(self, run: HeadRun, after_us: int) -> Settlement:
        """A head is tried again in place: its row is to say how often, and not before when."""
        told = (run.event_id, run.redrives)
        try:
            # From now on: the handler took its time, and a successor sees only the row.
            _, now_us = await self._store.head(self._group, key_of(run.record))
            row = row_of(run, attempts=run.attempt, not_before_us=now_us + after_us)
            await self._store.reschedule(row)
        except LabError:
            # It was an attempt, whatever became of the row.
            self._untold[told] = run.attempt
            if len(self._untold) > _UNTOLD_KEPT:
                del self._untold[next(iter(self._untold))]
        else:
            self._untold.pop(told, None)
        return Retry(after_us, counts=False)

    async def _redriven(self, delivery: Delivery) -> Settlement:
        """A redrive of an event that died without a lock: it runs by itself."""
        run = msgspec.structs.replace(delivery, record=original(delivery.record))
        settled = await self._inner(run)
        delivery.first_failure_us, delivery.failures = run.first_failure_us, run.failures
        if isinstance(settled, Ack):
            await self._parking.see_to_alarm(delivery.record)
        return settled

    def _acted(self, delivery: Delivery, what: str) -> None:
        if self._write is not None:
            self._write(("acted", self._now(), self._process, delivery.subject, "key_lanes", what))


class PlainParking(Parking):
    """The weak part's way to the retry topics: the record itself, and no lock.

    Args:
        publisher: takes the records.
        group: the consumer group.
        wall: wall time in microseconds.

    Attributes:
        ordering: see `KeyParking`.
    """

    ordering: Final = Ordering.NONE

    def __init__(self, *, publisher: Publisher, group: str, wall: Now, **_: object) -> None:
        self._publisher = publisher
        self._group = group
        self._wall = wall

    def link(self, inner: Handle, *, again_us: int, **_: object) -> "PlainTiers":
        """The link of the chain; see `KeyParking.link`."""
        return PlainTiers(inner, parking=self, wall=self._wall, again_us=again_us)

    async def park(
        self, delivery: Delivery, *, tier: int, delay_us: int, counts: bool = True
    ) -> Settlement:
        return await self._send(delivery, delivery.attempt + counts, tier, delay_us)

    async def move(self, delivery: Delivery) -> Settlement:
        """To the retry path as it is: it is not running and must leave this process."""
        return await self._send(delivery, delivery.attempt, 1, delivery.wait_us)

    async def _send(self, delivery: Delivery, attempt: int, tier: int, delay_us: int) -> Settlement:
        record = delivery.record
        headers = parked_headers(
            record,
            group=self._group,
            attempt=attempt,
            not_before_us=self._wall() + delay_us,
            first_failure_us=delivery.first_failure_us,
            redrives=delivery.redrives,
        )
        topic = retry_topic(main_topic(record.topic), self._group, tier)
        await self._publisher.publish((Outgoing(topic, record.key, record.value, headers),))
        return PARKED


class PlainTiers:
    """The weak part: a record in a retry topic waits for its time and then runs, on its own.

    Args:
        inner: the next link.
        parking: sends events away that must wait.
        wall: wall time in microseconds.
        again_us: after a failure of the publisher.
    """

    def __init__(self, inner: Handle, *, parking: PlainParking, wall: Now, again_us: int) -> None:
        self._inner = inner
        self._parking = parking
        self._wall = wall
        self._again_us = again_us

    async def move(self, delivery: Delivery) -> Settlement:
        """A drain moves a delivery that is not running to the retry path; counts no attempt."""
        if is_discard(delivery.record):
            return DISCARDED
        try:
            return await self._parking.move(delivery)
        except LabError as error:
            return give_back(error, self._again_us)

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        if is_parked(delivery.record):
            if is_discard(delivery.record):
                # There is no lock and nothing waits: its event stays dead.
                return DISCARDED
            headers = delivery.record.headers
            left_us = header_int(headers, H_NOT_BEFORE) - self._wall()
            if left_us > 0:
                return Retry(left_us, counts=False, by_tier=True)
            delivery.attempt = max(delivery.attempt, header_int(headers, H_ATTEMPT))
            delivery.first_failure_us = delivery.first_failure_us or header_int(
                headers, H_FIRST_FAILURE
            )
        return await self._inner(delivery)
