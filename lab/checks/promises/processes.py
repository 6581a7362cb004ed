"""Promises about processes: bounds, deadlines, leaving without a trace, giving everything back.

All of it shows in the entries of one process, in its own order. Not here: the effects of a process
on orders.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from lab.checks.check import Check, Seen, seconds, times
from lab.checks.contract import Contract
from lab.checks.fact_folds import Fold
from lab.checks.order_case import Case
from lab.checks.process_life import Ended, Overdue, ProcessLife, group_of
from lab.checks.tables import DRAINED, MOVES_PARTITIONS, UNCLASSIFIED, UNSAID
from lab.history.calls import AdmittedEntry, DeliverEntry, StartEntry
from lab.history.facts import FailedEntry, FaultEntry, LifeEntry

_PLACES: Final[Mapping[str, str]] = {
    "request": "a request",
    "delivery": "the chain around a handler",
    "subscription": "its subscription",
    "relay": "its relay",
    "timer": "its timer",
    "program": "its begin or its end",
}
"""The places at which an exception was met, in words."""

_LAST_US: Final = 1_000_000
"""Before its end: a call that is refused then is repeated once more at most."""


class Bounded(Check):
    """Deliveries in flight and handlers at work stay within the limits of a subscription.

    Nor does a member run further ahead of its first unsettled record than it may. The API lets in
    no more requests at once than it may have in hand: the others are shed.
    """

    name = "bounded"
    sentence = "a process never has more in flight, or more handlers at work, than it may"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._admitted: dict[str, int] = {}

    def folds(self) -> Mapping[str, Fold]:
        return {"admitted": self._admit}

    def _admit(self, entry: AdmittedEntry) -> None:
        before = self._admitted.get(entry.process, 0)
        self._admitted[entry.process] = max(entry.requests, before)

    def conclude(self, seen: Seen) -> None:
        for life in seen.lives:
            if not life.delivered:
                continue
            self.checked += 1
            bounds = (
                ("deliveries in flight", life.in_hand_max, self.contract.max_in_flight),
                ("records in hand", life.held_max, self.contract.max_in_flight),
                ("handlers at work", life.handlers_max, self.contract.workers),
            )
            for what, most, limit in bounds:
                if most > limit:
                    self.broken(f"{life.name} had {most} {what}; {limit} are allowed")
        limit = self.contract.max_uncommitted
        for track in seen.tracks:
            most, process = track.widest
            if most > limit:
                where = f"{most} records of {track.topic}/{track.partition} uncommitted"
                self.broken(f"{process} had {where}; {limit} are allowed")
        for process, most in self._admitted.items():
            self.checked += 1
            if most > self.contract.requests:
                limit = self.contract.requests
                self.broken(f"{process} had {most} requests in hand; {limit} are allowed")


class Deadline(Check):
    """No call to a third party and no handler outlives the longest time declared for it.

    Nor is a call given more time than its handler has left: it would end with it only by luck.
    """

    name = "deadline"
    sentence = "no call and no handler runs longer than its deadline"

    def conclude(self, seen: Seen) -> None:
        for life in seen.lives:
            self.checked += life.runs + life.called
            for subject, call, more_us in life.longer:
                ordinal = subject.partition(".")[0]
                more = f"{call} in {life.name} was given {seconds(more_us)} more than its handler"
                self.broken(f"order {ordinal}: {more}", subject)
            for overdue in life.overdue:
                if self._stood_still(life, overdue):
                    continue
                lasted = seconds(overdue.lasted_us)
                ending = f"took {lasted}" if overdue.ended is Ended.LATE else f"hung for {lasted}"
                ordinal = overdue.subject.partition(".")[0]
                self.broken(
                    f"order {ordinal}: {overdue.what} in {life.name} {ending}", overdue.subject
                )

    def _stood_still(self, life: ProcessLife, overdue: Overdue) -> bool:
        """Whether it would have been in time, had its process not stood still."""
        if not life.stalls and not life.pauses:
            return False
        is_handler = overdue.what.startswith("handler ")
        limit_us = self.contract.handler_us if is_handler else self.contract.provider_us
        until_us = overdue.since_us + overdue.lasted_us
        ran_us = overdue.lasted_us - life.stood_still_us(overdue.since_us, until_us)
        return ran_us <= limit_us + self.contract.slack_us


class GracefulShutdown(Check):
    """A process that was ordered to stop ends in time and leaves nothing half done or done twice.

    Everything it was handed is settled or given back, and nothing that it acknowledged is started
    again by another process: it committed before it left. It moved the deliveries that it had to
    cancel to the retry path, cut none off before its grace was over, and said of each how it ended:
    no later run is alone because nobody knows. Killed ones are not judged. A process that stopped
    while broker or order store were down, or while its group was cut off from the broker, could
    finish nothing and hand nothing on, so it need only end in time. So need a process whose order
    store refused its last calls: a record that can be neither noted nor moved holds back those
    settled behind it. And so need one that stood still meanwhile: its grace, and what is left of it
    to move or to cancel, are times of the clock, which went on.
    """

    name = "graceful-shutdown"
    sentence = "a process that is told to stop ends its work in time, and nobody does it again"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._alone: list[StartEntry] = []
        self._unsaid: set[str] = set()
        self._moved: dict[str, list[int]] = {}
        self._turns: dict[str, list[LifeEntry]] = {}

    def folds(self) -> Mapping[str, Fold]:
        return {"start": self._start, "fault": self._fault, "life": self._life_event}

    def _start(self, entry: StartEntry) -> None:
        self._alone.append(entry)

    def _fault(self, entry: FaultEntry) -> None:
        if entry.kind_of_fault.startswith(UNSAID):
            self._unsaid.add(entry.site.partition("-")[0])
        if entry.kind_of_fault in MOVES_PARTITIONS:
            self._moved.setdefault(entry.site.partition("-")[0], []).append(entry.t_us)

    def _life_event(self, entry: LifeEntry) -> None:
        self._turns.setdefault(group_of(entry.process), []).append(entry)

    def conclude(self, seen: Seen) -> None:
        for life in seen.lives:
            if life.term_us is None or life.end == "kill":
                continue
            if life.end_us is None and not seen.has_ended:
                continue
            self.checked += 1
            wrong, subject = self._wrong(life, seen, _redone(life))
            if wrong:
                self.broken(f"{life.name} was told to stop and {wrong}", subject)
        self._conclude_alone(seen)

    def _wrong(
        self, life: ProcessLife, seen: Seen, redone: Sequence[DeliverEntry]
    ) -> tuple[str, str]:
        assert life.term_us is not None
        if life.end_us is None:
            return "never ended", ""
        if life.end == "aborted":
            return "had to be aborted", ""
        took_us = life.end_us - life.term_us
        ran_us = took_us - life.stood_still_us(life.term_us, life.end_us)
        if ran_us > self.contract.stop_us + self.contract.slack_us:
            return f"took {seconds(took_us)}", ""
        if life.left_open:
            first = life.left_open[0]
            left = times(len(life.left_open), "delivery", "deliveries")
            return f"left {left} unsettled, {first.event_type} first", first.subject
        group = group_of(life.name)
        if seen.facts.was_out(group, life.term_us, life.end_us):
            return "", ""
        drained = life.drained
        cancelled, abandoned = (0, 0) if drained is None else (drained.cancelled, drained.abandoned)
        last_us = max(life.term_us, life.end_us - _LAST_US)
        if (cancelled or abandoned) and (
            ran_us < took_us or seen.facts.was_refused(group, last_us, life.end_us)
        ):
            return "", ""
        cut, when = self._cut_short(life, seen)
        if when:
            return f"cut a handler off after {when}", cut
        if abandoned:
            return f"abandoned {times(abandoned, 'delivery', 'deliveries')}", ""
        if redone:
            first = redone[0]
            again = times(len(redone), "record")
            what = f"{again} that it had settled were started again, {first.event_type} first"
            return what, first.subject
        return "", ""

    def _cut_short(self, life: ProcessLife, seen: Seen) -> tuple[str, str]:
        """A handler that was cancelled before the grace was over, and after how long; or "".

        Left out is a group whose partitions may be under way, because another member came, went or
        was told to, or a fault moved them: they are gone sooner than the grace is.
        """
        assert life.term_us is not None
        facts, group, contract = seen.facts, group_of(life.name), self.contract
        turns = self._turns[group]
        if facts.outages or facts.cuts or any(turn.event == "pause" for turn in turns):
            return "", ""
        since_us = min(life.owned_us, life.term_us - 2 * contract.stop_us)
        moved = [t_us for t_us in self._moved.get(group, ()) if t_us >= life.owned_us]
        moved += [
            turn.t_us for turn in turns if turn.process != life.name and turn.t_us >= since_us
        ]
        for subject, t_us in life.cut:
            is_stop = life.term_us <= t_us < life.term_us + contract.grace_us - contract.slack_us
            is_asked = facts.cancels.get(subject) or any(each <= t_us for each in moved)
            if is_stop and not is_asked:
                return subject, seconds(t_us - life.term_us)
        return "", ""

    def _conclude_alone(self, seen: Seen) -> None:
        """A handler runs alone if an earlier start has no known end: somebody died, or cut it."""
        told = {group_of(life.name) for life in seen.lives if life.term_us is not None}
        gone = {
            group_of(life.name)
            for life in seen.lives
            if life.end not in {"", "stopped"} or life.pauses or life.stalls
        }
        for alone in self._alone:
            group = group_of(alone.process)
            may_be_unsaid = group in gone or group in self._unsaid or seen.facts.outages
            if group in told and not may_be_unsaid:
                ordinal = alone.subject.partition(".")[0]
                why = "a start before had no end that anybody knows, and nobody had died"
                self.broken(f"order {ordinal}: {alone.process} ran it alone: {why}", alone.subject)


def _redone(life: ProcessLife) -> Sequence[DeliverEntry]:
    """Records that are started again because of the way a life left, in the order of their starts.

    Its acknowledgements before its last rebalance have nothing to do with that; nor have any, if
    the rebalance took all its partitions before it began to drain.
    """
    drained = life.drained
    had_work = drained is not None and (drained.drained or drained.cancelled or drained.abandoned)
    if life.epoch and life.lost_epoch == life.epoch and not had_work:
        return ()
    redone = [
        started
        for started, epoch in life.started_again.values()
        if epoch == life.epoch or not life.epoch
    ]
    return sorted(redone, key=lambda started: started.t_us)


class NoCrash(Check):
    """No process ends but by a signal, and no exception comes out where nobody expects one.

    A handler may fail by any class of error that says what to do about it. One that raises anything
    else is retried a few times, and yet its service has a bug; so have an API whose request fails
    by an exception, a timer or a relay that ends, and a reaction to a dead event that raises.
    """

    name = "no-crash"
    sentence = "no process ends by an error of its own, and no error comes out that nobody expects"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._told: dict[str, None] = {}
        self._exited: dict[str, None] = {}
        self._failed: dict[str, FailedEntry] = {}

    def folds(self) -> Mapping[str, Fold]:
        return {"life": self._life_event, "failed": self._failure}

    def _life_event(self, entry: LifeEntry) -> None:
        if entry.event == "start":
            self.checked += 1
        elif entry.event == "exited":
            self._exited[entry.process] = None
        elif entry.event in ("term", "kill"):
            self._told[entry.process] = None

    def _failure(self, entry: FailedEntry) -> None:
        self.violations += entry.process in self._failed
        self._failed.setdefault(entry.process, entry)

    def judge(self, case: Case) -> None:
        wrong = [run for run in case.failures if run.result == UNCLASSIFIED]
        if wrong:
            first = wrong[0]
            self.breaks(case, f"{first.group} raised what nobody expects at {first.event_type}")

    def conclude(self, seen: Seen) -> None:  # noqa: ARG002 - by process, whatever else there is
        for process, failed in self._failed.items():
            ended = " and ended" if process in self._exited else ""
            order = f"order {failed.subject.partition('.')[0]}: " if failed.subject else ""
            what = f"{process} met {failed.error} in {_PLACES.get(failed.where, failed.where)}"
            self.broken(f"{order}{what}{ended}", failed.subject)
        for process in self._exited:
            if process not in self._failed and process not in self._told:
                self.broken(f"{process} ended by itself, and nobody had told it to")


class NoLeak(Check):
    """At the end, after the longest lease, everything that was taken has been given back."""

    name = "no-leak"
    sentence = "leases, locks, transactions, connections, tasks and timers are given back"

    def conclude(self, seen: Seen) -> None:
        for what, leftovers in seen.facts.left.items():
            if what in DRAINED:
                continue
            self.checked += len(leftovers)
            for left in leftovers:
                if left.count:
                    whose = "" if left.process == "run" else f"{left.process}: "
                    self.broken(f"{whose}{times(left.count, what)} left at the end", left.subject)
