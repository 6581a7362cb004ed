"""Keys in retry: no order of port calls, deaths and handovers breaks what the rule promises.

The real links over the real memory stores, one key, two consumers: see `one_key`. Every
world below is tried whole; its budgets say how often something may go wrong in it.
"""

import pytest

from lab.domain.errors import LabError
from lab.patterns.dedupe import Dedupe
from lab.patterns.key_lanes import AGAIN, DISCARDED, PARKED, KeyLanes, KeyParking
from lab.patterns.retry import give_back
from lab.ports.bus import Ack, Delivery, Settlement
from lab.ports.dedupe import Claim
from lab.ports.key_retry import Arrival, HeadRun, WaitingRow, key_of, row_of
from lab.ports.parking import is_discard, is_parked
from lab.stores.memory.key_retry import KeyRetryTable
from tests.kit.one_key import Broken, Explorer, Parts, World

QUICK = {
    "nothing goes wrong": World(log=(1, 2, 3)),
    "a failure": World(log=(1, 2), failures={1: 1}),
    "a failure and a crash": World(log=(1, 2), failures={1: 1}, crashes=1),
    "a failure and two crashes": World(log=(1, 2), failures={1: 1}, crashes=2),
    "a failure and a rebalance": World(log=(1, 2), failures={1: 1}, rebalances=1),
    "attempts run out, and a crash": World(log=(1, 2), failures={1: 3}, crashes=1),
    "published twice, and a crash": World(log=(1, 1, 2, 1), failures={1: 1}, crashes=1),
    "delivered twice, and a crash": World(log=(1, 2), failures={1: 1}, duplicates=2, crashes=1),
    "a lost answer and a crash": World(log=(1, 2), failures={1: 1}, lost_answers=1, crashes=1),
    "two lost answers": World(log=(1, 2), failures={1: 2}, lost_answers=2),
    "a drain and a crash": World(log=(1, 2), failures={1: 1}, moves=1, crashes=1),
    "sent back": World(log=(1, 2), failures={1: 3}, redrives=1),
    "sent back, and a lost answer": World(log=(1, 2), failures={1: 3}, redrives=1, lost_answers=1),
    "sent back, and a crash": World(log=(1, 2), failures={1: 3}, redrives=1, crashes=1),
    "sent back in vain, then discarded": World(
        log=(1, 2), permanent=(1,), failures={2: 1}, redrives=1, discards=1
    ),
    "discarded, and a crash": World(log=(1, 2), failures={1: 3}, discards=1, crashes=1),
    "refused at once, sent back, and a crash": World(
        log=(1, 2), permanent=(1,), failures={2: 1}, redrives=1, crashes=1
    ),
    "two topics": World(log=(1,), other=(2,), failures={1: 1, 2: 1}),
    "two topics, two crashes": World(log=(1,), other=(2,), failures={1: 1}, crashes=2),
}
SLOW = {
    "three events, two failures, a crash": World(
        log=(1, 2, 3), failures={1: 1, 2: 1}, crashes=1, lost_answers=1
    ),
    "a rebalance and a crash": World(log=(1, 2), failures={1: 1}, rebalances=1, crashes=1),
    "in place, a rebalance, a crash": World(
        log=(1, 2), failures={1: 2}, in_place=2, rebalances=1, crashes=1
    ),
    "attempts run out, a rebalance, a crash": World(
        log=(1, 2), failures={1: 3}, rebalances=1, crashes=1
    ),
    "permanent, a rebalance, a crash": World(
        log=(1, 2), permanent=(1,), failures={2: 1}, rebalances=1, crashes=1
    ),
    "paused beyond the lease, a rebalance, a crash": World(
        log=(1, 2), failures={1: 1}, slow=1, rebalances=1, crashes=1
    ),
    "published twice, a rebalance, a crash": World(
        log=(1, 1, 2), failures={1: 1}, rebalances=1, crashes=1
    ),
    "delivered twice, a rebalance": World(log=(1, 2), failures={1: 1}, duplicates=1, rebalances=1),
    "dedupe forgets, a rebalance": World(log=(1, 2), failures={1: 1}, forgets=1, rebalances=1),
    "a drain, a rebalance": World(log=(1, 2), failures={1: 1}, moves=1, rebalances=1),
    "sent back, a rebalance": World(log=(1, 2), failures={1: 3}, redrives=1, rebalances=1),
    "discarded, a rebalance": World(log=(1, 2), failures={1: 3}, discards=1, rebalances=1),
    "sent back, a drain, a crash": World(
        log=(1, 2), failures={1: 3}, redrives=1, moves=1, crashes=1
    ),
    "a lost answer, a rebalance": World(log=(1, 2), failures={1: 1}, lost_answers=1, rebalances=1),
    "two topics, a crash": World(log=(1, 3), other=(2,), failures={1: 1, 2: 1}, crashes=1),
    "two topics, a rebalance": World(log=(1,), other=(2,), failures={1: 1, 2: 1}, rebalances=1),
    "three events, a rebalance, a crash": World(
        log=(1, 2, 3), failures={1: 1}, rebalances=1, crashes=1
    ),
}


