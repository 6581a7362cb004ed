"""Promises about events: none is lost, each takes effect once, none is acknowledged too early.

Not here: positions and epochs (`positions`), retries (`retries`), dead letters (`dead_letters`).
"""

from lab.checks.case_notes import AckSeen
from lab.checks.check import Check, Seen, times
from lab.checks.contract import Contract
from lab.checks.order_case import Case, Owed, owed_of
from lab.checks.tables import MAILER, REVENUE_EVENT, TOPIC_OF


class NoLostEvent(Check):
    """Each event that a committed change owes has an outcome, or waits behind a dead head.

    Without one it is lost iff no process will come back to it: it was never published, the group
    has acknowledged or passed it, or it is a row under a live head when the run ends. An event that
    still stands uncommitted in its topic is late, not lost: `converges` judges that.
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
            elif any(owed_of(ack) == (group, event_id) for ack in case.acks) or (
                (group, event_id) in case.suppressed
            ):
                self.breaks(case, f"{group} acknowledged {kind} without an outcome")
            elif record:
                position = passed.get((group, record.topic, record.partition), 0)
                if position > record.offset:
                    self.breaks(case, f"{group} passed {kind} without an outcome")


class EffectOnce(Check):
    """At most once per group and event id: the unit of work, the mail, the revenue.

    Units by `done` rows and by the commits that processes saw; mails by the mailer's ledger;
    revenue is exactly one increment for each OrderConfirmed that was handled.
    """

    name = "effect-once"
    sentence = "an event takes effect at most once in each group, however often it is delivered"

    def judge(self, case: Case) -> None:
        self.checked += len(case.done)
        wrong = _revenue(case) or _mails(case) or _units(case)
        if wrong:
            self.breaks(case, wrong)


class DedupeSound(Check):
    """A delivery that was suppressed as a duplicate has a durable outcome `done`.

    And what is done is suppressed: the dedupe store grants no claim of an event of which it was
    told within its window, unless it was made to forget.
    """

    name = "dedupe-sound"
    sentence = "what is suppressed as a duplicate has taken effect, and is known for a whole window"

    def conclude(self, seen: Seen) -> None:
        for claimed in seen.calls.claims.forgotten:
            if not seen.facts.was_claim_gone(claimed.group):
                what = f"was given a claim of {claimed.event_id}, which was done"
                self.broken(f"{claimed.process} {what} within the dedupe window")

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

    An ack as handled must follow that process's own knowledge of the commit; for the other reasons
    the durable effect must exist.
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
    """Handler runs of one group, key and topic never go back, in a process and in `done` rows.

    A process handles one event of an order at a time. One that it began under an epoch before may
    still run: its settlement does not count any more.
    """

    name = "per-key-order"
    sentence = "a group handles the events of an order one at a time, in the order of their changes"

    def judge(self, case: Case) -> None:
        self.checked += len(case.lanes)
        for _, group, topic, before, sequence in case.disorders:
            if _came_back_late(case, group, sequence):
                continue
            what = f"{group} handled change {sequence} after change {before} of topic {topic}"
            self.breaks(case, what)
            return
        if case.overlaps:
            run = case.overlaps[0]
            what = f"{run.process} began {run.event_type} while it handled another of its events"
            self.breaks(case, what)
            return
        # Whether changes were done in their order; topics are looked at only if not.
        version = {row.event_id: row.version for row in case.rows}
        last: dict[str, int] = {}
        for outcome in case.outcomes:
            group, sequence = outcome.group, version.get(outcome.event_id, 0)
            if outcome.outcome != "done" or not sequence:
                continue
            if group in last and sequence < last[group]:
                self._look_at_topics(case)
                return
            last[group] = sequence

    def _look_at_topics(self, case: Case) -> None:
        rows = {row.event_id: row for row in case.rows}
        last: dict[tuple[str, str], int] = {}
        for outcome in case.outcomes:
            row = rows.get(outcome.event_id)
            if outcome.outcome != "done" or row is None:
                continue
            if _came_back_late(case, outcome.group, row.version):
                continue
            topic = TOPIC_OF.get(row.event_type, "")
            lane = (outcome.group, topic)
            if row.version < last.get(lane, 0):
                what = f"{outcome.group} was done with change {row.version} of {topic} too late"
                self.breaks(case, what)
                return
            last[lane] = row.version


def has_outcome(case: Case, owed: Owed) -> bool:
    """Whether the event is done or dead in its group."""
    return owed in case.done or owed in case.dead


def _came_back_late(case: Case, group: str, sequence: int) -> bool:
    """Whether a change's event was redriven after it had died while nothing waited for it."""
    owed = next(((group, row.event_id) for row in case.rows if row.version == sequence), None)
    redriven = [owed_of(answered) for answered in case.redriven]
    return owed is not None and owed in redriven and case.died_unlocked(owed)


