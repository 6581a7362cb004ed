"""A service as the chain around it sees it, and the surroundings that it gets with an event."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from lab.domain.envelope import Envelope
from lab.domain.events import Payload
from lab.ports.store import Unit, UnitVerdict


class Context(Protocol):
    """One run of a handler. Exactly one `settle` ends it; without one an empty unit is settled."""

    envelope: Envelope
    attempt: int
    redrives: int
    deadline_us: int

    async def save(self, unit: Unit) -> UnitVerdict:
        """Commit an intermediate step, such as an intent: COMMITTED or CONFLICT.

        Raises: as `Committer.commit`.
        """
        ...

    async def settle(self, unit: Unit) -> UnitVerdict:
        """Commit the end of the run, together with the event's `done` outcome.

        Returns COMMITTED, or CONFLICT: then nothing was written, read again and decide again.

        Raises:
            AlreadyDone, AlreadyDead: another run committed first; let it pass.
            Transient, Down, Indeterminate: as `Committer.commit`.
        """
        ...


Handler = Callable[[Payload, Context], Awaitable[None]]
"""Handles one event type. Raises the errors of `lab.domain.errors`; any other one is a bug."""

OnDead = Callable[[str, str], Awaitable[Unit]]
"""`on_dead(order_id, event_type)`: the unit to be committed with an event's `dead` outcome.

No provider call. May be asked again after a CONFLICT.
"""


class Service(Protocol):
    """A service as wiring sees it."""

    @property
    def group(self) -> str:
        """Its consumer group."""
        ...

    def handlers(self) -> Mapping[str, Handler]:
        """Handlers by event type: exactly the types that the group reads."""
        ...

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        """See `OnDead`."""
        ...
