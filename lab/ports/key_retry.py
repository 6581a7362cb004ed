"""Keys in retry: rows that keep a key's events in order while one of them waits to be retried.

A key in retry has one lock row per group; its unfinished events are rows behind it in order of
arrival, the failed one first. Every method is one transaction under that lock row: two callers
never see it half done, and a caller that dies leaves it as it was before or after.
"""

from enum import StrEnum
from typing import Protocol

import msgspec

from lab.domain.content_mode import event_type_of
from lab.ports.bus import Delivery, Record
from lab.ports.parking import original


class WaitingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a key in retry.

    Attributes:
        record: the original record of a main topic, bytes and headers verbatim.
        attempts: attempts already made.
        not_before_us: database time before which it is not tried.
    """

    group: str
    key: str
    event_id: str
    arrival: int
    record: Record
    attempts: int
    not_before_us: int
    redrives: int
    is_dead: bool
    first_failure_us: int
    failures: tuple[tuple[int, str, str], ...]


class HeadRun(Delivery, gc=False):
    """The head of a key, as it is handed to the links inside in place of its alarm."""


class Arrival(StrEnum):
    """The store's answer to a record of a main topic."""

    FREE = "free"
    HEAD = "head"
    WAITING = "waiting"
    APPENDED = "appended"
    DONE = "done"


class KeyRetryStore(Protocol):
    """Locks and rows of keys in retry. Times are database time in microseconds."""

    async def arrive(self, row: WaitingRow) -> tuple[Arrival, WaitingRow | None]:
        """A record of a main topic came.

        FREE: the key has no lock, nothing was written. DONE: the event has an outcome `done` or
        `dead` at these or more redrives and is no row. HEAD: it is the head row, which is
        returned. WAITING: it is a row already. APPENDED: it is a row now.
        """
        ...

    async def park(self, row: WaitingRow) -> WaitingRow | None:
        """The first failure of an event: lock its key with it as the head row; returns the head.

        If somebody locked the key meanwhile, the event is appended unless it is a row already, and
        the head that is returned may be another one. None: the event has an outcome `done`, or
        `dead` at these or more redrives, and is no row; nothing was written.
        """
        ...

    async def head(self, group: str, key: str) -> tuple[WaitingRow | None, int]:
        """The head row (None if the key is not in retry), and database time."""
        ...

    async def reschedule(self, row: WaitingRow) -> bool:
        """Store attempts, not-before and failures of the head.

        False, and nothing is written, if it is the head no more, or was redriven since.
        """
        ...

    async def finish(self, group: str, key: str, event_id: str) -> WaitingRow | None:
        """Delete the head if it is `event_id`; with the last row the lock goes too.

        Returns the head that remains, or None if the key is free.
        """
        ...

    async def bury(self, group: str, key: str, event_id: str, redrives: int) -> None:
        """Mark the head dead if it is `event_id` and was not redriven since.

        Rows behind it stay until redrive or discard.
        """
        ...

    async def revive(self, row: WaitingRow) -> bool:
        """A redrive of an event that is a row: alive, attempts 0, its `redrives`.

        False, and nothing is written, if it is no row or has as many redrives already. A head need
        not be marked dead yet: its letter is published first, and the process may have died since.
        """
        ...

    async def discard(self, row: WaitingRow) -> bool:
        """Somebody gives up an event that is a row: the row is deleted.

        With the last row the lock goes too. False, and nothing is written, if it is no row or has
        as many redrives as `row`: it was redriven since.
        """
        ...


def key_of(record: Record) -> str:
    """The key of a lock."""
    return record.key.decode(errors="replace")


def row_of(delivery: Delivery, *, attempts: int, not_before_us: int = 0) -> WaitingRow:
    """The row of an event that waits; its record as it stood in the main topic."""
    record = delivery.record
    return WaitingRow(
        group=delivery.group,
        key=key_of(record),
        event_id=delivery.event_id,
        arrival=0,
        record=original(record),
        attempts=attempts,
        not_before_us=not_before_us,
        redrives=delivery.redrives,
        is_dead=False,
        first_failure_us=delivery.first_failure_us,
        failures=delivery.failures,
    )


def run_of(row: WaitingRow, alarm: Delivery) -> HeadRun:
    """The delivery of a head, under the epoch of its alarm."""
    return HeadRun(
        record=row.record,
        group=row.group,
        epoch=alarm.epoch,
        attempt=row.attempts + 1,
        event_type=event_type_of(row.record.headers, row.record.value),
        event_id=row.event_id,
        subject=alarm.subject,
        redrives=row.redrives,
        starts_known=False,
        first_failure_us=row.first_failure_us,
        failures=row.failures,
    )
