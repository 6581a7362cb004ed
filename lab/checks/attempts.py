"""The attempts at an order's events, told by the runs of their handlers.

An attempt is a run of the handler that failed and counts. Attempt, delay and retry topic are worked
out from those runs and from the declared policy, never from the number, the delay or the topic that
a process names. Not here: the promise (`promises/retries`), and the attempts that many events make
together (`retry_budget`, `jitter`).
"""

from collections.abc import Iterator
from typing import Final

from lab.checks.contract import Contract
from lab.checks.order_case import Case, Owed, owed_of
from lab.checks.tables import NO_ATTEMPT, THROTTLED, UNCLASSIFIED_MAX
from lab.history.calls import HandleEndEntry, RetryingEntry
from lab.history.facts import LetterEntry

_UNPARKED: Final = "unparked"

Attempt = tuple[str, str, int, int]
"""(group, event id, redrives, attempt)."""


class Attempts:
    """The failed runs of one case, by attempt."""

    def __init__(self, case: Case, contract: Contract) -> None:
        self._case = case
        self._contract = contract
        self._failed: dict[Attempt, list[HandleEndEntry]] = {}
        for run in case.failures:
            if run.result not in NO_ATTEMPT:
                attempt = (run.group, run.event_id, run.redrives, run.attempt)
                self._failed.setdefault(attempt, []).append(run)

    def wrong_start(self) -> str:
        """A later attempt follows a failed run of the one before, and not before its delay."""
        for run in self._case.started_again:
            if run.attempt == 1:
                continue
            before = (run.group, run.event_id, run.redrives, run.attempt - 1)
            failed = self._failed.get(before)
            if failed is None:
                return f"{run.group} made attempt {run.attempt}, and attempt {run.attempt - 1} " + (
                    "never failed after its redrive" if run.redrives else "never failed"
                )
            due_us = min(each.t_us for each in failed) + self._least_us(before)
            early_us = due_us - run.t_us
            if early_us > self._contract.skew_us:
                return f"{run.group} made attempt {run.attempt} {early_us / 1e6:.3f}s too early"
        return ""

    def wrong_redrives(self) -> str:
        """A run that was sent back so often has as many records in which somebody did so."""
        case = self._case
        for run in case.started_again:
            if run.redrives:
                sent_back = sum(
                    record.event_id == run.event_id and record.topic.endswith(f".{run.group}.retry")
                    for record in case.parked
                )
                if sent_back < run.redrives:
                    kind = f"{run.event_type} in {run.group}"
                    return f"{kind} ran as sent back {run.redrives} times, and was {sent_back}"
        return ""

    def repeated(self) -> Iterator[tuple[HandleEndEntry, ...]]:
        """Of each process the failed runs of one attempt, if it made more than one.

        Each failed run is an attempt, whatever becomes of the event behind it: the next run of that
        process is the next attempt, unless it is given the record anew. Left out are those that
        were to be the last one.
        """
        for (group, event_id, _, attempt), runs in self._failed.items():
            if len(runs) < 2 or attempt >= self._contract.attempts_max:
                continue
            tried = [
                each.process
                for each in self._case.retrying
                if (each.group, each.event_id, each.attempt) == (group, event_id, attempt)
                and each.where != THROTTLED
            ]
            for process in dict.fromkeys(tried):
                its = tuple(run for run in runs if run.process == process)
                if len(its) > 1:
                    yield its

    def wrong_send(self) -> str:
        """A later attempt asks what became of its charge or refund: that is not sent again.

        So does an attempt at an event that an operator has sent back.
        """
        sends = self._case.sent
        for sent in sends if len(sends) > 1 else ():
            run = sent.run
            if run is None or (run.attempt <= self._contract.query_after and not run.redrives):
                continue
            if any(before.key == sent.key and before.t_us < run.t_us for before in sends):
                again = f"a {sent.action} was sent again under its key in attempt {run.attempt}"
                return f"{again}, instead of being asked about"
        return ""

    def wrong_retry(self, retrying: RetryingEntry) -> str:
        """A retry is announced for a failed run of that process, at the place of its attempt."""
        attempt, where = retrying.attempt, retrying.where
        if where == THROTTLED:
            return ""
        owed = owed_of(retrying)
        if not any(
            run.process == retrying.process
            for (group, event_id, _, number), runs in self._failed.items()
            if (group, event_id) == owed and number == attempt
            for run in runs
        ):
            return f"attempt {attempt} was counted in {retrying.group}, and no handler failed"
        if retrying.error_class == "Unclassified" and attempt >= UNCLASSIFIED_MAX:
            return f"tried again after attempt {attempt} at what nobody can classify"
        if where == "in_place" and attempt >= self._contract.in_place:
            return f"tried again in place after attempt {attempt}"
        wanted = f"tier.{self._tier(attempt)}"
        if where.startswith("tier.") and where != wanted:
            return f"moved to {where} instead of {wanted} after attempt {attempt}"
        return ""

    def wrong_end(self, letter: LetterEntry) -> str:
        """An event whose attempts are used up has failed in the last of them.

        One that was throttled for too long is given up whatever its attempt.
        """
        if letter.reason != "exhausted":
            return ""
        last = (letter.group, letter.event_id, letter.redrives, letter.attempts)
        results = {run.result for run in self._failed.get(last, ())}
        most = self._contract.attempts_max
        if "Unclassified" in results:
            most = min(most, UNCLASSIFIED_MAX)
        if (results and letter.attempts >= most) or self._was_throttled(letter):
            return ""
        kind = self._case.event_type(letter.event_id) or letter.event_id
        return f"{letter.group} gave {kind} up after attempt {letter.attempts} of {most}"

    def _was_throttled(self, letter: LetterEntry) -> bool:
        """Whether it had been throttled for as long as is declared, or would have been."""
        waits = self._case.throttled_us(owed_of(letter))
        contract, asked_away_us = self._contract, self._case.asked_away_us
        if not waits and not asked_away_us:
            return False
        waited_us = max(letter.t_us, asked_away_us) - (waits[0] if waits else letter.t_us)
        return waited_us >= contract.max_elapsed_us - contract.slack_us

    def _least_us(self, failed: Attempt) -> int:
        """So long after a failed attempt, at least, the next one is due.

        The first attempts are repeated in place, with full jitter: at once, perhaps. One that could
        not be parked waits in its process, and only for as long as that keeps the partition: the
        wait is judged where it is asked for, by the settlement.
        """
        group, event_id, _, attempt = failed
        contract = self._contract
        if attempt < contract.in_place:
            return 0
        owed: Owed = (group, event_id)
        is_unparked = any(
            each.where == _UNPARKED and each.attempt == attempt and owed_of(each) == owed
            for each in self._case.retrying
        )
        return 0 if is_unparked else contract.tiers_us[self._tier(attempt) - 1]

    def _tier(self, attempt: int) -> int:
        """The retry topic after a failed attempt: the budget may send an early one to the first."""
        beyond = attempt - self._contract.in_place + 1
        return min(max(beyond, 1), len(self._contract.tiers_us))
