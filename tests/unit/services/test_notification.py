"""Notification: one mail for each piece of news, and revenue for confirmed orders only."""

import pytest
from msgspec.structs import replace

from lab.domain.errors import AlreadyDone, Transient
from lab.domain.events import EVENT_OF_STATE, READS
from lab.domain.order import OrderState
from lab.patterns.provider_key import KeyPerIntent
from lab.ports.providers import Mailer
from lab.services.notification import Notification
from lab.stores.memory.base import crossing
from tests.kit.order_world import HOUR, ID, SECOND, World

S = OrderState


class Letters(Mailer):
    """A mailer that keeps what it sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str, int]] = []
        self.error: Exception | None = None

    async def send(self, order_id: str, *, key: str, template: str, deadline_us: int) -> None:
        await crossing()
        if self.error is not None:
            raise self.error
        self.sent.append((order_id, key, template, deadline_us))


def make_notification(world: World) -> tuple[Notification, Letters]:
    letters = Letters()
    keys = KeyPerIntent(query_after=2, lifetime_us=24 * HOUR)
    return Notification(mailer=letters, clock=world, keys=keys, timeout_us=SECOND), letters


def test_it_handles_exactly_what_its_group_reads() -> None:
    service, _ = make_notification(World())
    assert tuple(service.handlers()) == READS["notification"]


@pytest.mark.parametrize(
    ("state", "template"),
    [
        (S.CONFIRMED, "confirmed"),
        (S.CANCELLED, "cancelled"),
        (S.EXPIRED, "expired"),
        (S.REJECTED, "rejected"),
        (S.DECLINED, "declined"),
        (S.REFUNDED, "refunded"),
    ],
)
def test_each_piece_of_news_has_its_mail(state: OrderState, template: str) -> None:
    world = World()
    event = world.moved(world.create(), state)
    assert event.type == EVENT_OF_STATE[state]
    service, letters = make_notification(world)
    world.handle(service, event)
    assert letters.sent == [(ID, event.id, template, SECOND)]
    assert world.server.revenue == ({"EUR": 900} if state is S.CONFIRMED else {})
    assert world.outcome(service, event) == "done"


def test_a_new_order_is_acknowledged_to_the_customer() -> None:
    world = World()
    event = world.create()
    service, letters = make_notification(world)
    world.handle(service, event)
    assert letters.sent == [(ID, event.id, "received", SECOND)]


def test_news_is_told_even_after_its_order_would_have_expired() -> None:
    world = World()
    event = replace(world.create(), expires_us=1)
    service, letters = make_notification(world)
    world.handle(service, event)
    assert len(letters.sent) == 1


def test_a_mail_that_was_not_sent_counts_no_revenue() -> None:
    world = World()
    event = world.moved(world.create(), S.CONFIRMED)
    service, letters = make_notification(world)
    letters.error = Transient("the mailer answered 503")
    with pytest.raises(Transient):
        world.handle(service, event)
    assert (world.server.revenue, world.outcome(service, event)) == ({}, "")


def test_a_second_run_adds_no_revenue_and_sends_under_the_same_key() -> None:
    world = World()
    event = world.moved(world.create(), S.CONFIRMED)
    service, letters = make_notification(world)
    world.handle(service, event)
    with pytest.raises(AlreadyDone):
        world.handle(service, event, attempt=2)
    assert world.server.revenue == {"EUR": 900}
    assert {key for _, key, _, _ in letters.sent} == {event.id}


def test_a_dead_mail_changes_no_order() -> None:
    world = World()
    event = world.create()
    service, _ = make_notification(world)
    world.die(service, event)
    assert (world.state, world.outcome(service, event)) == (S.PENDING, "dead")
