"""Any entry can be put into words, without ids, and what is done again is told so."""

import re
from typing import Any

import pytest

from lab.faults.table.spec import ordinal_of
from lab.history.entries import KINDS, Entry, kind_of, subject_of
from lab.story.told import Teller
from tests.kit.seen import entries_of

_TEXTS = {"op": "create", "currency": "GBP", "settlement": "ack", "action": "capture"}


def make_entry(kind: str) -> Entry:
    """One entry of a kind, every field with a value of its type."""
    values: list[Any] = [kind]
    texts = _TEXTS | ({"op": "add"} if kind == "waiting" else {})
    for name, annotation in [*KINDS[kind].__annotations__.items()][1:]:
        if annotation is int:
            values.append(3)
        elif annotation is bool:
            values.append(True)
        elif annotation is str:
            values.append(texts.get(name, f"some-{name}"))
        else:
            values.append(("0123456789abcdef0123456789abcdef",))
    return tuple(values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_entry_can_be_put_into_words(kind: str) -> None:
    told = Teller(()).told(make_entry(kind))

    assert len(told.split()) >= 2, told
    assert "_" not in kind or kind not in told


@pytest.mark.parametrize("scenario", ["duplicates", "crashes", "timeouts", "cancellation"])
def test_no_id_is_told_of_a_run(scenario: str) -> None:
    entries = [one for one in entries_of(scenario, 1) if ordinal_of(subject_of(one)) == 1]
    teller = Teller(entries)

    for entry in entries:
        told = teller.told(entry)
        assert not re.search(r"[0-9a-f]{12}", told), (kind_of(entry), told)


def test_what_is_done_again_is_told_so_each_time() -> None:
    revenue: Entry = ("revenue", 1, "store", "1.1", "notification", "e1", "GBP", 500)
    later: Entry = (revenue[0], 2, *revenue[2:])
    fourth: Entry = (revenue[0], 4, *revenue[2:])
    teller = Teller([revenue, later, (revenue[0], 3, *revenue[2:]), fourth])

    assert teller.told(revenue) == "the store adds 5.00 GBP to the revenue for an event"
    assert teller.told(later).endswith(", for the second time")
    assert teller.told(fourth).endswith(", for the 4th time")


@pytest.mark.parametrize(
    ("settlement", "told"),
    [
        ("ack", "payment-1 acknowledges OrderValidated (handled)"),
        ("retry", "payment-1 keeps OrderValidated for another attempt in 2 s (handled)"),
        ("dead", "payment-1 gives OrderValidated up (handled)"),
        ("release", "payment-1 gives OrderValidated back (handled)"),
        ("stale", "payment-1 drops OrderValidated: it is no longer its own (handled)"),
    ],
)
def test_each_settlement_has_its_words(settlement: str, told: str) -> None:
    row: Entry = (
        "row",
        0,
        "store",
        "1.1",
        2,
        "VALIDATED",
        "e2",
        "OrderValidated",
        "GBP",
        1,
        "",
        "",
    )
    entry: Entry = (
        "settle", 1, "payment-1", "1.1", "payment", "validation", 0, 0, 1, "e2", settlement,
        "handled", 2_000_000,
    )  # fmt: skip

    assert Teller([row]).told(entry) == told
