"""The entries of a process while it works: the journal first, and whoever looks on harms nobody."""

import logging

import pytest

from lab.history.entries import Entry
from lab.observe.live import Live

ONE: Entry = ("held", 1, "p", "", "payment", 1)
TWO: Entry = ("held", 2, "p", "", "payment", 2)


class Sink:
    def __init__(self, seen: list[tuple[str, Entry]], name: str, *, fails_at: int = 0) -> None:
        self._seen = seen
        self._name = name
        self._left = fails_at

    def take(self, entry: Entry, /) -> None:
        self._seen.append((self._name, entry))
        self._left -= 1
        if not self._left:
            raise ZeroDivisionError("a mistake of ours")


def test_an_entry_is_in_the_journal_before_anybody_looks_at_it() -> None:
    seen: list[tuple[str, Entry]] = []
    live = Live(lambda entry: seen.append(("journal", entry)), [Sink(seen, "a"), Sink(seen, "b")])
    assert live.write is not None

    live.write(ONE)

    assert seen == [("journal", ONE), ("a", ONE), ("b", ONE)]


def test_without_a_journal_the_sinks_take_the_entries() -> None:
    seen: list[tuple[str, Entry]] = []
    write = Live(None, [Sink(seen, "a")]).write
    assert write is not None

    write(ONE)

    assert seen == [("a", ONE)]


def test_where_nobody_looks_nobody_writes() -> None:
    assert Live(None, []).write is None


def test_a_journal_alone_is_written_to_without_a_frame_between() -> None:
    entries: list[Entry] = []
    journal = entries.append

    assert Live(journal, []).write is journal


def test_a_sink_that_fails_is_reported_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, Entry]] = []
    live = Live(None, [Sink(seen, "bad", fails_at=1), Sink(seen, "good")])
    write = live.write
    assert write is not None

    with caplog.at_level(logging.ERROR, logger="lab"):
        write(ONE)
        write(TWO)

    assert seen == [("bad", ONE), ("good", ONE), ("good", TWO)]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "Sink failed" in record.getMessage()


def test_a_journal_that_fails_fails_the_writer() -> None:
    def full(_: Entry) -> None:
        raise OSError("the disk is full")

    write = Live(full, [Sink([], "a")]).write
    assert write is not None

    with pytest.raises(OSError, match="full"):
        write(ONE)
