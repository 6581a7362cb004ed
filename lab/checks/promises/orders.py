"""Promises about orders: accepted ones are kept, refused ones leave nothing, no others exist.

Not here: their money (`money`) and their events (`events`).
"""

from typing import Final

from lab.checks.check import Check, Seen
from lab.checks.contract import Contract
from lab.checks.doubts import Denied, done_all_the_same, unsent
from lab.checks.fact_folds import Ask
from lab.checks.keyed_cancels import KeyedCancels
from lab.checks.order_case import Case
from lab.checks.shown_orders import wrongly_shown
from lab.checks.tables import EVENT_OF, KEY_REUSED, NEXT, OPEN, TOPIC_OF, is_refusal
from lab.history.facts import RowEntry
from lab.history.requests import HttpEndEntry

_CREATED: Final = 201
_ENDS_WELL: Final = ("", "stopped")


class AcceptedIsDurable(Check):
    """What is accepted is answered with 201 and has a row; a cancel that is granted has its own.

    Its client finds it where the answer says, in the list of its customer, and in a version that it
    had at some instant while he waited for the answer: "unchanged" says so, too.
    """

    name = "accepted-is-durable"
    sentence = "an order that was accepted is stored and shown as it stands, a granted cancel too"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._elsewhere: list[tuple[Case, str]] = []

    def judge(self, case: Case) -> None:
        if case.shown and case.is_whole:
            self.checked += len(case.shown)
            wrong = wrongly_shown(case, self.contract.skew_us)
            if wrong:
                self.breaks(case, wrong)
        accepted = [answer for answer in case.answers if 200 <= answer.status < 300]
        if not case.is_whole or not (accepted or case.cancels):
            return
        self.checked += 1
        if case.cancels and case.rows and not any(row.state == "CANCELLED" for row in case.rows):
            self.breaks(case, f"its cancel was granted, and it is {case.state}")
        other = next((each.status for each in accepted if each.status != _CREATED), 0)
        if other:
            self.breaks(case, f"it was accepted with {other}, not with {_CREATED}")
        if accepted and not case.rows:
            key = accepted[0].key
            if key:
                # Under its key another request may have created the order: see `conclude`.
                self._elsewhere.append((case, key))
            else:
                self.breaks(case, f"it was accepted with {accepted[0].status}, and there is no row")

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
        refused = [each for each in case.answers if is_refusal(each.status, each.problem)]
        if not refused or not case.is_whole:
            return
        self.checked += 1
        left = _traces(case)
        if left:
            self.breaks(case, f"it was refused with {refused[0].status}, and there is {left}")


class RefusedForAReason(Check):
    """By the client's own reading of the rules; where it is in doubt, the answer is right.

    A refusal names every field that breaks a rule: who mends one at a time is refused as often. A
    503 says when to ask again. Whether another body under an Idempotency-Key is refused is judged
    by `idempotency-key`; here, that no order is refused by a key under which nobody asked for
    another one.
    """

    name = "refused-for-a-reason"
    sentence = "an order is refused for every rule that it breaks, and for nothing else"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._by_key: list[tuple[Case, str]] = []

    def judge(self, case: Case) -> None:
        for answer in case.answers:
            if 200 <= answer.status < 300 and answer.is_unfair:
                self.breaks(case, f"it breaks a rule, and was accepted with {answer.status}")
                return
            if answer.status >= 500 and answer.is_unfair:
                self.breaks(case, f"it was answered with {answer.status}, and not told until when")
                return
            if not 400 <= answer.status < 500 or answer.status == 409:
                continue
            self.checked += 1
            if answer.is_unfair and answer.problem == KEY_REUSED:
                self._by_key.append((case, answer.key))
            elif answer.is_unfair:
                self.breaks(
                    case, f"it was refused with {answer.status}, and not for what it breaks"
                )
                return

    def conclude(self, seen: Seen) -> None:
        for case, key in self._by_key:
            ask = seen.facts.asks.get(key)
            # Of a key that stands for something `idempotency-key` has its say.
            stands = ask and any(200 <= answer.status < 300 for answer in ask.answers)
            if ask is None or (not stands and len(set(ask.bodies.values())) == 1):
                self.breaks(case, "its key was said to stand for another order, and there is none")


