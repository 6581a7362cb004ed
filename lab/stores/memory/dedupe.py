"""The dedupe store in memory: claims under a lease, marks for a window, and one fence counter.

Leases and windows are looked at, never timed: there is no timer here. One counter numbers the
owners of all events, so a fence outlives its key without being kept for it.
Not here: the use of a claim (`lab.patterns.dedupe`).
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from lab.ports.dedupe import Claim, ClaimState, DedupeStore, Evictable
from lab.stores.memory.base import Aged, Crossing, Harness, crosses
from lab.stores.memory.outage import Line, Outage

Accepts = Callable[[int, int], bool]
"""`accepts(fence, present)`: whether the holder of `fence` may end a claim.

`present` is the fence of the claim, 0 if there is none or another owner has it.
"""

_SWEEP_MIN: Final = 1_024
_DONE: Final = Claim(ClaimState.DONE)


class _Held(msgspec.Struct, gc=False):
    owner: str
    fence: int
    until_us: int


class _Group:
    """The keys of one group."""

    __slots__ = ("done", "held")

    def __init__(self, window_us: int) -> None:
        self.held: dict[str, _Held] = {}
        self.done: Aged[int] = Aged(window_us)


class MemoryDedupeServer:
    """One dedupe store; it survives crashes, and forgets by age.

    Args:
        harness: its clock measures leases and windows.
        window_us: how long marks are kept at least; should be the window that clients ask for.
        accepts: the strict or the weak comparison of fences (pattern `fencing`).

    Attributes:
        outage: whether the server can be reached.
    """

    def __init__(self, harness: Harness, *, window_us: int, accepts: Accepts) -> None:
        self.outage = Outage("redis")
        self._now = harness.now_us
        self._window_us = window_us
        self._accepts = accepts
        self._groups: dict[str, _Group] = {}
        self._fence = 0
        self._held = 0
        self._sweep_at = _SWEEP_MIN

    def connect(self) -> "MemoryDedupe":
        """A client."""
        return MemoryDedupe(self)

    # ---- for an onlooker

    def claims(self) -> list[tuple[str, str, str, int]]:
        """Claims whose lease runs: (group, event id, owner, rest of the lease in microseconds)."""
        now_us = self._now()
        return [
            (name, event_id, held.owner, held.until_us - now_us)
            for name, group in self._groups.items()
            for event_id, held in group.held.items()
            if held.until_us > now_us
        ]

    def forget(self) -> None:
        """Lose everything but the fence counter, as a restart without a log would."""
        self._groups.clear()
        self._held = 0

    def begin_outage(self) -> None:
        """From now on nobody is answered; see `lab.stores.memory.outage`."""
        self.outage.begin()

    def end_outage(self) -> None:
        """The server is back, with all that it had."""
        self.outage.end()

    # ---- the calls, each in one step

    def claim(self, name: str, event_id: str, owner: str, lease_us: int) -> Claim:
        """See `DedupeStore.claim`."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(self._window_us)
        now_us = self._now()
        done_until_us = group.done.get(event_id)
        if done_until_us is not None and done_until_us > now_us:
            return _DONE
        held = group.held.get(event_id)
        if held is not None and held.until_us > now_us:
            return Claim(ClaimState.BUSY, busy_us=held.until_us - now_us)
        self._fence = fence = self._fence + 1
        group.held[event_id] = _Held(owner, fence, now_us + lease_us)
        if held is not None:
            return Claim(ClaimState.TAKEOVER, fence)
        self._held += 1
        if self._held >= self._sweep_at:
            self._sweep(now_us)
        return Claim(ClaimState.ACQUIRED, fence)

    def complete(self, name: str, event_id: str, owner: str, fence: int, window_us: int) -> bool:
        """See `DedupeStore.complete`."""
        if not self._end(name, event_id, owner, fence):
            return False
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(self._window_us)
        now_us = self._now()
        group.done.put(event_id, now_us + window_us, now_us)
        return True

    def release(self, name: str, event_id: str, owner: str, fence: int) -> bool:
        """See `DedupeStore.release`."""
        return self._end(name, event_id, owner, fence)

    def evict(self, name: str, event_id: str) -> None:
        """See `Evictable.evict`."""
        group = self._groups.get(name)
        if group is not None:
            group.done.pop(event_id)
            if group.held.pop(event_id, None) is not None:
                self._held -= 1

    def _end(self, name: str, event_id: str, owner: str, fence: int) -> bool:
        """Take the claim away if the caller may end it."""
        group = self._groups.get(name)
        held = None if group is None else group.held.get(event_id)
        present = held.fence if held is not None and held.owner == owner else 0
        if not self._accepts(fence, present):
            return False
        if group is not None and held is not None:
            del group.held[event_id]
            self._held -= 1
        return True

    def _sweep(self, now_us: int) -> None:
        """Drop claims of the dead that nobody took over for a whole window; at doubling counts."""
        forgotten_us = now_us - self._window_us
        self._held = 0
        for group in self._groups.values():
            group.held = {
                event_id: held
                for event_id, held in group.held.items()
                if held.until_us > forgotten_us
            }
            self._held += len(group.held)
        self._sweep_at = max(_SWEEP_MIN, 2 * self._held)


class MemoryDedupe(DedupeStore, Evictable):
    """One process's way to the dedupe store. Answers at once, unless there is an outage."""

    def __init__(self, server: MemoryDedupeServer) -> None:
        self._server = server
        self._outage = server.outage
        self._line = Line(server.outage)

    @crosses
    def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Crossing[Claim]:
        yield
        if self._outage.is_on:
            self._line.drop(partial(self._server.claim, group, event_id, owner, lease_us))
        return self._server.claim(group, event_id, owner, lease_us)

    @crosses
    def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> Crossing[bool]:
        yield
        if self._outage.is_on:
            self._line.drop(
                partial(self._server.complete, group, event_id, owner, fence, window_us)
            )
        return self._server.complete(group, event_id, owner, fence, window_us)

    @crosses
    def release(self, group: str, event_id: str, *, owner: str, fence: int) -> Crossing[bool]:
        yield
        if self._outage.is_on:
            self._line.drop(partial(self._server.release, group, event_id, owner, fence))
        return self._server.release(group, event_id, owner, fence)

    @crosses
    def evict(self, group: str, event_id: str) -> Crossing[None]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        self._server.evict(group, event_id)
