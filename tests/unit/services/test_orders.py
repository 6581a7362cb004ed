"""Orders: taken in, confirmed, cancelled, expired, each exactly once whoever else is at it."""

from typing import Any

import msgspec
import pytest

from lab.domain.errors import Down, Indeterminate, Transient
from lab.domain.order import NewOrder, OrderState
from lab.domain.request import BODY_BYTES_MAX, ITEMS_MAX, TEXT_MAX, parse_order
from lab.ports.bus import MAIN_RECORD_BYTES
from lab.ports.store import UnitVerdict
from lab.ports.strategies import KeyRefusal, StoredAnswer
from lab.services.orders import Cancelled, Orders
from tests.kit.order_world import EXPIRY, ID, TRACE, WANTED, World, make_desk
from tests.kit.scripted import SUBJECT, Flaky
from tests.kit.virtual_steps import every_schedule, interleaved, run, step

S = OrderState
LOST = Indeterminate("the connection was lost at commit")
DOWN = Down("the store is down", dependency="postgres", after_us=5)


def create(world: World, key: str = "", body: bytes = b"{}") -> StoredAnswer | KeyRefusal:
    made = run(world.desk.create(WANTED, body=body, key=key, lab_subject=SUBJECT))
    assert isinstance(made, StoredAnswer | KeyRefusal)
    return made


def captured_world() -> World:
    """PAID; PaymentCaptured is the last event."""
    world = World()
    world.handle(world.payment, world.validated())
    assert world.told()[-1] == "PaymentCaptured"
    return world


# ---- create


def test_an_order_is_stored_with_its_event_and_answered() -> None:
    world = World()
    answer = create(world)
    assert answer == StoredAnswer(201, b'{"order_id":"%s","state":"PENDING"}' % ID.encode())
    order = world.order()
    assert (order.state, order.version, order.amount_cents) == (S.PENDING, 1, 900)
    assert order.expires_us == order.created_us + EXPIRY
    (event,) = world.events
    assert (event.type, event.sequence, event.subject) == ("OrderCreated", 1, ID)
    assert event.lab_subject == SUBJECT
    assert event.traceparent.startswith(TRACE[:36])


