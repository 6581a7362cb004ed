"""The pattern load_shedding and its weak part."""

from lab.patterns.load_shedding import AdmitAll, LoadShedding
from tests.kit.chain_parts import PROCESS, SECOND, Entries, Hand, make_pen


def make_door(entries: Entries | None = None) -> LoadShedding:
    hand = Hand(us=7 * SECOND)
    return LoadShedding(in_flight_max=3, pen=make_pen(hand.now_us, entries))


def test_requests_are_let_in_up_to_the_bound_and_shed_beyond_it() -> None:
    door = make_door()

    assert [door.admits(in_hand) for in_hand in range(1, 6)] == [True, True, True, False, False]


def test_each_request_that_is_shed_is_told_once() -> None:
    entries = Entries()
    door = make_door(entries)

    for in_hand in (3, 4, 4, 2):
        door.admits(in_hand)

    shed = ("acted", 7 * SECOND, PROCESS, "", "load_shedding", "shed")
    assert entries == [shed, shed]


def test_without_the_pattern_everybody_is_let_in() -> None:
    door = AdmitAll(in_flight_max=3)

    assert door.admits(10**6)
