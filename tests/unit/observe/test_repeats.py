"""Lines that say the same again: one a second, and the next one says how many were held back."""

import logging
from itertools import pairwise
from typing import Any

from lab.observe.repeats import KINDS_MAX, REPEATED, Repeats


def line(
    at_s: float,
    template: str = "cannot reach node %s",
    *,
    name: str = "uvicorn",
    level: int = logging.ERROR,
    **extra: Any,
) -> logging.LogRecord:
    """A record of a log, made at this time."""
    record = logging.LogRecord(name, level, "client.py", 1, template, (at_s,), None)
    record.created = at_s
    record.__dict__.update(extra)
    return record


def written(*lines: logging.LogRecord) -> list[tuple[float, int]]:
    """When a line got through, and how many others it says were held back."""
    filtered = Repeats()
    return [(one.created, getattr(one, REPEATED, 0)) for one in lines if filtered.filter(one)]


def test_of_forty_lines_a_second_one_is_written_and_the_next_tells_of_the_others() -> None:
    lines = [line(number / 40) for number in range(40 * 3)]

    assert written(*lines) == [(0.0, 0), (1.0, 39), (2.0, 39)]


def test_no_line_is_lost_from_the_count() -> None:
    lines = [line(number * 0.3) for number in range(1_000)]

    told = written(*lines, line(1_000_000))

    assert len(told) + sum(repeated for _, repeated in told) == len(lines) + 1
    assert all(later - earlier >= 1 for (earlier, _), (later, _) in pairwise(told))


def test_what_comes_once_in_a_while_is_written_each_time() -> None:
    assert written(line(0), line(1), line(2.5)) == [(0, 0), (1, 0), (2.5, 0)]


def test_lines_of_another_logger_level_or_template_are_of_another_kind() -> None:
    lines = [
        line(0, name="lab"),
        line(0.1, name="asyncio"),
        line(0.2, name="lab", level=logging.WARNING),
        line(0.3, "the group is gone %s", name="lab"),
    ]

    assert len(written(*lines)) == 4


def test_all_that_the_client_of_a_server_says_is_one_line_a_second_with_a_count() -> None:
    lines = [
        line(n / 100, f"{word} %s", name=f"aiokafka.{word}", level=level)
        for n in range(50)
        for word, level in (("conn", logging.ERROR), ("cluster", logging.WARNING))
    ]

    told = written(*lines, line(0.7, name="asyncpg"), line(2, name="aiokafka"))

    assert told == [(0.0, 0), (0.7, 0), (2, 99)]


def test_numbers_in_a_text_that_has_no_template_make_no_kind() -> None:
    lines = [line(n / 10, f"task 0x7f{n}a of port {n} failed: %s") for n in range(5)]

    assert written(*lines, line(2, "task 0x1 of port 7 failed: %s")) == [(0.0, 0), (2, 4)]


def test_lines_about_different_events_are_all_written() -> None:
    dead = [
        line(n / 100, f"dead letter: event {n} %s", event={"id": f"{n}", "action": "dead-letter"})
        for n in range(20)
    ]

    assert len(written(*dead)) == 20


def test_a_line_of_the_fold_that_says_the_very_same_is_held_back() -> None:
    pauses = [
        line(n / 10, "starts nothing: down %s", event={"id": f"{n}", "action": "pause"})
        for n in range(5)
    ]

    assert written(*pauses) == [(0.0, 0)]


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    assert written(line(5_000), line(100), line(100.5)) == [(5_000, 0), (100, 0)]


def test_what_is_remembered_is_bounded() -> None:
    filtered = Repeats()
    letters = "abcdefghij"
    for number in range(KINDS_MAX + 10):
        name = "".join(letters[int(digit)] for digit in str(number))
        assert filtered.filter(line(0, f"{name} %s"))

    # The oldest was forgotten, and a younger one was not.
    assert filtered.filter(line(0.5, "a %s"))
    assert not filtered.filter(line(0.5, "bjj %s"))
