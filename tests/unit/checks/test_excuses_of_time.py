"""What the checks of time, attempts and claims leave out, because something explains it."""

from dataclasses import replace

import pytest

from lab.checks.attempts import Attempts
from lab.checks.check import Verdict
from lab.checks.contract import Contract
from lab.checks.jitter import Jitter
from lab.checks.order_case import Case
from lab.checks.process_life import ProcessLife
from lab.checks.retry_budget import Buckets
from lab.history.calls import HandleBeginEntry, HandleEndEntry, RetryingEntry
from lab.history.entries import Entry, time_of
from tests.kit.histories import (
    CONTRACT,
    S,
    buried,
    changed,
    charge_key,
    event_id,
    expired,
    judge,
    retried,
    where,
)

SUBJECT = "37.1"
MS = 1_000


def late_by(us: int, *meanwhile: Entry) -> list[Entry]:
    """An order expires so long after its time, and something has happened by then."""
    entries = expired()
    index = where(entries, "row", state="EXPIRED")
    late = changed(entries[index], t_us=time_of(entries[index]) + us)
    return [*meanwhile, *entries[:index], late, *entries[index + 1 :]]


def due_us() -> int:
    entries = expired()
    return time_of(entries[where(entries, "row", state="EXPIRED")])


def verdict(name: str, entries: list[Entry], contract: Contract = CONTRACT) -> str:
    return judge(entries, contract)[name].witness


def test_a_timer_is_late_if_nothing_is_in_its_way() -> None:
    assert "it expired 60.0" in verdict("expiry-in-time", late_by(60 * S))


def test_a_timer_may_wait_for_the_order_store() -> None:
    at_us = due_us()
    outage = (
        ("fault", at_us - S, "run", "", "pg.shutdown", "postgres", 1, 0),
        ("fault_end", at_us + 55 * S, "run", "", "pg.shutdown", "postgres"),
    )

    assert verdict("expiry-in-time", late_by(60 * S, *outage)) == ""
    assert "it expired 80.0" in verdict("expiry-in-time", late_by(80 * S, *outage))


def test_a_timer_may_wait_for_its_process() -> None:
    at_us = due_us()
    killed = (
        ("life", at_us - S, "orders-1", "", "kill"),
        ("life", at_us + 55 * S, "orders-1#2", "", "start"),
    )
    other = tuple(changed(entry, process="payment-1") for entry in killed)

    assert verdict("expiry-in-time", late_by(60 * S, *killed)) == ""
    assert "it expired 60.0" in verdict("expiry-in-time", late_by(60 * S, *other))


def test_a_third_party_that_charges_late_what_was_sent_in_time_is_nobodys_fault() -> None:
    entries = expired()
    line = ("payment_gateway", "capture", charge_key(SUBJECT), "", 1_020, "EUR")
    index = where(entries, "row", state="EXPIRED")
    late = ("ledger", due_us() + 60 * S, "ledger", SUBJECT, *line)

    assert verdict("expiry-in-time", [*entries[:index], late, *entries[index:]]) == ""


def claimed(settled_us: int, *more: Entry) -> list[Entry]:
    """A run fails at its first attempt, and its claim is not given back until then."""
    entries = retried()
    index = where(entries, "settle", settlement="retry")
    begun = where(entries, "deliver", attempt=1)
    event = event_id(SUBJECT, "OrderCreated")
    claim = ("claim", time_of(entries[begun]), "validation-1", "", "validation", event)
    settled = changed(entries[index], t_us=settled_us)
    return [
        *more,
        *entries[: begun + 1],
        (*claim, "acquired", 1),
        *entries[begun + 1 : index],
        settled,
        *entries[index + 1 :],
    ]


def test_a_claim_cannot_be_given_back_while_the_store_is_down() -> None:
    down = ("fault", 0, "run", "", "redis.down", "redis", 1, 0)

    assert "kept its claim of" in verdict("claim-returned", claimed(100 * MS))
    assert verdict("claim-returned", claimed(100 * MS, down)) == ""


def test_a_claim_whose_lease_is_over_cannot_be_ended() -> None:
    def ended(after_us: int) -> list[Entry]:
        event = event_id(SUBJECT, "OrderCreated")
        return [
            ("claim", 0, "validation-1", "", "validation", event, "acquired", 1),
            ("unclaim", after_us, "validation-1", "", "validation", event, 1, False),
        ]

    early = verdict("claim-returned", ended(S))
    assert early == f"validation-1 could not end its claim of {event_id(SUBJECT, 'OrderCreated')}"
    assert verdict("claim-returned", ended(CONTRACT.lease_us)) == ""
    assert verdict("claim-returned", [_fault("redis.evict"), *ended(S)]) == ""


def _fault(kind: str) -> Entry:
    return ("fault", 0, "run", SUBJECT, kind, "validation", 1, 0)


def test_an_event_may_be_given_up_early_if_it_was_throttled_for_too_long() -> None:
    entries = buried()
    index = where(entries, "letter", group="validation")
    letter = changed(entries[index], reason="exhausted", t_us=700 * S)
    event = event_id(SUBJECT, "OrderCreated")
    waits = ("validation", event, 1, "Throttled", "throttled", S)
    throttled = ("retrying", 50 * S, "validation-1", SUBJECT, *waits)

    assert "gave OrderCreated up" in verdict(
        "retry-law", [*entries[:index], letter, *entries[index + 1 :]]
    )
    assert verdict("retry-law", [*entries[:index], throttled, letter, *entries[index + 1 :]]) == ""


