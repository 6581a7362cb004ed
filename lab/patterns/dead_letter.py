"""Dead letter: a record that nobody can handle does not block those behind it, and is not lost.

One record that cannot be decoded is tried again for ever, and every order behind it waits. Or it is
dropped to get on, and nobody ever learns what it was.

The rule: first the `dead` outcome is committed together with the service's reaction to it, then
the record goes to `<topic>.<group>.dlq`, key and value verbatim, with its headers and the reason,
under an id that is the same however often it is published. Of a record that is larger than the
queue takes the letter says what was left out. Only then is it acknowledged: while the queue cannot
be reached it blocks and loses nothing. A limiter keeps a bug in our own code from
emptying the topic into the queue: more than some in a row, or too large a share of the last
hundred, pause the subscription, until the faults of a run are healed.

The weak part is to leave this link out: the delivery loop then tries at the head of its lane for
ever.
"""

import json
from collections import deque
from collections.abc import Container
from hashlib import sha256
from typing import Final

import msgspec

from lab.domain.envelope import (
    EVENT_ID_BYTES_MAX,
    H_ID,
    H_REDRIVES,
    H_SUBJECT,
    H_TYPE,
    LETTER,
    Headers,
    with_headers,
)
from lab.domain.errors import LabError, TooLarge
from lab.domain.events import derived_id
from lab.history.pen import Pen
from lab.history.recorder import Now
from lab.patterns.inbox import DEAD, DONE
from lab.patterns.retry import give_back
from lab.ports.bus import (
    Ack,
    DeadLetter,
    Delivery,
    Handle,
    Outgoing,
    Publisher,
    Release,
    Retry,
    Settlement,
    dead_letter_topic,
    main_topic,
)
from lab.ports.parking import origin_of
from lab.ports.service import OnDead
from lab.ports.store import Committer, OutcomeRow, Unit, UnitVerdict

H_LEFT_OUT: Final = f"{LETTER}left-out"
"""Names what a letter lacks of its record: it was too large. Nobody can send such a letter back."""

REPEATED: Final = "repeated"
"""Reason of a dead letter that is published again: why it died stands in its first copy, if any."""

SHARE_OF: Final = 100
SHARE_AT_LEAST: Final = 50
_CONFLICTS_MAX: Final = 5
_PENDING_KEPT: Final = 4_096
_HEADER_BYTES_MAX: Final = 8_192
_TEXT_BYTES_MAX: Final = 2_048

_KEPT_IF_CUT: Final = (H_ID, H_TYPE, H_SUBJECT, H_REDRIVES)

_Pending = tuple[str, int, int]


class DeadLetterQueue:
    """Publishes dead letters.

    Args:
        publisher: takes the records.
        group: the consumer group.
        pen: for the history.
    """

    def __init__(self, *, publisher: Publisher, group: str, pen: Pen) -> None:
        self._publisher = publisher
        self._group = group
        self._process, self._now, self._write = pen.process, pen.now, pen.write

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        """Publish a dead letter. Raises as `Publisher.publish`."""
        record = delivery.record
        topic = dead_letter_topic(main_topic(record.topic), self._group)
        given = record.headers
        if delivery.redrives:
            # A head runs as it stood in its main topic, where it had none.
            given = with_headers(given, lab_redrives=b"%d" % delivery.redrives)
        reasons = _reasons(delivery, dead, given)
        whole = Outgoing(topic, record.key, record.value, (*given, *reasons))
        try:
            await self._publisher.publish((whole,))
        except TooLarge:
            await self._publish_cut(whole, reasons)

    async def _publish_cut(self, whole: Outgoing, reasons: Headers) -> None:
        """Publish as much of a letter as its queue takes; the record stands at its origin."""
        value = whole.value
        cut = (
            (f"{LETTER}value-bytes", b"%d" % len(value)),
            (f"{LETTER}value-sha256", sha256(value).hexdigest().encode()),
        )
        bare = tuple(pair for pair in whole.headers if pair[0] in _KEPT_IF_CUT)
        bare = tuple(pair for pair in bare if len(pair[1]) <= EVENT_ID_BYTES_MAX)
        ever_smaller = (
            ("value", whole.key, whole.headers),
            ("value, headers", whole.key, (*bare, *reasons)),
            ("value, headers, key", b"", (*bare, *reasons)),
        )
        for left_out, key, headers in ever_smaller:
            told = (*headers, *cut, (H_LEFT_OUT, left_out.encode()))
            try:
                await self._publisher.publish((Outgoing(whole.topic, key, b"", told),))
            except TooLarge:
                if not key:
                    raise
            else:
                return

    async def publish_again(self, delivery: Delivery) -> None:
        """Publish the letter of an event that is dead already; see `Republish` in `inbox`."""
        kind, message = delivery.failures[-1][1:] if delivery.failures else ("", "")
        await self.publish(delivery, DeadLetter(REPEATED, kind, message))
        if self._write is not None:
            subject = delivery.subject
            self._write(("acted", self._now(), self._process, subject, "dead_letter", "repeated"))


