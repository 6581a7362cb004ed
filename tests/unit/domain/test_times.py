"""The instant of an event: as the lab writes it, and as anybody else may."""

import pytest

from lab.domain.envelope import format_time, parse_time


@pytest.mark.parametrize("time_us", [0, 1, 999_999, 1_735_689_600_000_000, 1_735_689_600_123_456])
def test_a_time_is_read_as_it_was_written(time_us: int) -> None:
    assert parse_time(format_time(time_us)) == time_us


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        (b"1970-01-01T00:00:01Z", 1_000_000),
        (b"1970-01-01T01:00:01.5+01:00", 1_500_000),
        (b"1970-01-01T00:00:01.000002Z", 1_000_002),
        (b"1969-12-31T23:59:59.999999Z", -1),
    ],
)
def test_every_form_of_an_instant_is_read(text: bytes, time_us: int) -> None:
    assert parse_time(text) == time_us


@pytest.mark.parametrize(
    "text",
    [
        b"1970-01-01T00:00:01",
        b"1970-01-01T00:00:01.000002",
        b"1970-01-01T00:00:01.000002X",
        b"19700101T000000.123.000002Z",
        b"1970-13-01T00:00:01.000002Z",
        b"soon",
        b"\xff",
    ],
)
def test_what_is_no_instant_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)
