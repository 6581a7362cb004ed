"""Promises about events: none is lost, each takes effect once, and nobody says "done" too early.

Not here: positions and epochs (`positions`), retries and dead letters (`retries`).
"""

from lab.checks.check import Check, Seen, times
from lab.checks.contract import Contract
from lab.checks.order_case import Ack, Case, Owed
from lab.checks.tables import MAILER, REVENUE_EVENT, TOPIC_OF


class NoLostEvent(Check):
    """Each event that a committed change owes has an outcome, or waits behind a dead head.

    Without one it is lost iff nobody will come back to it: it was never published, the group has
    acknowledged or passed it, or it is a row under a live head when the run ends. An event that
    still stands uncommitted in its topic is late, not lost; that is for `converges` to say.
    """

    name = "no-lost-event"
    sentence = "every event that is owed to a group is handled, parked, or still to come"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._open: list[tuple[Case, Owed]] = []

    def judge(self, case: Case) -> None:
        if not case.is_whole:
            return
        self.checked += len(case.owed)
        if not case.is_finished:
            missing = [owed for owed in case.owed if not has_outcome(case, owed)]
            if missing:
                behind = case.behind_dead_head()
                self._open += [(case, owed) for owed in missing if owed not in behind]

    def conclude(self, seen: Seen) -> None:
        passed = {(t.group, t.topic, t.partition): t.passed for t in seen.tracks}
        for case, (group, event_id) in self._open:
            kind = case.event_type(event_id)
            record = case.published.get(event_id)
            if event_id not in case.published:
                self.breaks(case, f"{kind} was never published, and {group} waits for it")
            elif event_id in case.queues().get(group, {}):
                self.breaks(case, f"{kind} is left in {group}'s rows of keys in retry")
            elif any(ack[:2] == (group, event_id) for ack in case.acks) or (
                (group, event_id) in case.suppressed
            ):
                self.breaks(case, f"{group} acknowledged {kind} without an outcome")
            elif record and passed.get((group, record[4], record[5]), 0) > record[6]:
                self.breaks(case, f"{group} passed {kind} without an outcome")


class EffectOnce(Check):
    """At most once per group and event id: the unit of work, the mail, the revenue.

    Units by `done` rows and by what processes saw committed; mails by the mailer's ledger; revenue
    is exactly one increment for each OrderConfirmed that was handled.
    """

    name = "effect-once"
    sentence = "an event takes effect at most once in each group, however often it is delivered"

    def judge(self, case: Case) -> None:
        self.checked += len(case.done)
        wrong = _revenue(case) or _mails(case) or _units(case)
        if wrong:
            self.breaks(case, wrong)


class DedupeSound(Check):
    """A delivery that was suppressed as a duplicate has a durable outcome `done`."""

    name = "dedupe-sound"
    sentence = "what is suppressed as a duplicate has taken effect before"

    def judge(self, case: Case) -> None:
        if not case.suppressed or not case.is_whole:
            return
        self.checked += len(case.suppressed)
        for group, event_id in case.suppressed:
            if (group, event_id) not in case.done:
                kind = case.event_type(event_id) or event_id
                self.breaks(case, f"{group} suppressed {kind}, and nothing was ever done")
                return


class AckAfterEffect(Check):
    """Before an ack stands `done`, an acknowledged publish to a tier or DLQ, or a committed row.

    An ack as handled must follow that process's own knowledge of the commit; for the other
    reasons the durable thing must exist.
    """

    name = "ack-after-effect"
    sentence = "a delivery is acknowledged only after its effect is durable, or parked"

    def judge(self, case: Case) -> None:
        if not case.is_whole:
            return
        self.checked += len(case.settled) + len(case.acks) + len(case.suppressed)
        for ack in case.acks:
            if not _is_accounted(case, ack):
                kind = case.event_type(ack.event_id) or ack.event_id
                what = f"{ack.group} acknowledged {kind} as {ack.why} before anything was durable"
                self.breaks(case, what)
                return