class NoPhantom(Check):
    """Rows, events, charges and mails trace back to a request; charges to a committed intent.

    And what is done was done by somebody: whoever was told that nothing was stored has stored
    nothing, unless the answer was in doubt, or never came. So has whoever was told that a third
    party has done nothing: one that had the request and kept silent may have done it.
    """

    name = "no-phantom"
    sentence = "every row, event, charge and mail traces back to a request that was made"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._denied: list[tuple[Case, Denied]] = []

    def judge(self, case: Case) -> None:
        traces = _traces(case)
        if not traces or not case.is_whole:
            return
        self.checked += 1
        if not case.begun:
            self.breaks(case, f"there is {traces}, and nobody asked for it")
            return
        actions = [line.action for line in case.ledger]
        was_asked = "capture" in actions or "decline" in actions
        if was_asked and not case.intents and not case.is_revived:
            self.breaks(case, "the payment gateway was asked to charge without an intent")
        if "refund" in actions and "capture" not in actions:
            self.breaks(case, "there is a refund, and nothing was captured")
        contract = self.contract
        if case.unheard and (what := unsent(case, contract.slack_us, contract.skew_us)):
            self.breaks(case, what)
        if case.denied:
            skew_us = self.contract.skew_us
            self._denied += [(case, denied) for denied in done_all_the_same(case, skew_us)]

    def conclude(self, seen: Seen) -> None:
        for case, (group, event_id, _, result) in self._denied:
            if not any(
                (case.subject, group, event_id) in life.committing
                or (life.end not in _ENDS_WELL and life.name.startswith(f"{group}-"))
                for life in seen.lives
            ):
                kind = case.event_type(event_id)
                told = f"{group} has done {kind}, and every commit of that ended as {result}"
                self.breaks(case, told)


class IdempotencyKey(Check):
    """Requests with one key make one order, get one answer, and another body is refused.

    One that comes while the first runs is answered with 409: "shed" would say that nothing is
    stored. Left out is an API that may have had its hands full, and one that was struck. A cancel
    is a wish like an order: under the key of another wish it is refused, whatever has become of
    the order that it is about.
    """

    name = "idempotency-key"
    sentence = "requests under one Idempotency-Key make at most one order and get the same answer"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._cancels = KeyedCancels()

    def judge(self, case: Case) -> None:
        if case.cancel_begun:
            self._cancels.note(case)

    def conclude(self, seen: Seen) -> None:
        for ask in seen.facts.asks.values():
            self.checked += 1
            wrong = _double(ask)
            if not wrong and not seen.facts.is_struck:
                wrong = self._shed(ask, seen)
            if wrong:
                subject = next(iter(ask.bodies))
                ordinal = subject.partition(".")[0]
                self.broken(f"order {ordinal}: {len(ask.bodies)} requests, {wrong}", subject)
        self.checked += len(self._cancels)
        for subject, wrong in self._cancels.faults(seen.facts):
            self.broken(f"order {subject.partition('.')[0]}: {wrong}", subject)

    def _shed(self, ask: Ask, seen: Seen) -> str:
        """The fault in a 503 to a request while another one of its key ran, in words.

        That one was sent before it, and its order was stored after the answer.
        """
        for answer, in_hand in ask.sheds:
            begun_us = ask.begun_us.get(answer.subject, 0)
            stored_us = max(
                (
                    row_us
                    for subject, row_us in ask.created.items()
                    if ask.begun_us.get(subject, 0) < begun_us
                ),
                default=0,
            )
            ran_on = stored_us > answer.t_us + self.contract.skew_us
            was_out = seen.facts.was_out("api", begun_us, answer.t_us)
            if ran_on and in_hand < self.contract.requests and not was_out:
                return "and a repetition was told that nothing was stored, while the first one ran"
        return ""


