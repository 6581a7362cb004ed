"""The promise about the decision on an order: three parties are asked, and their answers count.

Not here: the decision of the gateway about the money (`money`), and events that nobody could handle
(`excuses`).
"""

from collections.abc import Mapping
from typing import Final

from lab.checks.check import Check
from lab.checks.contract import Contract
from lab.checks.fact_folds import Fold
from lab.checks.order_case import Case
from lab.checks.promises.money import minor, ordered
from lab.checks.tables import CUSTOMERS, OBJECTIONS, REASON_OF_RECORD
from lab.history.facts import AnsweredEntry, BlockedEntry
from lab.history.requests import HttpBeginEntry

_SAID: Final = {"yes": REASON_OF_RECORD, "no": "ok"}
"""Whether a customer is blocked, as the answer of a party."""

_REASONS: Final = (*OBJECTIONS.values(), REASON_OF_RECORD)


class DecidedAsTold(Check):
    """VALIDATED with three answers without an objection, REJECTED with the objection of one.

    Warehouse and antifraud have a ledger of the questions that they understood and of the answers
    that they gave. The record of a customer is read from our own store, which knows who is blocked.
    The questions are compared with the order as its client asked for it. A party that said yes and
    no about the same order proves nothing: the answer that came first may have been lost.
    """

    name = "decided-as-told"
    sentence = "an order is validated or rejected as those say who were asked about this very order"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._blocked: dict[str, None] = {}

    def folds(self) -> Mapping[str, Fold]:
        return {"blocked": self._note_blocked}

    def _note_blocked(self, entry: BlockedEntry) -> None:
        self._blocked[entry.customer] = None

    def judge(self, case: Case) -> None:
        if case.is_revived or not case.is_whole:
            return
        state, reason = _decision(case)
        if not state:
            return
        self.checked += 1
        asked = case.begun[0] if case.begun else None
        wrong = _other_question(case, asked)
        if not wrong:
            said = _said(case)
            if asked is not None and asked.customer in self._blocked:
                said[CUSTOMERS] = (REASON_OF_RECORD,)
            wrong = _unheard(said) if state == "VALIDATED" else _unsaid(said, reason)
        if wrong:
            self.breaks(case, wrong)


def _decision(case: Case) -> tuple[str, str]:
    """VALIDATED or REJECTED and why, `"", ""` while nothing is decided."""
    for row in case.rows:
        if row.state in ("VALIDATED", "REJECTED"):
            return row.state, row.reason
    return "", ""


def _said(case: Case) -> dict[str, tuple[str, ...]]:
    """Every answer about an order, by the party that gave it."""
    said: dict[str, tuple[str, ...]] = {"warehouse": (), "antifraud": (), CUSTOMERS: ()}
    for answered in case.answered:
        if answered.provider in said:
            said[answered.provider] += (answered.answer,)
    for _, answer in case.looked:
        said[CUSTOMERS] += (_SAID.get(answer, answer),)
    return said


def _other_question(case: Case, asked: HttpBeginEntry | None) -> str:
    """A party was asked about something else than what the client ordered."""
    if asked is None or not asked.customer:
        return ""
    for answered in case.answered:
        wrong = ""
        if answered.provider == "warehouse" and answered.items != asked.items:
            wrong = "the warehouse was asked about other goods than the customer's"
        elif answered.provider == "antifraud":
            wrong = _other_buyer(case, answered, asked)
        if wrong:
            return wrong
    for customer, _ in case.looked:
        if customer != asked.customer:
            return f"the record of customer {customer} was read; the customer is {asked.customer}"
    return ""


def _other_buyer(case: Case, answered: AnsweredEntry, asked: HttpBeginEntry) -> str:
    if answered.customer != asked.customer:
        return (
            f"antifraud was asked about customer {answered.customer}; the customer is "
            f"{asked.customer}"
        )
    amount, currency = ordered(case)
    if answered.amount_cents != amount:
        other = minor(answered.amount_cents, currency)
        return f"antifraud was asked about {other}; the order is {minor(amount, currency)}"
    return ""


def _unheard(said: Mapping[str, tuple[str, ...]]) -> str:
    """Of a VALIDATED order: a party that did not agree."""
    for party, answers in said.items():
        if "ok" not in answers:
            no = [answer for answer in answers if answer in _REASONS]
            what = no[-1] if no else f"nothing but {answers[-1]}" if answers else "nothing"
            return f"it is VALIDATED, and {party} said {what}"
    return ""


def _unsaid(said: Mapping[str, tuple[str, ...]], reason: str) -> str:
    """Of a REJECTED order: a reason that nobody gave; "" is a reason that is not known."""
    objections = dict.fromkeys(
        answer for answers in said.values() for answer in answers if answer in _REASONS
    )
    if reason in objections or (objections and not reason):
        return ""
    others = " and ".join(objections) or "nobody objected"
    return f"it is REJECTED{f' for {reason}' if reason else ''}, and the answers say: {others}"
