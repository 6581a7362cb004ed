"""One life of a process: its work, counted, and the deliveries that it had in hand.

Everything in here is about the order within one process, never about the order of two processes.
Not here: the folds that fill a life (`call_folds`, `delivery_folds`), the positions of a process
(`partition_track`), and the promises.
"""

from collections import deque
from enum import Enum
from typing import Final, NamedTuple

from lab.checks.dependency_health import Health
from lab.checks.retry_budget import Buckets
from lab.history.calls import CallEndEntry, DeliverEntry, DrainedEntry, SettleEntry
from lab.history.entries import Entry

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


class Due(NamedTuple):
    """The attempt after `attempt` may start at `at_us`, and no earlier."""

    attempt: int
    at_us: int


class Late(NamedTuple):
    """A delivery that came back at `t_us`, when it had been due since `due_us`, behind others."""

    subject: str
    group: str
    due_us: int
    t_us: int


MARK_EVERY: Final = 64
"""So many settlements lie between two marks of a life."""

MARKS: Final = 256

LETTERS: Final = 1_024


class Announced(NamedTuple):
    """At `t_us` a process announced that it tries again, `delay_us` after `attempt`."""

    attempt: int
    t_us: int
    delay_us: int


class ProcessLife:
    """One life of one process, such as `payment-1#2`.

    Attributes:
        delivered: deliveries. in_hand: those that are not settled, under the present assignment, by
            place (topic, partition, offset), as written. A drain settles others too, which it only
            moved.
        held_max: most records that it had fetched and not settled, by its own count.
        given: how many deliveries of an order it has in hand, at least; those of an assignment that
            it lost may be counted for ever. running: epoch of the handler that runs, by (group,
            order).
        handlers: running, by (group, event id), as written. runs: handlers started. runs_failed:
            those that did not end well.
        committing: since when it waits for the answer to a commit, by (order, group, event id).
        called: calls to third parties that have ended. unanswered: those that got no answer.
            asked: those that asked the payment gateway for the state of a charge.
        not_before: when deliveries that were settled with a retry are due, by place.
            announced: retries that are announced and not settled yet, by (group, event id).
            hints: until when a third party asked the process to stay away, by order.
            away: the same of a run that ended so, by event. heedless: orders that it came back with
            all the same, and how much too early.
            hint_max_us: for how long one did so at most.
        epoch: of the latest assignment, at owned_us. assigned: how many it was given.
        lost_epoch: of the latest one that was taken from it.
        acks: settlements that ended well. in_place: retries in place, throttled ones left out.
        in_place_over: how many retries in place the budget did not cover. too_soon: how many events
            went to a retry topic although it did.
        last_calls: begin of the run and action of the last call to the payment gateway, by order;
            a conflict ends it.
        budget: see `Buckets`. failed: calls that have failed in the present run, by order: of whom,
            and how.
        health: of its dependencies. failing_spells: how often one was found to be down.
        wrong_turns: dependencies whose breaker turned without a reason, and how.
        calls_down: orders of the calls to a dependency that was known to be down.
        cut: handlers that were cancelled, the order of each and when.
        longer: calls that were given more time than their handlers had: order, call, by how much.
        overdue: see `Overdue`. early, late: see there.
        ended: records that it acknowledged and had read. retries: those out of retry topics.
        marks: see `outrun_since`.
        idle: see `note_idle`. paused_until_us: until when its subscription pauses at most.
        letters: its last dead letters: when, and how many handlers had ended well by then.
            limited: the same of its pauses because there were too many.
        stale: settlements of a superseded epoch that were not dropped.
        term_us, end_us: when it was ordered to stop, when it was gone; None if not.
            end: `kill`, `stopped` or `aborted`.
        pauses: when it stood still, from and (None: it still does) until.
        left_open: deliveries that it had neither settled nor given back when it ended by itself.
        started_again: records that it had acknowledged and that another life started under a later
            epoch, with the epoch of its own acknowledgement.
        stalls: when the process had no processor, from and until: it could end nothing then.
        drained: its own report of a drain.
    """

    __slots__ = (
        "acks",
        "announced",
        "asked",
        "assigned",
        "away",
        "budget",
        "called",
        "calls_down",
        "committing",
        "cut",
        "delivered",
        "drained",
        "early",
        "end",
        "end_us",
        "ended",
        "epoch",
        "failed",
        "failing_spells",
        "given",
        "handlers",
        "handlers_max",
        "health",
        "heedless",
        "held_max",
        "hint_max_us",
        "hints",
        "idle",
        "in_hand",
        "in_hand_max",
        "in_place",
        "in_place_over",
        "last_calls",
        "late",
        "left_open",
        "letters",
        "limited",
        "longer",
        "lost_epoch",
        "marks",
        "name",
        "not_before",
        "overdue",
        "owned_us",
        "paused_until_us",
        "pauses",
        "retries",
        "running",
        "runs",
        "runs_failed",
        "stale",
        "stalls",
        "started_again",
        "term_us",
        "too_soon",
        "unanswered",
        "wrong_turns",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = self.lost_epoch = 0
        self.owned_us = 0
        self.assigned = 0
        self.delivered = 0
        self.in_hand: dict[tuple[str, int, int], Entry] = {}
        self.in_hand_max = 0
        self.given: dict[str, int] = {}
        self.running: dict[tuple[str, str], int] = {}
        self.held_max = 0
        self.handlers: dict[tuple[str, str], Entry] = {}
        self.handlers_max = 0
        self.committing: dict[tuple[str, str, str], int] = {}
        self.not_before: dict[tuple[str, int, int], Due] = {}
        self.announced: dict[tuple[str, str], Announced] = {}
        self.hints: dict[str, int] = {}
        self.hint_max_us = 0
        self.away: dict[str, int] = {}
        self.heedless: tuple[tuple[str, int], ...] = ()
        self.called = self.unanswered = self.asked = 0
        self.acks = self.runs = self.runs_failed = 0
        self.in_place = self.in_place_over = self.too_soon = 0
        self.last_calls: dict[str, tuple[int, str]] = {}
        self.budget: Buckets | None = None
        self.failed: dict[str, tuple[tuple[str, str], ...]] = {}
        self.health: dict[str, Health] = {}
        self.failing_spells = 0
        self.calls_down: tuple[str, ...] = ()
        self.wrong_turns: tuple[str, ...] = ()
        self.cut: tuple[tuple[str, int], ...] = ()
        self.longer: tuple[tuple[str, str, int], ...] = ()
        self.overdue: tuple[Overdue, ...] = ()
        self.early: tuple[Early, ...] = ()
        self.late: tuple[Late, ...] = ()
        self.ended = self.retries = 0
        self.marks: deque[tuple[int, int]] = deque(maxlen=MARKS)
        self.idle: deque[int] = deque(maxlen=MARKS)
        self.paused_until_us = 0
        self.letters: deque[tuple[int, int]] = deque(maxlen=LETTERS)
        self.limited: deque[tuple[int, int]] = deque(maxlen=LETTERS)
        self.stale: tuple[SettleEntry, ...] = ()
        self.pauses: list[tuple[int, int | None]] = []
        self.term_us: int | None = None
        self.end_us: int | None = None
        self.end = ""
        self.left_open: tuple[DeliverEntry, ...] = ()
        self.started_again: dict[Place, tuple[DeliverEntry, int]] = {}
        self.stalls: tuple[tuple[int, int], ...] = ()
        self.drained: DrainedEntry | None = None

    def forget(self) -> None:
        """It has ended and holds nothing any more."""
        self.committing.clear()
        self.in_hand.clear()
        self.given.clear()
        self.running.clear()
        self.handlers.clear()
        self.not_before.clear()
        self.announced.clear()
        self.hints.clear()
        self.away.clear()
        self.failed.clear()
        self.last_calls.clear()

    def failed_of(self, subject: str, error: str) -> set[str]:
        """Those whose calls have failed in this way in the present run of a handler, for an order.

        A handler that ended at its own deadline has failed in another way than its calls. The
        shop's own customers are asked for no order in particular: they may always be meant.
        """
        calls = (*self.failed.get(subject, ()), *self.failed.get("", ()))
        return {provider for provider, result in calls if result == error}

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

    def hinted(self, ended: CallEndEntry) -> int:
        """A third party has asked to be left alone; until when, 0 if it was not throttled."""
        self.hint_max_us = max(ended.hint_us, self.hint_max_us)
        if ended.result != "Throttled":
            return 0
        until_us = ended.t_us + ended.hint_us
        self.hints[ended.subject] = min(until_us, self.hints.get(ended.subject, until_us))
        return until_us

    def failed_since(self, since_us: int) -> int:
        """How often it died or stood still, not having done so before."""
        is_dead = self.end not in {"", "stopped"} and (self.end_us or 0) >= since_us
        return is_dead + sum(until is None or until >= since_us for _, until in self.pauses)

    def fine(self) -> int:
        """How many of its handlers have ended well."""
        return self.runs - self.runs_failed - len(self.handlers)

    def mark(self, t_us: int) -> None:
        """It is time for a mark: by how many the records of main topics are ahead of retries."""
        self.marks.append((t_us, self.ended - 2 * self.retries))

    def outrun_since(self, by: int) -> int:
        """Since when, at least, `by` more records of main topics than of retries came to their end.

        Under the present assignment; -1 if there were not so many.
        """
        ahead = self.ended - 2 * self.retries
        return next((t_us for t_us, then in reversed(self.marks) if ahead - then >= by), -1)

    def note_again(self, acked: SettleEntry, started: DeliverEntry, reported: int) -> None:
        """A later member started a record that this one had acknowledged.

        It could not help that if it had reported a position past the record, in vain, or if it
        stood still in between and could report none. `reported` is its highest one.
        """
        # Started before it was settled: another one had it while this one stood still.
        since_us, until_us = sorted((acked.t_us, started.t_us))
        could_report = not self.paused_us(since_us, until_us)
        if self.end != "kill" and acked.offset >= reported and could_report:
            place = (started.group, started.topic, started.partition, started.offset)
            self.started_again.setdefault(place, (started, acked.epoch))

    def heed(self, subject: str, event_id: str, now_us: int) -> None:
        """A handler begins for an event: the process was perhaps asked to stay away for longer."""
        early_us = self.away.pop(event_id, 0) - now_us
        if early_us > 0:
            self.heedless += ((subject, early_us),)

    def note_idle(self, t_us: int, late_us: int) -> None:
        """A retry had its turn in time: note it if the process has nothing but early retries.

        Nothing else is in its hand, or waits there for its next attempt, and it has had its
        partitions for some time: no record of a main topic may stand there and be due for as long.
        """
        if len(self.in_hand) > 1 or t_us - max(self.owned_us, self.paused_until_us) <= late_us:
            return
        if all("." in topic for topic, _, _ in self.not_before):
            self.idle.append(t_us)

    def stood_still_us(self, since_us: int, until_us: int) -> int:
        """For how long of that time the process was stopped, or had no processor."""
        return self.paused_us(since_us, until_us) + sum(
            max(min(until_us, end_us) - max(since_us, begin_us), 0)
            for begin_us, end_us in self.stalls
        )


class Lives(dict[str, ProcessLife]):
    """All lives of a run by name, in the order of their first entry; a missing one is made."""

    def __missing__(self, name: str) -> ProcessLife:
        life = self[name] = ProcessLife(name)
        return life


def group_of(process: str) -> str:
    """The consumer group of a process life: `payment` of `payment-1#2`."""
    return process.partition("#")[0].rpartition("-")[0] or process.partition("#")[0]
