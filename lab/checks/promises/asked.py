"""Promises to a customer: the order as it was asked for, its mails, its cancel, its money's tale.

The client says what it ordered, by its own count; ledgers and topics say what came of it. Not here:
whether money is kept (`money`), and how often an effect takes place (`events`).
"""

from collections.abc import Mapping
from typing import Final

from lab.checks.check import Check, Seen, seconds
from lab.checks.order_case import Case
from lab.checks.promises.money import minor
from lab.checks.tables import (
    AMOUNT_MAX,
    KEY_REUSED,
    KEY_RUNNING,
    MAILER,
    OPEN,
    SHED,
    TELLS_AMOUNT,
    TELLS_BUYER,
    TELLS_CHARGE,
    TEMPLATE_OF,
)
from lab.history.contents import NO_AMOUNT
from lab.history.facts import AppendedEntry
from lab.history.requests import HttpBeginEntry, HttpEndEntry


class AsOrdered(Check):
    """Row, intents, revenue and events hold what the client asked for, to the last minor unit.

    Judged against the client's own sum over its items. An order whose text the client itself cannot
    read is left out, and so are events that a fault made unreadable.
    """

    name = "as-ordered"
    sentence = "an order is stored, told of and counted exactly as its client asked for it"

    def judge(self, case: Case) -> None:
        if not case.rows or not case.begun or not case.begun[0].currency:
            return
        asked = case.begun[0]
        self.checked += 1
        wrong = _stored(case, asked) or _told(case, asked)
        if wrong:
            self.breaks(case, wrong)

    def conclude(self, seen: Seen) -> None:
        for currency, stored in seen.facts.stored_revenue.items():
            added = seen.facts.revenue.get(currency, 0)
            if stored != added:
                self.broken(
                    f"the store has a revenue of {minor(stored, currency)} at the end, and told of "
                    f"{minor(added, currency)} that were added"
                )


class GatewayAgrees(Check):
    """PAID has its capture, DECLINED its decline, REFUNDED its refund, under the keys told of.

    DECLINED has the gateway's reason, unless the gateway was asked about the charge: then it tells
    none. A charge that was given up and then looked at by a person may end DECLINED without an
    answer, because the time of the order is up.
    """

    name = "gateway-agrees"
    sentence = "an order is paid, declined or refunded only as the payment gateway's ledger says"

    def judge(self, case: Case) -> None:
        if not case.rows or not case.is_whole:
            return
        wrong = self._moved(case)
        if wrong:
            self.breaks(case, wrong)
            return
        for record in case.published.values():
            if record is None or record.event_type not in TELLS_CHARGE:
                continue
            wrong = _other_charge(case, record)
            if wrong:
                self.breaks(case, wrong)
                return

    def _moved(self, case: Case) -> str:
        """The fault in the states that the gateway decides on, in words; "" if there is none."""
        was_unknown = False
        for row in case.rows:
            state = row.state
            need = _NEEDS.get(state)
            if need is None:
                was_unknown = was_unknown or state == "PAYMENT_UNKNOWN"
                continue
            self.checked += 1
            for line in case.ledger:
                if line.action == need:
                    break
            else:
                if not (was_unknown and state == "DECLINED"):
                    return f"it became {state}, and the ledger has no {need}"
            wrong = _other_reason(case, row.reason) if state == "DECLINED" else ""
            if wrong:
                return wrong
        return ""


class MailsOwed(Check):
    """By the mailer's ledger: what `notification` was done with has its mail, of its template.

    A mail whose event died, or waits behind a dead head, is not owed. Twice is `effect-once`.
    """

    name = "mails-owed"
    sentence = "a customer gets the mail of each change that was handled, and of no other"

    def judge(self, case: Case) -> None:
        if not case.is_whole or not (case.rows or case.ledger):
            return
        owing: dict[str, str] = {}
        sent: dict[str, str] = {}
        for row in case.rows:
            if row.event_type in TEMPLATE_OF:
                owing[row.event_id] = TEMPLATE_OF[row.event_type]
        for line in case.ledger:
            if line.action == "mail":
                sent[line.key] = line.charge_key
        self.checked += len(owing)
        if owing == sent:
            return
        wrong = _mails(case, owing, sent)
        if wrong:
            self.breaks(case, wrong)


