"""Promises to a customer: the order as it was asked for, its mails, its cancel, its money's tale.

The client says what it ordered, by its own count; ledgers and topics say what came of it. Not here:
whether money is kept (`money`), and how often an effect takes place (`events`).
"""

from collections.abc import Mapping
from typing import Final

from lab.checks.check import Check, seconds
from lab.checks.order_case import Case
from lab.checks.promises.money import minor
from lab.checks.tables import (
    AMOUNT_MAX,
    MAILER,
    OPEN,
    TELLS_AMOUNT,
    TELLS_BUYER,
    TELLS_CHARGE,
    TEMPLATE_OF,
)
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
        wrong = _stored(case, asked) or _told(case, asked) or _counted(case, asked)
        if wrong:
            self.breaks(case, wrong)


class GatewayAgrees(Check):
    """PAID has its capture, DECLINED its decline, REFUNDED its refund, under the keys told of.

    A charge that was given up and then looked at by a person may end DECLINED without an answer.
    """

    name = "gateway-agrees"
    sentence = "an order is paid, declined or refunded only as the payment gateway's ledger says"

    def judge(self, case: Case) -> None:
        states = [row.state for row in case.rows]
        moved = [state for state in states if state in _NEEDS]
        if not moved or not case.is_whole:
            return
        self.checked += len(moved)
        actions = [line.action for line in case.ledger]
        for state in moved:
            if state == "DECLINED" and "PAYMENT_UNKNOWN" in states:
                continue
            if _NEEDS[state] not in actions:
                self.breaks(case, f"it became {state}, and the ledger has no {_NEEDS[state]}")
                return
        for record in case.published.values():
            wrong = "" if record is None else _other_charge(case, record)
            if wrong:
                self.breaks(case, wrong)
                return


class MailsOwed(Check):
    """By the mailer's ledger: what `notification` was done with has its mail, of its template.

    A mail whose event died, or waits behind a dead head, is not owed. Twice is `effect-once`.
    """

    name = "mails-owed"
    sentence = "a customer gets the mail of each change that was handled, and of no other"

    def judge(self, case: Case) -> None:
        sent = {line.charge_key for line in case.ledger if line.action == "mail"}
        owing = [row for row in case.rows if row.event_type in TEMPLATE_OF]
        if not (sent or owing) or not case.is_whole:
            return
        self.checked += len(owing)
        wanted = {row.event_id: TEMPLATE_OF[row.event_type] for row in owing}
        for line in case.ledger:
            template = wanted.get(line.key, line.charge_key)
            if line.action == "mail" and line.charge_key != template:
                self.breaks(case, f"a mail `{line.charge_key}` was sent in place of `{template}`")
                return
        for row in owing:
            template = TEMPLATE_OF[row.event_type]
            if (MAILER, row.event_id) in case.done and template not in sent:
                self.breaks(case, f"{row.event_type} was handled without a mail `{template}`")
                return
        for template in sorted(sent.difference(wanted.values())):
            self.breaks(case, f"a mail `{template}` was sent, and no committed change owes it")
            return


class CancelGranted(Check):
    """An order that is PENDING or VALIDATED from the request to its answer is cancelled: 200.

    So is one that was cancelled before. An order that moved meanwhile may be too late, or not; a
    lost answer and a 5xx say nothing. Nobody cancels an order that was not accepted: 404 is wrong.
    """

    name = "cancel-granted"
    sentence = "a cancel is granted as long as the order is not paid, and however often it is asked"

    def judge(self, case: Case) -> None:
        begun_us = {begun.send: begun.t_us for begun in case.cancel_begun}
        for answer in case.cancel_answers:
            if answer.send not in begun_us or not 0 < answer.status < 500:
                continue
            self.checked += 1
            if answer.status == 200:
                continue
            wrong = self._refused(case, answer, begun_us[answer.send])
            if wrong:
                self.breaks(case, wrong)
                return

    def _refused(self, case: Case, answer: HttpEndEntry, begun_us: int) -> str:
        """Why it was wrong to refuse a cancel, in words; "" if it was right, or nobody knows."""
        told = f"its cancel was answered with {answer.status}"
        if answer.status == 404:
            return f"{told}, and it was accepted"
        if case.is_revived or not any(200 <= each.status < 300 for each in case.answers):
            # Under its key another request made the order that was cancelled.
            return ""
        slack_us = self.contract.skew_us
        since = [row for row in case.rows if row.t_us <= begun_us - slack_us]
        meanwhile = [
            row for row in case.rows if begun_us - slack_us < row.t_us <= answer.t_us + slack_us
        ]
        if any(row.state == "CANCELLED" for row in since):
            return f"{told}, and it had been cancelled before"
        if since and all(row.state in OPEN for row in (since[-1], *meanwhile)):
            return f"{told} at {seconds(answer.t_us)}, while it was {since[-1].state}"
        return ""