class PerKeyOrder(Check):
    """Handler runs of one group, key and topic never go back, in a process and in `done` rows."""

    name = "per-key-order"
    sentence = "a group handles the events of one order and topic in the order of their changes"

    def judge(self, case: Case) -> None:
        self.checked += len(case.lanes)
        for _, group, topic, before, sequence in case.disorders:
            if _came_back_late(case, group, sequence):
                continue
            what = f"{group} handled change {sequence} after change {before} of topic {topic}"
            self.breaks(case, what)
            return
        # Whether changes were done in their order; topics are looked at only if not.
        version = {row[6]: row[4] for row in case.rows}
        last: dict[str, int] = {}
        for outcome in case.outcomes:
            group, sequence = outcome[4], version.get(outcome[5], 0)
            if outcome[6] != "done" or not sequence:
                continue
            if sequence < last.get(group, 0):
                self._look_at_topics(case)
                return
            last[group] = sequence

    def _look_at_topics(self, case: Case) -> None:
        version = {row[6]: (row[4], TOPIC_OF.get(row[7], "")) for row in case.rows}
        last: dict[tuple[str, str], int] = {}
        for outcome in case.outcomes:
            if outcome[6] != "done" or outcome[5] not in version:
                continue
            sequence, topic = version[outcome[5]]
            if _came_back_late(case, outcome[4], sequence):
                continue
            lane = (outcome[4], topic)
            if sequence < last.get(lane, 0):
                what = f"{outcome[4]} was done with change {sequence} of {topic} too late"
                self.breaks(case, what)
                return
            last[lane] = sequence


def has_outcome(case: Case, owed: Owed) -> bool:
    """Whether the event is done or dead in its group."""
    return owed in case.done or owed in case.dead


def _came_back_late(case: Case, group: str, sequence: int) -> bool:
    """Whether a change's event was redriven after it had died while nothing waited for it."""
    owed = next(((group, row[6]) for row in case.rows if row[4] == sequence), None)
    redriven = [entry[4:6] for entry in case.redriven]
    return owed is not None and owed in redriven and case.died_unlocked(owed)


def _units(case: Case) -> str:
    """What is wrong with the units of work of an order's events, in words."""
    if case.committed_again:
        group, event_id = case.committed_again[0]
        units = case.committed_again.count((group, event_id)) + 1
        kind = case.event_type(event_id) or event_id
        return f"{group} committed its unit of work for {kind} {units} times"
    if len(case.outcomes) > len(case.done) + len(case.dead):
        rows = [entry[4:6] for entry in case.outcomes if entry[6] == "done"]
        if len(rows) > len(set(rows)):
            return "there are two `done` rows of one group and event"
    return ""


def _mails(case: Case) -> str:
    """What is wrong with the mails of an order, in words."""
    keys = [entry[6] for entry in case.ledger if entry[5] == "mail"]
    if len(keys) != len(set(keys)):
        return "a mail was sent twice under one key"
    # With a new key per attempt a mail cannot be told from its twin, but both can be counted.
    wanted = [group for group, _ in case.owed].count(MAILER)
    if len(keys) > wanted and case.is_whole:
        return f"{times(len(keys), 'mail')} for {times(wanted, 'event')}"
    return ""


def _revenue(case: Case) -> str:
    """What is wrong with the revenue of an order, in words."""
    wanted = [row for row in case.rows if row[7] == REVENUE_EVENT]
    if not wanted and not case.revenue:
        return ""
    counted = [entry[5] for entry in case.revenue]
    if len(counted) > 1 and len(counted) != len(set(counted)):
        return f"its revenue was added {len(counted)} times"
    for row in wanted:
        if row[6] in counted:
            counted.remove(row[6])
            if case.revenue[0][6:8] != row[8:10]:
                return "the revenue added is not the order's amount"
        elif case.is_whole and (MAILER, row[6]) in case.done:
            return f"{REVENUE_EVENT} was handled, and no revenue was added"
    if case.is_whole and counted:
        return "revenue was added for an event that tells of none"
    return ""


def _is_accounted(case: Case, ack: Ack) -> bool:
    """Whether something durable stands behind an acknowledgement."""
    owed = (ack.group, ack.event_id)
    if has_outcome(case, owed) and ack.why != "handled":
        return True
    match ack.why:
        case "handled":
            # The process did not see the commit of this event before. From a retry topic that may
            # be so: the record there is an alarm, and what was run is the head of its key.
            return "." in ack.topic and has_outcome(case, owed)
        case "parked":
            return any(row[5:7] == owed for row in case.waiting) or _stands_in(case, owed)
        case "dead" | "discarded":
            return _stands_in(case, owed)
        case _:
            return False


def _stands_in(case: Case, owed: Owed) -> bool:
    """Whether a record of the event stands in one of the group's retry topics or its DLQ."""
    group, event_id = owed
    return any(record[7] == event_id and record[4].split(".")[1] == group for record in case.parked)
