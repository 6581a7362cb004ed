"""Promises about dead letters: an event that is given up is kept unchanged, and really given up.

Not here: whether giving up was lawful. That decides whether an order counts as parked
(`liveness`).
"""

from collections.abc import Mapping

from lab.checks.check import Check, Seen
from lab.checks.contract import Contract
from lab.checks.fact_folds import Fold
from lab.checks.order_case import Case, Owed, owed_of
from lab.checks.process_life import group_of
from lab.checks.tables import (
    CAUSES,
    CUTS_SHORT,
    NO_ATTEMPT,
    OTHER_REASONS,
    REDRIVES_MAX,
    REPEATED,
    TOPIC_OF,
    main_topic,
)
from lab.history.facts import AppendedEntry, FaultEntry, LetterEntry, OutcomeEntry


class DlqSound(Check):
    """Dead letters carry the bytes and headers of their record and tell the truth about it.

    A record that is sent back is unchanged, and goes to a group that gave it up. Done and dead, and
    one death and the next, are disjoint by redrives. An event that was started too often in vain
    has seen as many processes of its group die, or stand still, since it was sent back last.
    """

    name = "dlq-sound"
    sentence = "a dead letter is its record unchanged, was given up, and nothing both done and dead"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._starts: list[tuple[Case, LetterEntry]] = []
        self._struck: set[str] = set()

    def folds(self) -> Mapping[str, Fold]:
        return {"fault": self._fault}

    def _fault(self, entry: FaultEntry) -> None:
        """A start may also stay unexplained because the store did not hear, or a run was cut."""
        if entry.kind_of_fault.startswith(CUTS_SHORT):
            self._struck.add(entry.site.partition("-")[0])

    def conclude(self, seen: Seen) -> None:
        for case, letter in self._starts:
            since_us = _sent_back_us(case, letter) - self.contract.skew_us
            lives = [life for life in seen.lives if group_of(life.name) == letter.group]
            deaths = sum(life.failed_since(since_us) for life in lives)
            is_struck = letter.group in self._struck or seen.facts.outages
            if letter.starts > deaths and not is_struck:
                died = f"{deaths} processes of {letter.group} died"
                died += " since it was sent back" if letter.redrives else ""
                self.breaks(case, f"a dead letter tells of {letter.starts} starts in vain; {died}")

    def judge(self, case: Case) -> None:
        letters = [record for record in case.parked if record.topic.endswith(".dlq")]
        if case.is_revived or not (letters or case.buried or case.dead or case.redriven):
            return
        self.checked += len(letters)
        wrong = _both(case)
        for record in letters:
            wrong = wrong or self._wrong_letter(case, record)
        for record in case.parked:
            if record.topic.endswith(".retry"):
                wrong = wrong or self._wrong_return(case, record)
        for buried in case.buried:
            wrong = wrong or _untrue(case, owed_of(buried), buried.attempts)
            wrong = wrong or _false_cause(case, owed_of(buried), buried.reason)
        for letter in case.letters:
            if letter.reason != REPEATED:
                wrong = wrong or self._wrong_death(case, letter)
            if letter.reason == "starts":
                self._starts.append((case, letter))
        if wrong:
            self.breaks(case, wrong)

    def _wrong_letter(self, case: Case, letter: AppendedEntry) -> str:
        topic, event_id, group = letter.topic, letter.event_id, _group_of(letter)
        origin = case.published.get(event_id)
        if origin is not None and not _is_copy(letter, origin):
            return f"a dead letter in {topic} is not the record that stands in {origin.topic}"
        if case.is_whole and event_id and (group, event_id) not in case.dead:
            return f"a dead letter in {topic}, and the event is not dead in {group}"
        return ""

    def _wrong_death(self, case: Case, letter: LetterEntry) -> str:
        """Of the headers in which a letter tells of the death of its event."""
        owed = owed_of(letter)
        deaths = [each.redrives for each in case.outcomes if owed_of(each) == owed]
        if case.is_whole and letter.redrives not in deaths:
            times = f"it was sent back {letter.redrives} times before it died"
            return f"a dead letter of {letter.group} says that {times}, and that is no death of it"
        return (
            _untrue(case, owed, letter.attempts)
            or _false_cause(case, owed, letter.reason)
            or _too_few(case, letter)
        )

    def _wrong_return(self, case: Case, sent: AppendedEntry) -> str:
        """Of a record that an operator has sent to the retry topic of a group."""
        topic, event_id, group = sent.topic, sent.event_id, _group_of(sent)
        origin = case.published.get(event_id)
        if origin is not None and not _is_copy(sent, origin):
            return f"what was sent back to {topic} is not the record that stands in {origin.topic}"
        if case.is_whole and event_id and (group, event_id) not in case.dead:
            kind = case.event_type(event_id) or event_id
            return f"{kind} was sent back to {group}, which never gave it up"
        return ""