def explore(world: World, parts: Parts) -> Explorer:
    explorer = Explorer(world, parts)
    explorer.run()
    explored = f"{explorer.states:,} states, {explorer.steps:,} steps, {explorer.ends:,} ends"
    print(explored)  # noqa: T201 - shown by `pytest -s`
    return explorer


@pytest.mark.parametrize("name", QUICK)
def test_no_interleaving_loses_or_reorders_an_event(name: str) -> None:
    assert explore(QUICK[name], Parts()).ends


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_no_interleaving_with_a_handover_loses_or_reorders_an_event(name: str) -> None:
    assert explore(SLOW[name], Parts()).states > 1_000


# ---- planted bugs: each is found


class AckBeforePark(KeyParking):
    """Publishes the alarm and acknowledges; the row is written by whoever hears the alarm."""

    async def _lock(self, row: WaitingRow, tier: int) -> Settlement:
        return await self.alarm(row, tier)


class AlarmBeforeLock(KeyParking):
    """Publishes first: the alarm may be heard before there is a lock."""

    async def _lock(self, row: WaitingRow, tier: int) -> Settlement:
        await self.alarm(row, tier)
        await self._store.park(row)
        return PARKED


class NoAlarm(KeyParking):
    """Commits the row and acknowledges; nobody will come for it."""

    async def alarm(self, head: WaitingRow, tier: int) -> Settlement:  # noqa: ARG002 - the port's shape
        return PARKED


class FinishBeforeRun(KeyLanes):
    """Deletes the head's row before its effect is committed."""

    async def _run_head(self, run: HeadRun) -> Settlement:
        left = await self._store.finish(run.group, key_of(run.record), run.event_id)
        settled = await self._inner(run)
        return settled if left is None or not isinstance(settled, Ack) else AGAIN


class OneRowPerAlarm(KeyLanes):
    """Acknowledges the alarm after one row, whatever is left."""

    async def _run_head(self, run: HeadRun) -> Settlement:
        settled = await super()._run_head(run)
        return Ack() if settled is AGAIN else settled


class AlarmIsItsEvent(KeyLanes):
    """Asks dedupe and inbox for the alarm's own event, and acknowledges if that is done."""

    async def _on_alarm(self, alarm: Delivery) -> Settlement:
        head, _ = await self._store.head(alarm.group, key_of(alarm.record))
        if head is None or head.event_id != alarm.event_id:
            return Ack("done")
        return await super()._on_alarm(alarm)


class MainRecords(KeyLanes):
    """Base of those that get the rule for records of main topics wrong."""

    async def __call__(self, delivery: Delivery) -> Settlement:
        if is_parked(delivery.record):
            return await super().__call__(delivery)
        try:
            return await self._on_main(delivery)
        except LabError as error:
            return give_back(error, self._again_us)

    async def _on_main(self, delivery: Delivery) -> Settlement:
        return await super().__call__(delivery)


class NoAppend(MainRecords):
    """Lets later records of a locked key run."""

    async def _on_main(self, delivery: Delivery) -> Settlement:
        head, _ = await self._store.head(delivery.group, key_of(delivery.record))
        if head is None or head.event_id != delivery.event_id:
            return await self._inner(delivery)
        return await super()._on_main(delivery)


