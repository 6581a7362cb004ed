"""Dedupe: one run at a time, done only when it is known, and never the authority."""

import asyncio
from typing import Any

import pytest

from lab.domain.errors import Down, Indeterminate, Throttled, Transient
from lab.patterns.dedupe import Dedupe, MarkBefore
from lab.ports.bus import Ack, Delivery, Handle, Settlement
from lab.ports.dedupe import Claim, ClaimState, DedupeStore
from lab.ports.store import OutcomeRow, Unit
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.chain_parts import (
    GROUP,
    PROCESS,
    SECOND,
    WINDOW_US,
    Entries,
    Inner,
    Stores,
    make_delivery,
    make_pen,
)
from tests.kit.stepping import at_once

LEASE_US = 30 * SECOND


class DownStore(DedupeStore):
    """Not reachable."""

    async def claim(self, *_given: object, **_named: object) -> Claim:
        raise Down("redis", dependency="dedupe", after_us=SECOND)

    async def complete(self, *_given: object, **_named: object) -> bool:
        raise Down("redis", dependency="dedupe", after_us=SECOND)

    async def release(self, *_given: object, **_named: object) -> bool:
        raise Down("redis", dependency="dedupe", after_us=SECOND)


class LosesItsEnd(DownStore):
    """Is reached by claims only."""

    def __init__(self, store: DedupeStore) -> None:
        self._store = store

    async def claim(self, *given: Any, **named: Any) -> Claim:
        return await self._store.claim(*given, **named)


def make_dedupe(
    stores: Stores,
    inner: Handle,
    *,
    store: DedupeStore | None = None,
    owner: str = PROCESS,
    is_open: bool = True,
    entries: Entries | None = None,
) -> Dedupe:
    return Dedupe(
        inner,
        store=store or stores.dedupe,
        look=stores.store.orders.outcome,
        owner=owner,
        lease_us=LEASE_US,
        window_us=WINDOW_US,
        is_open=is_open,
        pen=make_pen(stores.hand.now_us, entries),
    )


def state_of(stores: Stores) -> ClaimState:
    """What a claim of somebody else would meet."""
    claim = stores.dedupe_server.claim(GROUP, "e1", "somebody", 1)
    if claim.state is not ClaimState.DONE and claim.state is not ClaimState.BUSY:
        stores.dedupe_server.release(GROUP, "e1", "somebody", claim.fence)
    return claim.state


def test_a_handled_event_is_suppressed_without_asking_further() -> None:
    stores, inner, entries = Stores(), Inner(), Entries()
    dedupe = make_dedupe(stores, inner, entries=entries)

    delivery = make_delivery()
    first = at_once(dedupe(delivery))
    second = at_once(dedupe(make_delivery()))

    assert (first, second) == (Ack("handled"), Ack("done"))
    assert len(inner.seen) == 1
    assert inner.seen[0] is delivery
    assert entries == [("acted", 0, PROCESS, "1.1", "dedupe", "suppressed")]


def test_a_run_of_somebody_else_is_waited_for_without_an_attempt() -> None:
    stores, inner, entries = Stores(), Inner(), Entries()
    stores.dedupe_server.claim(GROUP, "e1", "payment-2#1", LEASE_US)
    stores.hand.us = 10 * SECOND

    with pytest.raises(Throttled) as raised:
        at_once(make_dedupe(stores, inner, entries=entries)(make_delivery()))

    assert str(raised.value) == "another run of this event is under way"
    assert raised.value.after_us == 20 * SECOND
    assert inner.seen == []
    assert entries == [("acted", 10 * SECOND, PROCESS, "1.1", "dedupe", "held")]


def test_a_claim_says_whose_it_is_while_the_handler_runs() -> None:
    for make in (make_dedupe, make_mark_before):
        stores = Stores()
        owners: list[tuple[str, str, str]] = []

        async def look(delivery: Delivery, stores: Stores = stores, found: Any = owners) -> Any:
            found += [claim[:3] for claim in stores.dedupe_server.claims()]
            return Ack(delivery.event_id)

        at_once(make(stores, look)(make_delivery()))

        assert owners == [(GROUP, "e1", PROCESS)]


