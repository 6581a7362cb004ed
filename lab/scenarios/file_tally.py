"""What became of the orders of a file: the money of the accepted ones, and why not the others.

Not here: the counts of all intents (`client`), and what could not be read (`workload`).
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from lab.history.contents import asked_by
from lab.scenarios.orders_lines import decode_json
from lab.scenarios.workload import PlannedOrder

LISTED_MAX: Final = 10
_SHOWN_MAX: Final = 40
_STEPS: Final = re.compile(r"[^.\[\]]+")


class RefusedField(msgspec.Struct, frozen=True):
    """One reason against an order: a field such as `items[0].quantity`, and what stands there."""

    reason: str
    field: str
    value: str


class RefusedOrder(msgspec.Struct, frozen=True):
    """An order that the API refused; `line` is that of the file."""

    order: int
    line: int
    reasons: tuple[RefusedField, ...]


@dataclass(slots=True)
class FileTally:
    """Amounts of accepted orders by currency, in minor units; and the first ten refused orders.

    `taken` and `refusals` count all of them.
    """

    amounts: Counter[str] = field(default_factory=Counter)
    refused: list[RefusedOrder] = field(default_factory=list)
    taken: int = 0
    refusals: int = 0

    def accepted(self, order: PlannedOrder) -> None:
        """Add what the file says of its amount."""
        self.taken += 1
        cents, currency, *_ = asked_by(order.body)
        self.amounts[currency] += cents

    def refuse(self, order: PlannedOrder, reasons: "list[tuple[str, str]]") -> None:
        """Remember where the file has what was refused; `reasons` are pairs of reason and field."""
        self.refusals += 1
        if len(self.refused) < LISTED_MAX:
            body = decode_json(order.body)
            found = tuple(RefusedField(why, at, _value(body, at)) for why, at in reasons)
            self.refused.append(RefusedOrder(order.ordinal, order.line, found))


def _value(body: object, at: str) -> str:
    """What stands in a field of the body, as JSON; "" if it is not there."""
    found = body
    for step in _STEPS.findall(at):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return ""
    text = json.dumps(found)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