class Limiter:
    """Notices when too much dies. One per subscription.

    Args:
        in_a_row: more dead letters than this without a success between them are too many.
        share_percent: a larger share of the last hundred is too much, once there are fifty.
        pause_us: how long the subscription pauses then.
        now: monotonic microseconds.
    """

    def __init__(self, *, in_a_row: int, share_percent: int, pause_us: int, now: Now) -> None:
        self._in_a_row_max = in_a_row
        self._share_percent = share_percent
        self._pause_us = pause_us
        self._now = now
        self._in_a_row = 0
        self._last: deque[bool] = deque(maxlen=SHARE_OF)
        self._dead = 0
        self._paused_until_us = 0
        self._is_healed = False

    def succeeded(self) -> None:
        """A handler succeeded."""
        self._in_a_row = 0
        self._count(is_dead=False)

    def died(self) -> None:
        """A dead letter was published."""
        self._in_a_row += 1
        self._count(is_dead=True)

    def healed(self) -> None:
        """All faults of the run have ended: an event that dies now is dead. Never pauses again."""
        self._is_healed = True

    def pause_us(self, *, has_waited: bool) -> int:
        """How long the subscription must pause before one more may be buried, 0 if it may now.

        Args:
            has_waited: it was held back before; then it goes when the pause is over.
        """
        left_us = self._paused_until_us - self._now()
        if self._is_healed or not self._is_too_much():
            return 0
        if left_us > 0:
            return left_us
        if has_waited:
            return 0
        self._paused_until_us = self._now() + self._pause_us
        return self._pause_us

    def _is_too_much(self) -> bool:
        """Whether it would be too much if one more died."""
        last = self._last
        is_full = len(last) == SHARE_OF
        seen = min(len(last) + 1, SHARE_OF)
        dead = self._dead + 1 - (is_full and last[0])
        return self._in_a_row + 1 > self._in_a_row_max or (
            seen >= SHARE_AT_LEAST and dead * 100 > self._share_percent * seen
        )

    def _count(self, *, is_dead: bool) -> None:
        last = self._last
        if len(last) == SHARE_OF:
            self._dead -= last[0]
        last.append(is_dead)
        self._dead += is_dead


