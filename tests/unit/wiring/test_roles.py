"""The API of a process: how many requests it has in hand, and what it does with new ones."""

from lab.patterns.load_shedding import LoadShedding
from lab.wiring.process.roles import Api
from tests.kit.chain_parts import Entries, make_pen


def make_api(entries: Entries) -> Api:
    pen = make_pen(int, entries)
    return Api(door=LoadShedding(in_flight_max=2, pen=pen), pen=pen)


def test_the_most_requests_that_were_let_in_at_once_are_told_when_they_grow() -> None:
    entries = Entries()
    api = make_api(entries)

    for _ in range(2):
        api.enter()
        assert api.admits()
        api.leave()
    api.enter()
    api.enter()
    assert api.admits()
    api.enter()
    assert not api.admits()

    assert entries.of("admitted") == [(1,), (2,)]
    assert entries.of("acted") == [("load_shedding", "shed")]


def test_a_probe_is_no_request_that_was_let_in() -> None:
    entries = Entries()
    api = make_api(entries)
    api.enter()

    assert api.is_ready()
    assert entries == []


def test_an_api_that_stops_takes_no_work_and_sheds_nothing() -> None:
    entries = Entries()
    api = make_api(entries)
    api.enter()
    api.refuse()

    assert not api.admits()
    assert not api.is_ready()
    assert entries == []
