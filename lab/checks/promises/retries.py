"""Promises about trying again: how often, how soon, at which cost, and not while all calls fail.

Not here: the turn of a retry that is due (`turns`), and the end of an event that is given up
(`dead_letters`, `liveness`).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from lab.checks.attempts import Attempts
from lab.checks.check import Check, Seen, seconds, times
from lab.checks.contract import Contract
from lab.checks.fact_folds import Fold
from lab.checks.floods import flood, longest_row, needless_pauses
from lab.checks.jitter import Jitter
from lab.checks.order_case import Case, Owed, owed_of
from lab.checks.process_life import group_of
from lab.checks.questions import needless
from lab.checks.tables import NEVER_RETRIED, NO_ATTEMPT, THROTTLED
from lab.history.calls import HandleBeginEntry, HandleEndEntry, RedrivenEntry, RetryingEntry
from lab.history.facts import FaultEntry, PhaseEntry

_NEVER_US: Final = 2**62
_UNPUBLISHED: Final = ("bus.publish_unknown", "bus.drop_publish")


class RetryLaw(Check):
    """Attempts are counted and bounded, delays are in bounds and kept, permanent is permanent.

    An attempt is a failed run of the handler and nothing else: a release costs none, and a run
    whose outcome was committed has not failed. One that was sent back begins with the first. The
    delays in place are spread by jitter. Nobody waits longer for a claim than its lease can last.
    Money is not sent again and again: a later attempt asks first; and nobody asks in vain.
    """

    name = "retry-law"
    sentence = "an event is tried as often and as late as the retry policy says"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._many: list[tuple[Case, str, int]] = []
        self._repeated: list[tuple[Case, Sequence[HandleEndEntry]]] = []
        self._throttled: list[tuple[Case, str, int, int]] = []
        self._jitter = Jitter()

    def judge(self, case: Case) -> None:
        if case.failures:
            for (group, _), failures in _failures(case).items():
                if failures > self.contract.attempts_max:
                    # The limit depends on kills and rebalances of the group: see `conclude`.
                    self._many.append((case, group, failures))
        self.checked += len(case.retrying)
        wrong = ""
        for retrying in case.retrying:
            wrong = wrong or self._wrong_delay(retrying) or self._waits_too_long(case, retrying)
        self._note_throttled(case)
        wrong = wrong or self._too_early(case) or self._too_many(case)
        for run in case.in_vain:
            if run.result not in NO_ATTEMPT:
                wrong = wrong or f"{run.group} failed ({run.result}) after its outcome was stored"
        if not wrong and not case.is_revived:
            wrong = self._wrong_attempts(case)
            if not wrong and (case.questions or case.called_again):
                self.checked += len(case.questions)
                wrong = needless(case, self.contract)
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
            for subject, early_us in life.heedless:
                if subject not in seen.facts.repeats and subject not in seen.facts.cancels:
                    ordinal, early = subject.partition(".")[0], seconds(early_us)
                    self.broken(
                        f"order {ordinal}: {life.name} was asked to stay away, and tried again "
                        f"{early} too early",
                        subject,
                    )
        unspread = self._jitter.fault()
        if unspread:
            self.broken(f"no jitter: {unspread}, in {self._jitter.first} first")
        for case, group, failures in self._many:
            again = (
                seen.calls.kills.get(group, 0)
                + max(seen.deliveries.epochs.get(group, 0) - 1, 0)
                + seen.facts.repeats.get(case.subject, 0)
                + len(case.redriven)
            )
            most = self.contract.attempts_max * (1 + again)
            # A delivery that is cancelled is given back, and is no attempt: not even if its run had
            # failed in the moment before, and the work behind it was cut.
            if failures > most + seen.facts.cancels.get(case.subject, 0):
                self.breaks(case, f"{group} made {failures} attempts at one event")

        self._conclude_repeated(seen)
        self._conclude_throttled(seen)

    def _conclude_repeated(self, seen: Seen) -> None:
        assigned = {life.name: life.assigned for life in seen.lives}
        for case, runs in self._repeated:
            subject, first = case.subject, runs[0]
            given_again = seen.facts.repeats.get(subject, 0) + seen.facts.cancels.get(subject, 0)
            if not given_again and len(runs) > max(assigned[first.process], 1):
                attempt = f"attempt {first.attempt} {len(runs)} times"
                self.breaks(case, f"{first.process} made {attempt} in {first.group}")

    def _wrong_attempts(self, case: Case) -> str:
        """By the runs of handlers, whatever the entries about retries say."""
        if not (case.started_again or case.retrying or case.letters):
            return ""
        attempts = Attempts(case, self.contract)
        wrong = attempts.wrong_start() or attempts.wrong_send()
        if case.is_whole:
            wrong = wrong or attempts.wrong_redrives()
        # Copies and new assignments have attempts of their own: see `conclude`.
        self._repeated += [(case, runs) for runs in attempts.repeated()]
        for retrying in case.retrying:
            wrong = wrong or attempts.wrong_retry(retrying)
        for letter in case.letters:
            wrong = wrong or attempts.wrong_end(letter)
        return wrong

    def _wrong_delay(self, retrying: RetryingEntry) -> str:
        contract = self.contract
        attempt, where, delay_us = retrying.attempt, retrying.where, retrying.delay_us
        if retrying.error_class in NEVER_RETRIED:
            return f"tried again after {retrying.error_class}"
        if attempt >= contract.attempts_max and where != THROTTLED:
            return f"tried again after attempt {attempt} of {contract.attempts_max}"
        if where == "in_place":
            most_us = min(contract.cap_us, contract.base_us << min(attempt - 1, 40))
            self._jitter.draw(retrying, most_us)
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

    def _waits_too_long(self, case: Case, retrying: RetryingEntry) -> str:
        """What no handler was told to wait for is a claim: it ends with its lease.

        A third party's hint has no bound of its own.
        """
        contract = self.contract
        over_us = retrying.delay_us - contract.lease_us - contract.slack_us - contract.skew_us
        if retrying.where != THROTTLED or over_us <= 0:
            return ""
        if any(
            run.process == retrying.process
            and run.event_id == retrying.event_id
            and run.result == "Throttled"
            for run in case.failures
        ):
            return ""
        delay, lease = seconds(retrying.delay_us), seconds(contract.lease_us)
        return f"{retrying.group} waits {delay} for a claim, and a lease lasts {lease}"

    def _note_throttled(self, case: Case) -> None:
        """What is throttled for longer than declared is given up: nobody waits any more."""
        since_us: dict[tuple[str, str, str], int] = {}
        # What was sent back begins anew, and nothing tells which of its waits were before.
        for waits in case.retrying if not case.redriven else ():
            if waits.where != THROTTLED:
                continue
            place = (waits.process, *owed_of(waits))
            begun_us = since_us.setdefault(place, waits.t_us)
            if waits.t_us - begun_us <= self.contract.max_elapsed_us + self.contract.slack_us:
                continue
            if any(
                (run.process, *owed_of(run)) == place
                and begun_us <= run.t_us <= waits.t_us
                and run.result != "Throttled"
                for run in case.failures
            ):
                # It has failed in another way meanwhile, and begins anew.
                since_us[place] = waits.t_us
                continue
            self._throttled.append((case, waits.group, begun_us, waits.t_us))
            return

    def _conclude_throttled(self, seen: Seen) -> None:
        """Whom a store refused meanwhile was not throttled then, and begins anew."""
        facts, most = seen.facts, seconds(self.contract.max_elapsed_us)
        for case, group, since_us, until_us in self._throttled:
            if not (
                facts.was_out(group, since_us, until_us)
                or facts.was_dedupe_out(since_us, until_us)
                or facts.was_refused(group, since_us, until_us)
            ):
                waited = seconds(until_us - since_us)
                told = f"{group} waits on after {waited} of being throttled"
                self.breaks(case, f"{told}; {most} are allowed")

    def _too_early(self, case: Case) -> str:
        """Through retry topics; retries in place are looked at in their process (`Life.early`).

        Of several copies of a record, the one that was due first may have been tried; one that
        could not be parked is tried again in place.
        """
        for run in case.started_again:
            early_us = _due_us(case, run) - run.t_us
            if early_us > self.contract.skew_us:
                return f"{run.group} made attempt {run.attempt} {seconds(early_us)} too early"
        return ""

    def _too_many(self, case: Case) -> str:
        most = self.contract.attempts_max
        for run in case.started_again:
            if run.attempt > most:
                return f"{run.group} made attempt {run.attempt} of {most}"
        return ""


def _due_us(case: Case, run: HandleBeginEntry) -> int:
    """When an attempt was due at the earliest, by what was announced before it; 0: by nothing.

    What is announced later is about the same attempt after a redrive. What could not be parked
    waits in its process, as long as that has the partition. What waits in place does so too; if the
    next attempt is another process's, the first one has moved it there, and its wait with it.
    """
    before = (run.group, run.event_id, run.attempt - 1)
    told = [
        retrying
        for retrying in case.retrying
        if (retrying.group, retrying.event_id, retrying.attempt) == before
        and retrying.t_us <= run.t_us
    ]
    is_moved = all(retrying.process != run.process for retrying in told)
    announced = [
        retrying
        for retrying in told
        if retrying.where.startswith("tier.")
        or retrying.where == "unparked"
        or (retrying.where == "in_place" and is_moved)
    ]
    if not announced:
        return 0
    settled = [
        again for again in case.again if (again.group, again.event_id) == (run.group, run.event_id)
    ]
    unparked_us = {retrying.t_us for retrying in announced if retrying.where == "unparked"}
    # Of several copies, a record may say an earlier attempt than the one that was run of it.
    lost_us = {
        again.t_us for again in settled if again.t_us in unparked_us and again.epoch != run.epoch
    }
    settled = [again for again in settled if again.attempt == run.attempt - 1]
    ends_us = [one.t_us + one.delay_us for one in announced if one.t_us not in lost_us]
    if not ends_us:
        return 0
    return min(ends_us + [one.t_us + one.after_us for one in settled if one.t_us not in lost_us])


class RetryBudgetKept(Check):
    """Retries in place cost tokens per process and dependency, given back by successes only.

    An early attempt goes through a retry topic only when there is no token left. When too many
    events die a subscription pauses, and not before; after heal it need not. An operator sends dead
    letters back at the declared rate.
    """

    name = "retry-budget"
    sentence = "retries in place, dead letters and redrives keep their limits: none becomes a flood"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._answers: list[RedrivenEntry] = []
        self._heal_us = _NEVER_US
        self._is_unpublished = False

    def folds(self) -> Mapping[str, Fold]:
        return {"redriven": self._answer, "phase": self._phase, "fault": self._fault}

    def _answer(self, entry: RedrivenEntry) -> None:
        self._answers.append(entry)

    def _phase(self, entry: PhaseEntry) -> None:
        if entry.name == "heal":
            self._heal_us = entry.t_us

    def _fault(self, entry: FaultEntry) -> None:
        """Letters that could not be published come all at once when they can."""
        self._is_unpublished |= entry.kind_of_fault in _UNPUBLISHED

    def conclude(self, seen: Seen) -> None:
        self._conclude_letters(seen)
        self.checked += len(self._answers)
        over = flood((answer.t_us for answer in self._answers), self.contract)
        if over:
            first, rate = self._answers[0], self.contract.redrive_rate
            self.broken(
                f"order {first.subject.partition('.')[0]}: {times(over, 'answer')} to dead letters "
                f"came sooner than {rate:g} a second allow, of {len(self._answers)}",
                first.subject,
                times=over,
            )
        for life in seen.lives:
            self.checked += life.in_place
            if life.in_place_over:
                self.broken(
                    f"{life.name} made {times(life.in_place_over, 'retry', 'retries')} in place "
                    "that its budget did not cover",
                    times=life.in_place_over,
                )
            if life.too_soon:
                what = f"{times(life.too_soon, 'event')} to a retry topic"
                self.broken(
                    f"{life.name} moved {what} that its budget covered in place",
                    times=life.too_soon,
                )

    def _conclude_letters(self, seen: Seen) -> None:
        contract = self.contract
        for life in seen.lives:
            if not (life.letters or life.limited):
                continue
            self.checked += 1
            needless = needless_pauses(life, contract)
            if needless:
                what = f"paused {times(needless, 'time')} because too many events had died"
                self.broken(f"{life.name} {what}, and they had not", times=needless)
            row, since_us, until_us = longest_row(life, self._heal_us)
            if row <= contract.letters_in_a_row + contract.workers or self._is_unpublished:
                continue
            # What could not be committed as dead comes all at once, too.
            when = (group_of(life.name), since_us - contract.linger_us, until_us)
            if not (seen.facts.was_out(*when) or seen.facts.was_refused(*when)):
                self.broken(f"{life.name} gave up {row} events in a row and did not pause")


class BreakerLaw(Check):
    """No call to a dependency that the process knows to be down, and none is cut off for nothing.

    Known to be down: its own breaker is open; or, with any breaker, all of its calls of the last
    window failed and there were enough of them to open one. A breaker opens when so many calls of
    a window failed as its policy names, and a refusal is an answer; its probe decides whether it
    closes.
    """

    name = "breaker-law"
    sentence = "a dependency that is known to be down is not called, and no other is cut off"

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
            if life.wrong_turns:
                self.broken(f"{life.name}: {life.wrong_turns[0]}", times=len(life.wrong_turns))


def _failures(case: Case) -> dict[Owed, int]:
    """How many attempts failed, by (group, event id)."""
    failures: dict[Owed, int] = {}
    for run in case.failures:
        if run.result not in NO_ATTEMPT:
            failures[owed_of(run)] = failures.get(owed_of(run), 0) + 1
    return failures
