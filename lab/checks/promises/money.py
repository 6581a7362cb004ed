"""Promises about money, by the ledger of the payment gateway and by the committed intents.

Not here: the charges that processes believe to have made. Only the ledger counts.
"""

from lab.checks.check import Check, Seen, seconds, times
from lab.checks.contract import Contract
from lab.checks.order_case import Case
from lab.checks.tables import CHARGE_IN, REFUND_IN, TERMINAL


class NoDoubleCharge(Check):
    """By the ledger, in its order: captures less refunds are 0 or 1 at every moment."""

    name = "no-double-charge"
    sentence = "at no moment is an order charged twice, or more given back than was taken"

    def judge(self, case: Case) -> None:
        net, is_moved = 0, False
        taken: list[int] = []
        for line in case.ledger:
            if line.action == "capture":
                net, is_moved = net + 1, True
                taken.append(line.t_us)
            elif line.action == "refund":
                net, is_moved = net - 1, True
            else:
                is_moved |= line.action == "decline"
                continue
            if not 0 <= net <= 1:
                what = f"{len(taken)} captures, at {' and '.join(map(seconds, taken))}"
                self.breaks(case, what if net > 1 else "more refunds than captures")
                break
        self.checked += is_moved


class MoneyMatches(Check):
    """Money is kept iff the order is CONFIRMED, and every amount is what its client asked for.

    An order that is neither terminal nor finished, or has an open intent, has open money: it is
    listed, and `converges` judges whether it may stand there.
    """

    name = "money-matches"
    sentence = "money is kept if and only if the order is confirmed, and it is what was ordered"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._open: dict[str, tuple[int, int]] = {}

    def judge(self, case: Case) -> None:
        if not case.rows or not case.is_whole:
            return
        self.checked += 1
        amount, currency = ordered(case)
        kept = 0
        for line in case.ledger:
            action = line.action
            if action not in ("capture", "refund"):
                continue
            cents, of = line.amount_cents, line.currency
            if type(cents) is not int or cents != amount or (of and of != currency):
                moved, owed = minor(cents, of or currency), minor(amount, currency)
                self.breaks(case, f"a {action} of {moved}; the order is {owed}")
                return
            kept += cents if action == "capture" else -cents
        if case.state == "CONFIRMED" and kept != amount:
            self.breaks(case, f"it is CONFIRMED, and {kept} of {minor(amount, currency)} are kept")
        elif case.state not in TERMINAL or (not case.is_finished and case.has_open_intent()):
            if kept:
                orders, cents = self._open.get(currency, (0, 0))
                self._open[currency] = (orders + 1, cents + kept)
        elif case.state != "CONFIRMED" and kept:
            self.breaks(case, f"it is {case.state}, and {minor(kept, currency)} are kept")

    def conclude(self, seen: Seen) -> None:  # noqa: ARG002 - the money is known from the cases
        self.note = ", ".join(
            f"open money: {times(orders, 'order')}, {minor(cents, currency)}"
            for currency, (orders, cents) in sorted(self._open.items())
        )


def ordered(case: Case) -> tuple[int, str]:
    """Amount and currency as the client counts them, or as stored if it cannot."""
    asked = case.begun[0] if case.begun and case.begun[0].currency else case.rows[0]
    return asked.amount_cents, asked.currency


def minor(amount: int, currency: str) -> str:
    """An amount as it is counted: 1020 minor units of GBP are 10 pounds and 20 pence."""
    return f"{amount} minor units of {currency}"


class ChargeAfterValidation(Check):
    """The commit of an intent stands in a state in which money may be moved; captures have one."""

    name = "charge-after-validation"
    sentence = "nothing is charged before an order is validated, or refunded before it is due"

    def judge(self, case: Case) -> None:
        for intent in case.intents:
            kind, state = intent.intent_kind, intent.state
            if intent.op == "close":
                continue
            self.checked += 1
            if state not in (CHARGE_IN if kind == "charge" else REFUND_IN):
                self.breaks(case, f"a {kind} was announced while it was {state}")
                return
        if case.is_whole and not case.is_revived:
            opened = {intent.intent_kind for intent in case.intents if intent.op == "open"}
            moved = {line.action for line in case.ledger}
            for kind, action in (("charge", "capture"), ("refund", "refund")):
                if action in moved and kind not in opened:
                    self.checked += 1
                    self.breaks(case, f"a {action} without an announced {kind}")