def test_who_is_throttled_begins_anew_once_a_store_has_refused_him() -> None:
    event = event_id(SUBJECT, "OrderCreated")
    waits = ("validation", event, 1, "Throttled", "throttled", S)
    begun_us, until_us = 50 * S, 50 * S + CONTRACT.max_elapsed_us + S
    entries: list[Entry] = [
        *retried(),
        ("retrying", begun_us, "validation-1", SUBJECT, *waits),
        ("retrying", until_us, "validation-1", SUBJECT, *waits),
    ]
    entries.sort(key=time_of)

    def meanwhile(kind: str, site: str) -> str:
        return verdict("retry-law", [("fault", 60 * S, "run", "", kind, site, 1, 0), *entries])

    assert "of being throttled" in verdict("retry-law", entries)
    assert "of being throttled" in meanwhile("pg.pool_exhausted", "payment")
    assert meanwhile("pg.pool_exhausted", "validation") == ""
    assert meanwhile("pg.shutdown", "postgres") == ""
    assert meanwhile("redis.down", "redis") == ""


def test_of_a_small_share_the_first_letter_is_too_many() -> None:
    paused = ("paused", 50 * S, "validation-1", "", "validation", "dead_letters", S)

    def needless(percent: int) -> str:
        contract = replace(CONTRACT, letters_percent=percent)
        return verdict("retry-budget", [*retried(), paused], contract)

    assert "they had not" in needless(2)
    assert needless(1) == ""


@pytest.mark.parametrize(
    ("kind", "site"),
    [("bus.drop_publish", "dlq"), ("pg.conn_loss_before_commit", "validation")],
)
def test_letters_that_could_not_be_written_come_all_at_once(kind: str, site: str) -> None:
    row = CONTRACT.letters_in_a_row + CONTRACT.workers + 1
    entries: list[Entry] = [
        ("buried", S, "validation-1", f"{n}.1", "validation", f"e{n}", "permanent", 1, 0, 0)
        for n in range(row)
    ]

    assert "in a row and did not pause" in verdict("retry-budget", entries)
    assert "in a row" in verdict("retry-budget", [_fault("bus.duplicate"), *entries])
    struck = ("fault", S, "run", SUBJECT, kind, site, 1, 0)
    assert verdict("retry-budget", [struck, *entries]) == ""


def test_a_start_in_vain_may_have_been_one_whose_end_was_not_heard_of() -> None:
    entries = buried()
    index = where(entries, "letter", group="validation")
    letter = changed(entries[index], reason="starts", starts=4)
    told = [*entries[:index], letter, *entries[index + 1 :]]

    assert "tells of 4 starts in vain; 0 processes of validation died" in verdict("dlq-sound", told)
    assert verdict("dlq-sound", [_fault("pg.deadlock"), *told]) == ""


def draw(jitter: Jitter, event: str, delay_us: int) -> None:
    about = ("validation", event, 1, "Transient", "in_place", delay_us)
    entry = RetryingEntry("retrying", 0, "validation-1", SUBJECT, *about)
    jitter.draw(entry, 100 * MS)


def test_too_few_delays_tell_nothing_about_jitter() -> None:
    jitter = Jitter()
    for n in range(11):
        draw(jitter, f"event {n}", 80 * MS)
    assert jitter.fault() == ""

    draw(jitter, "event 11", 80 * MS)
    assert jitter.fault() == "12 of 12 delays after attempt 1 were 0.080s"


def test_the_same_attempt_drawn_again_counts_once() -> None:
    jitter = Jitter()
    for _ in range(99):
        draw(jitter, "event", 80 * MS)

    assert jitter.fault() == ""


def test_a_bucket_leaves_open_what_handlers_in_between_may_have_given_back() -> None:
    buckets = Buckets(CONTRACT)
    taken = 0
    while buckets.take({"mailer"}):
        taken += 1

    assert taken == CONTRACT.budget_tokens + int(CONTRACT.budget_refill * CONTRACT.workers)
    assert not buckets.had_one({"mailer"})
    assert buckets.had_one({"warehouse"})


def test_a_token_of_which_nobody_knows_the_bucket_is_left_out() -> None:
    buckets = Buckets(CONTRACT)

    assert all(buckets.take({"warehouse", "antifraud"}) for _ in range(99))
    assert all(buckets.take(()) for _ in range(99))
    assert not buckets.had_one(())
    assert not buckets.had_one({"warehouse"})


def test_a_verdict_needs_an_order_that_comes_to_its_expiry() -> None:
    assert judge(retried())["expiry-in-time"].verdict is Verdict.UNKNOWN
    assert judge(expired())["expiry-in-time"].checked == 1


def test_a_wait_that_could_not_be_parked_is_forgotten_with_the_partition() -> None:
    attempt = CONTRACT.in_place
    owed = ("payment", "e", "OrderValidated")
    case = Case("1.1")
    ended = ("handle.end", 1 * S, "payment-1", "1.1", *owed, attempt, "Transient", 0)
    begun = ("handle.begin", 1 * S + MS, "payment-1", "1.1", *owed, attempt + 1, 2, 9 * S)
    unparked = ("retrying", 1 * S, "payment-1", "1.1", "payment", "e", attempt)
    case.failures = (HandleEndEntry._make(ended),)
    case.started_again = (HandleBeginEntry._make((*begun, "validation", 2, "d", 0)),)

    assert "too early" in Attempts(case, CONTRACT).wrong_start()

    case.retrying = (RetryingEntry._make((*unparked, "Transient", "unparked", 2 * S)),)

    assert Attempts(case, CONTRACT).wrong_start() == ""


def test_a_handler_that_ended_at_its_own_deadline_blames_no_third_party() -> None:
    life = ProcessLife("payment-1")
    life.failed["1.1"] = (("warehouse", "Transient"), ("antifraud", "Indeterminate"))

    assert life.failed_of("1.1", "Transient") == {"warehouse"}
    assert life.failed_of("1.1", "Unclassified") == set()
