"""The inbox: an outcome is followed, and the first committer wins."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lab.domain.errors import AlreadyDead, AlreadyDone, Down, Indeterminate, LabError, Transient
from lab.patterns.inbox import AGAIN_US, Inbox, NoInbox, Republish
from lab.ports.bus import Ack, Delivery, Release, Retry, Settlement
from lab.ports.store import Outcome, OutcomeRow, Revenue, Unit, UnitVerdict
from lab.stores.memory.base import crossing
from tests.kit.chain_parts import GROUP, PROCESS, Entries, Inner, Stores, make_delivery, make_pen
from tests.kit.entries import without_time
from tests.kit.stepping import at_once

REVENUE = Unit(revenue=Revenue(currency="EUR", amount_cents=5))


class Republished(list[str]):
    async def __call__(self, delivery: Delivery) -> None:
        self.append(delivery.event_id)


def make_inbox(
    stores: Stores, republished: Republish | None = None, entries: Entries | None = None
) -> Inbox:
    return Inbox(
        stores.store.orders,
        republish=Republished() if republished is None else republished,
        pen=make_pen(stores.hand.now_us, entries),
    )


def put_outcome(stores: Stores, *, is_dead: bool, redrives: int = 0) -> None:
    row = OutcomeRow(group=GROUP, event_id="e1", is_dead=is_dead, redrives=redrives)
    assert at_once(stores.store.orders.commit(Unit(outcome=row))) is UnitVerdict.COMMITTED


def test_an_event_that_is_done_reaches_no_handler() -> None:
    stores, entries, inner = Stores(), Entries(), Inner()
    put_outcome(stores, is_dead=False)

    settled = at_once(make_inbox(stores, entries=entries).link(inner)(make_delivery()))

    assert settled == Ack("done")
    assert inner.seen == []
    assert entries.of("acted") == [("inbox", "suppressed")]


@pytest.mark.parametrize("make", [make_inbox, lambda s, r: NoInbox(s.store.orders, republish=r)])
def test_a_dead_event_has_its_letter_published_again(make: Callable[..., Any]) -> None:
    stores, inner, republished = Stores(), Inner(), Republished()
    put_outcome(stores, is_dead=True, redrives=1)
    inbox = make(stores, republished)

    settled = at_once(inbox.link(inner)(make_delivery(redrives=1)))

    assert settled == Ack("dead")
    assert republished == ["e1"]
    assert inner.seen == []


@pytest.mark.parametrize(
    ("failure", "settlement"),
    [
        (Transient("broker"), Retry(AGAIN_US, counts=False)),
        (Indeterminate("broker"), Retry(AGAIN_US, counts=False)),
        (Down("broker", dependency="broker", after_us=5), Release("down", 5)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("make", [make_inbox, lambda s, r: NoInbox(s.store.orders, republish=r)])
def test_a_dead_letter_that_cannot_be_published_again_waits_and_is_no_attempt(
    make: Callable[..., Any], failure: LabError, settlement: Settlement
) -> None:
    stores = Stores()
    put_outcome(stores, is_dead=True)

    async def fail(_delivery: Delivery) -> None:
        raise failure

    inbox = make(stores, fail)

    assert at_once(inbox.link(Inner())(make_delivery())) == settlement
    if isinstance(inbox, Inbox):
        late = Stores()
        losing = make_inbox(late, fail)

        async def die_meanwhile(delivery: Delivery) -> Settlement:
            put_outcome(late, is_dead=True)
            await losing.settle(delivery, REVENUE)
            return Ack("handled")

        assert at_once(losing.link(die_meanwhile)(make_delivery())) == settlement


def test_a_redrive_of_a_dead_event_is_handled() -> None:
    stores, inner = Stores(), Inner()
    put_outcome(stores, is_dead=True, redrives=0)
    inbox = make_inbox(stores)

    at_once(inbox.link(inner)(make_delivery(redrives=1)))
    verdict = at_once(inbox.settle(make_delivery(redrives=1), Unit()))

    assert len(inner.seen) == 1
    assert verdict is UnitVerdict.COMMITTED
    assert at_once(stores.store.orders.outcome(GROUP, "e1")) == (Outcome.DONE, 0)


def test_the_loser_of_two_runs_is_rolled_back_and_follows_the_winner() -> None:
    stores = Stores()
    inbox = make_inbox(stores)

    async def settle_twice(delivery: Delivery) -> Settlement:
        await inbox.settle(delivery, REVENUE)
        await inbox.settle(delivery, REVENUE)
        return Ack("handled")

    settled = at_once(inbox.link(settle_twice)(make_delivery()))

    assert settled == Ack("done")
    assert stores.server.revenue == {"EUR": 5}


def test_a_run_that_settles_after_its_event_died_follows_that() -> None:
    stores, republished = Stores(), Republished()
    inbox = make_inbox(stores, republished)

    async def die_meanwhile(delivery: Delivery) -> Settlement:
        put_outcome(stores, is_dead=True)
        await inbox.settle(delivery, REVENUE)
        return Ack("handled")

    settled = at_once(inbox.link(die_meanwhile)(make_delivery()))

    assert settled == Ack("dead")
    assert republished == ["e1"]
    assert stores.server.revenue == {}


def test_settling_names_the_winner() -> None:
    stores = Stores()
    inbox = make_inbox(stores)
    put_outcome(stores, is_dead=False)
    with pytest.raises(AlreadyDone):
        at_once(inbox.settle(make_delivery(), Unit()))

    other = Stores()
    put_outcome(other, is_dead=True)
    with pytest.raises(AlreadyDead):
        at_once(make_inbox(other).settle(make_delivery(), Unit()))


def test_an_intermediate_step_leaves_no_outcome() -> None:
    stores = Stores()

    at_once(make_inbox(stores).save(make_delivery(), REVENUE))

    assert at_once(stores.store.orders.outcome(GROUP, "e1")) is None
    assert stores.server.revenue == {"EUR": 5}


def test_without_an_inbox_every_run_has_its_effect() -> None:
    stores = Stores()
    inbox = NoInbox(stores.store.orders, republish=Republished())
    link = inbox.link(Inner())

    for _ in range(2):
        at_once(link(make_delivery()))
        at_once(inbox.settle(make_delivery(), REVENUE))

    assert stores.server.revenue == {"EUR": 10}
    assert at_once(stores.store.orders.outcome(GROUP, "e1")) is None


class Units:
    """Remembers what is committed; nothing has an outcome."""

    def __init__(self) -> None:
        self.units: list[Unit] = []

    async def outcome(self, group: str, event_id: str) -> None:  # noqa: ARG002 - the port's shape
        return None

    async def commit(self, unit: Unit) -> UnitVerdict:
        await crossing()
        self.units.append(unit)
        return UnitVerdict.COMMITTED


@pytest.mark.parametrize("has_inbox", [True, False])
def test_a_unit_says_who_commits_it_because_of_what_and_whether_that_settles_it(
    has_inbox: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    units, delivery = Units(), make_delivery(redrives=2)
    inbox: Inbox | NoInbox = NoInbox(units, republish=Republished())
    if has_inbox:
        inbox = Inbox(units, republish=Republished(), pen=make_pen(int))

    at_once(inbox.save(delivery, REVENUE))
    at_once(inbox.settle(delivery, REVENUE))

    said = msgspec.structs.replace(REVENUE, by=GROUP, cause="e1", lab_subject="1.1")
    done = OutcomeRow(group=GROUP, event_id="e1", redrives=2) if has_inbox else None
    settled = msgspec.structs.replace(said, settles=True, outcome=done)
    assert units.units == [said, settled]


@pytest.mark.parametrize(
    "make", [make_inbox, lambda s: NoInbox(s.store.orders, republish=Republished())]
)
def test_the_links_inside_get_the_delivery(make: Callable[..., Any]) -> None:
    inner, delivery = Inner(), make_delivery()

    at_once(make(Stores()).link(inner)(delivery))

    assert inner.seen == [delivery]


def test_who_loses_is_told_what_of_and_the_history_says_who_lost() -> None:
    stores, entries = Stores(), Entries()
    inbox = make_inbox(stores, entries=entries)

    async def late(delivery: Delivery) -> Settlement:
        put_outcome(stores, is_dead=False)
        with pytest.raises(AlreadyDone, match="e1 was handled"):
            await inbox.settle(delivery, Unit())
        raise AlreadyDone

    assert at_once(inbox.link(late)(make_delivery())) == Ack("done")
    (acted,) = entries
    assert without_time(acted) == ("acted", PROCESS, "1.1", "inbox", "suppressed")
    dead = Stores()
    put_outcome(dead, is_dead=True)
    with pytest.raises(AlreadyDead, match="e1 is dead"):
        at_once(make_inbox(dead).settle(make_delivery(), Unit()))