class CancelGranted(Check):
    """An order that is PENDING or VALIDATED from the request to its answer is cancelled: 200.

    So is one that was cancelled before. An order that moved meanwhile may be too late, or not; a
    lost answer and a 5xx say nothing, unless it is that nothing was stored. An order that nobody
    made is answered with 404, and no other is. Whether its Idempotency-Key refuses a cancel is
    judged by `idempotency-key`.
    """

    name = "cancel-granted"
    sentence = "a cancel is granted as long as the order is not paid, and however often it is asked"

    def judge(self, case: Case) -> None:
        if not case.cancel_answers:
            return
        begun_us = {begun.send: begun.t_us for begun in case.cancel_begun}
        for answer in case.cancel_answers:
            if answer.send not in begun_us or not 0 < answer.status < 500:
                continue
            self.checked += 1
            if answer.is_unfair:
                fact = "it was accepted" if answer.status == 404 else "nobody made that order"
                self.breaks(case, f"its cancel was answered with {answer.status}, and {fact}")
                return
            if answer.status == 200 and _names_other(case, answer.answer):
                self.breaks(case, "its cancel was granted, and the answer names another order")
                return
            if answer.status in _SOUND or (answer.key and answer.problem in _OF_ITS_KEY):
                continue
            wrong = self._refused(case, answer, begun_us[answer.send])
            if wrong:
                self.breaks(case, wrong)
                return
        if self._was_shed(case):
            self.breaks(case, "its cancel was told that nothing was stored, and it was cancelled")

    def _was_shed(self, case: Case) -> bool:
        """Whether it was cancelled, and all who had asked for that by then were shed."""
        cancelled_us = next((row.t_us for row in case.rows if row.state == "CANCELLED"), None)
        if cancelled_us is None or case.is_revived:
            return False
        shed = {answer.send for answer in case.cancel_answers if answer.problem == SHED}
        known_us = cancelled_us + self.contract.skew_us
        asked = [begun.send for begun in case.cancel_begun if begun.t_us <= known_us]
        return bool(asked) and shed.issuperset(asked)

    def _refused(self, case: Case, answer: HttpEndEntry, begun_us: int) -> str:
        """Why it was wrong to refuse a cancel, in words; "" if it was right, or nobody knows."""
        told = f"its cancel was answered with {answer.status}"
        if case.is_revived or not any(200 <= each.status < 300 for each in case.answers):
            # Under its key another request made the order that was cancelled.
            return ""
        slack_us = self.contract.skew_us
        since = [row for row in case.rows if row.t_us <= begun_us - slack_us]
        meanwhile = [
            row for row in case.rows if begun_us - slack_us < row.t_us <= answer.t_us + slack_us
        ]
        if any(row.state == "CANCELLED" for row in case.rows):
            # Before, or since: what is too late once will never be CANCELLED.
            return f"{told}, and it was cancelled"
        if since and all(row.state in OPEN for row in (since[-1], *meanwhile)):
            return f"{told} at {seconds(answer.t_us)}, while it was {since[-1].state}"
        return ""


_SOUND: Final = (200, 404)
"""Answers that are right, unless the client knows better."""


def _names_other(case: Case, order_id: str) -> bool:
    """Whether an answer about a case names another order, as far as that is known."""
    root = case.root()
    # Whose own answer was lost may have been answered about another one, under the same key.
    is_known = root is not None and all(answer.status for answer in case.answers)
    return root is not None and is_known and order_id != root[1]


_OF_ITS_KEY: Final = (KEY_REUSED, KEY_RUNNING)
"""Problems that say nothing of the order that a cancel is about."""

_NEEDS: Final[Mapping[str, str]] = {
    "PAID": "capture",
    "DECLINED": "decline",
    "REFUND_PENDING": "capture",
    "REFUNDED": "refund",
}
"""The line of the gateway's ledger without which an order is never in a state."""


_TELL_AMOUNT_ONLY: Final = frozenset(TELLS_AMOUNT) - {TELLS_BUYER}


def _stored(case: Case, asked: HttpBeginEntry) -> str:
    """The fault in the rows, intents and revenue of an order, in words; "" if there is none.

    An amount is an integer: that 10.0 equals 10 would hide a float.
    """
    wanted, currency = asked.amount_cents, asked.currency
    if not 0 < wanted <= AMOUNT_MAX:
        return f"it was stored, and nobody can pay {minor(wanted, currency)}"
    for row in case.rows:
        cents = row.amount_cents
        if cents != wanted or row.currency != currency or type(cents) is not int:
            return f"its row says {minor(cents, row.currency)}; {_wish(asked)}"
        if row.buyer != asked.buyer and row.buyer and asked.buyer:
            return "its row has another customer or country than the client sent"
    for intent in case.intents:
        if intent.amount_cents != wanted or type(intent.amount_cents) is not int:
            announced = minor(intent.amount_cents, currency)
            return f"a {intent.intent_kind} of {announced} was announced; {_wish(asked)}"
    for added in case.revenue:
        cents = added.amount_cents
        if cents != wanted or added.currency != currency or type(cents) is not int:
            return f"its revenue was {minor(cents, added.currency)}; {_wish(asked)}"
    return ""


