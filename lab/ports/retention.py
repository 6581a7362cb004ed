"""What a store need not keep for ever: cut by age, a few rows at a time.

Orders, intents and revenue are the books of the shop, and dead events are an operator's debt: they
are never cut. Not here: when it is done (`lab.wiring.process.retention`), and which ages are safe
(`lab.settings`).
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class Ages(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows are kept, in microseconds; 0: for ever.

    Attributes:
        outbox: events, from their publishing on. One that is owed is never old.
        inbox: `done` outcomes. None is old that is younger than an event which is still owed: the
            relay may have published that one already, and will do so again.
        http_keys: answers under an Idempotency-Key.
        versions: what orders have been, and facts of a time that still wrote them.
    """

    outbox: int
    inbox: int
    http_keys: int
    versions: int


class RetentionStore(Protocol):
    """The old rows of the order store, by table."""

    async def cut(self, ages: Ages, *, limit: int) -> Mapping[str, int]:
        """Delete old rows, `limit` of each table at most; how many there were.

        A row that is not old stays; an old one goes at this call or at a later one. Several may do
        it at once. Cancelled, each table was cut or not.

        Raises:
            Transient, Down, Indeterminate: as `Committer.commit`.
        """
        ...

    async def count_old(self, ages: Ages) -> Mapping[str, int]:
        """How many rows `cut` would delete in all; nothing is changed. Raises as `cut`."""
        ...
