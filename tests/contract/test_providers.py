"""The contract of the third parties, whatever lies between them and a process of the lab."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from lab.domain.errors import (
    Down,
    Indeterminate,
    LabError,
    Permanent,
    Replayed,
    Throttled,
    Transient,
)
from lab.domain.order import Item
from lab.history.contents import asked_by
from lab.history.facts import AnsweredEntry, LedgerEntry
from lab.ports.faults import CallFault, CallFaultKind
from lab.ports.providers import ChargeState, GatewayAnswer
from lab.providers.core import KeyMode
from tests.contract.provider_worlds import (
    MS,
    SOON_US,
    WORLDS,
    ProviderWorld,
    charge,
    in_world,
    ledger_lines,
    mail,
    movements,
    outcome,
    query,
    refund,
    wait_handed_over,
)
from tests.kit.entries import of_type, own_fields, without_time
from tests.kit.took import assert_took

QUERY_ROUNDS_MAX = 10
KEY = "charge:o1.1:1"


REAL_TIME = {"http": pytest.mark.slow}


@pytest.fixture(params=[pytest.param(name, marks=REAL_TIME.get(name, ())) for name in WORLDS])
def make_world(request: pytest.FixtureRequest) -> Callable[..., Any]:
    made: Callable[..., Any] = WORLDS[request.param]
    return made


@in_world()
async def test_a_charge_is_captured_and_in_the_ledger(world: ProviderWorld) -> None:
    began_us = world.clock.now_us()

    assert (await charge(world)).state is ChargeState.CAPTURED

    (entry,) = await world.ledger()
    line = LedgerEntry._make(entry)
    assert isinstance(line.t_us, int)
    assert began_us < line.t_us <= world.clock.now_us()
    assert without_time(line) == (
        "ledger", "ledger", "1.1", "payment_gateway", "capture", KEY, "", 500, "GBP",
    )  # fmt: skip


@in_world()
async def test_the_same_key_charges_once_and_gets_the_same_answer(world: ProviderWorld) -> None:
    assert await charge(world) == await charge(world)

    assert await movements(world) == [("capture", KEY)]


@in_world()
async def test_another_key_charges_again(world: ProviderWorld) -> None:
    await charge(world, "a")
    await charge(world, "b")

    assert await movements(world) == [("capture", "a"), ("capture", "b")]


@in_world()
async def test_a_key_with_another_amount_is_refused_for_good(world: ProviderWorld) -> None:
    await charge(world, cents=500)

    assert await outcome(charge(world, cents=501)) is Permanent

    assert await movements(world) == [("capture", KEY)]


@in_world(latency_us=100 * MS)
async def test_the_same_key_in_flight_is_throttled_and_charges_once(world: ProviderWorld) -> None:
    calls = [world.start(charge(world)) for _ in range(5)]

    answers = []
    hints = []
    for call in calls:
        try:
            answers.append((await call).state)
        except Throttled as busy:
            hints.append(busy.after_us)

    assert answers == [ChargeState.CAPTURED]
    assert hints == [500 * MS] * 4
    assert await movements(world) == [("capture", KEY)]


# ---- deadlines


@in_world(latency_us=300 * MS)
async def test_a_request_is_executed_before_its_deadline_or_never(world: ProviderWorld) -> None:
    deadlines: dict[object, int] = {}
    calls = []
    for n in range(40):
        within_us = 20 * MS * (n + 1)
        deadlines[f"k{n}"] = world.clock.now_us() + within_us
        call = charge(world, f"k{n}", order=f"o{n}.1", within_us=within_us)
        calls.append(world.start(outcome(call)))
    answers = {f"k{n}": await call for n, call in enumerate(calls)}
    await world.clock.sleep_us(1_000 * MS)

    executed = {line.key: line.t_us for line in await ledger_lines(world)}
    assert all(at <= deadlines[key] for key, at in executed.items())
    lost = {key for key, answer in answers.items() if answer is Indeterminate}
    captured = {key for key, answer in answers.items() if isinstance(answer, GatewayAnswer)}
    assert executed.keys() - lost == captured, "what is done is answered, or nobody knows"
    assert captured, "some are answered"
    assert executed.keys() & lost, "some answers come too late for what was done"
    assert lost - executed.keys(), "some requests are never executed"


@in_world(latency_us=3_000 * MS)
async def test_a_late_answer_is_told_at_the_deadline(world: ProviderWorld) -> None:
    began_us = world.clock.now_us()

    assert await outcome(charge(world, within_us=250 * MS)) is Indeterminate

    assert_took(world.clock.now_us() - began_us, least_us=250 * MS, most_us=800 * MS)


@in_world()
async def test_a_passed_deadline_hands_nothing_over(world: ProviderWorld) -> None:
    assert await outcome(charge(world, within_us=0)) is Transient

    await world.clock.sleep_us(200 * MS)
    assert await movements(world) == []


@in_world(latency_us=100 * MS)
async def test_what_a_cancelled_caller_handed_over_is_executed(world: ProviderWorld) -> None:
    call = world.start(charge(world))
    await wait_handed_over(world, 1)
    call.cancel()
    await world.clock.sleep_us(700 * MS)

    assert call.cancelled()
    assert await movements(world) == [("capture", KEY)]


# ---- faults


def error(status: int, *, stored: bool = False, after_us: int = 0) -> CallFault:
    return CallFault(kind=CallFaultKind.ERROR, status=status, is_stored=stored, after_us=after_us)


@in_world()
async def test_every_status_is_the_error_that_the_port_names(world: ProviderWorld) -> None:
    named: dict[int, type[LabError]] = {
        400: Permanent, 404: Permanent, 422: Permanent, 401: Down, 403: Down,
        409: Throttled, 429: Throttled, 500: Transient, 502: Transient, 503: Transient,
    }  # fmt: skip
    world.faults.faults = [error(status) for status in named]

    for status, expected in named.items():
        assert await outcome(charge(world)) is expected, status

    assert await movements(world) == [], "an error moves nothing"
    assert (await charge(world)).state is ChargeState.CAPTURED, "and its key is free"


@in_world()
async def test_the_hint_of_an_error_reaches_the_caller(world: ProviderWorld) -> None:
    world.faults.faults = [error(429, after_us=1_234 * MS), error(403, after_us=77 * MS)]

    with pytest.raises(Throttled) as busy:
        await charge(world)
    with pytest.raises(Down) as down:
        await charge(world)

    assert busy.value.after_us == 1_234 * MS
    # Credentials that are refused are no matter of time: the group looks again soon, hint or not.
    assert down.value.after_us == 1_000 * MS
    assert down.value.dependency == "payment_gateway"


@in_world()
async def test_a_stored_error_is_given_again(world: ProviderWorld) -> None:
    world.faults.faults = [error(500, stored=True)]

    assert await outcome(charge(world)) is Transient
    assert await outcome(charge(world)) is Replayed

    assert await movements(world) == []
    assert await query(world) == []
    assert (await charge(world, "another")).state is ChargeState.CAPTURED


@in_world(key_mode=KeyMode.SUCCESS_ONLY)
async def test_no_error_is_stored_where_only_successes_are(world: ProviderWorld) -> None:
    world.faults.faults = [error(500, stored=True)]

    assert await outcome(charge(world)) is Transient
    assert (await charge(world)).state is ChargeState.CAPTURED


@in_world(key_mode=KeyMode.NONE)
async def test_a_provider_that_knows_no_keys_does_again_what_is_sent_again(
    world: ProviderWorld,
) -> None:
    for _ in range(2):
        assert (await charge(world)).state is ChargeState.CAPTURED

    assert len(await movements(world)) == 2


@in_world()
async def test_a_lost_request_is_indeterminate_at_the_deadline(world: ProviderWorld) -> None:
    world.faults.faults = [CallFault(kind=CallFaultKind.TIMEOUT)]
    began_us = world.clock.now_us()

    assert await outcome(charge(world, within_us=300 * MS)) is Indeterminate

    assert_took(world.clock.now_us() - began_us, least_us=300 * MS, most_us=800 * MS)
    assert await movements(world) == []
    assert (await charge(world)).state is ChargeState.CAPTURED, "its key is not in flight"


@in_world()
async def test_after_a_lost_answer_the_same_key_gets_it(world: ProviderWorld) -> None:
    world.faults.faults = [CallFault(kind=CallFaultKind.HANG_AFTER_EFFECT)]

    assert await outcome(charge(world, within_us=500 * MS)) is Indeterminate
    assert await query(world) == [(KEY, "captured")]
    assert (await charge(world)).state is ChargeState.CAPTURED

    assert await movements(world) == [("capture", KEY)]


@in_world()
async def test_a_late_reply_is_to_a_request_that_was_executed(world: ProviderWorld) -> None:
    world.faults.faults = [CallFault(kind=CallFaultKind.LATE_REPLY, by_us=150 * MS)] * 2
    began_us = world.clock.now_us()

    assert await outcome(charge(world, within_us=300 * MS)) is Indeterminate

    assert_took(world.clock.now_us() - began_us, least_us=300 * MS, most_us=800 * MS)
    stock = world.providers.warehouse.in_stock("o1.1", (), deadline_us=began_us + 700 * MS)
    assert await outcome(stock) is Indeterminate
    await world.clock.sleep_us(300 * MS)
    assert await movements(world) == [("capture", KEY)]
    assert (await charge(world)).state is ChargeState.CAPTURED, "no answer reaches another call"
    assert await movements(world) == [("capture", KEY)]


@in_world()
async def test_a_slow_call_takes_longer_and_may_be_in_time(world: ProviderWorld) -> None:
    slow = CallFault(kind=CallFaultKind.SLOW, by_us=250 * MS)
    world.faults.faults = [slow, slow, CallFault(kind=CallFaultKind.SLOW, times=40)]
    began_us = world.clock.now_us()

    assert (await charge(world)).state is ChargeState.CAPTURED
    took_us = world.clock.now_us() - began_us
    assert await outcome(charge(world, "b", within_us=100 * MS)) is Indeterminate
    assert await outcome(charge(world, "c", within_us=100 * MS)) is Indeterminate

    assert_took(took_us, least_us=250 * MS, most_us=900 * MS)
    await world.clock.sleep_us(900 * MS)
    assert await movements(world) == [("capture", KEY)], "what comes too late is not done"


@in_world()
async def test_an_answer_that_cannot_be_read_is_to_a_request_that_was_executed(
    world: ProviderWorld,
) -> None:
    world.faults.faults = [CallFault(kind=CallFaultKind.MALFORMED)] * 5
    soon_us = world.clock.now_us() + SOON_US
    providers = world.providers

    assert await outcome(charge(world)) is Indeterminate
    assert await outcome(mail(world, "m")) is Indeterminate
    assert await outcome(query(world)) is Transient
    assert await outcome(providers.warehouse.in_stock("o1.1", (), deadline_us=soon_us)) is Transient
    fraud = providers.antifraud.is_fraud("o1.1", "c", 500, deadline_us=soon_us)
    assert await outcome(fraud) is Transient

    assert await movements(world) == [("capture", KEY), ("mail", "m")]
    assert (await charge(world)).state is ChargeState.CAPTURED


@in_world(skew_us=SOON_US)
async def test_who_acts_late_does_so_after_the_deadline_and_until_then_it_is_under_way(
    world: ProviderWorld,
) -> None:
    world.faults.faults = [CallFault(kind=CallFaultKind.ACTS_LATE, by_us=1_500 * MS)]
    deadline_us = world.clock.now_us() + 100 * MS

    assert await outcome(charge(world, within_us=100 * MS)) is Indeterminate

    assert await query(world) == [(KEY, "pending")]
    assert await outcome(charge(world)) is Throttled
    while not await movements(world):
        await world.clock.sleep_us(100 * MS)
    assert await query(world) == [(KEY, "captured")]
    (line,) = await ledger_lines(world)
    assert line.t_us > deadline_us + 1_000 * MS
    assert (await charge(world)).state is ChargeState.CAPTURED
    assert await movements(world) == [("capture", KEY)]


@in_world(skew_us=SOON_US)
async def test_who_is_cut_off_hears_it_at_once_and_the_request_is_under_way(
    world: ProviderWorld,
) -> None:
    world.faults.faults = [CallFault(kind=CallFaultKind.ACTS_LATE, by_us=500 * MS, is_cut=True)]
    began_us = world.clock.now_us()

    assert await outcome(charge(world, within_us=1_000 * MS)) is Indeterminate

    assert_took(world.clock.now_us() - began_us, most_us=200 * MS)
    assert await query(world) == [(KEY, "pending")]
    assert await outcome(charge(world)) is Throttled
    while not await movements(world):
        await world.clock.sleep_us(100 * MS)
    assert await movements(world) == [("capture", KEY)]


@in_world(skew_us=SOON_US)
async def test_nobody_knows_of_a_request_that_is_still_on_its_way(world: ProviderWorld) -> None:
    late = CallFault(kind=CallFaultKind.ACTS_LATE, by_us=500 * MS, is_seen=False)
    world.faults.faults = [late]

    assert await outcome(charge(world, within_us=100 * MS)) is Indeterminate

    assert await query(world) == []
    while not await movements(world):
        await world.clock.sleep_us(100 * MS)
    assert await query(world) == [(KEY, "captured")]
    assert (await charge(world)).state is ChargeState.CAPTURED
    assert await movements(world) == [("capture", KEY)]


@in_world()
async def test_who_fails_afterwards_has_done_it_and_the_same_key_gets_the_answer(
    world: ProviderWorld,
) -> None:
    failed = CallFault(kind=CallFaultKind.ERROR, status=503, is_done=True)
    world.faults.faults = [failed, failed, failed]

    assert await outcome(charge(world)) is Transient
    assert await outcome(mail(world, "m")) is Transient
    assert await outcome(query(world)) is Transient

    assert (await charge(world)).state is ChargeState.CAPTURED
    await mail(world, "m")
    assert await movements(world) == [("capture", KEY), ("mail", "m")]


@in_world()
async def test_a_stored_failure_after_the_effect_hides_it_from_all_but_a_query(
    world: ProviderWorld,
) -> None:
    world.faults.faults = [
        CallFault(kind=CallFaultKind.ERROR, status=500, is_done=True, is_stored=True)
    ]

    assert await outcome(charge(world)) is Transient
    assert await outcome(charge(world)) is Replayed
    assert await query(world) == [(KEY, "captured")]
    await world.restart()
    assert await outcome(charge(world)) is Replayed
    assert await query(world) == [(KEY, "captured")]
    assert await movements(world) == [("capture", KEY)]


@in_world()
async def test_a_failure_does_not_replace_the_answer_that_was_stored_before(
    world: ProviderWorld,
) -> None:
    await charge(world)
    world.faults.faults = [
        CallFault(kind=CallFaultKind.ERROR, status=500, is_done=True, is_stored=True)
    ]

    assert await outcome(charge(world)) is Transient
    assert (await charge(world)).state is ChargeState.CAPTURED


@in_world()
async def test_a_refund_that_is_refused_stays_so_under_its_key_and_moves_nothing(
    world: ProviderWorld,
) -> None:
    await charge(world, "c")
    world.faults.faults = [CallFault(kind=CallFaultKind.REFUSED)]

    assert (await refund(world, "r1", "c")).reason == "refund_refused"
    assert (await refund(world, "r1", "c")).reason == "refund_refused"
    assert await query(world) == [("c", "captured"), ("r1", "declined")]
    assert (await refund(world, "r2", "c")).state is ChargeState.REFUNDED

    assert await movements(world) == [
        ("capture", "c"), ("refund_declined", "r1"), ("refund", "r2"),
    ]  # fmt: skip


# ---- queries, refunds, mails, questions


@in_world()
async def test_a_query_tells_what_was_executed(world: ProviderWorld) -> None:
    assert await query(world) == []
    await charge(world, "c")
    assert await query(world) == [("c", "captured")]
    await refund(world, "r", "c")
    assert await query(world) == [("c", "captured"), ("r", "refunded")]
    assert await query(world, "o2.1") == []


@in_world(latency_us=200 * MS)
async def test_a_query_tells_what_is_in_flight(world: ProviderWorld) -> None:
    """A busy machine may have executed every charge before the first query of a round is heard."""
    seen: set[str] = set()
    for number in range(QUERY_ROUNDS_MAX):
        orders = [f"o{number}-{n}.1" for n in range(30)]
        charges = [world.start(charge(world, f"c{order}", order=order)) for order in orders]
        await wait_handed_over(world, len(orders) * (2 * number + 1))
        queries = [world.start(query(world, order)) for order in orders]

        told = [await each for each in queries]
        for each in charges:
            await each

        assert all(
            len(known) == 1 and known[0][0] == f"c{order}"
            for order, known in zip(orders, told, strict=True)
        )
        seen |= {known[0][1] for known in told}
        if len(seen) > 1:
            break
    assert seen == {"pending", "captured"}


@in_world()
async def test_no_more_is_refunded_than_was_captured(world: ProviderWorld) -> None:
    assert (await refund(world, "r0", "c")).reason == "charge_unknown"
    await charge(world, "c")
    assert (await refund(world, "r1", "c", 501)).reason == "amount_too_large"
    assert (await refund(world, "r2", "c")).state is ChargeState.REFUNDED
    assert (await refund(world, "r2", "c")).state is ChargeState.REFUNDED
    assert (await refund(world, "r3", "c")).reason == "charge_refunded"

    assert [action for action, _ in await movements(world)] == [
        "refund_declined", "capture", "refund_declined", "refund", "refund_declined",
    ]  # fmt: skip
    refunds = [line for line in await ledger_lines(world) if line.action == "refund"]
    assert [line.charge_key for line in refunds] == ["c"], "a refund names its charge"


@in_world()
async def test_a_mail_is_sent_once_per_key(world: ProviderWorld) -> None:
    for key in ("a", "a", "b"):
        await mail(world, key)

    assert await movements(world) == [("mail", "a"), ("mail", "b")]
    assert [line.charge_key for line in await ledger_lines(world)] == ["received"] * 2


@in_world(refused_percent=30, latency_us=2 * MS)
async def test_a_share_is_refused_the_same_at_every_try(world: ProviderWorld) -> None:
    providers, soon_us = world.providers, world.clock.now_us() + SOON_US
    found: dict[str, list[object]] = {"stock": [], "fraud": [], "card": []}
    for n in range(40):
        order = f"o{n}.1"
        for k in range(2):
            found["stock"].append(
                await providers.warehouse.in_stock(order, (), deadline_us=soon_us)
            )
            found["fraud"].append(
                await providers.antifraud.is_fraud(order, "c", 500, deadline_us=soon_us)
            )
            found["card"].append((await charge(world, f"{order}:{k}", order=order)).reason)

    assert all(answers[::2] == answers[1::2] for answers in found.values())
    refused = (
        found["stock"].count(False),
        found["fraud"].count(True),
        found["card"].count("card_declined"),
    )
    assert all(8 < count < 48 for count in refused), refused


# ---- questions leave a witness

GOODS: Final = (Item(sku="a", quantity=2, unit_price_cents=250),)


async def answers(world: ProviderWorld) -> list[tuple[object, ...]]:
    """What the third parties say that they answered, without the time."""
    told = of_type(await world.ledger(), AnsweredEntry)
    return [own_fields(each) for each in told]


@in_world()
async def test_a_question_is_written_down_as_it_was_understood(world: ProviderWorld) -> None:
    providers, soon_us = world.providers, world.clock.now_us() + SOON_US
    await providers.warehouse.in_stock("o1.1", GOODS, deadline_us=soon_us)
    await providers.antifraud.is_fraud("o1.1", "C-7", 500, deadline_us=soon_us)
    await charge(world)

    body = b'{"customer_id":"C-7","currency":"GBP","items":[%s]}' % msgspec.json.encode(GOODS[0])
    assert await answers(world) == [
        ("warehouse", "in_stock", "", asked_by(body).items, 0, "ok"),
        ("antifraud", "is_fraud", "C-7", "", 500, "ok"),
    ]


@in_world(refused_percent=100)
async def test_an_objection_is_written_down_with_its_reason(world: ProviderWorld) -> None:
    providers, soon_us = world.providers, world.clock.now_us() + SOON_US
    assert not await providers.warehouse.in_stock("o1.1", GOODS, deadline_us=soon_us)
    assert await providers.antifraud.is_fraud("o1.1", "C-7", 500, deadline_us=soon_us)

    assert [each[-1] for each in await answers(world)] == ["out_of_stock", "fraud"]


@in_world()
async def test_a_failure_is_written_down_and_done_by_nobody(world: ProviderWorld) -> None:
    world.faults.faults = [error(503), error(400, stored=True), error(429)]
    for key in ("a", "b", "c", "b"):
        await outcome(charge(world, key))
    await world.restart()
    await outcome(charge(world, "b"))

    assert [each[-1] for each in await answers(world)] == ["503", "400", "429", "400", "400"]
    assert await movements(world) == []


# ---- the ledger is the truth


@in_world()
async def test_a_restart_of_the_third_parties_forgets_nothing(world: ProviderWorld) -> None:
    world.faults.faults = [None, None, error(500, stored=True)]
    await charge(world, "c")
    await refund(world, "r", "c")
    assert await outcome(charge(world, "failed")) is Transient
    await mail(world, "m")
    before, known = await world.ledger(), await query(world)

    await world.restart()

    assert await world.ledger() == before
    assert await query(world) == known == [("c", "captured"), ("r", "refunded")]
    assert (await charge(world, "c")).state is ChargeState.CAPTURED
    assert (await refund(world, "r", "c")).state is ChargeState.REFUNDED
    assert (await refund(world, "r2", "c")).reason == "charge_refunded"
    assert await outcome(charge(world, "failed")) is Replayed
    assert await outcome(charge(world, "c", cents=501)) is Permanent
    await mail(world, "m")
    assert await movements(world) == [
        ("capture", "c"), ("refund", "r"), ("mail", "m"), ("refund_declined", "r2"),
    ]  # fmt: skip