class LegalTransitions(Check):
    """Row versions are a path of the state machine, without a gap, each with its own event.

    And the last one is the order as its store has it at the end, if that is asked.
    """

    name = "legal-transitions"
    sentence = "an order moves along the state machine only, one version at a time"

    def judge(self, case: Case) -> None:
        rows = case.rows
        if not rows:
            return
        self.checked += 1
        state, version, first = "", 0, rows[0]
        currency, cents = first.currency, first.amount_cents
        for row in rows:
            if (
                row.version != version + 1
                or row.state not in NEXT[state]
                or row.event_type != EVENT_OF[row.state]
                or row.currency != currency
                or row.amount_cents != cents
            ):
                changed = f"its amount changed with version {row.version}"
                self.breaks(case, _wrong_move(row, state, version) or changed)
                return
            state, version = row.state, row.version
        if case.truth and (wrong := _other_truth(case)):
            self.breaks(case, wrong)


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
            kind = row.event_type
            if row.event_id not in published:
                self.breaks(case, f"{kind or 'an event'} is owed and was never published")
                continue
            record = published[row.event_id]
            if record is not None and record.topic != TOPIC_OF.get(kind):
                self.breaks(case, f"{kind} was published on {record.topic}")
        if len(published) != len(rows):
            owed = {row.event_id for row in rows}
            for event_id, record in published.items():
                if event_id not in owed:
                    kind = record.event_type if record else event_id
                    self.breaks(case, f"{kind} was published, and no committed change owes it")


def _wrong_move(row: RowEntry, state: str, version: int) -> str:
    """The fault in a move from this state and version, in words; "" if there is none."""
    if row.version != version + 1:
        return f"version {row.version} follows version {version}"
    if row.state not in NEXT[state]:
        return f"it went from {state or 'nothing'} to {row.state}"
    owed = EVENT_OF[row.state]
    if row.event_type != owed:
        return f"{row.state} owes {owed}, not {row.event_type or 'nothing'}"
    return ""


def _other_truth(case: Case) -> str:
    """Where the store has another order at the end than it told of, in words; "" if nowhere."""
    told, stored = case.rows[-1], case.truth[-1]
    if len(case.truth) > 1:
        return f"the store has it {len(case.truth)} times at the end"
    if (stored.state, stored.version) != (told.state, told.version):
        return (
            f"the store has it {stored.state} in version {stored.version} at the end; "
            f"its last change made it {told.state} in version {told.version}"
        )
    if (stored.amount_cents, stored.currency) != (told.amount_cents, told.currency):
        return "the store has another amount of it at the end than it told of"
    if bool(stored.open_intents) != case.has_open_intent():
        return f"the store has {stored.open_intents} open intents of it, and told of another end"
    if stored.may_expire != (told.state in OPEN):
        would = "would let it expire" if stored.may_expire else "would never let it expire"
        return f"it is {told.state}, and the store {would}"
    return ""


def _traces(case: Case) -> str:
    """A trace of an order outside of its client, in words; "" if there is none."""
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
    """The fault in the requests under one key, in words; "" if there is none."""
    if len(ask.created) > 1:
        return f"{len(ask.created)} orders"
    granted = [answer for answer in ask.answers if 200 <= answer.status < 300]
    if len({answer.answer for answer in granted}) > 1:
        return "answers with different order ids"
    if len({ask.bodies[answer.subject] for answer in granted}) > 1:
        return "different bodies, both accepted"
    return _replay(ask, granted[0]) if granted else ""


def _replay(ask: Ask, first: HttpEndEntry) -> str:
    """The fault in an answer to a request that was sent when the first one had its answer.

    A request whose answer was lost may still run: 409 is right as long as nobody knows.
    """
    may_run = any(answer.status == 0 for answer in ask.answers)
    for answer in ask.answers:
        begun_us, status = ask.begun_us.get(answer.subject), answer.status
        if begun_us is None or begun_us < first.t_us or answer is first:
            continue
        if not 0 < status < 500 or (status == 409 and may_run):
            continue
        body, first_body = ask.bodies[answer.subject], ask.bodies[first.subject]
        if body != first_body:
            # "" is the body of an order that was forgotten but for its end.
            if body and first_body and status != 422:
                return f"another body was answered with {status}"
        elif status != first.status:
            return f"the same body was answered with {first.status}, then with {status}"
        elif answer.answer_digest != first.answer_digest:
            return "the same body got two different answers"
    return ""
