"""Promises about the end: after heal, everything that was accepted comes to its end.

Judged only when the run has ended. Not here: how long it took (`lab.checks.run_numbers`).
"""

from collections.abc import Sequence

from lab.checks.check import Check, Kind, Seen, times
from lab.checks.contract import Contract
from lab.checks.order_case import Case, Owed
from lab.checks.partition_track import Track
from lab.checks.promises.events import has_outcome
from lab.checks.tables import DRAINED, GIVEN_UP_LAWFULLY, MOVED_BY, NO_ATTEMPT, TERMINAL


class Converges(Check):
    """Every order is terminal or parked, and every event owed is done, dead, or behind a dead head.

    Parked: the event that the order waits with was given up lawfully, that is for poison, a
    permanent error or the limit of starts, or with the declared number of attempts used up. An
    order that is terminal with an open intent needs such a one too, and an expired order needs an
    outcome for each of its events. While a charge is open, its order is PAYMENT_UNKNOWN: in
    VALIDATED nobody would look for the money.
    """

    name = "converges"
    sentence = "after heal every accepted order comes to its end, or is parked for a reason"
    kind = Kind.LIVENESS

    def judge(self, case: Case) -> None:
        if not case.rows or not case.is_whole:
            return
        self.checked += 1
        if case.is_finished:
            return
        wrong = self._unfinished(case) or self._unsettled(case)
        if wrong:
            self.breaks(case, wrong)

    def conclude(self, seen: Seen) -> None:
        if not seen.has_ended:
            self.checked = 0

    def _unfinished(self, case: Case) -> str:
        state = case.state
        if state not in TERMINAL:
            group, kind = MOVED_BY[state]
            if state == "REFUND_FAILED" and any(e[5] == "refund_declined" for e in case.ledger):
                return ""
            if not self._is_parked(case, group, kind):
                return f"it is {state} at the end"
            if state == "VALIDATED" and case.has_open_intent("charge"):
                # Its dead letter is to say so in the order itself, in one transaction.
                return "it is VALIDATED with an open intent at the end, and nobody is told to look"
        elif case.has_open_intent() and not self._is_parked(case, "payment", "OrderValidated"):
            return f"it is {state} with an open intent at the end"
        return ""

    def _unsettled(self, case: Case) -> str:
        behind = set() if case.state == "EXPIRED" else case.behind_dead_head()
        for owed in case.owed:
            if not has_outcome(case, owed) and owed not in behind:
                return f"{owed[0]} has no outcome for {case.event_type(owed[1])} at the end"
        return ""

    def _is_parked(self, case: Case, group: str, kind: str) -> bool:
        return any(
            row[7] == kind and self._is_given_up_lawfully(case, (group, row[6]))
            for row in case.rows
        )

    def _is_given_up_lawfully(self, case: Case, owed: Owed) -> bool:
        if owed not in case.dead:
            return False
        letters = [entry for entry in case.buried if (entry[4], entry[5]) == owed]
        # Who died said nothing of its first attempt: nothing is given up without one.
        attempts = max(
            [1]
            + [entry[7] for entry in letters]
            + [entry[7] for entry in case.started_again if (entry[4], entry[5]) == owed]
            + [record[10] for record in case.parked if record[7] == owed[1]]
        )
        if attempts >= self.contract.attempts_max or self._was_throttled_too_long(case, owed):
            return True
        if letters:
            return any(entry[6] in GIVEN_UP_LAWFULLY for entry in letters)
        # Its process died before it could say why: believed, unless a failure that was to be tried
        # again is the last that is known of it.
        failed = [entry for entry in case.failures if (entry[4], entry[5]) == owed]
        if not failed:
            return True
        last = max(failed, key=lambda entry: entry[1])
        return last[8] in ("Permanent", "TooLarge", "Poison", *NO_ATTEMPT)

    def _was_throttled_too_long(self, case: Case, owed: Owed) -> bool:
        """Whether all its runs from some instant on were throttled, for as long as is declared."""
        since_us = last_us = 0
        for entry in sorted(case.failures, key=lambda entry: entry[1]):
            if (entry[4], entry[5]) == owed:
                last_us = entry[1]
                if entry[8] != "Throttled":
                    since_us = 0
                elif not since_us:
                    since_us = last_us
        waited_us = last_us - since_us + self.contract.slack_us
        return since_us > 0 and waited_us >= self.contract.max_elapsed_us


class Drains(Check):
    """Nothing is owed: no outbox row, no uncommitted record, no row of a key in retry."""

    name = "drains"
    sentence = "after heal, outbox, topics and keys in retry run empty"
    kind = Kind.LIVENESS

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._first: dict[str, Case] = {}

    def judge(self, case: Case) -> None:
        """Nothing is judged here: it is found out whose work is left."""
        if case.is_finished or not case.is_whole:
            return
        if any(row[6] not in case.published for row in case.rows):
            self._first.setdefault("outbox", case)
        if any(case.queues().values()):
            self._first.setdefault("waiting", case)
        if any(not has_outcome(case, owed) and owed[1] in case.published for owed in case.owed):
            self._first.setdefault("lag", case)

    def conclude(self, seen: Seen) -> None:
        if not seen.has_ended:
            return
        for what in DRAINED:
            for entry in seen.facts.left.get(what, ()):
                self.checked += 1
                if entry[5]:
                    left = f"{times(entry[5], f'entry of {what}', f'entries of {what}')} left"
                    case = self._first.get(what)
                    if case is not None:
                        self.breaks(case, left)
                    else:
                        self.broken(left + (_uncommitted(seen.tracks) if what == "lag" else ""))


def _uncommitted(tracks: Sequence[Track]) -> str:
    """Who has acknowledged something and committed no position past it; "" if nobody has."""
    for track in tracks:
        for offset, settle in track.acked.items():
            where = f"{track.topic}/{track.partition}"
            return f": {settle[2]} settled {where} offset {offset} and did not commit it"
    return ""
