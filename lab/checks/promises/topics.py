"""Promises about what stands in the topics: records stay as they are, and handlers get no others.

Not here: which events must stand there (`orders`, `events`), how far groups have read
(`positions`), and the trace that records carry (`traces`).
"""

from lab.checks.check import Check, Seen
from lab.checks.order_case import Case
from lab.history.calls import HandleBeginEntry
from lab.history.facts import AppendedEntry


class LogSound(Check):
    """An offset holds one record for all; an event is the same bytes in all its records.

    The bytes of an event are key, value, content type and the headers `ce_*`. Transport headers may
    differ, and so may the trace (`trace-complete`). An event whose records a fault has replaced is
    left out where its copies are compared. Deliveries are compared with the facts of the bus until
    all groups have passed the record.
    """

    name = "log-sound"
    sentence = "a record stands unchanged at its offset, and an event has the same bytes everywhere"

    def judge(self, case: Case) -> None:
        # A record that tells of no order is not ours.
        wrong = (_strayed(case) or _changed(case)) if case.subject else ""
        if wrong:
            self.breaks(case, wrong)

    def conclude(self, seen: Seen) -> None:
        for records in seen.topics:
            self.checked += records.end
            for again in records.twice:
                self.broken(
                    f"order {_order(again.subject)}: {again.event_type} was appended to {records} "
                    f"at offset {again.offset}, where a record stood",
                    again.subject,
                )
            for shown in records.differing:
                self.broken(
                    f"{shown.process} was given {shown.event_type} of order "
                    f"{_order(shown.subject)} at offset {shown.offset} of {records}, "
                    "and that is not what stands there",
                    shown.subject,
                )
            if seen.has_ended:
                for shown in records.unknown():
                    self.broken(
                        f"{shown.process} was given {shown.event_type} of order "
                        f"{_order(shown.subject)} at offset {shown.offset} of {records}, "
                        "where nothing stands",
                        shown.subject,
                    )


class HandlerInput(Check):
    """A handler is given an event that stands in its topic, by a process that it was delivered to.

    The event may be the head of its key, which runs in place of a record of another event of the
    same order; so the delivery in hand is one of the order.
    """

    name = "handler-input"
    sentence = "a handler runs for what stands in its topic, and was delivered to its process"

    def judge(self, case: Case) -> None:
        self.checked += case.runs
        for run in case.unmatched:
            wrong = _unmatched(case, run)
            if wrong:
                self.breaks(case, f"{run.group} in {run.process} handled {wrong}")
                return
        for run in case.ungiven:
            self.breaks(
                case, f"{run.process} handled {run.event_type}, and nothing was delivered to it"
            )
            return


def _strayed(case: Case) -> str:
    """The partitions of one topic between which the order's records are spread, in words."""
    partitions: dict[str, int] = {}
    for record in case.published.values():
        if record is not None:
            topic, partition = record.topic, record.partition
            if topic in partitions and partitions[topic] != partition:
                return _apart(topic, partitions[topic], partition)
            partitions[topic] = partition
    for record in (*case.copies, *case.parked):
        topic, partition = record.topic, record.partition
        if partitions.setdefault(topic, partition) != partition:
            return _apart(topic, partitions[topic], partition)
    return ""


def _apart(topic: str, first: int, second: int) -> str:
    return f"its records in {topic} stand in partition {first} and in partition {second}"


def _changed(case: Case) -> str:
    """The copy of an event that is not what its first record is, in words."""
    for copy in (*case.copies, *case.parked):
        origin = case.published.get(copy.event_id)
        if origin is None or not copy.event_id or origin.event_type in case.poisoned:
            continue
        if copy.digest != origin.digest:
            kind = copy.event_type or copy.event_id
            return f"{kind} is not the same bytes in {_places(origin, copy)}"
        if "." not in copy.topic and copy.topic != origin.topic:
            return f"{copy.event_type} stands in {_places(origin, copy)}"
    return ""


def _unmatched(case: Case, run: HandleBeginEntry) -> str:
    """What is wrong with the event of a handler run, now that all facts are known."""
    if run.event_id not in case.published:
        if not case.is_whole:
            return ""
        return f"{run.event_type}, which stands in no topic"
    first = case.published[run.event_id]
    if first is None or first.event_type in case.poisoned:
        return ""
    copies = [first, *(copy for copy in case.copies if copy.event_id == run.event_id)]
    if not any(copy.topic == run.topic for copy in copies):
        return f"{run.event_type} as one of topic {run.topic}, and it stands in {first.topic}"
    if not any(copy.digest == run.digest for copy in copies):
        return f"{run.event_type}, and it was not what stands in {first.topic}"
    return ""


def _order(subject: str) -> str:
    """The order as people call it."""
    return subject.partition(".")[0] or "-"


def _places(first: AppendedEntry, second: AppendedEntry) -> str:
    """Two places of one event, in words."""
    return (
        f"{first.topic}/{first.partition} offset {first.offset} and "
        f"{second.topic}/{second.partition} offset {second.offset}"
    )
