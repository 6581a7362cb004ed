"""A capture that nobody wants any more is given back, or kept by the weak part."""

from lab.domain.order import OrderState
from lab.history.calls import ActedEntry
from lab.history.pen import Pen
from lab.patterns.compensation import KeepLateCaptures, RefundLateCaptures
from tests.kit.entries import of_type
from tests.kit.order_world import World, make_payment
from tests.kit.scripted import SUBJECT

S = OrderState


def late_capture(world: World, *, weak: bool) -> None:
    service = make_payment(world, compensation=KeepLateCaptures()) if weak else world.payment
    event = world.validated()
    world.gateway.script = [world.cancel]
    world.handle(service, event)
    assert world.outcome(service, event) == "done"
    assert not any(intent.is_open for intent in world.intents())


def test_a_late_capture_is_requested_back_with_its_amount_and_key() -> None:
    world = World()
    late_capture(world, weak=False)
    assert world.state is S.REFUND_PENDING
    data = world.events[-1].data
    key = world.intents()[0].key
    assert b'"amount_cents":900' in data
    assert b'"currency":"EUR"' in data
    assert key.encode() in data
    assert world.acted() == [("compensation", "refund_requested")]
    (acted,) = of_type(world.entries, ActedEntry)
    assert (acted.process, acted.subject) == ("payment-1#1", SUBJECT)


def test_without_compensation_the_money_is_kept_for_a_cancelled_order() -> None:
    world = World()
    late_capture(world, weak=True)
    assert (world.state, world.kept()) == (S.CANCELLED, 1)
    assert world.told()[-1] == "OrderCancelled"


def test_the_history_may_be_off() -> None:
    world = World()
    world.create()
    part = RefundLateCaptures(pen=Pen(process="payment-1#1", now=world.now_us))
    request = part.of_late_capture(world.order(), "charge:x:1")
    assert request is not None
    assert (request.charge_key, request.amount_cents) == ("charge:x:1", 900)
