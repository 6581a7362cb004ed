"""Promises about the end: after heal, everything that was accepted comes to its end.

They are judged only when the run has ended. Not here: the time until then
(`lab.checks.run_numbers`).
"""

from collections.abc import Sequence

from lab.checks.check import Check, Kind, Seen, times
from lab.checks.contract import Contract
from lab.checks.order_case import Case, Owed, owed_of
from lab.checks.partition_track import Track
from lab.checks.promises.events import has_outcome
from lab.checks.tables import DRAINED, GIVEN_UP_LAWFULLY, MOVED_BY, NO_ATTEMPT, TERMINAL


class Converges(Check):
    """Every order is terminal or parked, and every event owed is done, dead, or behind a dead head.

    Parked: the event that the order waits with was given up lawfully, that is for poison, a
    permanent error or the limit of starts, or with the declared number of attempts used up. An
    order that is terminal with an open intent needs such a one too, and an expired order needs an
    outcome for each of its events. While a charge is open, its order is PAYMENT_UNKNOWN: in
    VALIDATED no operator would look for the money.
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
            if state == "REFUND_FAILED" and any(
                line.action == "refund_declined" for line in case.ledger
            ):
                told = "it is REFUND_FAILED at the end, by a refusal after the refund was made"
                return told if _is_refused_after_all(case) else ""
            if not self._is_parked(case, group, kind):
                return f"it is {state} at the end"
            if state == "VALIDATED" and case.has_open_intent("charge"):
                # Its dead letter is to say so in the order itself, in one transaction.
                return "it is VALIDATED with an open intent at the end, and nobody is told to look"
        elif case.has_open_intent() and not self._is_parked(case, "payment", "OrderValidated"):
            return f"it is {state} with an open intent at the end"
        return ""

    def _unsettled(self, case: Case) -> str:
        behind = case.behind_dead_head()
        for group, event_id in case.owed:
            if not has_outcome(case, (group, event_id)) and (group, event_id) not in behind:
                return f"{group} has no outcome for {case.event_type(event_id)} at the end"
        return ""

    def _is_parked(self, case: Case, group: str, kind: str) -> bool:
        return any(
            row.event_type == kind and self._is_given_up_lawfully(case, (group, row.event_id))
            for row in case.rows
        )

    def _is_given_up_lawfully(self, case: Case, owed: Owed) -> bool:
        if owed not in case.dead or owed in case.done:
            # What was sent back and is done holds nothing up any more.
            return False
        _, event_id = owed
        letters = [buried for buried in case.buried if owed_of(buried) == owed]
        # A process that died has no entry of its first attempt: no event is given up without one.
        attempts = max(
            [1]
            + [letter.attempts for letter in letters]
            + [run.attempt for run in case.started_again if owed_of(run) == owed]
            + [record.attempt for record in case.parked if record.event_id == event_id]
        )
        if attempts >= self.contract.attempts_max or was_throttled_too_long(
            case, owed, self.contract
        ):
            return True
        if letters:
            return any(letter.reason in GIVEN_UP_LAWFULLY for letter in letters)
        # Its process died before it could write the reason: believed, unless the last known run is
        # a failure that was to be tried again.
        failed = [run for run in case.failures if owed_of(run) == owed]
        if not failed:
            return True
        last = max(failed, key=lambda run: run.t_us)
        return last.result in ("Permanent", "TooLarge", "Poison", *NO_ATTEMPT)


class Drains(Check):
    """Nothing is owed: no outbox row, no uncommitted record, no row of a key in retry."""

    name = "drains"
    sentence = "after heal, outbox, topics and keys in retry run empty"
    kind = Kind.LIVENESS

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._first: dict[str, Case] = {}

    def judge(self, case: Case) -> None:
        """Nothing is judged here: the first order with owed work of each sort is noted."""
        if case.is_finished or not case.is_whole:
            return
        if any(row.event_id not in case.published for row in case.rows):
            self._first.setdefault("outbox", case)
        if any(case.queues().values()):
            self._first.setdefault("waiting", case)
        open_ids = [
            event_id for group, event_id in case.owed if not has_outcome(case, (group, event_id))
        ]
        if any(event_id in case.published for event_id in open_ids):
            self._first.setdefault("lag", case)

    def conclude(self, seen: Seen) -> None:
        if not seen.has_ended:
            return
        for what in DRAINED:
            for leftover in seen.facts.left.get(what, ()):
                self.checked += 1
                if leftover.count:
                    count = times(leftover.count, f"entry of {what}", f"entries of {what}")
                    left = f"{count} left"
                    case = self._first.get(what)
                    if case is not None:
                        self.breaks(case, left)
                    else:
                        self.broken(left + (_uncommitted(seen.tracks) if what == "lag" else ""))


def was_throttled_too_long(case: Case, owed: Owed, contract: Contract) -> bool:
    """Whether it was throttled from some instant on, and only that, for as long as is declared.

    By a third party, or because another run had its claim. Or would have been: a third party asked
    to stay away for longer.
    """
    waits = [(t_us, True) for t_us in case.throttled_us(owed)]
    runs = [
        (run.t_us, run.result == "Throttled")
        for run in case.failures
        if owed_of(run) == owed and run.result != "cancelled"
    ]
    since_us = last_us = 0
    for t_us, is_throttled in sorted(waits + runs):
        last_us = t_us
        if not is_throttled:
            since_us = 0
        elif not since_us:
            since_us = t_us
    waited_us = max(last_us, case.asked_away_us) - since_us + contract.slack_us
    return since_us > 0 and waited_us >= contract.max_elapsed_us


def _uncommitted(tracks: Sequence[Track]) -> str:
    """A process that has acknowledged a record and committed no position past it; "" if none."""
    for track in tracks:
        for settled in track.uncommitted():
            where = f"{settled.topic}/{settled.partition} offset {settled.offset}"
            return f": {settled.process} settled {where} and did not commit it"
    return ""


def _is_refused_after_all(case: Case) -> bool:
    """Whether a refund was asked for under another key once it was made: nobody asks blindly."""
    made = ""
    for line in case.ledger:
        if line.action == "refund":
            made = line.key
        elif line.action == "refund_declined" and made not in ("", line.key):
            return True
    return False
