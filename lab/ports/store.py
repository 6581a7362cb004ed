"""The order store: one unit of work in, one verdict out.

A unit is a value: everything that one transaction changes. So it can be retried, batched with the
units of others (a verdict per unit) and wrapped by patterns (`inbox` adds a `done` row, `outbox`
decides about the events) without a service noticing.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from lab.domain.envelope import Envelope
from lab.domain.order import Intent, NewOrder, Order, OrderId, OrderState


class Create(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Insert an order as PENDING, version 1."""

    id: OrderId
    order: NewOrder
    lab_subject: str
    expiry_us: int
    traceparent: str


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Move an order to `to` iff its version is still `version`."""

    version: int
    to: OrderState


class IntentOp(StrEnum):
    """A step of a unit with an intent."""

    OPEN = "open"
    RAISE = "raise"
    CLOSE = "close"


class IntentChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step of an intent.

    OPEN inserts it iff (order, kind, n) is new and the order is in one of `while_in`; RAISE sets a
    later `send_until_us` iff it is open, its present one is `expected_send_until_us` and the order
    is in one of `while_in`; CLOSE closes it iff it is open and, unless `expected_send_until_us` is
    0, nobody raised it since: else a rival's send could still be on its way under a key that is
    about to be given up. OPEN and RAISE also need database time to be before `before_us`, unless it
    is 0: an event of an expired order is settled, and no intent may be opened behind that. Else
    CONFLICT.
    """

    op: IntentOp
    intent: Intent
    while_in: tuple[OrderState, ...] = ()
    expected_send_until_us: int = 0
    before_us: int = 0


class OutcomeRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The one outcome of an event in a group. `dead` yields only to a higher `redrives`."""

    group: str
    event_id: str
    is_dead: bool = False
    redrives: int = 0


class Revenue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A plain increment, on purpose not idempotent by itself: inbox and dedupe protect it."""

    currency: str
    amount_cents: int


class HttpKeyRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer given under an Idempotency-Key."""

    key: str
    body_sha256: str
    status: int
    answer: bytes


class Unit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One transaction. Applied whole or not at all.

    Attributes:
        order_id: the row of this order is locked first; "" if no order is touched.
        events: owed to the bus; with `change` or `create` exactly one.
        outboxed: whether `events` become outbox rows; if not, the caller publishes them itself
            after its commit, and the store only remembers which one the change owes.
        in_states: if not empty, the order must be in one of them, else CONFLICT.
        outcome: inserted in the same transaction; the authority on "was this handled".
        by: the asker: a consumer group, or `api`, `timer`.
        cause: id of the event that is being handled, "" if none.
        settles: whether this ends the handling of `cause`.
    """

    by: str = ""
    cause: str = ""
    settles: bool = False
    lab_subject: str = ""
    order_id: str = ""
    create: Create | None = None
    change: Change | None = None
    in_states: tuple[OrderState, ...] = ()
    intents: tuple[IntentChange, ...] = ()
    events: tuple[Envelope, ...] = ()
    outboxed: bool = True
    outcome: OutcomeRow | None = None
    revenue: Revenue | None = None
    http_key: HttpKeyRow | None = None


class UnitVerdict(StrEnum):
    """The fate of a unit. Anything but COMMITTED means that it was rolled back."""

    COMMITTED = "committed"
    CONFLICT = "conflict"
    DONE = "done"
    DEAD = "dead"
    KEY_TAKEN = "key_taken"


class Loaded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order with its intents (oldest first), read in one snapshot at database time `now_us`."""

    order: Order
    intents: tuple[Intent, ...]
    now_us: int


class Outcome(StrEnum):
    """The end of an event in a group, as the store knows it."""

    DONE = "done"
    DEAD = "dead"


class Committer(Protocol):
    """The part of the order store that patterns wrap."""

    async def commit(self, unit: Unit) -> UnitVerdict:
        """Apply `unit` in one transaction; durable when this returns COMMITTED.

        Checked in this order: outcome (DONE, DEAD), HTTP key (KEY_TAKEN), order version, states
        and intents (CONFLICT). If the caller dies or is cancelled, the unit is applied whole or
        not at all.

        Raises:
            Transient: serialization failure or deadlock; nothing was applied.
            Down: the store cannot be reached; nothing was applied.
            Indeterminate: the connection was lost at commit.
            ValueError: a mistake of the caller: an event that does not tell of the unit's own
                change, or two steps of one intent; nothing was applied.
        """
        ...


class OrderStore(Committer, Protocol):
    """Orders, intents, outcomes and HTTP keys."""

    async def load(self, order_id: str) -> Loaded | None:
        """The order, or None."""
        ...

    async def outcome(self, group: str, event_id: str) -> tuple[Outcome, int] | None:
        """The committed outcome of an event in a group and its redrives (0 for DONE), or None."""
        ...

    async def http_key(self, key: str) -> HttpKeyRow | None:
        """The answer stored under an Idempotency-Key, or None.

        None also for one so old that it was cut by its age: then the key may be used anew.
        """
        ...

    async def due(self, limit: int) -> Sequence[Order]:
        """Open orders (PENDING, VALIDATED) past their expiry in database time, oldest first."""
        ...

    async def of_customer(
        self, customer_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Order]:
        """A customer's orders, the newest first: by creation, then by id.

        Args:
            customer_id: compared as it is.
            before: creation (database time) and id of an order: only older ones; None: from the
                newest on.
            limit: so many at most.
        """
        ...

    async def wait_due(self) -> None:
        """Return when `due` may have something to give; arms one timer for the earliest expiry."""
        ...


class OutboxRow(msgspec.Struct, frozen=True, gc=False):
    """One event that the relay owes to the bus; `number` orders the rows of one aggregate."""

    number: int
    envelope: Envelope


class OutboxStore(Protocol):
    """The relay's side of the outbox."""

    async def own_shard(self) -> int | None:
        """Take one free shard of aggregates until this process ends; None if all are owned."""
        ...

    async def wait_shard(self) -> None:
        """Return when `own_shard` may have one to give; a hint only."""
        ...

    async def unpublished(self, shard: int, limit: int) -> Sequence[OutboxRow]:
        """The oldest rows of a shard that are not marked, in order per aggregate."""
        ...

    async def mark_published(self, rows: Sequence[OutboxRow]) -> None:
        """Mark rows as published. They are not deleted before the run ends."""
        ...

    async def wait_unpublished(self, shard: int) -> None:
        """Return when `unpublished` may have something to give. Woken by a commit; a hint only."""
        ...


class StartStore(Protocol):
    """Durable counts of handler starts that nobody accounted for."""

    async def begin_start(self, group: str, event_id: str, redrives: int) -> int:
        """Count a start, durably; returns how many earlier starts of it are unexplained."""
        ...

    async def explain_start(self, group: str, event_id: str, redrives: int) -> None:
        """The last start ended in a known way: success, failure, release, cancel or fence."""
        ...


class CustomerStore(Protocol):
    """The knowledge of the shop about its customers."""

    async def is_blocked(self, order_id: str, customer_id: str, *, deadline_us: int) -> bool:
        """Whether orders of this customer are to be rejected, asked for one of them.

        Raises Transient, Indeterminate.
        """
        ...