_NEEDS: Final[Mapping[str, str]] = {
    "PAID": "capture",
    "DECLINED": "decline",
    "REFUND_PENDING": "capture",
    "REFUNDED": "refund",
}
"""The line of the gateway's ledger without which an order is never in a state."""


def _stored(case: Case, asked: HttpBeginEntry) -> str:
    """The fault in the rows and intents of an order, in words; "" if there is none."""
    wanted = minor(asked.amount_cents, asked.currency)
    if not 0 < asked.amount_cents <= AMOUNT_MAX:
        return f"it was stored, and nobody can pay {wanted}"
    for row in case.rows:
        if not _is_same(row.amount_cents, row.currency, asked):
            stored = minor(row.amount_cents, row.currency)
            return f"its row says {stored}; the client asked for {wanted}"
        if asked.buyer and row.buyer and row.buyer != asked.buyer:
            return "its row has another customer or country than the client sent"
    for intent in case.intents:
        if not _is_same(intent.amount_cents, asked.currency, asked):
            announced = minor(intent.amount_cents, asked.currency)
            return f"a {intent.intent_kind} of {announced} was announced; it is {wanted}"
    return ""


def _told(case: Case, asked: HttpBeginEntry) -> str:
    """The fault in the events of an order, in words; "" if there is none."""
    accepted = [each.answer for each in case.answers if 200 <= each.status < 300]
    if accepted and not accepted[0]:
        return "it was accepted, and the answer names no order"
    order_id = accepted[0] if accepted else ""
    for record in case.published.values():
        if record is None:
            continue
        if not record.order_id:
            if case.is_poisoned:
                continue
            return f"{record.event_type} cannot be read, and nobody has spoiled it"
        order_id = order_id or record.order_id
        if record.order_id != order_id:
            return f"{record.event_type} tells of another order than the client's"
        wrong = _other_contents(record, asked)
        if wrong:
            return f"{record.event_type} tells of {wrong}"
    return ""


def _other_contents(record: AppendedEntry, asked: HttpBeginEntry) -> str:
    """What an event tells that the client did not ask for, in words; "" if it tells no such."""
    kind = record.event_type
    if kind in TELLS_AMOUNT and not _is_same(record.amount_cents, record.currency, asked):
        told = minor(record.amount_cents, record.currency)
        return f"{told}; the client asked for {minor(asked.amount_cents, asked.currency)}"
    if kind == TELLS_BUYER and asked.buyer:
        if record.buyer != asked.buyer:
            return "another customer or country than the client sent"
        if record.items != asked.items:
            return "other items than the client sent"
    return ""


def _counted(case: Case, asked: HttpBeginEntry) -> str:
    """The fault in the revenue of an order, in words; "" if there is none."""
    for added in case.revenue:
        if not _is_same(added.amount_cents, added.currency, asked):
            counted = minor(added.amount_cents, added.currency)
            wanted = minor(asked.amount_cents, asked.currency)
            return f"its revenue was {counted}; the client asked for {wanted}"
    return ""


def _is_same(cents: object, currency: str, asked: HttpBeginEntry) -> bool:
    # To Python 10.0 is 10; to whoever adds up a million of them it is not.
    return type(cents) is int and (cents, currency) == (asked.amount_cents, asked.currency)


def _other_charge(case: Case, record: AppendedEntry) -> str:
    """The fault in the charge that an event names, in words; "" if there is none."""
    kind = record.event_type
    if kind not in TELLS_CHARGE or not record.order_id:
        return ""
    if kind == "PaymentRefunded":
        action = "refund"
        known = [line.charge_key for line in case.ledger if line.action == action]
    else:
        action = "capture"
        known = [line.key for line in case.ledger if line.action == action]
    if record.charge_key in known:
        return ""
    return f"{kind} names a charge of which the ledger has no {action}"