def _units(case: Case) -> str:
    """The fault in the units of work of an order's events, in words; "" if there is none."""
    if case.committed_again:
        group, event_id = case.committed_again[0]
        units = case.committed_again.count((group, event_id)) + 1
        kind = case.event_type(event_id) or event_id
        return f"{group} committed its unit of work for {kind} {units} times"
    if len(case.outcomes) > len(case.done) + len(case.dead):
        done = [owed_of(outcome) for outcome in case.outcomes if outcome.outcome == "done"]
        if len(done) > len(set(done)):
            return "there are two `done` rows of one group and event"
    return ""


def _mails(case: Case) -> str:
    """The fault in the mails of an order, in words; "" if there is none."""
    # One look at each line: hardly any order has a fault here.
    sent, keys, templates = 0, set(), set()
    for line in case.ledger:
        if line.action == "mail":
            sent += 1
            keys.add(line.key)
            templates.add(line.charge_key)
    if len(keys) < sent:
        return "a mail was sent twice under one key"
    # With a new key per call a mail cannot be told from its twin, but both can be counted.
    wanted = 0
    for group, _ in case.owed:
        wanted += group == MAILER
    if sent > wanted and case.is_whole:
        return f"{times(sent, 'mail')} for {times(wanted, 'event')}"
    # There may be an event that got none: then the number alone is right.
    if len(templates) < sent:
        return f"{times(sent, 'mail')} of {times(len(templates), 'template')}"
    return ""


def _revenue(case: Case) -> str:
    """The fault in the revenue of an order, in words; "" if there is none."""
    wanted = [row for row in case.rows if row.event_type == REVENUE_EVENT]
    if not wanted and not case.revenue:
        return ""
    if len(wanted) == 1 == len(case.revenue):
        # Nearly every order that has come to it: its change, and its one increment.
        row, added = wanted[0], case.revenue[0]
        if (added.event_id, added.currency, added.amount_cents) == (
            row.event_id,
            row.currency,
            row.amount_cents,
        ):
            return ""
    counted = [revenue.event_id for revenue in case.revenue]
    if len(counted) > 1 and len(counted) != len(set(counted)):
        return f"its revenue was added {len(counted)} times"
    for row in wanted:
        if row.event_id in counted:
            counted.remove(row.event_id)
            added = case.revenue[0]
            if (added.currency, added.amount_cents) != (row.currency, row.amount_cents):
                return "the revenue added is not the order's amount"
        elif case.is_whole and (MAILER, row.event_id) in case.done:
            return f"{REVENUE_EVENT} was handled, and no revenue was added"
    if case.is_whole and counted:
        return "revenue was added for an event that tells of none"
    return ""


def _is_accounted(case: Case, ack: AckSeen) -> bool:
    """Whether something durable stands behind an acknowledgement."""
    owed = (ack.group, ack.event_id)
    if has_outcome(case, owed) and ack.why != "handled":
        return True
    match ack.why:
        case "handled":
            # The process did not see the commit of this event before. From a retry topic that may
            # be so: the record there is an alarm, and the handler ran with the head of its key.
            return "." in ack.topic and has_outcome(case, owed)
        case "parked":
            return any(owed_of(row) == owed for row in case.waiting) or _stands_in(case, owed)
        case "dead" | "discarded":
            return _stands_in(case, owed)
        case _:
            return False


def _stands_in(case: Case, owed: Owed) -> bool:
    """Whether a record of the event stands in one of the group's retry topics or its DLQ."""
    group, event_id = owed
    return any(
        record.event_id == event_id and record.topic.split(".")[1] == group
        for record in case.parked
    )
