"""The fast suppressor of duplicates in front of the inbox. Never the authority: it may forget."""

from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec


class ClaimState(StrEnum):
    """The answer to a claim."""

    ACQUIRED = "acquired"
    TAKEOVER = "takeover"
    BUSY = "busy"
    DONE = "done"


class Claim(msgspec.Struct, frozen=True, gc=False):
    """The answer to a claim. `fence` grows with each owner; `busy_us` is left of a lease."""

    state: ClaimState
    fence: int = 0
    busy_us: int = 0


class DedupeStore(Protocol):
    """absent -> in progress (owner, fence, until) -> done, per group and event id, with expiry.

    Leases are measured by the store's own clock. Everything here may vanish at any time (eviction,
    flush, restart): then a claim says ACQUIRED again and the inbox decides.
    """

    async def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Claim:
        """Take the event for `lease_us`. Raises Down if the store cannot be reached."""
        ...

    async def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> bool:
        """Mark it done for `window_us`; False if another owner or fence holds it. Raises Down."""
        ...

    async def release(self, group: str, event_id: str, *, owner: str, fence: int) -> bool:
        """Set it absent again; False if another owner or fence holds it. Raises Down."""
        ...


@runtime_checkable
class Evictable(Protocol):
    """A dedupe store that can be made to forget one event, as memory pressure makes it.

    For faults on purpose; no pattern calls it.
    """

    async def evict(self, group: str, event_id: str) -> None:
        """Claim and mark of the event vanish, also of another owner. Raises Down."""
        ...
