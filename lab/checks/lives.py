"""What one life of a process did, and what it had in hand; positions of one partition in a group.

Everything in here is about the order within one process, or about offsets and epochs; nothing about
who was first of two. Deliberately not here: who fills it (`call_folds`), what is promised.
"""

from collections import deque
from enum import Enum
from typing import NamedTuple

from lab.history.shapes import Deliver, HandleBegin, Settle


class Ended(Enum):
    """How something that took too long came to its end."""

    LATE = "late"
    NEVER = "never"


class Overdue(NamedTuple):
    """A call or a handler that ran longer than it was allowed to, or until its process ended."""

    subject: str
    what: str
    lasted_us: int
    ended: Ended


class Early(NamedTuple):
    """A delivery that came back before its time; `is_next` if it was the next attempt for sure.

    The same attempt again may also be another copy of the record, where copies are not in a lane.
    """

    subject: str
    early_us: int
    is_next: bool


class Health:
    """What a process knows of a dependency.

    Attributes:
        fine_us: its last success, None without one.
        failed_us: its latest failures, oldest first: enough of them to tell what was known when a
            call began that ends now.
        open_us: since when its own breaker is open, None if it is not.
        half_us: when it was last half open, from and (None: it still is) until; probes: calls that
            began then. One may.
    """

    __slots__ = ("failed_us", "fine_us", "half_us", "open_us", "probes")

    def __init__(self, failures: int) -> None:
        self.fine_us: int | None = None
        self.failed_us: deque[int] = deque(maxlen=failures)
        self.open_us: int | None = None
        self.half_us: tuple[int, int | None] | None = None
        self.probes = 0


class Life:
    """One life of one process, such as `payment-1#2`.

    Attributes:
        delivered: deliveries. in_hand: those that are not settled, under the present assignment, by
            place (topic, partition, offset). A drain settles others too, which it only moved.
        held_max: most records that it had fetched and not settled, as it says itself.
        handlers: running, by (group, event id). runs: handlers started.
        called: calls to third parties that have ended. unanswered: those that got no answer.
            asked: questions to the payment gateway what it knows.
        not_before: deliveries that were settled with a retry, by place: the attempt that was made,
            and the instant of the next. said: retries that it has announced and not settled yet, by
            (group, event id): attempt, when, delay. hints: until when a third party asked it to
            stay away, by order.
        epoch: of the latest assignment. lost_epoch: of the latest one that was taken from it.
        acks: settlements that ended well. in_place: retries in place, throttled ones left out.
        in_place_over: how many retries in place the budget did not cover.
        health: of its dependencies.
        calls_down: calls to a dependency that was known to be down; and their first order.
        overdue: see `Overdue`. early: see `Early`.
        stale: settlements of a superseded epoch that were not dropped.
        term_us, end_us: told to stop, gone; None if not. end: `kill`, `stopped` or `aborted`.
        pauses: when it stood still, from and (None: it still does) until.
        left_open: deliveries that it had neither settled nor given back when it ended by itself.
        started_again: records that it had acknowledged, without telling the bus its position, and
            another life started again later.
        outlived: events that it had committed and nobody had published when it was killed.
        drained: (drained, cancelled, abandoned) as it reported them.
    """

    __slots__ = (
        "acks",
        "asked",
        "called",
        "calls_down",
        "delivered",
        "drained",
        "early",
        "end",
        "end_us",
        "epoch",
        "failing_spells",
        "handlers",
        "handlers_max",
        "health",
        "held_max",
        "hints",
        "in_hand",
        "in_hand_max",
        "in_place",
        "in_place_over",
        "left_open",
        "lost_epoch",
        "name",
        "not_before",
        "outlived",
        "overdue",
        "pauses",
        "runs",
        "said",
        "stale",
        "started_again",
        "term_us",
        "unanswered",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = 0
        self.lost_epoch = 0
        self.delivered = 0
        self.in_hand: dict[tuple[str, int, int], Deliver] = {}
        self.in_hand_max = 0
        self.held_max = 0
        self.handlers: dict[tuple[str, str], HandleBegin] = {}
        self.handlers_max = 0
        self.not_before: dict[tuple[str, int, int], tuple[int, int]] = {}
        self.said: dict[tuple[str, str], tuple[int, int, int]] = {}
        self.hints: dict[str, int] = {}
        self.called = 0
        self.unanswered = 0
        self.asked = 0
        self.acks = 0
        self.runs = 0
        self.in_place = 0
        self.in_place_over = 0
        self.health: dict[str, Health] = {}
        self.failing_spells = 0
        self.outlived = 0
        self.calls_down: tuple[str, ...] = ()
        self.overdue: tuple[Overdue, ...] = ()
        self.early: tuple[Early, ...] = ()
        self.stale: tuple[Settle, ...] = ()
        self.pauses: list[tuple[int, int | None]] = []
        self.term_us: int | None = None
        self.end_us: int | None = None
        self.end = ""
        self.left_open: tuple[Deliver, ...] = ()
        self.started_again: tuple[Deliver, ...] = ()
        self.drained: tuple[int, int, int] | None = None

    def awake_us(self, from_us: int, until_us: int) -> int:
        """How long it ran between two instants: upper bounds leave pauses out."""
        asleep_us = 0
        for paused_us, resumed_us in self.pauses:
            end_us = until_us if resumed_us is None else min(resumed_us, until_us)
            asleep_us += max(end_us - max(paused_us, from_us), 0)
        return until_us - from_us - asleep_us


class Track:
    """Positions of one partition in one group.

    Attributes:
        acked: acknowledged offsets at or above `passed`, with the settlement.
        passed: the group's committed position. told: the highest position a process told.
        gaps: offsets that a committed position passed and nobody has acknowledged.
        ahead: positions told while an offset below them was not acknowledged: (process, position,
            the offset).
        epoch: highest one of an accepted commit.
        superseded: accepted commits of a lower epoch than one before: (epoch, higher epoch).
    """

    __slots__ = (
        "acked",
        "ahead",
        "epoch",
        "gaps",
        "group",
        "partition",
        "passed",
        "superseded",
        "told",
        "topic",
    )

    def __init__(self, group: str, topic: str, partition: int) -> None:
        self.group = group
        self.topic = topic
        self.partition = partition
        self.acked: dict[int, Settle] = {}
        self.passed = 0
        self.told = 0
        self.gaps: dict[int, None] = {}
        self.ahead: tuple[tuple[str, int, int], ...] = ()
        self.epoch = 0
        self.superseded: tuple[tuple[int, int], ...] = ()

    def ack_late(self, offset: int) -> None:
        """A record below the committed position was acknowledged."""
        self.gaps.pop(offset, None)

    def tell(self, process: str, position: int) -> None:
        """A process is about to commit `position`: all below must be acknowledged by now."""
        start = max(self.passed, self.told)
        acked = self.acked
        for offset in range(start, position):
            if offset not in acked:
                self.ahead += ((process, position, offset),)
                break
        if position > start:
            self.told = position

    def commit(self, position: int, epoch: int) -> None:
        """The bus accepted `position`."""
        if epoch < self.epoch:
            self.superseded += ((epoch, self.epoch),)
        else:
            self.epoch = epoch
        acked = self.acked
        for offset in range(self.passed, position):
            if acked.pop(offset, None) is None:
                self.gaps[offset] = None
        self.passed = max(self.passed, position)


class Tracks(dict[tuple[str, str, int], Track]):
    """All tracks of a run, by (group, topic, partition); a missing one is made."""

    def __missing__(self, key: tuple[str, str, int]) -> Track:
        track = self[key] = Track(*key)
        return track
