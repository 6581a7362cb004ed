"""Folds over the delivery loop, entry by entry: deliveries, settlements, positions, assignments.

One method a kind of entry; it notes and does not judge. Not here: the handler between a delivery
and its settlement (`call_folds`), and the positions that the bus has (`fact_folds`).
"""

from collections.abc import Mapping

from lab.checks.case_notes import AckSeen, Again, Turn
from lab.checks.claims import Claims
from lab.checks.contract import Contract
from lab.checks.fact_folds import Fold
from lab.checks.order_case import owed_of
from lab.checks.order_cases import Casebook
from lab.checks.partition_track import Tracks
from lab.checks.process_life import MARK_EVERY, Due, Early, Late, Lives, ProcessLife
from lab.history.calls import (
    DeliverEntry,
    HeldEntry,
    OwnedEntry,
    PositionEntry,
    RevokedEntry,
    SettleEntry,
)
from lab.history.entries import Entry


class DeliveryFolds:
    """Fills lives, tracks and cases.

    Args:
        contract: the limits beyond which something is noted.
        claims: of the same run.

    Attributes:
        epochs: highest epoch, by group.
        owners: of the partitions.
    """

    def __init__(
        self, contract: Contract, book: Casebook, tracks: Tracks, lives: Lives, claims: Claims
    ) -> None:
        self._contract = contract
        self._book = book
        self._open = book.open
        self._tracks = tracks
        self._lives = lives
        self._claims = claims
        self._claimed = claims.held
        self.epochs: dict[str, int] = {}
        self.owners = tracks.owners

    def folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as their type."""
        return {"held": self._held, "owned": self._owned, "revoked": self._revoked}

    def hot_folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as plain tuples."""
        return {"deliver": self._deliver, "settle": self._settle, "position": self._position}

    def close(self) -> None:
        """The history is complete: compare the positions of members that followed each other."""
        for track in self._tracks.values():
            track.conclude()

    def _deliver(self, entry: DeliverEntry) -> None:
        (
            _,
            _,
            process,
            subject,
            group,
            topic,
            partition,
            offset,
            epoch,
            event_id,
            _,
            attempt,
            digest,
        ) = entry
        life = self._lives[process]
        life.delivered += 1
        in_hand, place = life.in_hand, (topic, partition, offset)
        in_hand[place] = entry
        if len(in_hand) > life.in_hand_max:  # noqa: PLR1730 - `max` is a call, nine times an order
            life.in_hand_max = len(in_hand)
        if attempt > self._contract.attempts_max:
            self._book.case(subject).attempts_over += ((group, event_id),)
        if life.not_before and place in life.not_before:
            self._look_at_time(life, DeliverEntry._make(entry), life.not_before.pop(place))
        elif "." in topic:
            self._note_turn(life, DeliverEntry._make(entry))
        life.given[subject] = life.given.get(subject, 0) + 1
        track = self._tracks[group, topic, partition]
        records = track.records
        if offset in records.digests:
            if records.digests[offset] != digest:
                records.differ(entry)
        elif offset >= records.low:
            records.wait(offset, entry)
        acked = track.start(process, offset, epoch, entry)
        if acked is not None:
            self._started_again(acked, DeliverEntry._make(entry))

    def _settle(self, entry: SettleEntry) -> None:  # noqa: C901, PLR0912 - hot: a helper is a call more
        _, t_us, process, subject, group, topic, partition, offset, epoch, event, how, why, _ = (
            entry
        )
        life, place = self._lives[process], (topic, partition, offset)
        delivered = life.in_hand.pop(place, None)
        if (process, group, event) in self._claimed:
            self._claims.settled(SettleEntry._make(entry))
        if delivered is not None:
            left = life.given.pop(subject, 1) - 1
            if left:
                life.given[subject] = left
        if (epoch < life.epoch or epoch <= life.lost_epoch) and how not in ("stale", "release"):
            life.stale += (SettleEntry._make(entry),)
        if how == "ack":
            life.acks += 1
            started = self._tracks[group, topic, partition].ack(process, offset, epoch, entry)
            if started is not None:
                self._started_again(SettleEntry._make(entry), started)
            if why != "unread":
                life.ended += 1
                life.retries += "." in topic
                if not life.ended % MARK_EVERY:
                    life.mark(t_us)
                case = self._open.get(subject) or self._book.case(subject)
                owed = (group, event)
                if why == "done":
                    case.suppressed += (owed,)
                # As handled: the process itself saw the commit, before.
                elif why != "handled" or process not in case.settled.get(owed, ()):
                    case.acks += (AckSeen(group, event, why, topic, t_us),)
                elif case.parked:
                    case.handled += ((group, t_us),)
        elif how == "retry":
            life.not_before[place] = self._note_retry(SettleEntry._make(entry), delivered)
        if life.announced:
            self._look_at_delay(life, SettleEntry._make(entry), delivered)

    def _note_retry(self, settled: SettleEntry, delivered: Entry | None) -> Due:
        """A delivery was settled with a retry; when the next attempt is due."""
        attempt = 1 if delivered is None else DeliverEntry._make(delivered).attempt
        t_us, after_us = settled.t_us, settled.after_us
        again = Again(settled.group, settled.event_id, attempt, t_us, after_us, settled.epoch)
        self._book.case(settled.subject).again += (again,)
        return Due(attempt, t_us + after_us)

    def _started_again(self, acked: SettleEntry, started: DeliverEntry) -> None:
        track = self._tracks[acked.group, acked.topic, acked.partition]
        self._lives[acked.process].note_again(acked, started, track.reported_by(acked.process))

    def _note_turn(self, life: ProcessLife, delivered: DeliverEntry) -> None:
        """A record of a retry topic has its turn; others of its partition must not hold it back."""
        subject, group, topic = delivered.subject, delivered.group, delivered.topic
        partition, offset = delivered.partition, delivered.offset
        first_open = self._tracks[group, topic, partition].first_open(life.name)
        if offset - first_open < self._contract.max_uncommitted // 2:
            since_us = life.outrun_since(self._contract.outrun_max)
            turn = Turn(life.name, group, topic, partition, offset, delivered.t_us, since_us)
            self._book.case(subject).turns += (turn,)

    def _look_at_time(self, life: ProcessLife, delivered: DeliverEntry, due: Due) -> None:
        """A delivery that was settled with a retry comes back, not too early and in time."""
        if delivered.t_us - due.at_us > self._contract.late_us:
            if life.outrun_since(self._contract.outrun_max) > due.at_us:
                late = Late(delivered.subject, delivered.group, due.at_us, delivered.t_us)
                life.late += (late,)
            return
        early_us = due.at_us - delivered.t_us
        if -early_us <= self._contract.slack_us and "." in delivered.topic:
            life.note_idle(delivered.t_us, self._contract.late_us)
        if delivered.attempt >= due.attempt and early_us > self._contract.skew_us:
            is_next = delivered.attempt > due.attempt
            life.early += (Early(delivered.subject, early_us, is_next=is_next),)

    def _look_at_delay(
        self, life: ProcessLife, settled: SettleEntry, delivered: Entry | None
    ) -> None:
        """A retry that was announced is settled: with the announced delay."""
        announced = life.announced.pop(owed_of(settled), None)
        if announced is None or settled.settlement != "retry" or delivered is None:
            return
        attempt = DeliverEntry._make(delivered).attempt
        is_its = settled.t_us - announced.t_us <= self._contract.slack_us
        early_us = announced.delay_us - settled.after_us
        if attempt == announced.attempt and is_its and early_us > self._contract.skew_us:
            life.early += (Early(settled.subject, early_us, is_next=True),)

    def _position(self, entry: PositionEntry) -> None:
        _, _, process, _, group, topic, partition, position, epoch = entry
        self._tracks[group, topic, partition].report(process, position, epoch)

    def _held(self, entry: HeldEntry) -> None:
        life = self._lives[entry.process]
        life.held_max = max(life.held_max, entry.records)

    def _owned(self, entry: OwnedEntry) -> None:
        self.owners.own(entry)
        life = self._lives[entry.process]
        life.epoch = entry.epoch
        life.owned_us = entry.t_us
        life.assigned += 1
        self.epochs[entry.group] = max(self.epochs.get(entry.group, 0), entry.epoch)
        # The deliveries that it held under the assignment before are not its own any more.
        life.in_hand.clear()
        life.not_before.clear()
        life.announced.clear()
        life.away.clear()
        life.marks.clear()

    def _revoked(self, entry: RevokedEntry) -> None:
        self._lives[entry.process].lost_epoch = entry.epoch
