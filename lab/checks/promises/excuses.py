"""The promise about ends that are nobody's wish: each has a reason outside of the system.

Not here: whether a dead letter is kept and true (`dead_letters`), and whether an order may stand
where it stands (`liveness`).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from lab.checks.causes import Causes
from lab.checks.check import Check, Seen, times
from lab.checks.contract import Contract
from lab.checks.excuses import (
    CALLS,
    EXCUSES,
    PUT_ASIDE,
    REFUSALS_FOR_GOOD,
    REFUSING,
    THROTTLING,
    Reach,
)
from lab.checks.fact_folds import Fold
from lab.checks.order_case import Case, Owed, owed_of
from lab.checks.promises.liveness import was_throttled_too_long
from lab.checks.tables import MOVED_BY, NO_ATTEMPT, OBJECTIONS
from lab.history.calls import BuriedEntry, HandleEndEntry
from lab.history.facts import AnsweredEntry, FaultEntry
from lab.history.requests import HttpBeginEntry

_NO_FAILURE: Final = ("ok", *OBJECTIONS.values())
"""Answers of a third party that fail nothing."""


class GivenUp(NamedTuple):
    """A dead event of an order, with the faults that struck the order."""

    case: Case
    owed: Owed
    struck: tuple[FaultEntry, ...]

    @property
    def what(self) -> str:
        """The event and its group, in the words of a witness."""
        group, event_id = self.owed
        return f"{group} gave up {self.case.event_type(event_id) or event_id}"


class ExcuseEarned(Check):
    """Each dead letter, and each end that follows from one, has a cause outside of the system.

    Given up as poison: a fault had spoiled the record. As permanent: a third party said so, to a
    request that was right. For its starts: processes died. Exhausted: every failed run has a fault,
    a failed answer or an outage of its own; see `lab.checks.excuses`. CANCELLED needs a client who
    asked for it. A kind of fault that the table does not know excuses everything. If most orders of
    a run were given up in the middle of something that may excuse any of them, nobody can tell, and
    the run proves nothing.
    """

    name = "excuse-earned"
    sentence = "nothing is given up or cancelled without a reason outside of the system"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._causes = Causes()
        self._given_up: list[GivenUp] = []
        self._cancels: dict[str, None] = {}
        self._orders = 0

    def folds(self) -> Mapping[str, Fold]:
        return {**self._causes.folds(), "http.begin": self._http_begin}

    def _http_begin(self, entry: HttpBeginEntry) -> None:
        if entry.op == "cancel":
            self._cancels[entry.subject.partition(".")[0]] = None

    def judge(self, case: Case) -> None:
        struck = self._causes.take(case.subject)
        if case.is_revived or not case.rows or not case.is_whole:
            return
        self._orders += 1
        for row in case.rows:
            if row.state in _NEEDS_A_REASON:
                self.checked += 1
                wrong = self._unasked(case, row.state)
                if wrong:
                    self.breaks(case, wrong)
                    return
        # The limits of these depend on all processes: see `conclude`.
        self._given_up += [GivenUp(case, owed, struck) for owed in case.dead]

    def conclude(self, seen: Seen) -> None:
        self.checked += len(self._given_up)
        doubted: dict[str, None] = {}
        for each in self._given_up:
            wrong = "" if self._causes.strange else self._unearned(each, seen)
            if wrong:
                self.breaks(each.case, wrong)
            elif not self._is_shown(each):
                doubted[each.case.subject] = None
        if len(doubted) * 2 > self._orders:
            self.doubt = (
                f"{len(doubted)} of {times(self._orders, 'order')} lost an event, and no fault "
                "shows for each of them that it had to"
            )

    def _unasked(self, case: Case, state: str) -> str:
        """An end that somebody outside must have asked for; "" if he did."""
        if state in PUT_ASIDE:
            group, kind = MOVED_BY[state]
            if any(
                outcome.outcome == "dead"
                and outcome.group == group
                and case.event_type(outcome.event_id) == kind
                for outcome in case.outcomes
            ):
                return ""
            return f"it is {state}, and {group} never gave up {kind}"
        if case.subject.partition(".")[0] in self._cancels:
            return ""
        return "it is CANCELLED, and no client asked for that"

    def _unearned(self, dead: GivenUp, seen: Seen) -> str:
        """Why the last death of an event has no excuse; "" if it has one, or nobody can tell."""
        letters = [buried for buried in dead.case.buried if owed_of(buried) == dead.owed]
        if not dead.case.event_type(dead.owed[1]):
            return ""
        if not letters:
            return self._unsaid(dead, seen)
        letter = letters[-1]
        match letter.reason:
            case "poison":
                is_earned = _is_spoiled(dead)
                return "" if is_earned else f"{dead.what} as poison, and no fault had spoiled it"
            case "permanent":
                is_earned = _is_refused(dead) or _is_refund_refused(dead)
                why = f"{dead.what} as permanent, and nobody outside refused what was right"
                return "" if is_earned else why
            case "starts":
                if seen.calls.kills.get(dead.owed[0]) or self._goes_on(dead, letter.t_us):
                    return ""
                return f"{dead.what} for its starts, and no process of {dead.owed[0]} died"
            case _:
                return self._unexhausted(dead, letter, seen)

    def _unsaid(self, dead: GivenUp, seen: Seen) -> str:
        """Of an event that is dead, and no process has written why: perhaps it could not."""
        until_us = self.contract.linger_us + max(
            outcome.t_us for outcome in dead.case.outcomes if owed_of(outcome) == dead.owed
        )
        if dead.struck or seen.calls.kills.get(dead.owed[0]) or self._goes_on(dead, until_us):
            return ""
        return f"{dead.what} and said nowhere why"

    def _unexhausted(self, dead: GivenUp, letter: BuriedEntry, seen: Seen) -> str:
        """Of an event that was tried as often as is allowed, or throttled for too long."""
        case, (group, _) = dead.case, dead.owed
        most = self.contract.attempts_max
        is_throttled = was_throttled_too_long(case, dead.owed, self.contract)
        if letter.attempts < most and not is_throttled:
            return f"{dead.what} after attempt {letter.attempts} of {most}"
        if _waited_for_itself(dead) and not self._goes_on(dead, letter.t_us):
            return f"{dead.what}, which {_CONFLICT} held up for longer than any request lives"
        runs = [run for run in case.failures if owed_of(run) == dead.owed]
        failed = [run for run in runs if run.result not in NO_ATTEMPT]
        alone = [run for run in failed if not self._is_meanwhile(run)]
        counted = len(_failed_answers(dead)) + sum(
            _fails_a_run(fault, group) for fault in dead.struck
        )
        strange = [run for run in alone if run.result == "Unclassified"]
        if strange:
            return f"{dead.what}, whose handler raised what no fault can raise"
        if len(alone) > counted:
            count = times(len(alone), "failed run")
            return f"{dead.what} after {count}, and {counted} of them have a cause outside"
        # One that was throttled may have waited for others of us, for a lease or a lock.
        is_tried = bool(failed) or is_throttled or bool(seen.calls.kills.get(group))
        if not (is_tried or counted or self._goes_on(dead, letter.t_us)):
            return f"{dead.what}, and nothing outside had failed"
        return ""

    def _is_meanwhile(self, run: HandleEndEntry) -> bool:
        contract = self.contract
        from_us = run.t_us - contract.handler_us - contract.slack_us
        return self._causes.went_on(run.group, from_us, run.t_us)

    def _goes_on(self, dead: GivenUp, until_us: int) -> bool:
        """Whether something struck the group at any time in the life of the order until then."""
        return self._causes.went_on(dead.owed[0], dead.case.rows[0].t_us, until_us)

    def _is_shown(self, dead: GivenUp) -> bool:
        """Whether an excuse is the order's own.

        A third party that was silent without a fault is none: perhaps nobody gave it any time.
        """
        group, _ = dead.owed
        return (
            _is_spoiled(dead)
            or _is_refund_refused(dead)
            or any(
                _fails_a_run(fault, group)
                or fault.site in CALLS.get(group, ())
                or EXCUSES.get(fault.kind_of_fault) in (Reach.MEANWHILE, Reach.EVER_AFTER)
                for fault in dead.struck
            )
        )


_CONFLICT: Final = "409"
_OFTEN: Final = 100
"""So many in a row, half a second apart, outlast each request that could be under way."""

_NEEDS_A_REASON: Final = (*PUT_ASIDE, "CANCELLED")


def _fails_a_run(fault: FaultEntry, group: str) -> bool:
    """Whether a firing fails a run of the group; a publish is made by any group."""
    if EXCUSES.get(fault.kind_of_fault) is not Reach.ONE_RUN:
        return False
    return fault.site == group or fault.site not in (*CALLS, "api", "relay")


def _failed_answers(dead: GivenUp) -> list[AnsweredEntry]:
    """Failures of the third parties that the group calls, by their own witness."""
    parties = CALLS.get(dead.owed[0], ())
    return [
        answered
        for answered in dead.case.answered
        if answered.provider in parties and answered.answer not in _NO_FAILURE
    ]


def _waited_for_itself(dead: GivenUp) -> bool:
    """The third party said to the end that another request under the key was still under way.

    None lives longer than its deadline, so that this is true only where a fault made it say so.
    """
    said = [answered.answer for answered in _failed_answers(dead)]
    made_up = any(fault.kind_of_fault in THROTTLING for fault in dead.struck)
    return said[-_OFTEN:] == [_CONFLICT] * _OFTEN and not made_up


def _is_spoiled(dead: GivenUp) -> bool:
    return dead.case.event_type(dead.owed[1]) in dead.case.poisoned


def _is_refused(dead: GivenUp) -> bool:
    """A third party was made to refuse for good; a refusal without a fault is our own mistake."""
    parties = dict.fromkeys(
        answered.provider
        for answered in _failed_answers(dead)
        if answered.answer in REFUSALS_FOR_GOOD
    )
    return any(fault.site in parties and fault.kind_of_fault in REFUSING for fault in dead.struck)


def _is_refund_refused(dead: GivenUp) -> bool:
    """The gateway refused to give back what it had taken, and had not given back."""
    group, event_id = dead.owed
    if group != "payment" or dead.case.event_type(event_id) != "RefundRequested":
        return False
    taken: dict[str, int] = {}
    for line in dead.case.ledger:
        if line.action == "capture":
            taken[line.key] = line.amount_cents
        elif line.action == "refund":
            taken.pop(line.charge_key, None)
        elif line.action == "refund_declined" and taken.get(line.charge_key) == line.amount_cents:
            return True
    return False
