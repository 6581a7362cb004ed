"""Ports that write their calls into the history: one entry before, one after.

Each wrapper stands around the adapter of one process life. An adapter knows nothing of the history;
a call whose process dies in the middle leaves a `begin` without an `end`. Methods that no check
judges are handed through as they are: an attribute costs no frame.

Not here: calls to third parties (`recorded_providers`), facts (their witnesses write them), and the
entries that the delivery loop, the handlers' edge and the patterns write about themselves.
"""

from asyncio import CancelledError
from collections.abc import Mapping, Sequence

from lab.domain.envelope import H_ID, H_SUBJECT, text_header
from lab.domain.errors import LabError
from lab.history.pen import Pen
from lab.ports.bus import Consumer, Outgoing, Publisher, TopicPartition
from lab.ports.dedupe import Claim, DedupeStore
from lab.ports.pass_through import PassThroughConsumer, PassThroughStore
from lab.ports.store import OrderStore, Unit, UnitVerdict

Failure = (LabError, CancelledError)
"""The exceptions that end a call without a result. Any other is a bug and leaves the call open."""


def result_of(failure: LabError | CancelledError) -> str:
    """The `result` of a call that raised."""
    return "cancelled" if isinstance(failure, CancelledError) else type(failure).__name__


class RecordedStore(PassThroughStore):
    """An order store whose commits are recorded."""

    def __init__(self, inner: OrderStore, *, pen: Pen) -> None:
        super().__init__(inner)
        self._commit = inner.commit
        self._process, self._now, self._write = pen.process, pen.now, pen.writing

    async def commit(self, unit: Unit) -> UnitVerdict:
        write, now, process = self._write, self._now, self._process
        subject, group, cause, outcome = unit.lab_subject, unit.by, unit.cause, unit.outcome
        settles = unit.settles and (outcome is None or not outcome.is_dead)
        write(("commit.begin", now(), process, subject, group, cause, settles))
        try:
            verdict = await self._commit(unit)
        except Failure as failure:
            result = result_of(failure)
            write(("commit.end", now(), process, subject, group, cause, settles, result))
            raise
        write(("commit.end", now(), process, subject, group, cause, settles, verdict._value_))
        return verdict


class RecordedPublisher(Publisher):
    """A publisher whose calls are recorded."""

    def __init__(self, inner: Publisher, *, pen: Pen) -> None:
        self._publish = inner.publish
        self._process, self._now, self._write = pen.process, pen.now, pen.writing

    async def publish(self, records: Sequence[Outgoing]) -> None:
        write, now, process = self._write, self._now, self._process
        topic, ids, subject = _about(records)
        causes = tuple([text_header(record.headers, "ce_causationid") for record in records])
        subjects = (
            (subject,)
            if len(ids) == 1
            else tuple([text_header(record.headers, H_SUBJECT) for record in records])
        )
        write(("publish.begin", now(), process, subject, topic, ids, causes, subjects))
        try:
            await self._publish(records)
        except Failure as failure:
            write(("publish.end", now(), process, subject, topic, ids, result_of(failure)))
            raise
        write(("publish.end", now(), process, subject, topic, ids, "ok"))


class RecordedConsumer(PassThroughConsumer):
    """A consumer whose committed positions are recorded."""

    def __init__(self, inner: Consumer, *, pen: Pen, group: str) -> None:
        super().__init__(inner)
        self._commit = inner.commit
        self._process, self._now, self._write = pen.process, pen.now, pen.writing
        self._group = group

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        now_us = self._now()
        for (topic, partition), offset in offsets.items():
            self._write(
                (
                    "position",
                    now_us,
                    self._process,
                    "",
                    self._group,
                    topic,
                    partition,
                    offset,
                    epoch,
                )
            )
        await self._commit(offsets, epoch)


class RecordedDedupe(DedupeStore):
    """A dedupe store whose calls are recorded, each once it is answered."""

    def __init__(self, inner: DedupeStore, *, pen: Pen) -> None:
        self._claim = inner.claim
        self._complete = inner.complete
        self._release = inner.release
        self._process, self._now, self._write = pen.process, pen.now, pen.writing

    async def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Claim:
        claim = await self._claim(group, event_id, owner=owner, lease_us=lease_us)
        state = claim.state._value_
        self._write(("claim", self._now(), self._process, "", group, event_id, state, claim.fence))
        return claim

    async def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> bool:
        accepted = await self._complete(
            group, event_id, owner=owner, fence=fence, window_us=window_us
        )
        self._write(("complete", self._now(), self._process, "", group, event_id, fence, accepted))
        return accepted

    async def release(self, group: str, event_id: str, *, owner: str, fence: int) -> bool:
        accepted = await self._release(group, event_id, owner=owner, fence=fence)
        self._write(("unclaim", self._now(), self._process, "", group, event_id, fence, accepted))
        return accepted


def _about(records: Sequence[Outgoing]) -> tuple[str, tuple[str, ...], str]:
    """Topic, event ids and order that the records have in common; "" where they differ."""
    ids = tuple([text_header(record.headers, H_ID) for record in records])
    if not records:
        return "", ids, ""
    topic = records[0].topic
    if len(records) == 1:
        return topic, ids, text_header(records[0].headers, H_SUBJECT)
    return topic if all(record.topic == topic for record in records) else "", ids, ""
