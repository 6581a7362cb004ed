"""Main topics and retry topics take turns."""

from lab.bus.turns import Turns


def test_retry_topics_come_first_every_other_time_that_they_have_records() -> None:
    turns = Turns()

    assert [turns.retries_first() for _ in range(5)] == [True, False, True, False, True]
