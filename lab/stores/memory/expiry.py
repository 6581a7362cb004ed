"""When orders expire: the open ones by their expiry, and one timer for the earliest of them.

The timer must never be that of an order that has closed: it would move virtual time for nothing.
Not here: the end of an expired order (`lab.services.orders`).
"""

import asyncio
from heapq import heapify, heappop, heappush
from typing import Final

from lab.ports.clock import Timer
from lab.stores.memory.base import Harness, OwnerLife, crossing, waiter

_REBUILD_MIN: Final = 64


class Expiries:
    """Open orders by expiry. Instants are database time.

    Args:
        harness: has the timers; its wall clock is database time.
    """

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._epoch_us = harness.wall_us() - harness.now_us()
        self._added = 0
        self._open: dict[str, None] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._waiters: dict[asyncio.Future[None], OwnerLife] = {}
        self._timer: Timer | None = None
        self._armed: tuple[int, int, str] | None = None

    def add(self, order_id: str, expires_us: int) -> None:
        """The order is open."""
        self._added = number = self._added + 1
        entry = (expires_us, number, order_id)
        self._open[order_id] = None
        heappush(self._heap, entry)
        if self._waiters and (self._armed is None or entry < self._armed):
            self._arm()

    def discard(self, order_id: str) -> None:
        """The order is open no more. Does nothing if it was not."""
        if self._open.pop(order_id, self) is self:
            return
        armed = self._armed
        if armed is not None and armed[2] == order_id:
            self._arm()
        heap = self._heap
        # A stuck order at the head would keep all that closed behind it.
        if len(heap) > _REBUILD_MIN and len(heap) > 2 * len(self._open):
            heap[:] = [entry for entry in heap if entry[2] in self._open]
            heapify(heap)

    def due(self, now_us: int, limit: int) -> list[str]:
        """Open orders whose expiry has passed, oldest first."""
        taken: list[tuple[int, int, str]] = []
        while len(taken) < limit and self._earliest() is not None and self._heap[0][0] <= now_us:
            taken.append(heappop(self._heap))
        for entry in taken:
            heappush(self._heap, entry)
        return [order_id for _, _, order_id in taken]

    async def wait(self, life: OwnerLife) -> None:
        """Return when an order is due, at once if one is now."""
        earliest = self._earliest()
        if earliest is not None and earliest[0] <= self._harness.wall_us():
            await crossing()
            return
        future = waiter("an order to expire")
        self._waiters[future] = life
        if self._armed is None:
            self._arm()
        try:
            await future
        finally:
            if self._waiters.pop(future, None) is not None and not self._waiters:
                self._arm()

    def forget(self, life: OwnerLife) -> None:
        """The process died: its waits are over."""
        self._waiters = {future: owner for future, owner in self._waiters.items() if owner != life}
        if not self._waiters:
            self._arm()

    def clear(self) -> None:
        """Know of no order, and have no timer."""
        self._open.clear()
        self._waiters.clear()
        self._arm()

    def _earliest(self) -> tuple[int, int, str] | None:
        """The open order that expires first."""
        heap = self._heap
        while heap and heap[0][2] not in self._open:
            heappop(heap)
        return heap[0] if heap else None

    def _arm(self) -> None:
        """Set the timer for the earliest open order, if anybody waits; else have none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = self._earliest() if self._waiters else None
        if self._armed is not None:
            self._timer = self._harness.call_at_us(self._armed[0] - self._epoch_us, self._ring)

    def _ring(self) -> None:
        self._timer = self._armed = None
        waiters, self._waiters = self._waiters, {}
        for future in waiters:
            if not future.done():
                future.set_result(None)
