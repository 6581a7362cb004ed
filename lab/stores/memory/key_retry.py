"""Keys in retry in memory: for each locked key its rows, the head first.

Not here: the handling of a head (`lab.patterns.key_lanes`).
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from lab.ports.key_retry import Arrival, KeyRetryStore, WaitingRow
from lab.stores.memory.base import Crossing, crosses
from lab.stores.memory.facts import Facts
from lab.stores.memory.outage import Line, Outage
from lab.stores.memory.outcomes import OutcomeTable

_Key = tuple[str, str]


class KeyRetryTable:
    """The server's side. A key is locked while it has an entry; no entry is empty.

    Args:
        outcomes: read in the same transaction.
        now_us: database time.
        facts: takes the facts, or None.
    """

    def __init__(
        self, outcomes: OutcomeTable, now_us: Callable[[], int], facts: Facts | None
    ) -> None:
        self.now_us = now_us
        self._outcomes = outcomes
        self._facts = facts
        self._keys: dict[_Key, list[WaitingRow]] = {}
        self._arrivals = 0

    def rows(self) -> list[WaitingRow]:
        """All rows: by key in the order in which keys were locked, heads first."""
        return [row for rows in self._keys.values() for row in rows]

    def behind_dead_heads(self) -> int:
        """Rows whose head is dead, heads included: only a redrive or discard moves them."""
        return sum(len(rows) for rows in self._keys.values() if rows[0].is_dead)

    def head(self, group: str, key: str) -> WaitingRow | None:
        """The head row of a key; None if the key is not in retry."""
        rows = self._keys.get((group, key))
        return None if rows is None else rows[0]

    def arrive(self, row: WaitingRow) -> tuple[Arrival, WaitingRow | None]:
        """See `KeyRetryStore.arrive`."""
        rows = self._keys.get((row.group, row.key))
        if rows is None:
            return Arrival.FREE, None
        if rows[0].event_id == row.event_id:
            return Arrival.HEAD, rows[0]
        if any(each.event_id == row.event_id for each in rows):
            return Arrival.WAITING, None
        if self._outcomes.settled(row.group, row.event_id, row.redrives):
            return Arrival.DONE, None
        self._append(rows, row)
        return Arrival.APPENDED, None

    def park(self, row: WaitingRow) -> WaitingRow | None:
        """See `KeyRetryStore.park`."""
        rows = self._keys.get((row.group, row.key))
        if rows is None or all(each.event_id != row.event_id for each in rows):
            if self._outcomes.settled(row.group, row.event_id, row.redrives):
                return None
            if rows is None:
                rows = self._keys[row.group, row.key] = []
            self._append(rows, row)
        return rows[0]

    def reschedule(self, row: WaitingRow) -> bool:
        """See `KeyRetryStore.reschedule`."""
        rows = self._keys.get((row.group, row.key))
        if rows is None or rows[0].event_id != row.event_id or rows[0].redrives > row.redrives:
            return False
        rows[0] = msgspec.structs.replace(
            rows[0],
            attempts=row.attempts,
            not_before_us=row.not_before_us,
            first_failure_us=row.first_failure_us,
            failures=row.failures,
        )
        return True

    def finish(self, group: str, key: str, event_id: str) -> WaitingRow | None:
        """See `KeyRetryStore.finish`."""
        rows = self._keys.get((group, key))
        if rows is None:
            return None
        if rows[0].event_id == event_id:
            finished = rows.pop(0)
            if not rows:
                del self._keys[group, key]
            if self._facts is not None:
                self._facts.waiting("remove", finished, rows[0] if rows else None)
        return rows[0] if rows else None

    def bury(self, group: str, key: str, event_id: str, redrives: int) -> None:
        """See `KeyRetryStore.bury`."""
        rows = self._keys.get((group, key))
        if rows is None or rows[0].event_id != event_id or rows[0].redrives > redrives:
            return
        if not rows[0].is_dead:
            rows[0] = msgspec.structs.replace(rows[0], is_dead=True)
            if self._facts is not None:
                self._facts.waiting("bury", rows[0], rows[0])

    def revive(self, row: WaitingRow) -> bool:
        """See `KeyRetryStore.revive`."""
        rows = self._keys.get((row.group, row.key), [])
        place = _place_of(row, rows)
        if place is None:
            return False
        rows[place] = msgspec.structs.replace(
            rows[place],
            is_dead=False,
            redrives=row.redrives,
            attempts=0,
            not_before_us=0,
            first_failure_us=0,
            failures=(),
        )
        if self._facts is not None:
            self._facts.waiting("revive", rows[place], rows[0])
        return True

    def discard(self, row: WaitingRow) -> bool:
        """See `KeyRetryStore.discard`."""
        rows = self._keys.get((row.group, row.key), [])
        place = _place_of(row, rows)
        if place is None:
            return False
        discarded = rows.pop(place)
        if not rows:
            del self._keys[row.group, row.key]
        if self._facts is not None:
            self._facts.waiting("remove", discarded, rows[0] if rows else None)
        return True

    def clear(self) -> None:
        """Forget every key."""
        self._keys.clear()

    def _append(self, rows: list[WaitingRow], row: WaitingRow) -> None:
        self._arrivals = arrival = self._arrivals + 1
        rows.append(msgspec.structs.replace(row, arrival=arrival))
        if self._facts is not None:
            self._facts.waiting("add", row, rows[0])


class MemoryKeyRetry(KeyRetryStore):
    """One process's way to the keys in retry."""

    def __init__(self, table: KeyRetryTable, outage: Outage) -> None:
        self._table = table
        self._outage = outage
        self._line = Line(outage)

    @crosses
    def arrive(self, row: WaitingRow) -> Crossing[tuple[Arrival, WaitingRow | None]]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.arrive, row))
        return self._table.arrive(row)

    @crosses
    def park(self, row: WaitingRow) -> Crossing[WaitingRow | None]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.park, row))
        return self._table.park(row)

    @crosses
    def head(self, group: str, key: str) -> Crossing[tuple[WaitingRow | None, int]]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        return self._table.head(group, key), self._table.now_us()

    @crosses
    def reschedule(self, row: WaitingRow) -> Crossing[bool]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.reschedule, row))
        return self._table.reschedule(row)

    @crosses
    def finish(self, group: str, key: str, event_id: str) -> Crossing[WaitingRow | None]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.finish, group, key, event_id))
        return self._table.finish(group, key, event_id)

    @crosses
    def bury(self, group: str, key: str, event_id: str, redrives: int) -> Crossing[None]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.bury, group, key, event_id, redrives))
        self._table.bury(group, key, event_id, redrives)

    @crosses
    def revive(self, row: WaitingRow) -> Crossing[bool]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.revive, row))
        return self._table.revive(row)

    @crosses
    def discard(self, row: WaitingRow) -> Crossing[bool]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._table.discard, row))
        return self._table.discard(row)


def _place_of(row: WaitingRow, rows: Sequence[WaitingRow]) -> int | None:
    """Where the event of `row` waits with fewer redrives than it has; None if it does not."""
    for place, each in enumerate(rows):
        if each.event_id == row.event_id:
            return place if each.redrives < row.redrives else None
    return None
