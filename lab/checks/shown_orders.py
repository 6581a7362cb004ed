"""Whether a client was shown its order as it stood: the order itself, and the list of its customer.

Not here: the answers to its wishes (`promises/orders.py`), and how it looks (`lab.scenarios`).
"""

from collections.abc import Mapping
from typing import Final

from lab.checks.order_case import Case
from lab.history.facts import RowEntry
from lab.history.requests import ShownEntry

_TIMED_OUT: Final = 408
_NOT_IT: Final[Mapping[str, str]] = {
    "missing": "the list of its customer leaves it out",
    "twice": "the list of its customer has an order twice",
    "too_many": "a page of the list of its customer has more orders than he asked for",
    "of_other": "the list of its customer has an order of another one",
}


def wrongly_shown(case: Case, slack_us: int) -> str:
    """The fault in what a client was shown of its order, in words; "" if there is none.

    Args:
        case: of an order that is whole.
        slack_us: by so much clocks may differ.
    """
    root, rows = case.root(), case.rows
    if root is None or not rows:
        return ""
    for shown in case.shown:
        # Under the key of another request it may be that one's order.
        if shown.order_id == root[1] and shown.status != _TIMED_OUT:
            wrong = _refused(shown) or _NOT_IT.get(shown.how, "")
            wrong = wrong or _other_than_stored(case, shown, slack_us)
            if wrong:
                return wrong
    return ""


def _refused(shown: ShownEntry) -> str:
    if shown.status in (200, 304):
        return ""
    where = "where it was told that it stands"
    if shown.how == "missing":
        where = "for a page of the list of its customer"
    return f"its client was answered with {shown.status} {where}"


def _other_than_stored(case: Case, shown: ShownEntry, slack_us: int) -> str:
    version, rows = shown.version, case.rows
    if not 0 < version <= len(rows):
        return f"it was shown in version {version}, which it never had"
    row = rows[version - 1]
    if shown.state != row.state:
        return f"it was shown as {shown.state} in version {version}, and was {row.state} then"
    if (shown.amount_cents, shown.currency) != (row.amount_cents, row.currency):
        return f"it was shown with {shown.amount_cents} minor units of {shown.currency}"
    if row.t_us - slack_us > shown.t_us:
        return f"it was shown as {shown.state} before it was that"
    asked_us = shown.t_us - shown.took_us
    seen_us = _seen_us(case, rows[version]) if version < len(rows) else None
    if seen_us is not None and seen_us + slack_us < asked_us:
        return f"it was shown as {shown.state}, and had been {rows[version].state} before"
    return ""


def _seen_us(case: Case, row: RowEntry) -> int | None:
    """When everybody could see a version, at the latest; None if that is not known.

    A row has the time of its change, which its commit makes visible a little later: whoever
    published its event had seen it. Of a case that was packed the last of them is known.
    """
    if case.last_us:
        return case.last_us
    record = case.published.get(row.event_id)
    return None if record is None else record.t_us
