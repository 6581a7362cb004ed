"""Retry: what becomes of a delivery, by the class of its error."""

from typing import Any

import pytest

from lab.domain.errors import (
    Down,
    Fenced,
    Indeterminate,
    LabError,
    Permanent,
    Poison,
    Throttled,
    TooLarge,
    Transient,
    Unclassified,
)
from lab.patterns.retry import NoRetry, RetryBudget, Retrying, RetryPolicy, give_back
from lab.ports.bus import Ack, DeadLetter, Delivery, Handle, Release, Retry, Settlement
from lab.ports.parking import Parking
from tests.kit.chain_parts import (
    EPOCH_US,
    GROUP,
    MS,
    PROCESS,
    SECOND,
    Entries,
    Hand,
    Inner,
    make_delivery,
    make_pen,
)
from tests.kit.stepping import at_once

POLICY = RetryPolicy(
    attempts_max=6,
    in_place=3,
    base_us=100 * MS,
    cap_us=150 * MS,
    tiers_us=(5 * SECOND, 30 * SECOND, 120 * SECOND),
    max_elapsed_us=600 * SECOND,
)


class Parked(Parking):
    """Remembers what was parked; fails as often as it is told."""

    def __init__(self, *failures: LabError) -> None:
        self.tiers: list[tuple[int, int]] = []
        self.uncounted = 0
        self._failures = list(failures)

    async def park(
        self,
        delivery: Delivery,  # noqa: ARG002 - the port's shape
        *,
        tier: int,
        delay_us: int,
        counts: bool = True,
    ) -> Settlement:
        if self._failures:
            raise self._failures.pop(0)
        self.tiers.append((tier, delay_us))
        self.uncounted += not counts
        return Ack("parked")