class DlqComplete(Check):
    """A dead event stands in its group's DLQ, once a death; one without attempts left is dead.

    An event that was sent back has an outcome of its own, or waits behind a dead head; a discarded
    one waits no more. A refund that is dead shows in the order's state. Where an operator is
    declared, each letter is answered by the end: sent back as often as was declared and may be,
    then discarded, if that was declared.
    """

    name = "dlq-complete"
    sentence = "an event that is given up stands in its group's dead-letter queue, and is answered"

    def judge(self, case: Case) -> None:
        over = set(case.attempts_over)
        if not case.is_whole or not (case.dead or over):
            return
        self.checked += len(case.dead.keys() | over)
        letters = [
            (_group_of(record), record.event_id, main_topic(record.topic))
            for record in case.parked
            if record.topic.endswith(".dlq")
        ]
        wrong = _unanswered(case) or _unwritten(case) or self._without_operator(case)
        wrong = wrong or _untold(case)
        if wrong:
            self.breaks(case, wrong)
            return
        for group, event_id in case.dead:
            if (group, event_id) in case.done:
                continue
            kind = case.event_type(event_id)
            topic = TOPIC_OF.get(kind, "")
            if topic and (group, event_id, topic) not in letters:
                self.breaks(case, f"{kind or event_id} is dead in {group} and in no DLQ of it")
                return
        for group, event_id in case.attempts_over:
            if (group, event_id) not in case.dead:
                kind = case.event_type(event_id) or event_id
                self.breaks(case, f"{group} goes on with {kind} beyond its attempts")
                return

    def _without_operator(self, case: Case) -> str:
        """A dead event whose letter waits for an answer that was declared, in words; or ""."""
        redrives, discards = min(self.contract.redrives, REDRIVES_MAX), self.contract.discards
        for (group, event_id), redriven in case.dead.items():
            owed = (group, event_id)
            if owed in case.done or not (redriven < redrives or discards):
                continue
            if not any(owed_of(one) == owed and one.redrives > redriven for one in case.redriven):
                kind = case.event_type(event_id) or event_id
                return f"{kind} is dead in {group}, and no operator has answered its letter"
        return ""


def _group_of(parked: AppendedEntry) -> str:
    """The group that a retry topic or dead-letter queue belongs to."""
    return parked.topic.split(".")[1]


def _is_copy(parked: AppendedEntry, origin: AppendedEntry) -> bool:
    """Whether a parked record is the record of a main topic, unchanged."""
    return origin.topic == main_topic(parked.topic) and origin.digest == parked.digest


def _unwritten(case: Case) -> str:
    """A death of which no letter tells, although the event may have other letters."""
    told = {(letter.group, letter.event_id, letter.redrives) for letter in case.letters}
    for outcome in case.outcomes:
        group, event_id = owed_of(outcome)
        if outcome.outcome == "dead" and (group, event_id, outcome.redrives) not in told:
            kind = case.event_type(event_id) or event_id
            if not any((at, of) == (group, event_id) for at, of, _ in told):
                return f"{kind} is dead in {group} and in no DLQ of it"
            return f"no dead letter of {group} tells of death {outcome.redrives + 1} of {kind}"
    return ""


