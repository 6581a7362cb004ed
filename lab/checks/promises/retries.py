"""Promises about trying again: how often, how soon, at whose cost, and not at somebody who is down.

Not here: what becomes of an event in the end (`dead_letters`, `liveness`).
"""

from lab.checks.check import Check, Seen, seconds, times
from lab.checks.contract import Contract
from lab.checks.order_case import Case, Owed
from lab.checks.tables import NEVER_RETRIED, NO_ATTEMPT


class RetryLaw(Check):
    """Attempts are counted and bounded, delays are in bounds and kept, permanent is permanent."""

    name = "retry-law"
    sentence = "an event is tried as often and as late as the retry policy says"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._many: list[tuple[Case, str, int]] = []

    def judge(self, case: Case) -> None:
        if case.failures:
            for (group, _), failures in _failures(case).items():
                if failures > self.contract.attempts_max:
                    # How often it may be depends on what happened to the group: see `conclude`.
                    self._many.append((case, group, failures))
        self.checked += len(case.retrying)
        wrong = ""
        for entry in case.retrying:
            wrong = wrong or self._wrong_delay(entry[7], entry[6], entry[8], entry[9])
        wrong = wrong or self._too_early(case) or self._too_many(case)
        if wrong:
            self.breaks(case, wrong)

    def conclude(self, seen: Seen) -> None:
        for life in seen.lives:
            for subject, early_us, is_next in life.early:
                if is_next or subject not in seen.facts.repeats:
                    ordinal, early = subject.partition(".")[0], seconds(early_us)
                    self.broken(
                        f"order {ordinal}: {life.name} tried again {early} too early", subject
                    )
        for case, group, failures in self._many:
            again = (
                seen.calls.kills.get(group, 0)
                + max(seen.calls.epochs.get(group, 0) - 1, 0)
                + seen.facts.repeats.get(case.subject, 0)
                + len(case.redriven)
            )
            if failures > self.contract.attempts_max * (1 + again):
                self.breaks(case, f"{group} made {failures} attempts at one event")

    def _wrong_delay(self, error: str, attempt: int, where: str, delay_us: int) -> str:
        contract = self.contract
        if error in NEVER_RETRIED:
            return f"tried again after {error}"
        if attempt >= contract.attempts_max and where != "throttled":
            return f"tried again after attempt {attempt} of {contract.attempts_max}"
        if where == "in_place":
            most_us = min(contract.cap_us, contract.base_us << min(attempt - 1, 40))
            if not 0 <= delay_us <= most_us:
                return f"backoff of {seconds(delay_us)} after attempt {attempt}"
        elif where == "unparked":
            if delay_us != contract.cap_us:
                return f"a delay of {seconds(delay_us)} of what could not be parked"
        elif where.startswith("tier."):
            tier = int(where.removeprefix("tier."))
            tiers = contract.tiers_us
            if not 1 <= tier <= len(tiers) or delay_us != tiers[tier - 1]:
                return f"a delay of {seconds(delay_us)} through retry topic {tier}"
        return ""

    def _too_early(self, case: Case) -> str:
        """Through retry topics; retries in place are looked at in their process (`Life.early`).

        Of several copies of a record, the one that was due first may have been tried; one that
        could not be parked is tried again in place.
        """
        if not case.started_again:
            return ""
        due: dict[tuple[str, str, int], int] = {}
        for entry in case.retrying:
            if entry[8].startswith("tier.") or entry[8] == "unparked":
                key = (entry[4], entry[5], entry[6] + 1)
                due[key] = min(entry[1] + entry[9], due.get(key, entry[1] + entry[9]))
        for again in case.again:
            key = (again.group, again.event_id, again.attempt + 1)
            if key in due:
                due[key] = min(again.t_us + again.after_us, due[key])
        for run in case.started_again:
            due_us = due.get((run[4], run[5], run[7]))
            if due_us is not None and run[1] + self.contract.skew_us < due_us:
                return f"{run[4]} made attempt {run[7]} {seconds(due_us - run[1])} too early"
        return ""

    def _too_many(self, case: Case) -> str:
        for run in case.started_again:
            if run[7] > self.contract.attempts_max:
                return f"{run[4]} made attempt {run[7]} of {self.contract.attempts_max}"
        return ""


class RetryBudget(Check):
    """Retries in place cost tokens per process and dependency, given back by successes only."""

    name = "retry-budget"
    sentence = "retries in place stay within their budget, so that they never become a flood"

    def conclude(self, seen: Seen) -> None:
        for life in seen.lives:
            self.checked += life.in_place
            if life.in_place_over:
                self.broken(
                    f"{life.name} made {times(life.in_place_over, 'retry', 'retries')} in place "
                    "that its budget did not cover",
                    times=life.in_place_over,
                )


class BreakerLaw(Check):
    """No call to a dependency that the process knows to be down.

    Known to be down: its own breaker is open; or, whatever the breaker says, all of its calls of
    the last window failed and there were enough of them to open a breaker.
    """

    name = "breaker-law"
    sentence = "a dependency that is known to be down is not called"

    def conclude(self, seen: Seen) -> None:
        for life in seen.lives:
            self.checked += life.failing_spells
            if life.calls_down:
                calls = times(len(life.calls_down), "call")
                self.broken(
                    f"{life.name} made {calls} to a dependency that was down",
                    life.calls_down[0],
                    times=len(life.calls_down),
                )


def _failures(case: Case) -> dict[Owed, int]:
    """How many attempts failed, by (group, event id)."""
    failures: dict[Owed, int] = {}
    for entry in case.failures:
        if entry[8] not in NO_ATTEMPT:
            failures[entry[4], entry[5]] = failures.get((entry[4], entry[5]), 0) + 1
    return failures
