"""What a client may be shown of its order, and when it is too late or too early for it."""

from collections.abc import Callable

import pytest

from lab.checks.order_case import Case
from lab.checks.shown_orders import wrongly_shown
from lab.history.facts import AppendedEntry, RowEntry
from lab.history.requests import ShownEntry

SECOND = 1_000_000
SUBJECT = "37.1"
LATER_US = 50_000
OF_ROW = ("EUR", 1_020, "b", "")


def rows(*states: str) -> tuple[RowEntry, ...]:
    """One version a second, from the first second on."""
    return tuple(
        RowEntry("row", n * SECOND, "store", SUBJECT, n, state, f"e{n}", "", *OF_ROW)
        for n, state in enumerate(states, 1)
    )


def record(event_id: str, t_us: int) -> AppendedEntry:
    where = ("orders", 0, 0, event_id, "", "", 0, "00-1", "o")
    told = (0, "", "", "", "o", "", 0, 0)
    return AppendedEntry("appended", t_us, "bus", SUBJECT, *where, *told)


def shown(
    state: str,
    version: int,
    *,
    at_s: float,
    how: str = "alone",
    status: int = 200,
    order_id: str = "o",
    amount_cents: int = 1_020,
    took_us: int = 1_000,
) -> ShownEntry:
    what = (order_id, how, status, version, state, amount_cents, "EUR", took_us)
    return ShownEntry("shown", int(at_s * SECOND), "client", SUBJECT, *what)


def case(look: ShownEntry) -> Case:
    made = Case(SUBJECT)
    made.rows = rows("PENDING", "CANCELLED", "REFUND_PENDING")
    made.first = ("00-1", "o")
    # Each event stands in its topic a moment after its row.
    made.published = {row.event_id: record(row.event_id, row.t_us + LATER_US) for row in made.rows}
    made.shown = (look,)
    return made


@pytest.mark.parametrize(
    "look",
    [
        shown("CANCELLED", 2, at_s=2.5),
        # Asked for just before it moved on, or before everybody could see that, answered after it.
        shown("CANCELLED", 2, at_s=3.03),
        shown("CANCELLED", 2, at_s=3.2, took_us=SECOND // 2),
        shown("CANCELLED", 2, at_s=3.2, how="unchanged", status=304, took_us=SECOND // 2),
        shown("REFUND_PENDING", 3, at_s=90, how="listed"),
        # Another order, made under the same key.
        shown("PENDING", 1, at_s=90, order_id="other"),
        shown("", 0, at_s=90, status=408),
    ],
)
def test_an_order_may_be_shown_as_it_was_while_its_client_waited(look: ShownEntry) -> None:
    assert wrongly_shown(case(look), 0) == ""


@pytest.mark.parametrize(
    ("look", "wrong"),
    [
        (
            shown("CANCELLED", 2, at_s=3.2),
            "it was shown as CANCELLED, and had been REFUND_PENDING before",
        ),
        (
            shown("CANCELLED", 2, at_s=3.2, how="unchanged", status=304),
            "it was shown as CANCELLED, and had been REFUND_PENDING before",
        ),
        (shown("CANCELLED", 2, at_s=1.5), "it was shown as CANCELLED before it was that"),
        (
            shown("PAID", 2, at_s=2.5),
            "it was shown as PAID in version 2, and was CANCELLED then",
        ),
        (shown("PAID", 4, at_s=9), "it was shown in version 4, which it never had"),
        (
            shown("CANCELLED", 2, at_s=2.5, amount_cents=10),
            "it was shown with 10 minor units of EUR",
        ),
        (
            shown("", 0, at_s=2.5, status=404),
            "its client was answered with 404 where it was told that it stands",
        ),
        (
            shown("", 0, at_s=2.5, how="missing", status=200),
            "the list of its customer leaves it out",
        ),
    ],
)
def test_what_is_shown_otherwise_is_wrong(look: ShownEntry, wrong: str) -> None:
    assert wrongly_shown(case(look), 0) == wrong


def test_clocks_may_differ_by_the_slack() -> None:
    assert wrongly_shown(case(shown("CANCELLED", 2, at_s=3.2)), SECOND // 2) == ""
    assert wrongly_shown(case(shown("CANCELLED", 2, at_s=1.8)), SECOND // 2) == ""


@pytest.fixture(name="packed")
def _packed() -> Callable[[ShownEntry], Case]:
    def packed(look: ShownEntry) -> Case:
        kept = case(look).packed(is_looked_at=True)
        revived = Case.unpacked(SUBJECT, kept)
        revived.shown = (look,)
        return revived

    return packed


def test_an_order_that_was_packed_is_known_by_when_it_came_to_its_end(
    packed: Callable[[ShownEntry], Case],
) -> None:
    late, in_time = shown("CANCELLED", 2, at_s=9), shown("CANCELLED", 2, at_s=2.9)

    assert wrongly_shown(packed(late), 0)
    assert wrongly_shown(packed(in_time), 0) == ""
    assert wrongly_shown(packed(shown("REFUND_PENDING", 3, at_s=9)), 0) == ""


def test_what_nobody_may_have_seen_is_not_missed() -> None:
    unpublished = case(shown("CANCELLED", 2, at_s=9))
    del unpublished.published["e3"]

    assert wrongly_shown(unpublished, 0) == ""


def test_the_time_is_kept_only_where_clients_look() -> None:
    looked_at = case(shown("CANCELLED", 2, at_s=2.5))

    assert looked_at.packed(is_looked_at=True).last_us == 3 * SECOND + LATER_US
    assert looked_at.packed(is_looked_at=False).last_us == 0
