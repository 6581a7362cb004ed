"""The API of a process: how many requests it has in hand, and what it does with new ones."""

from lab.patterns.load_shedding import LoadShedding
from lab.wiring.process.roles import Api
from tests.kit.chain_parts import Entries, make_pen
from tests.kit.virtual_steps import run


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


def test_an_api_that_is_busy_is_ready_and_a_probe_is_no_request_that_was_let_in() -> None:
    entries = Entries()
    api = make_api(entries)
    for _ in range(5):
        api.enter()

    assert run(api.is_ready())
    assert entries == []


def test_an_api_that_drains_asks_for_no_work_and_takes_what_comes_all_the_same() -> None:
    api = make_api(Entries())
    api.drain()
    api.enter()

    assert not run(api.is_ready())
    assert api.admits()


def test_an_api_that_stops_takes_no_work_and_sheds_nothing() -> None:
    entries = Entries()
    api = make_api(entries)
    api.enter()
    api.refuse()

    assert not api.admits()
    assert not run(api.is_ready())
    assert entries == []
