"""Rules that a service is handed because `--off` may swap them for a weak one.

Each has its two parts in `lab/patterns`, in the file named as its switch.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from lab.domain.events import RefundRequested
from lab.domain.order import Intent, Order
from lab.ports.providers import Known
from lab.ports.store import Unit

Note = Callable[[str, str], None]
"""`note(lab_subject, what)` counts an event that was settled without changing anything.

`what` is `stale` (its target state was reached or passed) or `expired`.
"""


class ProviderKeys(Protocol):
    """Under which key a provider is called, and when it is asked instead."""

    def of_send(self, intent: Intent, attempt: int) -> str:
        """The key of a charge or refund that is sent under `intent`."""
        ...

    def of_mail(self, event_id: str, attempt: int) -> str:
        """The key of the mail about an event."""
        ...

    def asks_first(self, *, attempt: int, redrives: int, age_us: int) -> bool:
        """Whether an intent that an earlier run left open is queried before anything is sent.

        Args:
            attempt: of the event, from 1.
            redrives: of the event.
            age_us: an upper bound of the intent's age.
        """
        ...

    def found(self, intent: Intent, known: Sequence[Known]) -> Known:
        """The part of a query's answer about the sends under `intent`.

        Of several the one that says most about money; `ChargeState.NONE` if there is none.
        """
        ...


class Compensation(Protocol):
    """The fate of money that arrives too late."""

    def of_late_capture(self, order: Order, charge_key: str) -> RefundRequested | None:
        """The refund of a capture that landed on a cancelled or expired order.

        None: the capture is kept, and the event is settled.
        """
        ...


class StoredAnswer(msgspec.Struct, frozen=True, gc=False):
    """An answer to a client as it is kept under an Idempotency-Key."""

    status: int
    body: bytes


class KeyRefusal(StrEnum):
    """Why a request under an Idempotency-Key gets no answer of its own."""

    RUNNING = "running"
    OTHER_BODY = "other_body"
    EXISTS = "exists"


class HttpIdempotency(Protocol):
    """Commits what a client wishes, at most once per key."""

    async def misuse(self, *, key: str, body: bytes) -> KeyRefusal | None:
        """OTHER_BODY if the key stands for another wish already; None if not, or if nobody knows.

        Args:
            key: the client's Idempotency-Key.
            body: as of `commit`.
        """
        ...

    async def commit(
        self, unit: Unit, *, key: str, body: bytes, answer: StoredAnswer
    ) -> StoredAnswer | KeyRefusal:
        """Commit `unit`, or give the answer that stands under `key`.

        Args:
            unit: creates an order, or changes one.
            key: the client's Idempotency-Key, "" if it sent none: only for a creation.
            body: what the client wishes, spelled in one way: equal for equal wishes.
            answer: to be given, and kept under the key, if the unit commits.

        Returns:
            The answer, this one or the one kept; RUNNING: a request with this key is under way;
            OTHER_BODY: the key was used for another body; EXISTS: the order's id is taken, or the
            order has changed meanwhile.

        Raises:
            Transient, Down: nothing was stored.
            Indeterminate: the connection was lost at commit, and a look did not find the order.
        """
        ...