class DeadLetters:
    """The link that buries events that cannot be handled.

    Args:
        inner: the next link.
        queue: publishes the letters.
        store: commits the `dead` outcomes.
        on_dead: the service's reaction to a dead event, of which it sees key and headers only.
        reads: the event types that `on_dead` is asked about.
        limiter: of this subscription.
        again_us: after a failure of store or publisher.
        pen: for the history.
    """

    def __init__(
        self,
        inner: Handle,
        *,
        queue: DeadLetterQueue,
        store: Committer,
        on_dead: OnDead,
        reads: Container[str],
        limiter: Limiter,
        again_us: int,
        pen: Pen,
    ) -> None:
        self._inner = inner
        self._queue = queue
        self._store = store
        self._on_dead = on_dead
        self._reads = reads
        self._limiter = limiter
        self._again_us = again_us
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        # Found dead under this epoch and not buried yet: no handler is started again for them.
        self._pending: dict[_Pending, DeadLetter] = {}
        # Those of them that are dead already and lack only their letter: the limiter is too late.
        self._dead: set[_Pending] = set()

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        if self._pending:
            pending = self._pending.get(_pending(delivery))
            if pending is not None:
                return await self.bury(delivery, pending)
        settled = await self._inner(delivery)
        if isinstance(settled, DeadLetter):
            return await self.bury(delivery, settled)
        if isinstance(settled, Ack) and settled.why == "handled":
            self._limiter.succeeded()
            if delivery.redrives:
                self._revived(delivery)
        return settled

    async def bury(self, delivery: Delivery, dead: DeadLetter) -> Settlement:
        """Commit the outcome, publish the letter, acknowledge; or hold the delivery back.

        Returns Ack; Retry or Release while store or queue cannot be reached, or too much dies.
        """
        key = _pending(delivery)
        has_waited = key in self._pending
        is_dead = key in self._dead
        pause_us = 0 if is_dead else self._limiter.pause_us(has_waited=has_waited)
        if not has_waited:
            self._pending[key] = dead
            if len(self._pending) > _PENDING_KEPT:
                self._forget(next(iter(self._pending)))
        if pause_us:
            return Release("dead_letters", pause_us)
        try:
            verdict = await self._commit(delivery)
            if verdict is UnitVerdict.CONFLICT:
                return Retry(self._again_us, counts=False)
            if verdict is not UnitVerdict.DONE:
                self._dead.add(key)
                await self._queue.publish(delivery, dead)
        except LabError as error:
            return give_back(error, self._again_us)
        if verdict is UnitVerdict.DONE:
            self._forget(key)
            return DONE
        self._put_away(delivery, dead, key)
        return DEAD

    async def publish_again(self, delivery: Delivery) -> None:
        """See `Republish` in `inbox`, of an event that is dead already.

        If this process found it dead and has not published its letter yet, that is published, with
        its reason. Raises as `Publisher.publish`.
        """
        key = _pending(delivery)
        dead = self._pending.get(key)
        if dead is None:
            await self._queue.publish_again(delivery)
            return
        await self._queue.publish(delivery, dead)
        self._put_away(delivery, dead, key)

    def _put_away(self, delivery: Delivery, dead: DeadLetter, key: _Pending) -> None:
        """Its letter stands in the queue."""
        self._forget(key)
        self._limiter.died()
        self._buried(delivery, dead)

    def _forget(self, key: _Pending) -> None:
        self._pending.pop(key, None)
        self._dead.discard(key)

    async def _commit(self, delivery: Delivery) -> UnitVerdict:
        """Commit `dead` with the service's unit; CONFLICT if others were faster too many times."""
        group, event_id, kind = delivery.group, delivery.event_id, delivery.event_type
        order_id = delivery.record.key.decode(errors="replace")
        outcome = OutcomeRow(
            group=group, event_id=event_id, is_dead=True, redrives=delivery.redrives
        )
        verdict = UnitVerdict.CONFLICT
        for _ in range(_CONFLICTS_MAX):
            unit = await self._on_dead(order_id, kind) if kind in self._reads else Unit()
            verdict = await self._store.commit(
                msgspec.structs.replace(
                    unit,
                    by=group,
                    cause=event_id,
                    settles=True,
                    lab_subject=delivery.subject,
                    outcome=outcome,
                )
            )
            if verdict is not UnitVerdict.CONFLICT:
                break
        return verdict

    def _revived(self, delivery: Delivery) -> None:
        if self._write is not None:
            subject = delivery.subject
            self._write(("acted", self._now(), self._process, subject, "redrive", "revived"))

    def _buried(self, delivery: Delivery, dead: DeadLetter) -> None:
        if self._write is not None:
            self._write(
                (
                    "buried",
                    self._now(),
                    self._process,
                    delivery.subject,
                    delivery.group,
                    delivery.event_id,
                    dead.reason,
                    delivery.attempt,
                    delivery.starts,
                    delivery.redrives,
                )
            )


def _pending(delivery: Delivery) -> _Pending:
    return (delivery.event_id, delivery.redrives, delivery.epoch)


def _reasons(delivery: Delivery, dead: DeadLetter, given: Headers) -> Headers:
    """The headers that tell of a death, in at most 8 KiB together with our other headers."""
    failures = delivery.failures
    headers = [
        (
            f"{LETTER}id",
            derived_id(
                delivery.event_id, delivery.group, "dead-letter", delivery.redrives
            ).encode(),
        ),
        (f"{LETTER}reason", dead.reason.encode()),
        (f"{LETTER}class", _text(dead.error)),
        (f"{LETTER}message", _text(dead.message)),
        (f"{LETTER}attempts", b"%d" % delivery.attempt),
        (f"{LETTER}starts", b"%d" % delivery.starts),
        (f"{LETTER}first-failure", b"%d" % delivery.first_failure_us),
        (f"{LETTER}last-failure", b"%d" % (failures[-1][0] if failures else 0)),
        (f"{LETTER}origin", origin_of(delivery.record).encode()),
    ]
    taken = sum(
        len(name) + len(value) for name, value in (*given, *headers) if name.startswith("lab-")
    )
    log = [[at_us, kind, message] for at_us, kind, message in failures]
    encoded = json.dumps(log, separators=(",", ":")).encode()
    while log and taken + len(f"{LETTER}attempt-log") + len(encoded) > _HEADER_BYTES_MAX:
        del log[0]
        encoded = json.dumps(log, separators=(",", ":")).encode()
    return (*headers, (f"{LETTER}attempt-log", encoded))


def _text(text: str) -> bytes:
    """UTF-8 of at most 2 KiB, whatever stands in `text`."""
    cut = text.encode(errors="replace")[:_TEXT_BYTES_MAX]
    return cut.decode(errors="ignore").encode()
