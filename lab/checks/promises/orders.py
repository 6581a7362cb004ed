"""Promises about orders: what was accepted is kept, what was refused is not, and nothing else is.

Not here: money (`money`) and what becomes of their events (`events`).
"""

from lab.checks.check import Check, Seen
from lab.checks.contract import Contract
from lab.checks.fact_folds import Ask
from lab.checks.order_case import Case
from lab.checks.tables import EVENT_OF, NEXT, TOPIC_OF, is_refusal


class AcceptedIsDurable(Check):
    """A 2xx answer has its order row; a cancel that was granted has its CANCELLED row."""

    name = "accepted-is-durable"
    sentence = "an order that was accepted is stored, and a cancel that was granted is too"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._elsewhere: list[tuple[Case, str]] = []

    def judge(self, case: Case) -> None:
        accepted = [answer for answer in case.answers if 200 <= answer[8] < 300]
        if not case.is_whole or not (accepted or case.cancels):
            return
        self.checked += 1
        if case.cancels and case.rows and not any(row[5] == "CANCELLED" for row in case.rows):
            self.breaks(case, f"its cancel was granted, and it is {case.state}")
        if accepted and not case.rows:
            key = accepted[0][5]
            if key:
                # Under its key another request may have created the order: see `conclude`.
                self._elsewhere.append((case, key))
            else:
                self.breaks(case, f"it was accepted with {accepted[0][8]}, and there is no row")

    def conclude(self, seen: Seen) -> None:
        for case, key in self._elsewhere:
            ask = seen.facts.asks.get(key)
            if ask is None or not ask.created:
                self.breaks(case, "it was accepted, and there is no row under its key")


class RefusedLeavesNothing(Check):
    """4xx (409 left out) and the 503 that sheds load mean that nothing was stored."""

    name = "refused-leaves-nothing"
    sentence = "nothing is stored, published or charged for an order that was refused"

    def judge(self, case: Case) -> None:
        refused = [answer for answer in case.answers if is_refusal(answer[8], answer[9])]
        if not refused or not case.is_whole:
            return
        self.checked += 1
        left = _traces(case)
        if left:
            self.breaks(case, f"it was refused with {refused[0][8]}, and there is {left}")


class NoPhantom(Check):
    """Rows, events, charges and mails trace back to a request; charges to a committed intent."""

    name = "no-phantom"
    sentence = "every row, event, charge and mail traces back to a request that was made"

    def judge(self, case: Case) -> None:
        traces = _traces(case)
        if not traces or not case.is_whole:
            return
        self.checked += 1
        if not case.begun:
            self.breaks(case, f"there is {traces}, and nobody asked for it")
            return
        kinds = [entry[5] for entry in case.ledger]
        if not case.intents and not case.is_revived and ("capture" in kinds or "decline" in kinds):
            self.breaks(case, "the payment gateway was asked to charge without an intent")
        if "refund" in kinds and "capture" not in kinds:
            self.breaks(case, "there is a refund, and nothing was captured")


class IdempotencyKey(Check):
    """Requests with one key make one order, get one answer, and another body is refused."""

    name = "idempotency-key"
    sentence = "requests under one Idempotency-Key make at most one order and get the same answer"

    def conclude(self, seen: Seen) -> None:
        for ask in seen.facts.asks.values():
            self.checked += 1
            wrong = _double(ask)
            if wrong:
                subject = next(iter(ask.bodies))
                ordinal = subject.partition(".")[0]
                self.broken(f"order {ordinal}: {len(ask.bodies)} requests, {wrong}", subject)


class LegalTransitions(Check):
    """Row versions are a path of the state machine, without a gap, each with its own event."""

    name = "legal-transitions"
    sentence = "an order moves along the state machine only, one version at a time"

    def judge(self, case: Case) -> None:
        rows = case.rows
        if not rows:
            return
        self.checked += 1
        state, version, money = "", 0, rows[0][8:]
        for row in rows:
            if row[4] != version + 1:
                self.breaks(case, f"version {row[4]} follows version {version}")
                return
            if row[5] not in NEXT[state]:
                self.breaks(case, f"it went from {state or 'nothing'} to {row[5]}")
                return
            if row[7] != EVENT_OF[row[5]]:
                self.breaks(case, f"{row[5]} owes {EVENT_OF[row[5]]}, not {row[7] or 'nothing'}")
                return
            if row[8:] != money:
                self.breaks(case, f"its amount changed with version {row[4]}")
                return
            state, version = row[5], row[4]


class OutboxAtomic(Check):
    """Ids owed by committed changes and ids published on main topics are the same set."""

    name = "outbox-atomic"
    sentence = "an event is published if and only if the change that it tells of is committed"

    def judge(self, case: Case) -> None:
        if not case.rows and not case.published:
            return
        if not case.is_whole:
            return
        published, rows = case.published, case.rows
        self.checked += len(rows)
        for row in rows:
            kind = row[7]
            if row[6] not in published:
                self.breaks(case, f"{kind or 'an event'} is owed and was never published")
                continue
            record = published[row[6]]
            if record is not None and record[4] != TOPIC_OF.get(kind):
                self.breaks(case, f"{kind} was published on {record[4]}")
        if len(published) != len(rows):
            owed = {row[6] for row in rows}
            for event_id, record in published.items():
                if event_id not in owed:
                    kind = record[8] if record else event_id
                    self.breaks(case, f"{kind} was published, and no committed change owes it")


def _traces(case: Case) -> str:
    """What there is of an order outside of its client, in words; "" if nothing."""
    if case.rows:
        return "an order row"
    if case.published or case.parked:
        return "an event"
    if case.ledger:
        return "an entry in a third party's ledger"
    if case.intents:
        return "an intent"
    return "a stored answer" if case.http_keys else ""


def _double(ask: Ask) -> str:
    """What is wrong with the requests under one key, in words; "" if nothing."""
    if len(ask.created) > 1:
        return f"{len(ask.created)} orders"
    granted = [answer for answer in ask.answers if 200 <= answer[8] < 300]
    if len({answer[10] for answer in granted}) > 1:
        return "answers with different order ids"
    if len({ask.bodies[answer[3]] for answer in granted}) > 1:
        return "different bodies, both accepted"
    return ""
