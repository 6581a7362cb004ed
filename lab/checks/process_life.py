"""What one life of a process did, and what it had in hand.

Everything in here is about the order within one process; nothing about who was first of two.
Not here: who fills it (`call_folds`), positions (`partition_track`), what is promised.
"""

from collections import deque
from enum import Enum
from typing import NamedTuple

from lab.history.shapes import Deliver, HandleBegin, Settle

Place = tuple[str, str, int, int]
"""(group, topic, partition, offset)."""


class Ended(Enum):
    """How something that took too long came to its end."""

    LATE = "late"
    NEVER = "never"


class Overdue(NamedTuple):
    """A call or a handler that ran longer than it was allowed to, or until its process ended."""

    subject: str
    what: str
    since_us: int
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
        committing: since when it waits for the answer to a commit, by (order, group, event id).
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
        started_again: records that it had acknowledged and that another life started under a later
            epoch, with the epoch under which it had.
        stalls: when the process stood still, from and until: it could end nothing then.
        drained: (drained, cancelled, abandoned) as it reported them.
    """

    __slots__ = (
        "acks",
        "asked",
        "called",
        "calls_down",
        "committing",
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
        "overdue",
        "pauses",
        "runs",
        "said",
        "stale",
        "stalls",
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
        self.committing: dict[tuple[str, str, str], int] = {}
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
        self.calls_down: tuple[str, ...] = ()
        self.overdue: tuple[Overdue, ...] = ()
        self.early: tuple[Early, ...] = ()
        self.stale: tuple[Settle, ...] = ()
        self.pauses: list[tuple[int, int | None]] = []
        self.term_us: int | None = None
        self.end_us: int | None = None
        self.end = ""
        self.left_open: tuple[Deliver, ...] = ()
        self.started_again: dict[Place, tuple[Deliver, int]] = {}
        self.stalls: tuple[tuple[int, int], ...] = ()
        self.drained: tuple[int, int, int] | None = None

    def forget(self) -> None:
        """It has ended: what it had in hand is nobody's."""
        self.committing.clear()
        self.in_hand.clear()
        self.handlers.clear()
        self.not_before.clear()
        self.said.clear()
        self.hints.clear()

    def resume(self, t_us: int) -> None:
        """It goes on after a pause."""
        if self.pauses and self.pauses[-1][1] is None:
            self.pauses[-1] = (self.pauses[-1][0], t_us)

    def paused_us(self, since_us: int, until_us: int) -> int:
        """For how long of that time it was stopped."""
        return sum(
            max(min(until_us, until_us if end_us is None else end_us) - max(since_us, begin_us), 0)
            for begin_us, end_us in self.pauses
        )

    def note_again(self, acked: Settle, started: Deliver, told: int) -> None:
        """What it had acknowledged was started by a later member; it had told up to `told`.

        What it told the bus in vain, or could not tell while it stood still, it could not help.
        """
        if self.end != "kill" and acked[7] >= told and not self.paused_us(acked[1], started[1]):
            self.started_again.setdefault(started[4:8], (started, acked[8]))

    def stood_still_us(self, since_us: int, until_us: int) -> int:
        """For how long of that time the process was stopped, or had no processor."""
        return self.paused_us(since_us, until_us) + sum(
            max(min(until_us, end_us) - max(since_us, begin_us), 0)
            for begin_us, end_us in self.stalls
        )


def group_of(process: str) -> str:
    """The consumer group of a process life: `payment` of `payment-1#2`."""
    return process.partition("#")[0].rpartition("-")[0] or process.partition("#")[0]