def test_a_claim_behind_which_the_event_is_done_holds_nobody_up() -> None:
    stores, inner, entries = Stores(), Inner(), Entries()
    stores.dedupe_server.claim(GROUP, "e1", "payment-2#1", LEASE_US)
    done = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1"))
    at_once(stores.store.orders.commit(done))

    settled = at_once(make_dedupe(stores, inner, entries=entries)(make_delivery()))

    assert settled == Ack("done")
    assert inner.seen == []
    assert entries.of("acted") == [("dedupe", "suppressed")]
    assert state_of(stores) is ClaimState.BUSY, "the claim is its owner's to end"


def test_an_expired_claim_is_taken_over_and_its_late_owner_is_refused() -> None:
    stores, entries = Stores(), Entries()
    dead = stores.dedupe_server.claim(GROUP, "e1", "payment-1#1", LEASE_US)
    stores.hand.us = LEASE_US

    link = make_dedupe(stores, Inner(), owner="payment-1#2", entries=entries)
    at_once(link(make_delivery()))

    assert entries == [("acted", LEASE_US, PROCESS, "1.1", "dedupe", "taken_over")]

    late = at_once(
        stores.dedupe.complete(
            GROUP, "e1", owner="payment-1#1", fence=dead.fence, window_us=WINDOW_US
        )
    )
    assert not late
    assert state_of(stores) is ClaimState.DONE


@pytest.mark.parametrize("error", [Transient("503"), Throttled("429", after_us=1)])
def test_a_failed_run_leaves_the_key_absent(error: Exception) -> None:
    stores = Stores()

    with pytest.raises(type(error)):
        at_once(make_dedupe(stores, Inner(error))(make_delivery()))

    assert state_of(stores) is ClaimState.ACQUIRED


def test_a_cancelled_run_leaves_the_key_absent() -> None:
    stores = Stores()

    with pytest.raises(asyncio.CancelledError):
        at_once(make_dedupe(stores, Inner(asyncio.CancelledError()))(make_delivery()))

    assert state_of(stores) is ClaimState.ACQUIRED


class CutOnce(DownStore):
    """Its caller is cancelled in the first call that ends a claim, which is not made."""

    def __init__(self, store: DedupeStore) -> None:
        self._store = store
        self._cuts = 1

    async def claim(self, *given: Any, **named: Any) -> Claim:
        return await self._store.claim(*given, **named)

    async def complete(self, *given: Any, **named: Any) -> bool:
        self._cut()
        return await self._store.complete(*given, **named)

    async def release(self, *given: Any, **named: Any) -> bool:
        self._cut()
        return await self._store.release(*given, **named)

    def _cut(self) -> None:
        self._cuts -= 1
        if self._cuts >= 0:
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("step", "state"),
    [(Transient("503"), ClaimState.ACQUIRED), (Ack("handled"), ClaimState.DONE)],
    ids=["failed", "handled"],
)
def test_a_cancel_while_a_claim_is_ended_does_not_leave_it(
    step: Settlement | Exception, state: ClaimState
) -> None:
    stores = Stores()
    dedupe = make_dedupe(stores, Inner(step), store=CutOnce(stores.dedupe))

    with pytest.raises(asyncio.CancelledError):
        at_once(dedupe(make_delivery()))

    assert state_of(stores) is state


@pytest.mark.parametrize("why", ["dead", "parked"])
def test_an_ack_that_is_no_done_row_leaves_the_key_absent(why: str) -> None:
    stores = Stores()

    at_once(make_dedupe(stores, Inner(Ack(why)))(make_delivery()))

    assert state_of(stores) is ClaimState.ACQUIRED


def test_what_the_inbox_knows_to_be_done_is_remembered() -> None:
    stores = Stores()

    at_once(make_dedupe(stores, Inner(Ack("done")))(make_delivery()))

    assert state_of(stores) is ClaimState.DONE


def test_a_lost_answer_that_cannot_be_looked_up_is_passed_on() -> None:
    stores = Stores()

    async def down(_group: str, _event_id: str) -> Any:
        raise Down("postgres", dependency="store", after_us=SECOND)

    link = make_dedupe(stores, Inner(Indeterminate("lost")))
    link._look = down

    with pytest.raises(Indeterminate):
        at_once(link(make_delivery()))

    assert state_of(stores) is ClaimState.ACQUIRED


