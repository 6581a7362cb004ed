"""Main topics and retry topics take turns."""

from lab.bus.turns import Turns


def test_retry_topics_come_first_every_other_time_that_they_have_records() -> None:
    turns = Turns()

    assert [turns.retries_first(at_hand=True) for _ in range(5)] == [True, False, True, False, True]


def test_a_turn_without_records_is_not_taken() -> None:
    turns = Turns()

    assert not turns.retries_first(at_hand=False)
    assert turns.retries_first(at_hand=True)
    assert not turns.retries_first(at_hand=False)
    assert turns.retries_first(at_hand=True)
