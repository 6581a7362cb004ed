"""Payment: every row of the state table, and what happens between any two of its steps."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
from msgspec.structs import replace

from lab.domain.errors import AlreadyDone, Indeterminate, LabError, Permanent, Throttled, Transient
from lab.domain.order import IntentKind, OrderState
from lab.providers.core import KeyMode
from tests.kit.order_world import EPOCH_US, EXPIRY, HOUR, ID, SECOND, SKEW, TIMEOUT, World
from tests.kit.virtual_steps import every_schedule, interleaved, run, step

S = OrderState
CHARGE_1 = f"charge:{ID}:1"
CHARGE_2 = f"charge:{ID}:2"
REFUND_1 = f"refund:{CHARGE_1}:1"


def paid_world() -> World:
    """PAID, told by its PaymentCaptured, the last event."""
    world = World()
    world.handle(world.payment, world.validated())
    return world


def refund_world() -> World:
    """REFUND_PENDING after a capture on a cancelled order; RefundRequested is the last event."""
    world = World()
    event = world.validated()
    world.gateway.script = [world.cancel]
    world.handle(world.payment, event)
    assert world.state is S.REFUND_PENDING
    return world


def is_sound(world: World) -> None:
    """What holds at the end of any story: money is kept iff the order is paid."""
    assert world.broken == []
    assert not any(intent.is_open for intent in world.intents())
    assert world.kept() == (1 if world.state is S.PAID else 0)


# ---- the state table


def test_a_validated_order_is_charged_and_paid() -> None:
    world = paid_world()
    assert world.state is S.PAID
    assert world.gateway.sent == [CHARGE_1]
    captured = world.events[-1]
    assert (captured.type, captured.sequence) == ("PaymentCaptured", 3)
    is_sound(world)


def test_a_declined_card_declines_the_order() -> None:
    world = World(declined_percent=100)
    world.handle(world.payment, world.validated())
    assert world.state is S.DECLINED
    assert b"card_declined" in world.events[-1].data
    is_sound(world)


def test_a_paid_order_is_not_charged_again() -> None:
    world = paid_world()
    with pytest.raises(AlreadyDone):
        world.handle(world.payment, world.events[1])
    assert world.notes == ["stale"]
    assert world.gateway.sent == [CHARGE_1]


def test_a_pending_order_is_not_charged_yet() -> None:
    world = World()
    event = world.validated()
    early = World()
    early.create()
    with pytest.raises(Transient):
        early.handle(early.payment, event)
    assert early.gateway.sent == []


def test_a_cancelled_order_without_an_intent_is_left_alone() -> None:
    world = World()
    event = world.validated()
    world.cancel()
    world.handle(world.payment, event)
    assert (world.state, world.gateway.sent, world.notes) == (S.CANCELLED, [], ["stale"])
    assert world.gateway.queries == 0


@pytest.mark.parametrize("end", ["cancel", "expire"])
def test_a_capture_that_lands_too_late_is_given_back(end: str) -> None:
    world = World()
    event = world.validated()
    world.gateway.script = [world.cancel if end == "cancel" else world.expire]
    world.handle(world.payment, event)
    assert world.state is S.REFUND_PENDING
    requested = world.events[-1]
    assert (requested.type, requested.causation_id) == ("RefundRequested", event.id)
    assert world.outcome(world.payment, event) == "done"
    world.handle(world.payment, requested)
    assert world.told()[-1] == "PaymentRefunded"
    assert world.moves() == ["capture", "refund"]
    is_sound(world)


def test_a_decline_on_a_cancelled_order_changes_nothing() -> None:
    world = World(declined_percent=100)
    event = world.validated()
    world.gateway.script = [world.cancel]
    world.handle(world.payment, event)
    assert world.state is S.CANCELLED
    is_sound(world)


def test_an_expired_order_is_left_to_the_timer() -> None:
    world = World()
    event = world.validated()
    world.pass_us(EXPIRY)
    world.handle(world.payment, event)
    assert (world.state, world.gateway.sent) == (S.VALIDATED, [])
    assert world.notes == ["expired"]
    world.expire()
    assert world.state is S.EXPIRED


def test_a_refused_refund_is_for_a_person() -> None:
    world = refund_world()
    event = world.events[-1]
    world.gateway.script = ["deny"]
    with pytest.raises(Permanent):
        world.handle(world.payment, event)
    assert world.outcome(world.payment, event) == ""
    world.die(world.payment, event)
    assert (world.state, world.told()[-1]) == (S.REFUND_FAILED, "RefundFailed")
    assert CHARGE_1.encode() in world.events[-1].data


@pytest.mark.parametrize("state", [S.CONFIRMED, S.DECLINED, S.REFUNDED])
def test_an_order_past_its_charge_is_stale(state: OrderState) -> None:
    world = World()
    event = world.validated()
    world.moved(event, state)
    world.handle(world.payment, event)
    assert (world.state, world.gateway.sent, world.notes) == (state, [], ["stale"])


# ---- lost answers


def test_a_lost_answer_is_asked_for_under_the_same_key() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["lose"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    assert [intent.is_open for intent in world.intents()] == [True]
    world.handle(world.payment, event, attempt=2)
    assert world.gateway.sent == [CHARGE_1, CHARGE_1]
    assert world.moves() == ["capture"]
    is_sound(world)


def test_after_two_lost_answers_the_gateway_is_asked_before_the_third() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["lose", "lose"]
    for attempt in (1, 2):
        with pytest.raises(Indeterminate):
            world.handle(world.payment, event, attempt=attempt)
    world.handle(world.payment, event, attempt=3)
    assert (len(world.gateway.sent), world.gateway.queries) == (2, 1)
    assert world.state is S.PAID
    is_sound(world)


def test_nothing_is_known_before_the_last_send_must_have_ended() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["never", "never"]
    for attempt in (1, 2):
        with pytest.raises(Indeterminate):
            world.handle(world.payment, event, attempt=attempt)
    with pytest.raises(Throttled) as throttled:
        world.handle(world.payment, event, attempt=3)
    # The second send raised the promise, if only by one.
    assert throttled.value.after_us == TIMEOUT + 1 + SKEW + 1
    world.pass_us(throttled.value.after_us - 1)
    with pytest.raises(Throttled):
        world.handle(world.payment, event, attempt=3)
    world.pass_us(1)
    world.handle(world.payment, event, attempt=3)
    assert world.gateway.sent == [CHARGE_1, CHARGE_1, CHARGE_2]
    assert [intent.key for intent in world.intents()] == [CHARGE_1, CHARGE_2]
    is_sound(world)


def test_a_stored_error_ends_with_the_next_intent() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["500"]
    run(world.deliver(world.payment, event))
    assert world.gateway.sent == [CHARGE_1, CHARGE_1, CHARGE_2]
    assert world.state is S.PAID
    is_sound(world)


def test_a_send_in_flight_is_waited_for() -> None:
    world = World()
    event = world.validated()
    job = world.start(world.payment, event)
    for _ in range(3):
        assert step(job)
    with pytest.raises(Throttled):
        world.handle(world.payment, event, attempt=2)
    with pytest.raises(Throttled):
        world.handle(world.payment, event, attempt=3)
    run(job)
    assert world.state is S.PAID
    is_sound(world)


def test_a_later_send_raises_the_promise_first() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["refused"]
    with pytest.raises(Transient):
        world.handle(world.payment, event)
    first = world.intents()[0].send_until_us
    assert first == EPOCH_US + TIMEOUT
    world.pass_us(SECOND)
    world.gateway.script = ["refused"]
    with pytest.raises(Transient):
        world.handle(world.payment, event, attempt=2)
    assert world.intents()[0].send_until_us == first + SECOND


def test_a_later_send_raises_the_promise_even_with_less_time_left() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["refused", "refused"]
    for handler_us in (10 * SECOND, SECOND):
        with pytest.raises(Transient):
            world.handle(world.payment, event, handler_us=handler_us)
    assert world.intents()[0].send_until_us == EPOCH_US + TIMEOUT + 1


def test_the_handlers_deadline_shortens_the_promise() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["refused"]
    with pytest.raises(Transient):
        world.handle(world.payment, event, handler_us=SECOND)
    assert world.intents()[0].send_until_us == EPOCH_US + SECOND


def test_without_time_left_nothing_is_promised_or_sent() -> None:
    world = World()
    event = world.validated()
    with pytest.raises(Transient):
        world.handle(world.payment, event, handler_us=0)
    assert (world.intents(), world.gateway.sent) == ((), [])


def test_a_handler_that_slept_over_its_promise_does_not_send() -> None:
    world = World()
    event = world.validated()
    job = world.start(world.payment, event)
    assert step(job)
    assert step(job)
    world.pass_us(TIMEOUT)
    with pytest.raises(Transient):
        run(job)
    assert world.gateway.sent == []


def test_no_send_has_more_time_than_was_promised() -> None:
    world = World()
    event = world.validated()
    job = world.start(world.payment, event)
    for _ in range(2):
        assert step(job)
        world.pass_us(SECOND // 2)
    run(job)
    promised = world.intents()[0].send_until_us - EPOCH_US
    assert world.gateway.deadlines[0] <= promised <= TIMEOUT + SECOND // 2


def test_a_key_that_may_be_forgotten_is_not_trusted() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["lose"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    # Hours of an open breaker count no attempt.
    world.pass_us(13 * HOUR)
    world.handle(world.payment, event, attempt=2)
    assert (len(world.gateway.sent), world.gateway.queries) == (1, 1)
    assert world.state is S.PAID


# ---- an order that closed over an open intent


@pytest.mark.parametrize("end", ["cancel", "expire"])
@pytest.mark.parametrize("act", ["lose", "never"])
def test_an_open_intent_of_a_closed_order_is_resolved_by_asking_alone(act: str, end: str) -> None:
    world = World()
    event = world.validated()
    world.gateway.script = [act]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    if end == "cancel":
        world.cancel()
        if act == "never":
            with pytest.raises(Throttled):
                world.handle(world.payment, event, attempt=2)
            assert world.outcome(world.payment, event) == ""
            world.pass_us(TIMEOUT + SKEW + 1)
    else:
        world.expire()
    world.handle(world.payment, event, attempt=2)
    assert world.gateway.sent == [CHARGE_1]
    if act == "lose":
        assert world.state is S.REFUND_PENDING
        world.handle(world.payment, world.events[-1])
        assert world.moves() == ["capture", "refund"]
    is_sound(world)


def test_an_expired_order_with_an_open_intent_is_asked_about_before_it_is_settled() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["lose"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    world.pass_us(EXPIRY)
    world.handle(world.payment, event, attempt=2)
    # The money came in time, so the order is paid although its time is over.
    assert (world.state, world.gateway.queries, len(world.gateway.sent)) == (S.PAID, 1, 1)
    is_sound(world)


def test_an_expired_order_without_a_capture_closes_its_intent() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["never"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    world.pass_us(EXPIRY)
    world.handle(world.payment, event, attempt=2)
    assert (world.state, world.notes) == (S.VALIDATED, ["expired"])
    assert len(world.gateway.sent) == 1
    is_sound(world)


# ---- dead letters and redrives


def parked(act: str) -> World:
    """PAYMENT_UNKNOWN after a send that was lost (`lose`) or never came (`never`)."""
    world = World()
    event = world.validated()
    world.gateway.script = [act]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    world.die(world.payment, event)
    assert world.state is S.PAYMENT_UNKNOWN
    assert world.events[-1].type == "PaymentUnknown"
    assert world.intents()[0].is_open
    return world


def test_a_dead_letter_over_an_open_intent_parks_the_order() -> None:
    world = parked("lose")
    assert CHARGE_1.encode() in world.events[-1].data


def test_a_dead_letter_without_an_intent_leaves_the_order_to_expire() -> None:
    world = World()
    event = world.validated()
    world.die(world.payment, event)
    assert (world.state, world.told()[-1]) == (S.VALIDATED, "OrderValidated")


def test_on_a_cancelled_order_the_open_intent_is_the_mark() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["lose"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    world.cancel()
    world.die(world.payment, event)
    assert world.state is S.CANCELLED
    assert world.intents()[0].is_open
    world.handle(world.payment, event, redrives=1)
    assert (world.state, world.gateway.sent) == (S.REFUND_PENDING, [CHARGE_1])


def test_a_dead_letter_that_races_a_cancellation_is_decided_again() -> None:
    world = World()
    event = world.validated()
    world.gateway.script = ["lose"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    unit = run(world.payment.on_dead(ID, event.type))
    world.cancel()
    assert world.server.commit(unit).value == "conflict"
    assert run(world.payment.on_dead(ID, event.type)).change is None


def test_a_redrive_asks_first_and_finds_the_capture() -> None:
    world = parked("lose")
    world.handle(world.payment, world.events[1], redrives=1)
    assert (world.state, world.gateway.sent, world.gateway.queries) == (S.PAID, [CHARGE_1], 1)
    is_sound(world)


def test_a_redrive_that_finds_nothing_charges_under_the_next_key() -> None:
    world = parked("never")
    world.pass_us(TIMEOUT + SKEW + 1)
    world.handle(world.payment, world.events[1], redrives=1)
    assert (world.state, world.gateway.sent) == (S.PAID, [CHARGE_1, CHARGE_2])
    is_sound(world)


def test_a_redrive_after_the_expiry_declines_what_was_never_taken() -> None:
    world = parked("never")
    world.pass_us(EXPIRY)
    world.handle(world.payment, world.events[1], redrives=1)
    assert (world.state, world.gateway.sent) == (S.DECLINED, [CHARGE_1])
    assert b"expired" in world.events[-1].data
    is_sound(world)


def test_a_redrive_of_a_declined_charge_declines() -> None:
    world = World(declined_percent=100)
    event = world.validated()
    world.gateway.script = ["lose"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    world.die(world.payment, event)
    world.handle(world.payment, event, redrives=1)
    assert (world.state, len(world.gateway.sent)) == (S.DECLINED, 1)
    is_sound(world)


# ---- refunds


def test_a_lost_refund_is_asked_for_under_the_same_key() -> None:
    world = refund_world()
    event = world.events[-1]
    world.gateway.script = ["lose"]
    with pytest.raises(Indeterminate):
        world.handle(world.payment, event)
    world.handle(world.payment, event, attempt=2)
    assert world.gateway.sent[1:] == [REFUND_1, REFUND_1]
    assert world.moves() == ["capture", "refund"]
    is_sound(world)


def test_a_refund_that_was_lost_twice_is_found_by_asking() -> None:
    world = refund_world()
    event = world.events[-1]
    world.gateway.script = ["lose", "lose"]
    run(world.deliver(world.payment, event))
    assert (world.state, len(world.gateway.sent), world.gateway.queries) == (S.REFUNDED, 3, 1)
    is_sound(world)


def test_a_failed_refund_can_be_redriven() -> None:
    world = refund_world()
    event = world.events[-1]
    world.gateway.script = ["deny"]
    with pytest.raises(Permanent):
        world.handle(world.payment, event)
    world.die(world.payment, event)
    world.pass_us(TIMEOUT + SKEW + 1)
    world.handle(world.payment, event, redrives=1)
    assert world.state is S.REFUNDED
    refunds = [each.key for each in world.intents() if each.kind is IntentKind.REFUND]
    assert refunds == [REFUND_1, f"refund:{CHARGE_1}:2"]
    is_sound(world)


def test_only_a_redrive_repeats_a_refund_that_the_gateway_remembers_as_refused() -> None:
    world = refund_world()
    event = world.events[-1]
    wrong = replace(event, data=event.data.replace(CHARGE_1.encode(), b"charge:other:1"))
    for attempt in (1, 2, 3):
        with pytest.raises(Permanent):
            world.handle(world.payment, wrong, attempt=attempt)
    assert world.gateway.queries == 1
    assert set(world.gateway.sent[1:]) == {"refund:charge:other:1:1"}
    with pytest.raises(Permanent):
        world.handle(world.payment, wrong, redrives=1)
    assert world.gateway.sent[-1] == "refund:charge:other:1:2"


def test_a_refund_before_its_order_asked_for_it_waits() -> None:
    late = refund_world()
    world = World()
    event = world.validated()
    world.cancel()
    with pytest.raises(Transient):
        world.handle(world.payment, late.events[-1])
    assert world.outcome(world.payment, event) == ""


# ---- between any two steps


def test_a_crash_between_any_two_steps_is_mended_by_the_next_delivery() -> None:
    crashes = 0
    for cancelled in (False, True):
        for steps in range(10):
            world = World()
            event = world.validated()
            job = world.start(world.payment, event)
            alive = all(step(job) for _ in range(steps))
            crashes += alive
            if cancelled:
                world.cancel()
            run(world.deliver(world.payment, event))
            if world.state is S.REFUND_PENDING:
                run(world.deliver(world.payment, world.events[-1]))
            is_sound(world)
            assert len([move for move in world.moves() if move == "capture"]) <= 1
            job.close()
    assert crashes >= 8


def rivals(
    choices: Sequence[int], *acts: str, mode: KeyMode, declined: int
) -> tuple[World, list[int]]:
    world = World(declined_percent=declined, key_mode=mode)
    event = world.validated()
    world.gateway.script = list(acts)
    jobs = [world.deliver(world.payment, event) for _ in range(2)]
    return world, interleaved(jobs, choices)


@pytest.mark.parametrize("declined", [0, 100])
# Without keys at all (`none`) they charge twice: that is beyond the contract.
@pytest.mark.parametrize("mode", [KeyMode.STRIPE, KeyMode.SUCCESS_ONLY])
def test_two_rivals_charge_once_in_every_order_of_their_steps(mode: KeyMode, declined: int) -> None:
    def trial(choices: Sequence[int]) -> list[int]:
        world, options = rivals(choices, mode=mode, declined=declined)
        assert world.state is (S.DECLINED if declined else S.PAID)
        is_sound(world)
        return options

    assert every_schedule(trial) > 50


@pytest.mark.slow
@pytest.mark.parametrize("acts", [("lose",), ("never",), ("500",), ("never", "lose")])
def test_two_rivals_survive_failures_in_every_order_of_their_steps(acts: tuple[str, ...]) -> None:
    def trial(choices: Sequence[int]) -> list[int]:
        world, options = rivals(choices, *acts, mode=KeyMode.STRIPE, declined=0)
        assert world.state is S.PAID
        is_sound(world)
        return options

    assert every_schedule(trial) > 50


def test_a_refusal_does_not_end_an_intent_that_a_rival_has_sent_again() -> None:
    ends = set()

    def trial(choices: Sequence[int]) -> list[int]:
        world, options = rivals(choices, "deny", mode=KeyMode.SUCCESS_ONLY, declined=0)
        is_sound(world)
        ends.add(world.state)
        return options

    every_schedule(trial)
    assert ends == {S.PAID, S.DECLINED}


def test_an_intent_is_not_given_up_while_a_rival_sends_under_it() -> None:
    conflicts = 0

    def trial(choices: Sequence[int]) -> list[int]:
        nonlocal conflicts
        world = World()
        event = world.validated()
        world.gateway.script = ["never", "never"]
        for attempt in (1, 2):
            with pytest.raises(Indeterminate):
                world.handle(world.payment, event, attempt=attempt)
        world.pass_us(TIMEOUT + SKEW + 2)

        async def attempt_of(ordinal: int) -> None:
            with suppress(LabError):
                await world.start(world.payment, event, attempt=ordinal)

        # The one that is late believes in the key, the other one asks and gives it up.
        options = interleaved([attempt_of(3), attempt_of(2)], choices)
        conflicts += world.server.conflicts
        run(world.deliver(world.payment, event))
        assert world.state is S.PAID
        is_sound(world)
        return options

    every_schedule(trial)
    assert conflicts > 0


def test_a_cancellation_between_any_two_steps_leaves_no_money_behind() -> None:
    ends = set()

    def trial(choices: Sequence[int]) -> list[int]:
        world = World()
        event = world.validated()
        jobs = [world.deliver(world.payment, event), world.desk.cancel(ID)]
        options = interleaved(jobs, choices)
        if world.state is S.REFUND_PENDING:
            run(world.deliver(world.payment, world.events[-1]))
        is_sound(world)
        ends.add(world.state)
        return options

    assert every_schedule(trial) > 10
    assert ends == {S.PAID, S.CANCELLED, S.REFUNDED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "end"), [("ok", S.REFUNDED), ("lose", S.REFUNDED), ("never", S.EXPIRED)]
)
def test_rivals_and_an_expiry_between_any_two_steps_leave_no_money_behind(
    act: str, end: OrderState
) -> None:
    ends = set()

    def trial(choices: Sequence[int]) -> list[int]:
        world = World()
        event = world.validated()
        world.gateway.script = [act]
        world.pass_us(EXPIRY - SECOND)

        async def timer() -> None:
            world.pass_us(SECOND)
            await world.expire_job()

        jobs = [
            world.deliver(world.payment, event),
            world.deliver(world.payment, event),
            timer(),
        ]
        options = interleaved(jobs, choices)
        if world.state is S.REFUND_PENDING:
            run(world.deliver(world.payment, world.events[-1]))
        is_sound(world)
        ends.add(world.state)
        return options

    assert every_schedule(trial) > 100
    assert end in ends
