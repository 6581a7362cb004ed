"""A provider is called under the intent's key, and asked when that is not enough."""

import pytest

from lab.domain.errors import Indeterminate
from lab.domain.order import Intent, IntentKind, OrderId, OrderState
from lab.history.pen import Pen
from lab.patterns.provider_key import KeyPerCall, KeyPerIntent
from lab.ports.providers import ChargeState, Known
from tests.kit.order_world import World, make_payment

C = ChargeState
INTENT = Intent(
    order_id=OrderId("o"),
    kind=IntentKind.CHARGE,
    n=1,
    key="charge:o:1",
    amount_cents=900,
    currency="EUR",
    send_until_us=0,
    is_open=True,
)
WEAK = KeyPerCall(pen=Pen(process="payment-1", now=lambda: 7))


def make_strong() -> KeyPerIntent:
    return KeyPerIntent(query_after=2, lifetime_us=1_000)


def known(*pairs: tuple[str, ChargeState]) -> list[Known]:
    return [Known(key=key, state=state) for key, state in pairs]


def test_all_attempts_share_the_key_of_the_intent() -> None:
    assert {make_strong().of_send(INTENT, attempt) for attempt in (1, 2, 9)} == {"charge:o:1"}
    assert {make_strong().of_mail("e1", attempt) for attempt in (1, 2, 9)} == {"e1"}


def test_each_call_of_the_weak_part_has_a_key_of_its_own_also_of_the_same_attempt() -> None:
    assert len({WEAK.of_send(INTENT, attempt) for attempt in (1, 1, 2)}) == 3
    assert len({WEAK.of_mail("e1", attempt) for attempt in (1, 1, 2)}) == 3


def test_a_weak_part_of_the_next_life_repeats_no_key_of_the_last_one() -> None:
    lives = [KeyPerCall(pen=Pen(process=name, now=lambda: 7)) for name in ("p-1", "p-1#2")]
    assert len({keys.of_send(INTENT, 1) for keys in lives}) == 2
    later = [KeyPerCall(pen=Pen(process="p-1", now=now)) for now in (lambda: 7, lambda: 8)]
    assert len({keys.of_mail("e1", 1) for keys in later}) == 2


@pytest.mark.parametrize(
    ("attempt", "redrives", "age_us", "asks"),
    [(1, 0, 0, ""), (2, 0, 500, ""), (3, 0, 0, "asks"), (1, 1, 0, "asks"), (1, 0, 501, "asks")],
)
def test_the_gateway_is_asked_after_two_answers_a_redrive_or_half_a_lifetime(
    attempt: int, redrives: int, age_us: int, asks: str
) -> None:
    assert make_strong().asks_first(attempt=attempt, redrives=redrives, age_us=age_us) is bool(asks)
    assert not WEAK.asks_first(attempt=attempt, redrives=redrives, age_us=age_us)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], C.NONE),
        ([C.DECLINED], C.DECLINED),
        ([C.DECLINED, C.PENDING], C.PENDING),
        ([C.DECLINED, C.CAPTURED], C.CAPTURED),
        ([C.PENDING, C.CAPTURED], C.CAPTURED),
        ([C.NONE], C.NONE),
    ],
)
def test_of_several_answers_the_one_about_money_counts(
    states: list[ChargeState], expected: ChargeState
) -> None:
    mine = known(*(("charge:o:1", state) for state in states))
    others = known(("charge:o:11", C.CAPTURED), ("refund:charge:o:1:1", C.REFUNDED))
    found = make_strong().found(INTENT, [*others, *mine])
    assert (found.key, found.state) == ("charge:o:1", expected)


def test_the_weak_part_finds_what_any_of_its_calls_did() -> None:
    answer = known(("charge:o:1:1", C.DECLINED), ("charge:o:1:2", C.CAPTURED))
    assert WEAK.found(INTENT, answer).key == "charge:o:1:2"
    assert WEAK.found(INTENT, known(("charge:o:11:1", C.CAPTURED))).state is C.NONE


def test_a_lost_answer_charges_twice_without_the_pattern() -> None:
    for keys, captures in ((None, 1), (WEAK, 2)):
        world = World()
        service = world.payment if keys is None else make_payment(world, keys=keys)
        event = world.validated()
        world.gateway.script = ["lose"]
        with pytest.raises(Indeterminate):
            world.handle(service, event)
        world.handle(service, event, attempt=2)
        assert world.state is OrderState.PAID
        assert world.moves().count("capture") == captures