def _untold(case: Case) -> str:
    """A refund that was given up, of which the order's state tells nobody."""
    if any(row.state == "REFUND_FAILED" for row in case.rows):
        return ""
    for group, event_id in case.dead:
        if group == "payment" and case.event_type(event_id) == "RefundRequested":
            return (
                f"its refund was given up, and it is {case.state} without having been REFUND_FAILED"
            )
    return ""


def _unanswered(case: Case) -> str:
    """An operator's answer to a dead letter that no process has carried out."""
    for answered in case.redriven:
        group, event_id = owed = owed_of(answered)
        kind = case.event_type(event_id) or event_id
        if answered.answer == "discarded":
            if event_id in case.queues().get(group, {}):
                return f"{kind} was discarded, and still stands in the rows of {group}"
        elif (
            owed not in case.done
            and case.dead.get(owed, -1) < answered.redrives
            and owed not in case.behind_dead_head()
        ):
            return f"{kind} was sent back to {group}, and came to no end there"
    return ""


def _both(case: Case) -> str:
    """Outcomes in the order in which the store wrote them: `dead` yields to redrives only."""
    last: dict[Owed, OutcomeEntry] = {}
    for outcome in case.outcomes:
        group, event_id = owed = owed_of(outcome)
        before = last.get(owed)
        if before is not None and (before.outcome == "done" or outcome.redrives <= before.redrives):
            kind = case.event_type(event_id) or event_id
            return f"{kind} is {before.outcome} and {outcome.outcome} in {group}"
        last[owed] = outcome
    return ""


def _sent_back_us(case: Case, letter: LetterEntry) -> int:
    """When an event was sent back from the death before this one; 0 if it had none."""
    return max(
        (
            answered.t_us
            for answered in case.redriven
            if owed_of(answered) == owed_of(letter) and answered.redrives <= letter.redrives
        ),
        default=0,
    )


def _untrue(case: Case, owed: Owed, attempts: int) -> str:
    """A dead letter must not claim more attempts than there were."""
    seen = max(
        [failed.attempt for failed in case.failures if owed_of(failed) == owed]
        + [retrying.attempt + 1 for retrying in case.retrying if owed_of(retrying) == owed]
        + [again.attempt + 1 for again in case.again if owed_of(again) == owed],
        default=1,
    )
    if attempts > seen:
        return f"a dead letter tells of {attempts} attempts; {seen} were seen"
    return ""


def _too_few(case: Case, letter: LetterEntry) -> str:
    """A dead letter tells of all attempts of the process that gave the event up."""
    death = (*owed_of(letter), letter.redrives)
    buriers = {each.process for each in case.buried if (*owed_of(each), each.redrives) == death}
    made = max(
        [
            run.attempt
            for run in case.failures
            if (*owed_of(run), run.redrives) == death
            and run.process in buriers
            and run.t_us <= letter.t_us
            and run.result not in NO_ATTEMPT
        ],
        default=0,
    )
    if letter.attempts < made:
        return f"a dead letter tells of {letter.attempts} attempts; {made} were made"
    return ""


def _false_cause(case: Case, owed: Owed, reason: str) -> str:
    """An event that is given up for its content has a run of its handler that ended so.

    An event that cannot be decoded has no runs at all.
    """
    causes = CAUSES.get(reason)
    if causes is None:
        # An operator looks for letters by their reason.
        return "" if reason in OTHER_REASONS else f"a dead letter gives `{reason}` as its reason"
    seen = dict.fromkeys(failed.result for failed in case.failures if owed_of(failed) == owed)
    if causes & seen.keys() or (reason == "poison" and not seen):
        return ""
    ended = ", ".join(seen) or "none that failed"
    return f"a dead letter says {reason}, and the runs of its event ended otherwise: {ended}"
