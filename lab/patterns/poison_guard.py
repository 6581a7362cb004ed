"""Poison guard: a record that kills its worker does not do so for ever.

A payload makes the process run out of memory: no exception is ever recorded, the process starts
again, fetches the same record and dies again, with everything that it had in hand. Counting
failures never sees it, because there is none.

The rule counts starts: past dedupe and inbox, durably, before the handler begins. A start without a
known end is unexplained. After one, the record runs solo, with no other handler in that process, so
that the next death is its own; after three solo ones it is dead instead of being started again. The
first start of a record that stood at or above its partition's end when that was assigned is surely
its first, and is not recorded.

The weak part is to leave this link out: starts are not counted.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from lab.domain.errors import Indeterminate, LabError, Transient
from lab.history.pen import Pen
from lab.ports.bus import DeadLetter, Delivery, Handle, Settlement
from lab.ports.store import StartStore

REASON: Final = "starts"
_EXPLANATIONS_MAX: Final = 3
_UNTOLD_MAX: Final = 1_000

_Start = tuple[str, str, int]
"""Group, event id and redrives of the event that is started."""


class SoloGate:
    """Lets many through together, or one alone; first come, first served. One per process.

    Every entry must be followed by one leave.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._is_solo = False
        self._waiting: deque[tuple[asyncio.Future[None], bool]] = deque()

    def try_enter(self) -> bool:
        """Enter together with others, if that needs no waiting."""
        if self._is_solo or self._waiting:
            return False
        self._inside += 1
        return True

    async def enter(self, *, solo: bool) -> None:
        """Wait for the turn and enter, alone if `solo`."""
        if not self._waiting and self._may_enter(solo=solo):
            self._take(solo=solo)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, solo))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                # Not if another one that gave up has been here: a cancelled turn is passed over.
                with suppress(ValueError):
                    self._waiting.remove((turn, solo))
                self._admit()
            else:
                self.leave()
            raise

    def leave(self) -> None:
        """Leave; the one that has waited longest may be let in."""
        self._inside -= 1
        self._is_solo = False
        if self._waiting:
            self._admit()

    def _may_enter(self, *, solo: bool) -> bool:
        return not self._inside or not (solo or self._is_solo)

    def _take(self, *, solo: bool) -> None:
        self._inside += 1
        self._is_solo = solo

    def _admit(self) -> None:
        waiting = self._waiting
        while waiting and self._may_enter(solo=waiting[0][1]):
            turn, solo = waiting.popleft()
            if not turn.done():
                self._take(solo=solo)
                turn.set_result(None)


class PoisonGuard:
    """The link that counts starts.

    Args:
        inner: the next link.
        store: the counts.
        gate: of this process.
        solo_starts: unexplained starts alone before the event is dead.
        pen: for the history.
    """

    def __init__(
        self,
        inner: Handle,
        *,
        store: StartStore,
        gate: SoloGate,
        solo_starts: int,
        pen: Pen,
    ) -> None:
        self._inner = inner
        self._store = store
        self._gate = gate
        self._solo_starts = solo_starts
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        # Starts whose end only this process knows: the store could not be told.
        self._untold: dict[_Start, int] = {}

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        if not delivery.starts_known:
            return await self._count(delivery)
        gate = self._gate
        if not gate.try_enter():
            await gate.enter(solo=False)
        try:
            return await self._inner(delivery)
        finally:
            gate.leave()

    async def _count(self, delivery: Delivery) -> Settlement:
        key = (delivery.group, delivery.event_id, delivery.redrives)
        try:
            begun = await self._store.begin_start(*key)
        except (Indeterminate, asyncio.CancelledError):
            # It may have been counted, and nothing was started.
            await self._explain(key)
            raise
        delivery.starts = unexplained = max(begun - self._untold.get(key, 0), 0)
        if unexplained and self._write is not None:
            self._write(
                ("start", self._now(), self._process, delivery.subject, *key[:2], unexplained)
            )
        if unexplained > self._solo_starts:
            self._acted(delivery, "buried")
            message = f"{unexplained} starts of its handler had no end that anybody knows"
            return DeadLetter(REASON, "Poison", message)
        is_solo = unexplained > 0
        try:
            await self._gate.enter(solo=is_solo)
            try:
                if is_solo:
                    self._acted(delivery, "solo")
                return await self._inner(delivery)
            finally:
                self._gate.leave()
        finally:
            await self._explain(key)

    async def _explain(self, key: _Start) -> None:
        """Account for a start, whatever its end was, and for those that could not be told of yet.

        A store that is away again and again must not make a poison of an event whose process lives.
        """
        self._untold[key] = self._untold.get(key, 0) + 1
        try:
            await self._tell(key)
        except asyncio.CancelledError:
            # The end is known all the same: unexplained, the event would run solo, and die of it.
            await self._tell(key)
            raise
        if len(self._untold) > _UNTOLD_MAX:
            # Another process may have the event by now; at worst it runs solo there.
            del self._untold[next(iter(self._untold))]

    async def _tell(self, key: _Start) -> None:
        untold = self._untold[key]
        for _ in range(_EXPLANATIONS_MAX + untold - 1):
            try:
                await self._store.explain_start(*key)
            except (Transient, Indeterminate):
                # Said twice, an earlier start counts as explained: the event runs once more.
                continue
            except LabError:
                return
            untold -= 1
            if not untold:
                del self._untold[key]
                return
            self._untold[key] = untold

    def _acted(self, delivery: Delivery, what: str) -> None:
        if self._write is not None:
            subject = delivery.subject
            self._write(("acted", self._now(), self._process, subject, "poison_guard", what))
