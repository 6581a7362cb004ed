"""The entry that broke a promise for good, found by judging prefixes."""

import pytest

from lab.faults.table.spec import ordinal_of
from lab.history.entries import Entry, kind_of, subject_of
from lab.story import turning
from lab.story.turning import turning_point
from tests.kit.histories import CONTRACT
from tests.kit.seen import entries_of

TWICE = "order 1: its revenue was added 2 times"


def about(ordinal: int, entries: tuple[Entry, ...]) -> list[Entry]:
    claims = ("claim", "complete", "unclaim")
    return [
        one
        for one in entries
        if kind_of(one) not in claims
        and (not subject_of(one) or ordinal_of(subject_of(one)) == ordinal)
    ]


def test_a_broken_promise_of_safety_turns_at_the_entry_that_breaks_it() -> None:
    entries = about(1, entries_of("duplicates", 1, "dedupe", "inbox"))

    place = turning_point(entries, CONTRACT, "effect-once", TWICE, 1)

    assert place is not None
    assert kind_of(entries[place]) == "revenue"
    assert [*map(kind_of, entries[: place + 1])].count("revenue") == 2


def test_it_turns_in_the_way_of_the_witness() -> None:
    entries = about(1, entries_of("duplicates", 1, "dedupe", "inbox"))

    assert turning_point(entries, CONTRACT, "effect-once", "order 1: something else", 1) is None


def test_a_promise_that_held_turns_nowhere() -> None:
    entries = about(1, entries_of("duplicates", 1))

    assert turning_point(entries, CONTRACT, "effect-once", TWICE, 1) is None
    assert turning_point([], CONTRACT, "effect-once", TWICE, 1) is None


def commit(part: str, t_us: int, process: str = "api-1", subject: str = "7.1") -> Entry:
    return (f"commit.{part}", t_us, process, subject, "api", "", False)


def life(t_us: int, process: str, event: str) -> Entry:
    return ("life", t_us, process, "", event)


def test_what_is_judged_at_the_end_turns_with_the_death_of_who_had_it_in_hand() -> None:
    entries = [
        commit("begin", 1),
        life(2, "payment-1", "kill"),
        life(3, "api-1", "kill"),
        commit("begin", 4, "api-1#2", "8.1"),
        life(5, "api-1#2", "kill"),
    ]

    assert turning._last_death(entries, 7) == 2
    assert turning._last_death(entries, 8) == 4
    assert turning._last_death(entries, 9) is None
    assert turning._last_death(entries, None) is None


def test_who_has_done_with_an_order_may_die() -> None:
    assert (
        turning._last_death([commit("begin", 1), commit("end", 2), life(3, "api-1", "kill")], 7)
        is None
    )


def test_else_it_turns_with_the_last_thing_that_was_done_about_the_order() -> None:
    unread: Entry = (
        "settle", 8, "orders-1", "7.1", "orders", "orders", 0, 0, 1, "e1", "ack", "unread", 0,
    )  # fmt: skip
    row: Entry = ("row", 9, "store", "7.1", 1, "PENDING", "e", "OrderCreated", "GBP", 1, "", "")
    entries = [commit("begin", 1), commit("end", 2), unread, row, life(10, "api-1", "stopped")]

    assert turning._last_deed(entries, 7) == 1
    assert turning._last_deed(entries, 8) is None


@pytest.mark.parametrize("first", [1, 2, 50, 99, 100])
def test_the_shortest_prefix_that_stays_broken_is_found(first: int) -> None:
    assert turning._last_turn(lambda count: count >= first, 100) == first


def test_one_that_only_looked_broken_for_a_while_does_not_count() -> None:
    def is_broken(count: int) -> bool:
        return 20 <= count < 60 or count >= 90

    assert turning._last_turn(is_broken, 100) == 90
