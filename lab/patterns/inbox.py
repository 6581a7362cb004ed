"""Inbox: a redelivered event changes nothing a second time.

A worker dies after its commit and before its ack, so the same event comes again: without a memory
of handled events the mail goes out twice and the revenue counts double. A cache in front of the
handler is fast but may forget; only a row in the same transaction as the effect cannot.

The rule: one unique row (group, event id), inserted by the transaction that ends the handling, by
effect and by no-op alike. It is read before the handler runs; the first committer wins, and the
loser's unit is rolled back and follows it. A dead outcome yields only to more redrives.

The weak part writes no `done` row and respects dead ones only.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from lab.domain.errors import AlreadyDead, AlreadyDone, LabError
from lab.history.pen import Pen
from lab.patterns.retry import give_back
from lab.ports.bus import Ack, Delivery, Handle, Settlement
from lab.ports.store import Committer, Outcome, OutcomeRow, Unit, UnitVerdict

DONE: Final = Ack("done")
DEAD: Final = Ack("dead")

AGAIN_US: Final = 1_000_000
"""After a dead letter could not be published again."""

Look = Callable[[str, str], Awaitable[tuple[Outcome, int] | None]]
"""`OrderStore.outcome`: the committed outcome of an event in a group."""

Republish = Callable[[Delivery], Awaitable[None]]
"""Publishes the dead letter of an event that is dead already, under the same id as before."""


class Outcomes(Committer, Protocol):
    """The part of the order store that an inbox needs."""

    async def outcome(self, group: str, event_id: str) -> tuple[Outcome, int] | None:
        """See `lab.ports.store.OrderStore.outcome`."""
        ...


class Inbox:
    """The authority on "was this handled".

    As a settler it is made first, then `link` puts it into the chain: the handler inside commits
    through the inbox outside.

    Args:
        store: outcomes and commits.
        republish: see `Republish`.
        pen: for the history.
    """

    def __init__(
        self,
        store: Outcomes,
        *,
        republish: Republish,
        pen: Pen,
    ) -> None:
        self._store = store
        self._republish = republish
        self._process, self._now, self._write = pen.process, pen.now, pen.write

    def link(self, inner: Handle) -> Handle:
        """The link of the chain: follows an outcome that exists, else runs `inner`."""
        store, republish = self._store, self._republish

        async def inbox(delivery: Delivery) -> Settlement:
            found = await store.outcome(delivery.group, delivery.event_id)
            settled = None if found is None else await follow(delivery, found, republish)
            if settled is not None:
                if settled is DONE:
                    self._suppressed(delivery)
                return settled
            try:
                return await inner(delivery)
            except AlreadyDone:
                self._suppressed(delivery)
                return DONE
            except AlreadyDead:
                return await _follow_dead(delivery, republish)

        return inbox

    async def save(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        """Commit an intermediate step: no outcome."""
        return await self._store.commit(
            msgspec.structs.replace(
                unit, by=delivery.group, cause=delivery.event_id, lab_subject=delivery.subject
            )
        )

    async def settle(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        """Commit the end of a run with the event's `done` row.

        Raises:
            AlreadyDone, AlreadyDead: another outcome was committed first; nothing was written.
        """
        group, event_id = delivery.group, delivery.event_id
        verdict = await self._store.commit(
            msgspec.structs.replace(
                unit,
                by=group,
                cause=event_id,
                settles=True,
                lab_subject=delivery.subject,
                outcome=OutcomeRow(group=group, event_id=event_id, redrives=delivery.redrives),
            )
        )
        if verdict is UnitVerdict.DONE:
            raise AlreadyDone(f"{event_id} was handled by another run")
        if verdict is UnitVerdict.DEAD:
            raise AlreadyDead(f"{event_id} is dead")
        return verdict

    def _suppressed(self, delivery: Delivery) -> None:
        if self._write is not None:
            self._write(
                ("acted", self._now(), self._process, delivery.subject, "inbox", "suppressed")
            )


class NoInbox:
    """The weak part: nothing remembers that an event was handled.

    Args:
        store: outcomes and commits.
        republish: see `Republish`.
    """

    def __init__(self, store: Outcomes, *, republish: Republish, **_: object) -> None:
        self._store = store
        self._republish = republish

    def link(self, inner: Handle) -> Handle:
        """The link of the chain: a dead event stays dead."""
        store, republish = self._store, self._republish

        async def no_inbox(delivery: Delivery) -> Settlement:
            found = await store.outcome(delivery.group, delivery.event_id)
            if found is not None and found[0] is Outcome.DEAD and found[1] >= delivery.redrives:
                return await _follow_dead(delivery, republish)
            return await inner(delivery)

        return no_inbox

    async def save(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        """Commit an intermediate step."""
        return await self._commit(delivery, unit, settles=False)

    async def settle(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        """Commit the end of a run, without a row that says so."""
        return await self._commit(delivery, unit, settles=True)

    async def _commit(self, delivery: Delivery, unit: Unit, *, settles: bool) -> UnitVerdict:
        return await self._store.commit(
            msgspec.structs.replace(
                unit,
                by=delivery.group,
                cause=delivery.event_id,
                settles=settles,
                lab_subject=delivery.subject,
            )
        )


async def follow(
    delivery: Delivery, found: tuple[Outcome, int], republish: Republish
) -> Settlement | None:
    """Settle an event as its outcome says; None if that does not stand in its way."""
    outcome, redrives = found
    if outcome is Outcome.DONE:
        return DONE
    if redrives < delivery.redrives:
        return None
    return await _follow_dead(delivery, republish)


async def _follow_dead(delivery: Delivery, republish: Republish) -> Settlement:
    """Publish the letter of a dead event again; if that fails now, it is no attempt of the event.

    An attempt would be parked, and a dead event that is to be parked comes back here at once.
    """
    try:
        await republish(delivery)
    except LabError as error:
        return give_back(error, AGAIN_US)
    return DEAD
