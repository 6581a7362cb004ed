"""Promises about dead letters: what is given up is kept, as it was, and is really given up.

Not here: whether giving up was lawful. That decides whether an order counts as parked
(`liveness`).
"""

from lab.checks.check import Check
from lab.checks.order_case import Case, Owed
from lab.checks.tables import CAUSES, TOPIC_OF, main_topic


class DlqSound(Check):
    """Dead letters carry the bytes and headers of their record and tell the truth about it.

    What is sent back is the same record, and goes to a group that gave it up. Done and dead, and
    one death and the next, are disjoint by redrives.
    """

    name = "dlq-sound"
    sentence = "a dead letter is its record unchanged, was given up, and nothing both done and dead"

    def judge(self, case: Case) -> None:
        letters = [record for record in case.parked if record[4].endswith(".dlq")]
        if case.is_revived or not (letters or case.buried or case.dead or case.redriven):
            return
        self.checked += len(letters)
        wrong = _both(case)
        for record in letters:
            wrong = wrong or self._wrong_letter(case, record[4], record[7], record[9])
        for record in case.parked:
            if record[4].endswith(".retry"):
                wrong = wrong or self._wrong_return(case, record[4], record[7], record[9])
        for entry in case.buried:
            wrong = wrong or _untrue(case, (entry[4], entry[5]), entry[7])
            wrong = wrong or _false_cause(case, (entry[4], entry[5]), entry[6])
        if wrong:
            self.breaks(case, wrong)

    def _wrong_letter(self, case: Case, topic: str, event_id: str, digest: str) -> str:
        main, group = main_topic(topic), topic.split(".")[1]
        origin = case.published.get(event_id)
        if origin is not None and (origin[4] != main or origin[9] != digest):
            return f"a dead letter in {topic} is not the record that stands in {origin[4]}"
        if case.is_whole and event_id and (group, event_id) not in case.dead:
            return f"a dead letter in {topic}, and the event is not dead in {group}"
        return ""

    def _wrong_return(self, case: Case, topic: str, event_id: str, digest: str) -> str:
        """Of a record that an operator has sent to the retry topic of a group."""
        origin, group = case.published.get(event_id), topic.split(".")[1]
        if origin is not None and (origin[4] != main_topic(topic) or origin[9] != digest):
            return f"what was sent back to {topic} is not the record that stands in {origin[4]}"
        if case.is_whole and event_id and (group, event_id) not in case.dead:
            kind = case.event_type(event_id) or event_id
            return f"{kind} was sent back to {group}, which never gave it up"
        return ""


class DlqComplete(Check):
    """What is dead stands in its group's DLQ, once a death; what used up its attempts is dead.

    What was sent back has an outcome of its own, or waits behind a dead head; what was discarded
    waits no more.
    """

    name = "dlq-complete"
    sentence = "an event that is given up stands in its group's dead-letter queue, and is given up"

    def judge(self, case: Case) -> None:
        over = set(case.attempts_over)
        if not case.is_whole or not (case.dead or over):
            return
        self.checked += len(case.dead.keys() | over)
        letters = [
            (record[4].split(".")[1], record[7], main_topic(record[4]))
            for record in case.parked
            if record[4].endswith(".dlq")
        ]
        wrong = _unanswered(case)
        if wrong:
            self.breaks(case, wrong)
            return
        for group, event_id in case.dead:
            if (group, event_id) in case.done:
                continue
            kind = case.event_type(event_id)
            topic = TOPIC_OF.get(kind, "")
            deaths = sum(entry[4:7] == (group, event_id, "dead") for entry in case.outcomes)
            if sum(letter[:2] == (group, event_id) for letter in letters) < deaths or (
                topic and (group, event_id, topic) not in letters
            ):
                self.breaks(case, f"{kind or event_id} is dead in {group} and in no DLQ of it")
                return
        for group, event_id in case.attempts_over:
            if (group, event_id) not in case.dead:
                kind = case.event_type(event_id) or event_id
                self.breaks(case, f"{group} goes on with {kind} beyond its attempts")
                return


def _unanswered(case: Case) -> str:
    """An operator's answer to a dead letter that nobody has carried out."""
    for entry in case.redriven:
        owed = (entry[4], entry[5])
        kind = case.event_type(owed[1]) or owed[1]
        if entry[6] == "discarded":
            if owed[1] in case.queues().get(owed[0], {}):
                return f"{kind} was discarded, and still stands in the rows of {owed[0]}"
        elif (
            owed not in case.done
            and case.dead.get(owed, -1) < entry[7]
            and owed not in case.behind_dead_head()
        ):
            return f"{kind} was sent back to {owed[0]}, and came to no end there"
    return ""


def _both(case: Case) -> str:
    """Outcomes in the order in which the store wrote them: `dead` yields to redrives only."""
    last: dict[Owed, tuple[str, int]] = {}
    for entry in case.outcomes:
        owed = (entry[4], entry[5])
        before = last.get(owed)
        if before is not None and (before[0] == "done" or entry[7] <= before[1]):
            return (
                f"{case.event_type(owed[1]) or owed[1]} is {before[0]} and {entry[6]} in {owed[0]}"
            )
        last[owed] = (entry[6], entry[7])
    return ""


def _untrue(case: Case, owed: Owed, attempts: int) -> str:
    """A dead letter must not tell of more attempts than there were."""
    seen = max(
        [entry[7] for entry in case.failures if (entry[4], entry[5]) == owed]
        + [entry[6] + 1 for entry in case.retrying if (entry[4], entry[5]) == owed]
        + [again.attempt + 1 for again in case.again if again[:2] == owed],
        default=1,
    )
    if attempts > seen:
        return f"a dead letter tells of {attempts} attempts; {seen} were seen"
    return ""


def _false_cause(case: Case, owed: Owed, reason: str) -> str:
    """Who gives an event up for what it is has a run of its handler that ended so.

    What cannot be decoded has no runs at all.
    """
    causes = CAUSES.get(reason)
    if causes is None:
        return ""
    seen = dict.fromkeys(entry[8] for entry in case.failures if (entry[4], entry[5]) == owed)
    if causes & seen.keys() or (reason == "poison" and not seen):
        return ""
    ended = ", ".join(seen) or "none that failed"
    return f"a dead letter says {reason}, and the runs of its event ended otherwise: {ended}"
