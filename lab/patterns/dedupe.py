"""Dedupe: most duplicates are stopped before they cost a look into the order store.

A lost ack, a rebalance or a relay that publishes twice brings the same event again, often while the
first run is still under way: two handlers then charge, mail and commit side by side. A mark set
before the effect would lose the event when its worker dies, a mark set after it lets both run.

The rule has two phases: absent -> in progress (owner, fence, until) -> done. A live claim makes
the delivery wait without an attempt, unless its event is known to be done; an expired one is taken
over with the next fence. `done` is written only after the commit of a `done` row is known, and
every other ending sets the key absent, so the inbox decides, whatever this store forgets or gets
wrong.

The weak part is to leave this link out: no claim is made. Weaker still is `MarkBefore`
(`--set dedupe.phases=1`), the well-known SETNX: marked before the effect, so a crash in between
loses the event.
"""

import asyncio

from lab.domain.errors import Down, Indeterminate, LabError, Throttled
from lab.history.pen import Pen
from lab.patterns.inbox import DONE, Look
from lab.ports.bus import Ack, Delivery, Handle, Settlement
from lab.ports.dedupe import Claim, ClaimState, DedupeStore
from lab.ports.store import Outcome


class Dedupe:
    """The two-phase suppressor.

    Args:
        inner: the next link.
        store: the claims.
        look: asks the authority when a commit's answer was lost, or somebody has the event in hand.
        owner: the process life, so that a process that starts again is another owner.
        lease_us: how long a claim lasts; longer than any handler.
        window_us: how long `done` is remembered.
        is_open: with the store down: let the inbox decide; else wait until it is back.
        pen: for the history.
    """

    def __init__(
        self,
        inner: Handle,
        *,
        store: DedupeStore,
        look: Look,
        owner: str,
        lease_us: int,
        window_us: int,
        is_open: bool,
        pen: Pen,
    ) -> None:
        self._inner = inner
        self._store = store
        self._look = look
        self._owner = owner
        self._lease_us = lease_us
        self._window_us = window_us
        self._is_open = is_open
        self._process, self._now, self._write = pen.process, pen.now, pen.write

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        try:
            claim = await self._store.claim(
                delivery.group, delivery.event_id, owner=self._owner, lease_us=self._lease_us
            )
        except Down:
            self._acted(delivery, "bypassed" if self._is_open else "refused")
            if self._is_open:
                return await self._inner(delivery)
            raise
        if claim.state is ClaimState.DONE:
            self._acted(delivery, "suppressed")
            return DONE
        if claim.state is ClaimState.BUSY:
            if await self._is_known_done(delivery):
                # Its run is past the commit; it may have been cancelled or killed behind it.
                self._acted(delivery, "suppressed")
                return DONE
            self._acted(delivery, "held")
            raise Throttled("another run of this event is under way", after_us=claim.busy_us)
        if claim.state is ClaimState.TAKEOVER:
            self._acted(delivery, "taken_over")
        return await self._run(delivery, claim)

    async def _run(self, delivery: Delivery, claim: Claim) -> Settlement:
        is_done = False
        try:
            settled = await self._inner(delivery)
            is_done = isinstance(settled, Ack) and settled.why in {"handled", "done"}
        except Indeterminate:
            if not await self._is_known_done(delivery):
                raise
            is_done = True
            settled = DONE
        finally:
            # Also when cancelled: a claim that nobody works under would hold the event up.
            try:
                await self._end(delivery, claim.fence, is_done=is_done)
            except asyncio.CancelledError:
                # Cancelled in this very call, which may not have reached the store.
                await self._end(delivery, claim.fence, is_done=is_done)
                raise
        return settled

    async def _is_known_done(self, delivery: Delivery) -> bool:
        try:
            found = await self._look(delivery.group, delivery.event_id)
        except LabError:
            return False
        return found is not None and found[0] is Outcome.DONE

    async def _end(self, delivery: Delivery, fence: int, *, is_done: bool) -> None:
        group, event_id, owner = delivery.group, delivery.event_id, self._owner
        try:
            if is_done:
                await self._store.complete(
                    group, event_id, owner=owner, fence=fence, window_us=self._window_us
                )
            else:
                await self._store.release(group, event_id, owner=owner, fence=fence)
        except Down:
            # The claim expires by itself, and the inbox knows what is done.
            return

    def _acted(self, delivery: Delivery, what: str) -> None:
        if self._write is not None:
            self._write(("acted", self._now(), self._process, delivery.subject, "dedupe", what))


class MarkBefore:
    """The weak part of `dedupe.phases=1`: one SETNX, before the effect.

    A mark is taken back when the handler fails, as its users do; nobody can take it back for a
    worker that died. That the event was handled is noted too: to others the mark is the same before
    and after, but one that was left behind is known at the end.

    Args:
        inner: the next link.
        store: the marks.
        owner: the process life.
        window_us: how long a mark is remembered.
        pen: for the history.
    """

    def __init__(
        self,
        inner: Handle,
        *,
        store: DedupeStore,
        owner: str,
        window_us: int,
        pen: Pen,
    ) -> None:
        self._inner = inner
        self._store = store
        self._owner = owner
        self._window_us = window_us
        self._process, self._now, self._write = pen.process, pen.now, pen.write

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        group, event_id, owner = delivery.group, delivery.event_id, self._owner
        try:
            claim = await self._store.claim(group, event_id, owner=owner, lease_us=self._window_us)
        except Down:
            self._acted(delivery, "bypassed")
            return await self._inner(delivery)
        if claim.state in {ClaimState.DONE, ClaimState.BUSY}:
            self._acted(delivery, "suppressed")
            return DONE
        try:
            settled = await self._inner(delivery)
        except BaseException:
            await self._take_back(delivery, claim)
            raise
        if isinstance(settled, Ack) and settled.why in {"handled", "done"}:
            await self._note_handled(delivery, claim)
        return settled

    async def _note_handled(self, delivery: Delivery, claim: Claim) -> None:
        try:
            await self._store.complete(
                delivery.group,
                delivery.event_id,
                owner=self._owner,
                fence=claim.fence,
                window_us=self._window_us,
            )
        except Down:
            return

    async def _take_back(self, delivery: Delivery, claim: Claim) -> None:
        try:
            await self._store.release(
                delivery.group, delivery.event_id, owner=self._owner, fence=claim.fence
            )
        except Down:
            return

    def _acted(self, delivery: Delivery, what: str) -> None:
        if self._write is not None:
            self._write(("acted", self._now(), self._process, delivery.subject, "dedupe", what))