def _told(case: Case, asked: HttpBeginEntry) -> str:
    """The fault in the events of an order, in words; "" if there is none."""
    order_id = ""
    for answer in case.answers:
        if 200 <= answer.status < 300:
            order_id = answer.answer
            if not order_id:
                return "it was accepted, and the answer names no order"
    cents, currency = asked.amount_cents, asked.currency
    for record in case.published.values():
        if record is None:
            continue
        order_id = order_id or record.order_id
        if (
            record.event_type in _TELL_AMOUNT_ONLY
            and record.amount_cents == cents
            and record.currency == currency
            and record.order_id == order_id
        ):
            continue
        wrong = _other_contents(case, record, asked, order_id)
        if wrong:
            return wrong
    return ""


def _other_contents(case: Case, record: AppendedEntry, asked: HttpBeginEntry, order_id: str) -> str:
    """What an event tells that the client did not ask for, in words; "" if it tells no such."""
    kind = record.event_type
    if not record.order_id:
        if kind in case.poisoned:
            return ""
        if record.amount_cents == NO_AMOUNT:
            return f"{kind} cannot be read, and nobody has spoiled it"
        return f"{kind} names no order, or another one in its key, subject or correlation"
    if record.order_id != order_id:
        return f"{kind} tells of another order than the client's"
    cents, currency = record.amount_cents, record.currency
    if kind in TELLS_AMOUNT and (cents, currency) != (asked.amount_cents, asked.currency):
        return f"{kind} tells of {minor(cents, currency)}; {_wish(asked)}"
    if kind == TELLS_BUYER and asked.buyer:
        if record.buyer != asked.buyer:
            return f"{kind} tells of another customer or country than the client sent"
        if record.items != asked.items:
            return f"{kind} tells of other items than the client sent"
    return ""


def _wish(asked: HttpBeginEntry) -> str:
    return f"the client asked for {minor(asked.amount_cents, asked.currency)}"


def _mails(case: Case, owing: Mapping[str, str], sent: Mapping[str, str]) -> str:
    """The fault in the mails of an order, in words; "" if there is none.

    Args:
        case: the order's.
        owing: the template for each event.
        sent: the template under each key; with a key for each attempt, a mail is known by its
            template only.
    """
    for key, template in sent.items():
        if owing.get(key, template) != template:
            return f"a mail `{template}` was sent in place of `{owing[key]}`"
        if template not in owing.values():
            return f"a mail `{template}` was sent, and no committed change owes it"
    for event_id, template in owing.items():
        if template not in sent.values() and (MAILER, event_id) in case.done:
            return f"{case.event_type(event_id)} was handled without a mail `{template}`"
    return ""


def _other_reason(case: Case, reason: str) -> str:
    """The fault in the reason why an order is DECLINED, in words; "" if there is none.

    Nobody knows the reason of an order that was packed, or whose event never came by an outbox.
    """
    if not reason:
        return ""
    given = [line.charge_key for line in case.ledger if line.action == "decline"]
    if not given:
        return "" if reason == "expired" else f"it is DECLINED for {reason}, and nobody said so"
    if reason in given or (reason == "declined" and case.questions):
        return ""
    return f"it is DECLINED for {reason}; the gateway said {given[-1]}"


def _other_charge(case: Case, record: AppendedEntry) -> str:
    """The fault in the charge that an event names, in words; "" if there is none."""
    kind = record.event_type
    if not record.order_id:
        # It cannot be read: `as-ordered` asks why.
        return ""
    if kind == "PaymentUnknown":
        # Only those of VALIDATED: a later one belongs to whoever looked at it.
        opened = [
            intent.key
            for intent in case.intents
            if intent.intent_kind == "charge" and intent.state == "VALIDATED"
        ]
        if opened and record.charge_key == opened[-1]:
            return ""
        is_old = record.charge_key in opened
        return f"{kind} names a charge that was {'given up' if is_old else 'not begun'}"
    if kind == "PaymentRefunded":
        action = "refund"
        known = [line.charge_key for line in case.ledger if line.action == action]
    else:
        action = "capture"
        known = [line.key for line in case.ledger if line.action == action]
    if record.charge_key in known:
        return ""
    return f"{kind} names a charge of which the ledger has no {action}"