def test_a_lost_answer_is_looked_up_and_done_if_it_was_committed() -> None:
    stores = Stores()
    done = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1"))
    at_once(stores.store.orders.commit(done))

    settled = at_once(make_dedupe(stores, Inner(Indeterminate("lost")))(make_delivery()))

    assert settled == Ack("done")
    assert state_of(stores) is ClaimState.DONE


def test_a_lost_answer_is_passed_on_if_nothing_was_committed() -> None:
    stores = Stores()

    with pytest.raises(Indeterminate):
        at_once(make_dedupe(stores, Inner(Indeterminate("lost")))(make_delivery()))

    assert state_of(stores) is ClaimState.ACQUIRED


def test_with_the_store_down_open_lets_the_inbox_decide_and_closed_waits() -> None:
    stores, inner = Stores(), Inner()
    delivery = make_delivery()

    settled = at_once(make_dedupe(stores, inner, store=DownStore())(delivery))
    with pytest.raises(Down):
        at_once(make_dedupe(stores, inner, store=DownStore(), is_open=False)(make_delivery()))

    assert settled == Ack("handled")
    assert len(inner.seen) == 1
    assert inner.seen[0] is delivery


def test_a_store_that_goes_down_during_the_run_changes_nothing_about_its_end() -> None:
    stores = Stores()
    store = LosesItsEnd(stores.dedupe)

    assert at_once(make_dedupe(stores, Inner(), store=store)(make_delivery())) == Ack("handled")
    with pytest.raises(Transient):
        at_once(make_dedupe(stores, Inner(Transient("x")), store=store)(make_delivery("e2")))


def make_mark_before(
    stores: Stores,
    inner: Handle,
    *,
    store: DedupeStore | None = None,
    entries: Entries | None = None,
) -> MarkBefore:
    return MarkBefore(
        inner,
        store=store or stores.dedupe,
        owner=PROCESS,
        window_us=WINDOW_US,
        pen=make_pen(stores.hand.now_us, entries),
    )


async def hang(_delivery: Delivery) -> Settlement:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("it hangs")


def die_in_the_handler(link: Handle) -> None:
    """Run a link until its handler has begun, then kill its process."""

    async def run() -> None:
        await link(make_delivery())

    async def main() -> None:
        process = scheduler.process(PROCESS)
        _running = process.create_task(run())
        await sleep_us(SECOND)
        process.kill()

    with Scheduler() as scheduler:
        scheduler.run(main())


def test_marked_before_the_effect_a_crash_loses_the_event_and_two_phases_do_not() -> None:
    marked, phased = Stores(), Stores()
    inner = Inner()

    die_in_the_handler(make_mark_before(marked, hang))
    die_in_the_handler(make_dedupe(phased, hang))
    marked.hand.us = phased.hand.us = LEASE_US

    assert at_once(make_mark_before(marked, inner)(make_delivery())) == Ack("done")
    assert inner.seen == []
    at_once(make_dedupe(phased, inner)(make_delivery()))
    assert len(inner.seen) == 1


def test_a_mark_is_taken_back_when_the_handler_fails() -> None:
    stores, inner = Stores(), Inner(Transient("x"), Ack("handled"))
    link = make_mark_before(stores, inner)

    with pytest.raises(Transient):
        at_once(link(make_delivery()))

    assert at_once(link(make_delivery())) == Ack("handled")


def test_a_mark_suppresses_what_comes_again_and_says_so() -> None:
    stores, inner, entries = Stores(), Inner(), Entries()
    link = make_mark_before(stores, inner, entries=entries)
    delivery = make_delivery()
    stores.hand.us = 5

    assert [at_once(link(each)) for each in (delivery, make_delivery())] == [
        Ack("handled"),
        Ack("done"),
    ]
    assert len(inner.seen) == 1
    assert inner.seen[0] is delivery
    assert entries == [("acted", 5, PROCESS, "1.1", "dedupe", "suppressed")]


def test_without_a_store_for_marks_everything_passes() -> None:
    inner, delivery = Inner(), make_delivery()

    assert at_once(make_mark_before(Stores(), inner, store=DownStore())(delivery)) == Ack("handled")
    assert inner.seen[0] is delivery