def make_retrying(inner: Handle, kind: type[Retrying] = Retrying, **given: Any) -> Retrying:
    hand = given.pop("hand", Hand())
    entries = given.pop("entries", None)
    parts: dict[str, Any] = {
        "policy": POLICY,
        "budget": RetryBudget(10, 0.1),
        "parking": Parked(),
        "jitter": lambda _event_id, _attempt: 0.5,
    }
    return kind(
        inner,
        **(parts | given),
        wall=hand.wall_us,
        pen=make_pen(hand.now_us, entries),
    )


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (Throttled("429", after_us=7), Retry(7, counts=False)),
        (Down("open", dependency="gateway", after_us=9), Release("down", 9)),
        (Fenced("epoch"), Release("fenced")),
        (Permanent("400"), DeadLetter("permanent", "Permanent", "400")),
        (TooLarge("2 MiB"), DeadLetter("permanent", "TooLarge", "2 MiB")),
        (Poison("no json"), DeadLetter("poison", "Poison", "no json")),
        (Transient("503"), Retry(50 * MS)),
        (Indeterminate("lost"), Retry(50 * MS)),
        (Unclassified("sku", kind="KeyError"), Retry(50 * MS)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_class_of_an_error_decides(error: LabError, settlement: Settlement) -> None:
    assert at_once(make_retrying(Inner(error))(make_delivery())) == settlement


@pytest.mark.parametrize("kind", [Retrying, NoRetry])
@pytest.mark.parametrize("error", [Transient("deadlock"), Indeterminate("lost")])
def test_a_failure_on_the_way_to_the_handler_is_no_attempt(
    error: LabError, kind: type[Retrying]
) -> None:
    async def claims_nothing(_delivery: Delivery) -> Settlement:
        raise error

    entries, budget = Entries(), RetryBudget(1, 0.1)
    retrying = make_retrying(claims_nothing, kind, entries=entries, budget=budget)

    delivery = make_delivery(attempt=POLICY.attempts_max)
    for _ in range(3):
        assert at_once(retrying(delivery)) == Retry(POLICY.again_us, counts=False)
    assert delivery.failures == ()
    assert entries == []
    assert budget.take("")


def test_a_settlement_passes_as_it_is() -> None:
    dead = DeadLetter("starts", "Poison", "4 starts")

    assert at_once(make_retrying(Inner(dead))(make_delivery())) == dead


def test_backoff_in_place_has_full_jitter_below_the_cap() -> None:
    top = make_retrying(Inner(Transient("x")), jitter=lambda _event_id, _attempt: 0.999_999)
    bottom = make_retrying(Inner(Transient("x")), jitter=lambda _event_id, _attempt: 0.0)

    delays = [at_once(top(make_delivery(attempt=attempt))) for attempt in (1, 2)]

    assert [delay.after_us for delay in delays if isinstance(delay, Retry)] == [99_999, 149_999]
    assert at_once(bottom(make_delivery())) == Retry(0)


def test_jitter_is_drawn_by_event_and_attempt() -> None:
    drawn = []

    def jitter(event_id: str, attempt: int) -> float:
        drawn.append((event_id, attempt))
        return 0.1

    at_once(make_retrying(Inner(Transient("x")), jitter=jitter)(make_delivery(attempt=2)))

    assert drawn == [("e1", 2)]


def test_attempts_go_in_place_then_through_the_tiers_then_to_the_dead_letters() -> None:
    parking, entries = Parked(), Entries()
    retrying = make_retrying(Inner(Transient("503")), parking=parking, entries=entries)

    settled = [at_once(retrying(make_delivery(attempt=n))) for n in range(1, 7)]

    assert settled[:2] == [Retry(50 * MS), Retry(75 * MS)]
    assert settled[2:5] == [Ack("parked")] * 3
    assert settled[5] == DeadLetter("exhausted", "Transient", "503")
    assert parking.tiers == [(1, 5 * SECOND), (2, 30 * SECOND), (3, 120 * SECOND)]
    assert entries.of("retrying")[2] == (GROUP, "e1", 3, "Transient", "tier.1", 5 * SECOND)


def test_more_attempts_than_tiers_stay_in_the_last_tier() -> None:
    parking = Parked()
    policy = RetryPolicy(
        attempts_max=9,
        in_place=1,
        base_us=1,
        cap_us=1,
        tiers_us=(5, 6),
        max_elapsed_us=1,
    )
    retrying = make_retrying(Inner(Transient("x")), parking=parking, policy=policy)

    for attempt in range(1, 5):
        at_once(retrying(make_delivery(attempt=attempt)))

    assert parking.tiers == [(1, 5), (2, 6), (2, 6), (2, 6)]


def test_a_ridiculous_number_of_attempts_overflows_nothing() -> None:
    parking = Parked()
    most = 10**9
    policy = RetryPolicy(
        attempts_max=most,
        in_place=most // 2,
        base_us=MS,
        cap_us=2 * SECOND,
        tiers_us=(5 * SECOND, 6 * SECOND),
        max_elapsed_us=600 * SECOND,
    )
    retrying = make_retrying(Inner(*[Transient("x")] * 3), parking=parking, policy=policy)

    in_place = at_once(retrying(make_delivery(attempt=most // 2 - 1)))
    assert isinstance(in_place, Retry)
    assert 0 <= in_place.after_us <= 2 * SECOND
    at_once(retrying(make_delivery(attempt=most - 1)))
    assert parking.tiers == [(2, 6 * SECOND)]
    assert isinstance(at_once(retrying(make_delivery(attempt=most))), DeadLetter)


def test_a_new_kind_of_failure_starts_no_count_of_its_own() -> None:
    retrying = make_retrying(Inner(Transient("x"), Unclassified("sku", kind="KeyError")))

    assert not isinstance(at_once(retrying(make_delivery(attempt=3))), DeadLetter)
    # A bug gets three attempts, and three have been made, whatever they met.
    assert isinstance(at_once(retrying(make_delivery(attempt=4))), DeadLetter)


def test_a_bug_of_a_handler_gets_three_attempts() -> None:
    retrying = make_retrying(Inner(Unclassified("sku", kind="KeyError")))

    assert isinstance(at_once(retrying(make_delivery(attempt=2))), Retry)
    assert at_once(retrying(make_delivery(attempt=3))) == DeadLetter("exhausted", "KeyError", "sku")


def test_an_empty_budget_means_the_next_tier_and_never_the_dead_letters() -> None:
    parking, budget = Parked(), RetryBudget(2, 0.1)
    error = Transient("503")
    error.dependency = "gateway"
    retrying = make_retrying(Inner(error), parking=parking, budget=budget)

    settled = [at_once(retrying(make_delivery(f"e{n}"))) for n in range(4)]

    assert [type(each) for each in settled] == [Retry, Retry, Ack, Ack]
    assert parking.tiers == [(1, 5 * SECOND)] * 2
    assert budget.take("mailer"), "another dependency has tokens of its own"


def test_only_successes_give_tokens_back() -> None:
    budget = RetryBudget(1, 0.5)
    handled = make_retrying(Inner(Ack("handled")), budget=budget)
    suppressed = make_retrying(Inner(Ack("done")), budget=budget)
    assert budget.take("gateway")

    at_once(suppressed(make_delivery()))
    at_once(suppressed(make_delivery()))
    at_once(handled(make_delivery()))
    assert not budget.take("gateway")
    at_once(handled(make_delivery()))
    assert budget.take("gateway")


def test_a_throttled_event_gives_up_after_max_elapsed_and_an_outage_does_not_count() -> None:
    hand = Hand()
    throttled, down = Throttled("busy", after_us=SECOND), Down("x", dependency="x", after_us=1)
    inner = Inner(throttled, throttled, down, throttled, throttled)
    retrying = make_retrying(inner, hand=hand)

    settled = []
    for at_us in (0, 599 * SECOND, 600 * SECOND, 700 * SECOND, 1_300 * SECOND):
        hand.us = at_us
        settled.append(at_once(retrying(make_delivery())))

    assert [type(each) for each in settled] == [Retry, Retry, Release, Retry, DeadLetter]
    assert settled[-1] == DeadLetter("exhausted", "Throttled", "busy")


def hint(after_us: int) -> Throttled:
    asked = Throttled("429", after_us=after_us)
    asked.dependency = "mailer"
    return asked


@pytest.mark.parametrize(
    ("after_us", "tiers"),
    [
        (150 * MS, []),
        (150 * MS + 1, [(1, 150 * MS + 1)]),
        (5 * SECOND, [(1, 5 * SECOND)]),
        (6 * SECOND, [(2, 6 * SECOND)]),
        (121 * SECOND, [(3, 121 * SECOND)]),
        (600 * SECOND, [(3, 600 * SECOND)]),
    ],
)
def test_a_hint_longer_than_a_backoff_is_waited_for_in_a_retry_topic_and_is_no_attempt(
    after_us: int, tiers: list[tuple[int, int]]
) -> None:
    parking, delivery = Parked(), make_delivery()

    settled = at_once(make_retrying(Inner(hint(after_us)), parking=parking)(delivery))

    assert (parking.tiers, parking.uncounted) == (tiers, len(tiers))
    assert settled == (Ack("parked") if tiers else Retry(after_us, counts=False))
    assert (delivery.attempt, delivery.failures) == (1, ())


def test_a_long_hint_is_kept_in_place_where_it_cannot_be_parked() -> None:
    parking = Parked(Transient("broker"))
    settled = at_once(make_retrying(Inner(hint(9 * SECOND)), parking=parking)(make_delivery()))
    assert settled == Retry(9 * SECOND, counts=False)


def test_an_event_is_given_up_at_once_if_a_third_party_asks_for_more_than_is_left() -> None:
    hand = Hand()
    inner = Inner(hint(600 * SECOND + 1), hint(400 * SECOND), hint(201 * SECOND))
    retrying = make_retrying(inner, hand=hand)

    assert at_once(retrying(make_delivery())) == DeadLetter("exhausted", "Throttled", "429")
    assert at_once(retrying(make_delivery("e2"))) == Ack("parked")
    hand.us = 400 * SECOND
    assert at_once(retrying(make_delivery("e2"))) == DeadLetter("exhausted", "Throttled", "429")


def test_a_busy_claim_is_waited_for_in_place_however_long_its_lease_is() -> None:
    busy = Throttled("another run of this event is under way", after_us=900 * SECOND)
    assert at_once(make_retrying(Inner(busy))(make_delivery())) == Retry(900 * SECOND, counts=False)


def test_a_failure_stands_in_the_attempt_log_the_last_ten_of_them() -> None:
    hand = Hand()
    delivery = make_delivery()
    retrying = make_retrying(Inner(Transient("x" * 999)), hand=hand)

    for number in range(1, 13):
        hand.us = number
        at_once(retrying(delivery))

    assert delivery.first_failure_us == EPOCH_US + 1
    assert len(delivery.failures) == 10
    assert delivery.failures[0] == (EPOCH_US + 3, "Transient", "x" * 200)


def test_throttled_down_and_fenced_leave_no_trace_of_an_attempt() -> None:
    delivery = make_delivery()
    errors = (
        Throttled("x", after_us=1),
        Down("x", dependency="x", after_us=1),
        Fenced("x"),
    )

    for error in errors:
        at_once(make_retrying(Inner(error))(delivery))

    assert (delivery.failures, delivery.first_failure_us, delivery.attempt) == ((), 0, 1)


@pytest.mark.parametrize(
    ("failure", "settlement"),
    [
        (Transient("broker"), Retry(150 * MS)),
        (Indeterminate("broker"), Retry(150 * MS)),
        (Down("store", dependency="store", after_us=5), Retry(150 * MS)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_parked_is_not_settled_and_was_an_attempt(
    failure: LabError, settlement: Settlement
) -> None:
    retrying = make_retrying(Inner(Transient("x")), parking=Parked(failure))

    assert at_once(retrying(make_delivery(attempt=3))) == settlement


def test_what_cannot_be_parked_says_when_it_is_tried_again_instead() -> None:
    entries = Entries()
    parking = Parked(Indeterminate("store"))
    retrying = make_retrying(Inner(Transient("x")), parking=parking, entries=entries)

    at_once(retrying(make_delivery(attempt=3)))

    event = (GROUP, "e1", 3, "Transient")
    assert entries.of("retrying") == [
        (*event, "tier.1", 5 * SECOND),
        (*event, "unparked", 150 * MS),
    ]
    assert entries.of("acted") == [("retry", "retried")]


def test_a_recovery_is_counted_once() -> None:
    entries = Entries()
    retrying = make_retrying(Inner(Transient("x"), Ack("handled")), entries=entries)

    at_once(retrying(make_delivery()))
    at_once(retrying(make_delivery(attempt=2)))

    assert entries.of("acted") == [("retry", "retried"), ("retry", "recovered")]


def test_without_retry_the_first_failure_is_a_dead_letter_and_no_attempt_is_none() -> None:
    hand = {"kind": NoRetry}

    failed = at_once(make_retrying(Inner(Transient("503")), **hand)(make_delivery()))
    busy = at_once(make_retrying(Inner(Throttled("x", after_us=1)), **hand)(make_delivery()))

    assert failed == DeadLetter("exhausted", "Transient", "503")
    assert busy == Retry(1, counts=False)


def test_the_links_inside_get_the_delivery_and_a_first_success_recovers_nothing() -> None:
    inner, entries, delivery = Inner(), Entries(), make_delivery()

    at_once(make_retrying(inner, entries=entries)(delivery))

    assert inner.seen == [delivery]
    assert entries == []


@pytest.mark.parametrize(
    ("error", "attempt", "where", "delay_us"),
    [
        (Transient("503"), 2, "in_place", 75 * MS),
        (Indeterminate("lost"), 4, "tier.2", 30 * SECOND),
        (Throttled("429", after_us=7), 1, "throttled", 7),
    ],
)
def test_the_history_says_what_becomes_of_a_failure_and_who_said_so(
    error: LabError, attempt: int, where: str, delay_us: int
) -> None:
    entries, hand = Entries(), Hand()
    hand.us = 3
    retrying = make_retrying(Inner(error), entries=entries, hand=hand)

    at_once(retrying(make_delivery(attempt=attempt)))

    name = type(error).__name__
    told = ("retrying", 3, PROCESS, "1.1", GROUP, "e1", attempt, name, where, delay_us)
    acted = ("acted", 3, PROCESS, "1.1", "retry", "retried")
    assert entries == ([told] if where == "throttled" else [told, acted])


def test_what_is_parked_is_the_delivery_that_failed() -> None:
    parked = []

    class Keeps(Parked):
        async def park(
            self,
            delivery: Delivery,
            *,
            tier: int,
            delay_us: int,
            counts: bool = True,
        ) -> Settlement:
            parked.append(delivery)
            return await super().park(delivery, tier=tier, delay_us=delay_us, counts=counts)

    delivery = make_delivery(attempt=3)
    at_once(make_retrying(Inner(Transient("x")), parking=Keeps())(delivery))

    assert parked == [delivery]


@pytest.mark.parametrize(
    "ending",
    [
        Ack("handled"),
        Transient("503"),
        Permanent("400"),
        Down("x", dependency="x", after_us=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_ending_of_a_throttled_event_begins_its_time_anew_and_no_other_events(
    ending: Settlement | LabError,
) -> None:
    hand, busy = Hand(), Throttled("busy", after_us=SECOND)
    inner = Inner(busy, busy, ending, busy, busy)
    retrying = make_retrying(inner, hand=hand)

    settled = []
    for at_us, event_id in ((0, "e1"), (0, "e2"), (1, "e1"), (600, "e1"), (600, "e2")):
        hand.us = at_us * SECOND
        settled.append(type(at_once(retrying(make_delivery(event_id)))))

    assert settled[3] is Retry, "e1 was throttled anew"
    assert settled[4] is DeadLetter, "e2 never stopped being throttled"


def test_an_ending_of_an_event_that_was_never_throttled_is_no_mistake() -> None:
    inner = Inner(Throttled("busy", after_us=1), Ack("handled"))
    retrying = make_retrying(inner)

    at_once(retrying(make_delivery("e1")))

    assert at_once(retrying(make_delivery("e2"))) == Ack("handled")


def test_the_longest_throttled_event_is_forgotten_if_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lab.patterns.retry._THROTTLED_KEPT", 2)
    hand = Hand()
    retrying = make_retrying(Inner(Throttled("busy", after_us=1)), hand=hand)

    for event_id in ("e1", "e2", "e3"):
        at_once(retrying(make_delivery(event_id)))
    hand.us = 600 * SECOND
    settled = [type(at_once(retrying(make_delivery(f"e{n}")))) for n in (2, 3, 1)]

    assert settled == [DeadLetter, DeadLetter, Retry]


def test_each_dependency_has_a_budget_of_its_own_and_none_is_more_than_full() -> None:
    gateway, mailer = Transient("503"), Transient("503")
    gateway.dependency, mailer.dependency = "gateway", "mailer"
    parking = Parked()
    retrying = make_retrying(
        Inner(gateway, mailer, gateway), parking=parking, budget=RetryBudget(1, 0.1)
    )
    settled = [at_once(retrying(make_delivery(f"e{n}"))) for n in range(3)]
    assert [type(each) for each in settled] == [Retry, Retry, Ack]

    budget = RetryBudget(2, 3)
    assert budget.take("gateway")
    budget.give_back()
    assert [budget.take("gateway") for _ in range(3)] == [True, True, False]


def test_an_exhausted_event_takes_its_last_error_into_the_attempt_log() -> None:
    delivery = make_delivery(attempt=6)

    at_once(make_retrying(Inner(Transient("last")))(delivery))

    assert [failure[1:] for failure in delivery.failures] == [("Transient", "last")]


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (Down("x", dependency="x", after_us=9), Release("down", 9)),
        (Throttled("x", after_us=8), Retry(8, counts=False)),
        (Fenced("x"), Release("fenced")),
        (Indeterminate("x"), Retry(7, counts=False)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_of_the_machinery_gives_the_delivery_back_and_counts_nothing(
    error: LabError, settlement: Settlement
) -> None:
    assert give_back(error, 7) == settlement
