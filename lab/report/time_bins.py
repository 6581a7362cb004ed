"""Bins of time: however long a run is, there are a thousand at most, and each knows its numbers.

Not here: what is counted (`course`).
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

BINS_MAX: Final = 1_024
FIRST_WIDTH_US: Final = 1_000
BITS: Final = 6
"""Lengths share buckets that are at most 1/32 of the length wide."""


class Level(IntEnum):
    """Something that goes up and down."""

    OPEN = 0
    OUTBOX = 1
    RECORDS = 2


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a while.

    Attributes:
        start_us: its begin, in microseconds of the history.
        accepted, refused, ended: orders.
        p50_us, p95_us: how long orders took that were posted now; None if there are none.
        open: accepted and not ended; `outbox`: events committed and not published; `records`:
            published and not settled by a group that reads them; each the most at one moment.
        faults: how often each kind fired.
    """

    start_us: int
    accepted: int
    refused: int
    ended: int
    p50_us: int | None
    p95_us: int | None
    open: int
    outbox: int
    records: int
    faults: dict[str, int]


class Bin:
    """One bin.

    Attributes:
        highest: the most that each level came to by a step in it.
        last: the levels after the last step in it; None if there was none.
    """

    __slots__ = ("accepted", "ended", "faults", "highest", "last", "latencies", "refused")

    def __init__(self) -> None:
        self.accepted = self.refused = self.ended = 0
        self.faults: dict[str, int] = {}
        self.latencies: dict[int, int] = {}
        self.highest = [0] * len(Level)
        self.last: list[int] | None = None

    def add_latency(self, us: int) -> None:
        """Count one length."""
        shift = max(us.bit_length() - BITS, 0)
        bucket = us >> shift << shift
        self.latencies[bucket] = self.latencies.get(bucket, 0) + 1

    def add(self, later: "Bin") -> None:
        """Take in the numbers of a bin that follows this one."""
        self.accepted += later.accepted
        self.refused += later.refused
        self.ended += later.ended
        for kind, fired in later.faults.items():
            self.faults[kind] = self.faults.get(kind, 0) + fired
        for bucket, orders in later.latencies.items():
            self.latencies[bucket] = self.latencies.get(bucket, 0) + orders
        self.highest = list(map(max, self.highest, later.highest))
        self.last = later.last or self.last

    def percentile(self, percent: int) -> int | None:
        """The length that `percent` of all do not exceed."""
        left = sum(self.latencies.values()) * percent / 100
        for bucket, orders in sorted(self.latencies.items()):
            left -= orders
            if left <= 0:
                return bucket
        return None


class Bins:
    """All bins of a run; two become one when there are too many."""

    def __init__(self) -> None:
        self.width_us = FIRST_WIDTH_US
        self._bins: dict[int, Bin] = {}
        self._levels = [0] * len(Level)
        self._number = -1
        self._bin = Bin()

    def at(self, t_us: int) -> Bin:
        """The bin of a moment."""
        number = t_us // self.width_us
        if number == self._number:
            return self._bin
        found = self._bins.get(number)
        if found is None:
            found = self._bins[number] = Bin()
            while len(self._bins) > BINS_MAX:
                self._merge()
                number = t_us // self.width_us
                found = self._bins[number]
        self._number, self._bin = number, found
        return found

    def step(self, t_us: int, level: Level, by: int) -> None:
        """A level goes up or down."""
        now = self._levels[level] = self._levels[level] + by
        found = self.at(t_us)
        found.last = self._levels.copy()
        found.highest[level] = max(found.highest[level], now)

    def width_of(self, start_us: int, end_us: int, columns: int) -> int:
        """The width that makes so many columns or less of this time."""
        width_us = self.width_us
        while end_us // width_us - start_us // width_us >= columns:
            width_us *= 2
        return width_us

    def columns(self, start_us: int, end_us: int, columns: int) -> tuple[Column, ...]:
        """Everything in so many columns of equal width, or less."""
        width_us = self.width_of(start_us, end_us, columns)
        times = width_us // self.width_us
        first, last = start_us // width_us, end_us // width_us
        made: dict[int, Bin] = {}
        for number, one in self._sorted():
            place = min(max(number // times, first), last)
            made.setdefault(place, Bin()).add(one)
        return tuple(_columns(made, first, last, width_us))

    def _sorted(self) -> Iterator[tuple[int, Bin]]:
        return iter(sorted(self._bins.items()))

    def _merge(self) -> None:
        self.width_us *= 2
        merged: dict[int, Bin] = {}
        for number, one in self._sorted():
            merged.setdefault(number // 2, Bin()).add(one)
        self._bins = merged
        self._number = -1


def _columns(made: dict[int, Bin], first: int, last: int, width_us: int) -> Iterator[Column]:
    """One column after the other; where nothing happened the levels stay what they were."""
    levels = [0] * len(Level)
    nothing = Bin()
    for number in range(first, last + 1):
        one = made.get(number, nothing)
        highest = list(map(max, levels, one.highest))
        levels = one.last or levels
        yield Column(
            start_us=number * width_us,
            accepted=one.accepted,
            refused=one.refused,
            ended=one.ended,
            p50_us=one.percentile(50),
            p95_us=one.percentile(95),
            open=highest[Level.OPEN],
            outbox=highest[Level.OUTBOX],
            records=highest[Level.RECORDS],
            faults=dict(one.faults),
        )