@pytest.mark.parametrize("letter", ["a", '"', "\u00e9", "\U0001f4e6"])
def test_the_event_of_the_largest_order_that_is_taken_fits_a_record(letter: str) -> None:
    item = {"sku": letter * TEXT_MAX, "quantity": 1, "unit_price_cents": 1}
    asked: dict[str, Any] = {
        "customer_id": letter * TEXT_MAX,
        "country": "DE",
        "currency": "EUR",
        "items": [],
    }
    room = BODY_BYTES_MAX - len(msgspec.json.encode(asked))
    asked["items"] = [item] * min(room // (len(msgspec.json.encode(item)) + 1), ITEMS_MAX)
    order = parse_order(msgspec.json.encode(asked))
    assert isinstance(order, NewOrder)
    world = World()
    run(world.desk.create(order, body=b"{}", key="", lab_subject=SUBJECT))
    # Headers have 8 KiB of their own, by contract.
    assert len(world.events[0].data) < MAIN_RECORD_BYTES - 8 * 1024


def test_a_passing_refusal_of_the_store_is_not_the_clients_business() -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [Transient("deadlock"), Transient("deadlock")]
    made = run(make_desk(world, store).create(WANTED, body=b"{}", key="k", lab_subject=SUBJECT))
    assert isinstance(made, StoredAnswer)
    assert world.told() == ["OrderCreated"]


def test_a_store_that_keeps_refusing_ends_in_an_error() -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [Transient("deadlock")] * 50
    with pytest.raises(Transient):
        run(make_desk(world, store).create(WANTED, body=b"{}", key="", lab_subject=SUBJECT))
    assert 0 < len(store.commits) < 50


# ---- cancel


@pytest.mark.parametrize("state", [S.PENDING, S.VALIDATED])
def test_an_open_order_is_cancelled_once(state: OrderState) -> None:
    world = World()
    if state is S.VALIDATED:
        world.validated()
    else:
        world.create()
    assert run(world.desk.cancel(ID)) is Cancelled.CANCELLED
    assert run(world.desk.cancel(ID)) is Cancelled.CANCELLED
    assert world.state is S.CANCELLED
    assert world.told().count("OrderCancelled") == 1


def test_an_unknown_order_is_unknown() -> None:
    assert run(World().desk.cancel("nobody")) is Cancelled.UNKNOWN


def test_a_paid_order_is_not_cancelled() -> None:
    assert run(captured_world().desk.cancel(ID)) is Cancelled.TOO_LATE


def test_a_cancelled_order_stays_cancelled_for_its_client_after_the_refund() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = [world.cancel]
    world.handle(world.payment, event)
    assert world.state is S.REFUND_PENDING
    assert run(world.desk.cancel(ID)) is Cancelled.CANCELLED


def test_an_expired_order_was_not_cancelled_even_after_its_refund() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = [world.expire]
    world.handle(world.payment, event)
    assert world.state is S.REFUND_PENDING
    assert run(world.desk.cancel(ID)) is Cancelled.TOO_LATE


def test_a_cancellation_whose_commit_got_lost_is_looked_up() -> None:
    for wrong, expected in ((("after", LOST), True), (LOST, False)):
        world = World()
        world.create()
        store = Flaky(world.store)
        store.commits = [wrong]
        desk = make_desk(world, store)
        if expected:
            assert run(desk.cancel(ID)) is Cancelled.CANCELLED
        else:
            with pytest.raises(Indeterminate):
                run(desk.cancel(ID))


@pytest.mark.parametrize("wrong", [DOWN, Transient("deadlock")])
def test_a_lost_cancellation_never_claims_that_nothing_was_stored(wrong: Exception) -> None:
    world = World()
    world.create()
    store = Flaky(world.store)
    store.commits = [("after", LOST)]
    store.looks = [None, wrong]
    with pytest.raises(Indeterminate):
        run(make_desk(world, store).cancel(ID))
    assert world.state is S.CANCELLED


def test_a_cancellation_decides_again_when_the_order_moved_meanwhile() -> None:
    world = World()
    event = world.create()
    job = world.desk.cancel(ID)
    assert step(job)
    assert step(job)
    world.moved(event, S.VALIDATED)
    assert run(job) is Cancelled.CANCELLED
    assert world.events[-1].sequence == 3


# ---- confirm


def test_a_captured_payment_confirms_the_order() -> None:
    world = captured_world()
    event = world.events[-1]
    world.handle(world.orders, event)
    assert world.state is S.CONFIRMED
    confirmed = world.events[-1]
    assert (confirmed.type, confirmed.sequence) == ("OrderConfirmed", 4)
    assert confirmed.causation_id == event.id
    assert confirmed.traceparent[:36] == event.traceparent[:36]


def test_a_confirmed_order_is_confirmed_no_more() -> None:
    world = captured_world()
    event = world.events[-1]
    world.moved(event, S.CONFIRMED)
    world.handle(world.orders, event)
    assert world.notes == ["stale"]
    assert world.outcome(world.orders, event) == "done"
    assert world.told().count("OrderConfirmed") == 1


def test_a_payment_is_confirmed_although_the_order_has_a_later_version() -> None:
    world = captured_world()
    event = world.events[-1]
    world.moved(event, S.PAID)
    world.handle(world.orders, event)
    assert (world.state, world.order().version) == (S.CONFIRMED, 5)


def test_a_payment_that_the_row_does_not_know_yet_is_tried_again() -> None:
    event = captured_world().events[-1]
    world = World()
    world.validated()
    with pytest.raises(Transient):
        world.handle(world.orders, event)
    assert world.outcome(world.orders, event) == ""
    with pytest.raises(Transient):
        World().handle(world.orders, event)


def test_two_rivals_confirm_once_in_every_order_of_their_steps() -> None:
    def trial(choices: object) -> list[int]:
        assert isinstance(choices, list)
        world = captured_world()
        event = world.events[-1]
        jobs = [world.deliver(world.orders, event) for _ in range(2)]
        options = interleaved(jobs, choices)
        assert world.state is S.CONFIRMED
        assert world.told().count("OrderConfirmed") == 1
        return options

    assert every_schedule(trial) > 5


def test_a_dead_confirmation_changes_nothing() -> None:
    world = captured_world()
    event = world.events[-1]
    assert world.die(world.orders, event) is UnitVerdict.COMMITTED
    assert (world.state, world.outcome(world.orders, event)) == (S.PAID, "dead")


# ---- expire


def timer(world: World, store: Flaky | None = None) -> Orders:
    return Orders(store=store or world.store, clock=world, note=world.note)


class Enough(Exception):
    """Nothing is due any more."""


class Finite(Flaky):
    """A store that ends the timer when there is nothing left to wait for."""

    async def wait_due(self) -> None:
        raise Enough


@pytest.mark.parametrize("state", [S.PENDING, S.VALIDATED])
def test_the_timer_expires_what_was_not_paid_in_time(state: OrderState) -> None:
    world = World()
    if state is S.VALIDATED:
        world.validated()
    else:
        world.create()
    world.pass_us(EXPIRY - 1)
    with pytest.raises(Enough):
        run(timer(world, Finite(world.store)).run_expiry())
    assert world.told()[-1] != "OrderExpired"
    world.pass_us(1)
    with pytest.raises(Enough):
        run(timer(world, Finite(world.store)).run_expiry())
    assert world.state is S.EXPIRED
    assert world.told()[-1] == "OrderExpired"


def test_the_timer_leaves_a_paid_order_alone() -> None:
    world = captured_world()
    world.pass_us(EXPIRY)
    with pytest.raises(Enough):
        run(timer(world, Finite(world.store)).run_expiry())
    assert world.state is S.PAID


def test_the_timer_survives_a_store_that_is_away() -> None:
    world = World()
    world.create()
    world.pass_us(EXPIRY)
    store = Finite(world.store)
    store.commits = [DOWN, LOST, Transient("deadlock")]
    with pytest.raises(Enough):
        run(timer(world, store).run_expiry())
    assert world.state is S.EXPIRED
    assert world.told().count("OrderExpired") == 1


def test_two_timers_and_a_cancellation_end_an_order_once() -> None:
    ends = set()

    def trial(choices: object) -> list[int]:
        assert isinstance(choices, list)
        world = World()
        world.create()
        world.pass_us(EXPIRY)
        jobs = [world.expire_job(), world.expire_job(), world.desk.cancel(ID)]
        options = interleaved(jobs, choices)
        assert len(world.events) == 2
        ends.add(world.state)
        return options

    every_schedule(trial)
    assert ends == {S.EXPIRED, S.CANCELLED}
