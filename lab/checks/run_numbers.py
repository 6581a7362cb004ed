"""A run in numbers: deeds of the patterns, fired faults, states of the orders, times.

Nothing here breaks a promise. Memory is bounded: counters, one histogram, and the names of orders
that a fault hit. Not here: the layout of the numbers on a page (`lab.report`).
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from lab.checks.fact_folds import Fold
from lab.checks.order_case import Case
from lab.checks.process_life import ProcessLife, group_of
from lab.checks.tables import LIMITER, SHED, TERMINAL, WRITER, is_refusal
from lab.history.calls import (
    ActedEntry,
    BreakerEntry,
    BuriedEntry,
    DrainedEntry,
    PausedEntry,
    RedrivenEntry,
    RetryingEntry,
)
from lab.history.facts import FaultEndEntry, FaultEntry, LifeEntry

DEEDS: Final[Mapping[str, Mapping[str, str]]] = {
    "load_shedding": {"shed": "requests refused because too many were in hand"},
    "outbox": {
        "kept_over_crash": "events whose writer was killed between its commit and their publish",
        "recovered": "events that a new relay found waiting",
        "repeated": "events published again, because nobody knew whether they had been",
    },
    "inbox": {"suppressed": "deliveries of events that were done already"},
    "dedupe": {
        "suppressed": "deliveries of events that were done already",
        "held": "deliveries of an event that somebody else had in hand",
        "taken_over": "claims of a dead owner, after their lease",
        "bypassed": "deliveries left to the inbox, because the dedupe store did not answer",
        "refused": "deliveries that waited, because the dedupe store did not answer",
    },
    "retry": {
        "retried": "attempts that failed and got another one",
        "recovered": "events that were done at a later attempt",
    },
    "key_lanes": {"held": "events that waited for an earlier one of their order"},
    "timeout": {
        "unanswered": "calls that were given up at their deadline",
        "handler": "runs of a handler that were ended at their deadline",
    },
    "breaker": {"opened": "times that calls to a dependency were stopped"},
    "dead_letter": {
        "dead_lettered": "events that a group gave up",
        "repeated": "dead letters published again, because nobody knew whether they had been",
    },
    "redrive": {
        "redriven": "dead letters sent back to their group",
        "discarded": "dead letters given up, so that what waited behind them went on",
        "revived": "events that were done after they had been dead",
    },
    "poison_guard": {
        "solo": "runs alone in their process, after one that nobody explained",
        "buried": "events given up because their runs kept ending unexplained",
    },
    "provider_key": {
        "sent_again": "charges and refunds sent again under the key of their intent",
        "asked": "questions to the payment gateway what it knows of an order",
    },
    "http_idempotency": {
        "replayed": "requests that got the answer of an earlier one",
        "running": "requests refused while an earlier one was under way",
        "other_body": "requests refused because their key was used for another body",
    },
    "drain": {
        "drained": "deliveries that a stopping process brought to their end",
        "cancelled": "deliveries that it cancelled",
        "abandoned": "deliveries that it left behind",
    },
    "compensation": {"refund_requested": "captures that came too late, to be given back"},
    "commit_prefix": {},
    "fencing": {},
}
"""The counted deeds of each pattern, with their meaning. The last two have none: they show in the
promises `commit-prefix` and `fenced` only."""


APART_US: Final = 5_000
"""By so much the clocks of a process and of a store may be apart; nothing is judged by it."""


class Histogram:
    """Lengths of time with a bounded memory.

    Values below 256 us are exact; larger ones share buckets that are at most 1/128 of the value
    wide, so a percentile is at most 0.8 % below the true one. The largest value is exact.
    """

    BITS: Final = 8

    def __init__(self) -> None:
        self.count = 0
        self.largest_us = 0
        self._buckets: dict[int, int] = {}

    def add(self, us: int) -> None:
        """Count one length."""
        shift = us.bit_length() - self.BITS
        bucket = us >> shift << shift if shift > 0 else us
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        if us > self.largest_us:  # noqa: PLR1730 - once an order
            self.largest_us = us

    def percentile(self, percent: float) -> int:
        """The length that `percent` of all do not exceed, in microseconds; 0 if there is none."""
        left = percent / 100 * self.count
        for us in sorted(self._buckets):
            left -= self._buckets[us]
            if left <= 0:
                return us
        return self.largest_us


class Firings:
    """Firings of one kind of fault. `orders` are those that it hit, in the order of the hits."""

    def __init__(self) -> None:
        self.fired = 0
        self.orders: dict[str, None] = {}


class Acted:
    """The numbers of one run.

    Attributes:
        acted: how often each pattern did something, by pattern and deed (`DEEDS`).
        faults: firings by kind, and by `kind@site`.
        by_state: orders by their last state.
        moves: transitions of orders, as `EXPIRED->REFUND_PENDING`.
        refused: requests that were refused.
        shed: answers that nothing was stored because there was too much to do.
        in_hand: the most records that one process had fetched and not settled.
        to_terminal: from the first request until the last transition of an order.
        calm_us: when the last fault fired, or the last that lasted was over; None before any.
        recovered_us: when the last order that it could have hit came to its end, 0 if all had.
        tiers: how often an event moved to a retry topic, by its number from 1.
        limited: how often the limiter of a dead-letter queue paused a subscription.
        done_again: deliveries of events that were done already, and were done once more.
        deliveries, attempts, calls: records handed to a chain, runs of a handler, answered calls to
            third parties; known at the end.
    """

    def __init__(self) -> None:
        self.acted: dict[str, Counter[str]] = {}
        self.faults: dict[str, Firings] = {}
        self.by_state: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()
        self.refused = 0
        self.shed = 0
        self.in_hand = 0
        self.to_terminal = Histogram()
        self.calm_us: int | None = None
        self.recovered_us = 0
        self.tiers: Counter[int] = Counter()
        self.limited = 0
        self.done_again = 0
        self.deliveries = 0
        self.attempts = 0
        self.calls = 0
        self._kills: dict[str, list[int]] = {}
        self._paths: dict[tuple[str, ...], int] = {}

    @property
    def orders(self) -> int:
        """Orders that have a row: those that were accepted."""
        return self.by_state.total()

    @property
    def recovery_us(self) -> int:
        """From the last fault until the last order that was under way has come to its end."""
        return max(self.recovered_us - (self.calm_us or 0), 0)

    def folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as their type."""
        return {
            "buried": self._buried,
            "breaker": self._breaker,
            "drained": self._drained,
            "fault": self._fault,
            "life": self._life_event,
            "paused": self._paused,
            "fault_end": self._fault_end,
            "redriven": self._redriven,
            "retrying": self._retrying,
        }

    def hot_folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as plain tuples."""
        return {"acted": self._acted}

    def conclude(self, lives: Sequence[ProcessLife]) -> None:
        """The history is complete: add up the work of the processes."""
        self.deliveries = sum(life.delivered for life in lives)
        self.attempts = sum(life.runs for life in lives)
        self.calls = sum(life.called for life in lives)
        self.in_hand = max((life.held_max for life in lives), default=0)
        for path, orders in self._paths.items():
            for before, after in pairwise(path):
                self.moves[f"{before}->{after}"] += orders
        self._did("timeout", "unanswered", sum(life.unanswered for life in lives))
        self._did("provider_key", "asked", sum(life.asked for life in lives))

    def closed(self, case: Case) -> None:
        """An order has come to its end, or the run has."""
        if case.is_revived:
            return
        self.done_again += len(case.committed_again)
        is_refused = False
        for answer in case.answers:
            self.shed += answer.problem == SHED
            is_refused = is_refused or is_refusal(answer.status, answer.problem)
        self.refused += is_refused
        if case.rows:
            self.by_state[case.state] += 1
            path = tuple([row.state for row in case.rows])
            self._paths[path] = self._paths.get(path, 0) + 1
            if case.state in TERMINAL and case.begun:
                begun_us, ended_us = case.begun[0].t_us, case.rows[-1].t_us
                self.to_terminal.add(max(ended_us - begun_us, 0))
                if self.calm_us is not None and begun_us <= self.calm_us < ended_us:
                    self.recovered_us = max(self.recovered_us, ended_us)
            if len(case.sent) > 1:
                again = len(case.sent) - len({sent.key for sent in case.sent})
                self._did("provider_key", "sent_again", again)
            if self._kills:
                self._did("outbox", "kept_over_crash", self._kept_over_crash(case))

    def happened(self, name: str) -> int:
        """How often the subject of a goal has happened.

        A goal names a fault (`bus.duplicate`, `proc.crash@api.after_commit`), a state at the end
        (`REFUNDED`), a transition (`EXPIRED->REFUND_PENDING`), a deed of a pattern
        (`retry.recovered`), or `refused`, `accepted`, `shed`, `limiter` and `in_hand`.
        """
        firings = self.faults.get(name)
        if firings is not None:
            return firings.fired
        if name in self.by_state:
            return self.by_state[name]
        if name in self.moves:
            return self.moves[name]
        special = {
            "refused": self.refused,
            "accepted": self.orders,
            "shed": self.shed,
            "in_hand": self.in_hand,
            "limiter": self.limited,
        }
        if name in special:
            return special[name]
        pattern, _, deed = name.partition(".")
        return self.acted[pattern][deed] if pattern in self.acted else 0

    def _kept_over_crash(self, case: Case) -> int:
        """Events of the order whose writer was killed between its commit and their publish.

        It did not live to see its commit, or the event stands in its topic later than the kill.
        """
        kept = 0
        for row in case.rows:
            t_us, group = row.t_us, WRITER.get(row.state, "")
            record = case.published.get(row.event_id)
            kills = self._kills.get(group, ())
            n = bisect_left(kills, t_us)
            kept += (n < len(kills) and (record is None or kills[n] < record.t_us)) or any(
                died.group == group and died.begun_us - APART_US <= t_us <= died.end_us + APART_US
                for died in case.died
            )
        return kept

    def _did(self, pattern: str, deed: str, times: int = 1) -> None:
        if not times:
            return
        deeds = self.acted.get(pattern)
        if deeds is None:
            deeds = self.acted[pattern] = Counter()
        deeds[deed] += times

    def _acted(self, entry: ActedEntry) -> None:
        _, _, _, _, pattern, deed = entry
        self._did(pattern, deed)

    def _buried(self, _entry: BuriedEntry) -> None:
        self._did("dead_letter", "dead_lettered")

    def _redriven(self, entry: RedrivenEntry) -> None:
        self._did("redrive", entry.answer)

    def _retrying(self, entry: RetryingEntry) -> None:
        where, _, tier = entry.where.partition(".")
        if where == "tier":
            self.tiers[int(tier)] += 1

    def _breaker(self, entry: BreakerEntry) -> None:
        if entry.state == "open":
            self._did("breaker", "opened")

    def _drained(self, entry: DrainedEntry) -> None:
        self._did("drain", "drained", entry.drained)
        self._did("drain", "cancelled", entry.cancelled)
        self._did("drain", "abandoned", entry.abandoned)

    def _fault(self, entry: FaultEntry) -> None:
        self._calm(entry.t_us)
        kind = entry.kind_of_fault
        for name in (kind, f"{kind}@{entry.site}"):
            firings = self.faults.get(name)
            if firings is None:
                firings = self.faults[name] = Firings()
            firings.fired += 1
            if entry.subject:
                firings.orders[entry.subject] = None

    def _life_event(self, entry: LifeEntry) -> None:
        if entry.event in ("kill", "exited"):
            insort(self._kills.setdefault(group_of(entry.process), []), entry.t_us)
        elif entry.event == "resume":
            self._calm(entry.t_us)

    def _paused(self, entry: PausedEntry) -> None:
        self.limited += entry.why == LIMITER

    def _fault_end(self, entry: FaultEndEntry) -> None:
        self._calm(entry.t_us)

    def _calm(self, t_us: int) -> None:
        """A fault was at work until now: orders that recovered before do not count."""
        self.calm_us, self.recovered_us = t_us, 0