class MainRecordRunsHead(MainRecords):
    """A main record that is the head is its own alarm; once it is done, it does not look."""

    async def _on_main(self, delivery: Delivery) -> Settlement:
        row = row_of(delivery, attempts=delivery.attempt - 1)
        arrival, _ = await self._store.arrive(row)
        if arrival is Arrival.HEAD:
            return await self._on_alarm(delivery)
        if arrival is Arrival.DONE:
            return await self._inner(delivery)
        return await super()._on_main(delivery)


class NobodyLooks(MainRecords):
    """A main record that somebody else may have run is acknowledged without a look at the lock."""

    async def _on_main(self, delivery: Delivery) -> Settlement:
        delivery.starts_known = True
        return await super()._on_main(delivery)


class ParksWhatIsDone(KeyRetryTable):
    """Locks a key for an event that has an outcome already."""

    def park(self, row: WaitingRow) -> WaitingRow | None:
        outcomes, self._outcomes = self._outcomes, type(self._outcomes)(1)
        try:
            return super().park(row)
        finally:
            self._outcomes = outcomes


class RevivesWhatIsMarkedDead(KeyRetryTable):
    """Waits until somebody has marked the head dead; its letter was published before that."""

    def revive(self, row: WaitingRow) -> bool:
        head = self.head(row.group, row.key)
        return head is not None and head.is_dead and super().revive(row)


class DiscardsWhatIsMarkedDead(KeyRetryTable):
    """The same, of a discard."""

    def discard(self, row: WaitingRow) -> bool:
        head = self.head(row.group, row.key)
        return head is not None and head.is_dead and super().discard(row)


class DiscardAndForget(KeyLanes):
    """Deletes the row of what is discarded, and leaves those behind it to themselves."""

    async def _on_alarm(self, alarm: Delivery) -> Settlement:
        if is_discard(alarm.record):
            await self._store.discard(row_of(alarm, attempts=0))
            return DISCARDED
        return await super()._on_alarm(alarm)


class DoneBeforeCommit(Dedupe):
    """Marks the event done as soon as it has the claim."""

    async def _run(self, delivery: Delivery, claim: Claim) -> Settlement:
        await self._end(delivery, claim.fence, is_done=True)
        try:
            return await self._inner(delivery)
        except LabError:
            await self._end(delivery, claim.fence, is_done=False)
            raise


A_CRASH = World(log=(1, 2), failures={1: 1}, crashes=1)
A_REBALANCE = World(log=(1, 2), failures={1: 1}, rebalances=1, crashes=1)
TWO_CRASHES = World(log=(1,), other=(2,), failures={1: 1}, crashes=2)


@pytest.mark.parametrize(
    ("parts", "world"),
    [
        (Parts(parking=AckBeforePark), A_CRASH),
        (Parts(parking=AlarmBeforeLock), A_CRASH),
        (Parts(parking=NoAlarm), World(log=(1, 2), failures={1: 1})),
        (Parts(lanes=FinishBeforeRun), A_CRASH),
        (Parts(lanes=OneRowPerAlarm), A_CRASH),
        (Parts(lanes=AlarmIsItsEvent), A_CRASH),
        (Parts(lanes=NoAppend), World(log=(1, 2), failures={1: 1})),
        (Parts(lanes=MainRecordRunsHead), TWO_CRASHES),
        (Parts(lanes=NobodyLooks), A_REBALANCE),
        (Parts(table=ParksWhatIsDone), A_REBALANCE),
        (Parts(table=RevivesWhatIsMarkedDead), QUICK["sent back, and a crash"]),
        (Parts(table=DiscardsWhatIsMarkedDead), QUICK["discarded, and a crash"]),
        (Parts(lanes=DiscardAndForget), World(log=(1, 2), failures={1: 3}, discards=1)),
        (Parts(dedupe=DoneBeforeCommit), A_CRASH),
    ],
    ids=lambda value: value.name() if isinstance(value, Parts) else "",
)
def test_a_planted_bug_is_found(parts: Parts, world: World) -> None:
    with pytest.raises(Broken) as found:
        explore(world, parts)
    assert "step" in str(found.value), "the message tells the steps that led there"
