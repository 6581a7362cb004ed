"""Outcomes in memory: the one row of an event in a group, `done` or `dead`.

`done` rows are forgotten some time after the retention, or when they are cut by age; `dead` ones
stay, because they may be redriven.
"""

from collections.abc import Iterable
from typing import Final

from lab.ports.store import OutcomeRow, UnitVerdict
from lab.stores.memory.base import Aged

_STEPS: Final = 10_000

DONE: Final = -1
"""The answer of `OutcomeTable.find` for a done event; a dead one has its redrives, 0 or more."""


class OutcomeTable:
    """Outcomes of all groups."""

    def __init__(self, retention_us: int) -> None:
        self._retention_us = retention_us
        # Times are kept in steps, so that many rows share one number.
        self._step_us = retention_us // _STEPS + 1
        self._stamp_us = -self._step_us
        self._done: dict[str, Aged[int]] = {}
        self._dead: dict[str, dict[str, int]] = {}

    def find(self, group: str, event_id: str) -> int | None:
        """`DONE`, the redrives of a dead event, or None."""
        done = self._done.get(group)
        if done is not None and done.get(event_id) is not None:
            return DONE
        dead = self._dead.get(group)
        return None if dead is None else dead.get(event_id)

    def overruled(self, row: OutcomeRow) -> UnitVerdict | None:
        """Why `row` must not be written: DONE or DEAD; None if it may."""
        found = self.find(row.group, row.event_id)
        if found is None:
            return None
        if found == DONE:
            return UnitVerdict.DONE
        return UnitVerdict.DEAD if found >= row.redrives else None

    def settled(self, group: str, event_id: str, redrives: int) -> bool:
        """Whether the event is done, or dead at `redrives` or more."""
        found = self.find(group, event_id)
        return found is not None and (found == DONE or found >= redrives)

    def old(self, before_us: int) -> list[tuple[str, str]]:
        """Group and event of the rows that are done since before that time for certain."""
        until_us = before_us - self._step_us
        return [
            (group, event_id)
            for group, done in self._done.items()
            for event_id in done.older(lambda stamp_us: stamp_us < until_us)
        ]

    def cut(self, rows: Iterable[tuple[str, str]]) -> None:
        """Forget these done rows."""
        for group, event_id in rows:
            self._done[group].pop(event_id)

    def clear(self) -> None:
        """Forget every outcome."""
        self._done.clear()
        self._dead.clear()

    def put(self, row: OutcomeRow, now_us: int) -> None:
        """Write a row that is not overruled."""
        group, event_id = row.group, row.event_id
        if row.is_dead:
            self._dead.setdefault(group, {})[event_id] = row.redrives
            return
        done = self._done.get(group)
        if done is None:
            done = self._done[group] = Aged(self._retention_us)
        if now_us - self._stamp_us >= self._step_us:
            self._stamp_us = now_us
        done.put(event_id, self._stamp_us, now_us)
        dead = self._dead.get(group)
        if dead:
            dead.pop(event_id, None)
