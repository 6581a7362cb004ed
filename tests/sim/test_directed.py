"""Directed cases: one order, or a few, made to go through what no scenario happens to provoke.

Each case says how a history shows that it happened: a run in which it did not proves nothing. Most
have a bundle of their kind in `lab.scenarios.bundles`, so that `everything` draws them too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pytest

from lab import run
from lab.checks.run_numbers import DEEDS
from lab.history.calls import (
    ActedEntry,
    BuriedEntry,
    CallEndEntry,
    CommitEndEntry,
    DrainedEntry,
    HandleEndEntry,
    PublishEndEntry,
)
from lab.history.entries import Entry
from lab.history.facts import FaultEntry, LedgerEntry, RowEntry
from lab.report.result import Result
from tests.kit.entries import Kept, of_type

SEEDS: Final = (1, 2, 3)
Happened = Callable[[list[Entry]], bool]


def called(action: str, result: str, times: int = 1) -> Happened:
    """So many calls of a third party at least had this result."""
    return lambda entries: (
        sum(
            (call.action, call.result) == (action, result)
            for call in of_type(entries, CallEndEntry)
        )
        >= times
    )


def moved(*states: str) -> Happened:
    """Some order went through these states, one right after the other."""

    def happened(entries: list[Entry]) -> bool:
        ways: dict[str, list[str]] = {}
        for row in of_type(entries, RowEntry):
            ways.setdefault(row.subject, []).append(row.state)
        return any("->".join(states) in "->".join(way) for way in ways.values())

    return happened


def buried(group: str, reason: str) -> Happened:
    """A group gave up an event for that reason."""
    return lambda entries: (
        (group, reason) in {(each.group, each.reason) for each in of_type(entries, BuriedEntry)}
    )


def acted(pattern: str, deed: str) -> Happened:
    """A pattern did its work."""
    assert deed in DEEDS[pattern]
    return lambda entries: (
        (pattern, deed) in {(each.pattern, each.what) for each in of_type(entries, ActedEntry)}
    )


def struck(kind: str, times: int = 1) -> Happened:
    """A fault fired so often at least."""
    return lambda entries: (
        sum(each.kind_of_fault == kind for each in of_type(entries, FaultEntry)) >= times
    )


def mailed_once(entries: list[Entry]) -> bool:
    """No mail was sent twice, and some were."""
    keys = [line.key for line in of_type(entries, LedgerEntry) if line.action == "mail"]
    return len(keys) == len(set(keys)) > 0


def cancelled_with_a_lost_answer(entries: list[Entry]) -> bool:
    """A commit of the API was indeterminate, and the customer was told that it is cancelled."""
    lost = any(
        each.result == "Indeterminate"
        for each in of_type(entries, CommitEndEntry)
        if each.process.startswith("api")
    )
    return lost and moved("CANCELLED")(entries)


def outage_after_the_last_row(entries: list[Entry]) -> bool:
    """The servers went away when the order had come to its end."""
    last_us = max(row.t_us for row in of_type(entries, RowEntry))
    downs = [each.t_us for each in of_type(entries, FaultEntry) if each.lasts_us]
    return bool(downs) and min(downs) > last_us


def expired_during_an_outage(entries: list[Entry]) -> bool:
    """The timer moved the order while the broker was away."""
    (down,) = [each for each in of_type(entries, FaultEntry) if each.kind_of_fault == "bus.down"]
    gone = [row.t_us for row in of_type(entries, RowEntry) if row.state == "EXPIRED"]
    return bool(gone) and all(down.t_us < t_us < down.t_us + down.lasts_us for t_us in gone)


def stopped_with_work_in_hand(entries: list[Entry]) -> bool:
    """A stop had to wait for handlers, or to cancel them."""
    reports = of_type(entries, DrainedEntry)
    return any(each.drained + each.cancelled > 1 for each in reports)


def stopped_in_the_last_attempt(entries: list[Entry]) -> bool:
    """A run of a handler was cancelled after one that had failed, and the event was done."""
    results = [each.result for each in of_type(entries, HandleEndEntry) if each.group == "payment"]
    return "Transient" in results and "cancelled" in results and results[-1] == "ok"


@dataclass(frozen=True, kw_only=True)
class Directed:
    """One case: what it is, how it is provoked, how it shows, and how the orders end."""

    what: str
    faults: tuple[str, ...]
    happened: tuple[Happened, ...]
    ends: Mapping[str, int]
    orders: int = 1
    rate: float = 20
    policies: Mapping[str, object] = field(default_factory=dict)


CASES: Final = (
    Directed(
        what="a lost answer to a cancel",
        faults=(
            "client.cancel#1 first=1 after=20ms",
            "pg.conn_loss_after_commit@api#1 nth=2",
        ),
        happened=(cancelled_with_a_lost_answer, struck("pg.conn_loss_after_commit")),
        ends={"CANCELLED": 1},
    ),
    Directed(
        what="the API dies after it committed a cancel",
        faults=("client.cancel#1 first=1 after=20ms", "proc.crash@api.after_commit#1 nth=2"),
        happened=(moved("CANCELLED"), struck("proc.crash")),
        ends={"CANCELLED": 1},
    ),
    Directed(
        what="the timer during a long outage of the broker",
        faults=("bus.down at=0s for=90s",),
        happened=(expired_during_an_outage,),
        ends={"EXPIRED": 1},
        policies={"orders.expiry_ms": 5_000},
    ),
    Directed(
        what="the timer behind a long outage of the order store",
        faults=("svc.slow@warehouse#1 first=1 by=1s", "pg.shutdown at=500ms for=90s"),
        happened=(moved("EXPIRED"), struck("pg.shutdown")),
        ends={"EXPIRED": 1},
        policies={"orders.expiry_ms": 5_000},
    ),
    Directed(
        what="money found after the order had expired during an outage of the gateway",
        faults=(
            "svc.hang_after_effect@payment_gateway#1 first=1",
            "svc.flapping@payment_gateway at=500ms for=30s down=30s up=1s",
        ),
        happened=(
            moved("EXPIRED", "REFUND_PENDING", "REFUNDED"),
            called("charge", "Indeterminate"),
        ),
        ends={"REFUNDED": 1},
        policies={"orders.expiry_ms": 5_000},
    ),
    Directed(
        what="an outage of every server after the last settlement",
        faults=(
            "bus.down at=900ms for=40s",
            "pg.shutdown at=900ms for=20s",
            "redis.down at=900ms for=30s",
        ),
        happened=(outage_after_the_last_row,),
        ends={"CONFIRMED": 1},
        policies={"bus.commit_after_ms": 5_000},
    ),
    Directed(
        what="a stop with slow handlers at a high rate",
        faults=("svc.slow@payment_gateway rate=1 by=1500ms", "proc.term@payment at=500ms"),
        happened=(stopped_with_work_in_hand, struck("proc.term")),
        ends={"CONFIRMED": 60},
        orders=60,
        rate=200,
    ),
    Directed(
        what="a stop with slow handlers at a high rate, and too little time for them",
        faults=("svc.slow@payment_gateway rate=1 by=1800ms", "proc.term@payment at=500ms"),
        happened=(stopped_with_work_in_hand, struck("proc.term")),
        ends={"CONFIRMED": 60},
        orders=60,
        rate=200,
        policies={"drain.grace_ms": 2_500, "bus.workers": 4},
    ),
    Directed(
        what="an event parks behind one whose failure the provider has stored",
        faults=("svc.error@mailer#1 first=1 status=500 stored=yes",),
        happened=(called("send", "Replayed", 3), buried("notification", "exhausted")),
        ends={"CONFIRMED": 1},
    ),
    Directed(
        what="an order expires, and its mail waits behind one whose failure is stored",
        faults=(
            "svc.error@mailer#1 first=1 status=500 stored=yes",
            "svc.timeout@warehouse#1 first=1",
        ),
        happened=(buried("notification", "exhausted"), moved("PENDING", "EXPIRED")),
        ends={"EXPIRED": 1},
        policies={"orders.expiry_ms": 1_000},
    ),
    Directed(
        what="a stored failure of a charge is found out by asking, and the next intent is sent",
        faults=("svc.error@payment_gateway#1 first=1 status=500 stored=yes",),
        happened=(
            called("charge", "Replayed"),
            called("query", "none"),
            called("charge", "captured"),
        ),
        ends={"CONFIRMED": 1},
    ),
    Directed(
        what="a failure that was stored after the effect is found out by asking",
        faults=("svc.error@payment_gateway#1 first=1 status=500 stored=yes done=yes",),
        happened=(called("charge", "Replayed"), called("query", "captured")),
        ends={"CONFIRMED": 1},
    ),
    Directed(
        what="a crash after a dead letter was published",
        faults=(
            "svc.error@mailer#1 first=1 status=400",
            "proc.crash@dlq.after_publish#1 first=1",
        ),
        happened=(struck("proc.crash"), acted("dead_letter", "repeated")),
        ends={"CONFIRMED": 1},
    ),
    Directed(
        what="the gateway answers 409 to a charge",
        faults=("svc.error@payment_gateway#1 first=2 status=409 after=300ms",),
        happened=(called("charge", "Throttled", 2), called("charge", "captured")),
        ends={"CONFIRMED": 1},
    ),
    Directed(
        what="the gateway answers 409, because the same charge is still under way",
        faults=("svc.acts_late@payment_gateway#1 first=1 by=1900ms cut=yes",),
        happened=(called("charge", "Indeterminate"), called("charge", "Throttled")),
        ends={"CONFIRMED": 1},
    ),
    Directed(
        what="a charge is asked about while it is still under way",
        faults=(
            "svc.error@payment_gateway#1 first=1",
            "svc.acts_late@payment_gateway#1 nth=2 by=1900ms cut=yes",
        ),
        happened=(
            called("charge", "Indeterminate"),
            called("query", "pending"),
            called("query", "captured"),
        ),
        ends={"CONFIRMED": 1},
    ),
    Directed(
        what="a redrive after a hung mail",
        faults=("svc.hang_after_effect@mailer#1 first=3",),
        happened=(
            called("send", "Indeterminate", 3),
            buried("notification", "exhausted"),
            acted("redrive", "revived"),
            mailed_once,
        ),
        ends={"CONFIRMED": 1},
        policies={"operator.redrives": 1, "retry.attempts_max": 3},
    ),
    Directed(
        what="a refund is refused, sent back by a person, and made",
        faults=(
            "client.cancel#1 first=1 after=1500ms",
            "svc.hang_after_effect@payment_gateway#1 first=1",
            "svc.refuse_refund#1 first=1",
        ),
        happened=(moved("REFUND_PENDING", "REFUND_FAILED", "REFUNDED"),),
        ends={"REFUNDED": 1},
        policies={"operator.redrives": 1},
    ),
    Directed(
        what="nobody knows of a payment, a person sends it back, and the card is declined",
        faults=("svc.timeout@payment_gateway#1 first=2",),
        happened=(
            moved("VALIDATED", "PAYMENT_UNKNOWN", "DECLINED"),
            called("query", "none"),
            called("charge", "declined"),
        ),
        ends={"DECLINED": 1},
        policies={
            "operator.redrives": 1,
            "retry.attempts_max": 2,
            "payment.declined_percent": 100,
        },
    ),
    Directed(
        what="nobody knows of a payment, a person sends it back, and the order has expired",
        faults=("svc.timeout@payment_gateway#1 first=2",),
        happened=(moved("VALIDATED", "PAYMENT_UNKNOWN", "DECLINED"), called("query", "none")),
        ends={"DECLINED": 1},
        policies={
            "operator.redrives": 1,
            "retry.attempts_max": 2,
            "orders.expiry_ms": 5_000,
        },
    ),
    Directed(
        what="a stop with one attempt left",
        faults=(
            "svc.error@payment_gateway#1 first=1",
            "svc.slow@payment_gateway#1 nth=2 by=1800ms",
            "proc.term@payment at=1200ms",
        ),
        happened=(stopped_in_the_last_attempt, struck("proc.term")),
        ends={"CONFIRMED": 1},
        policies={"retry.attempts_max": 2, "drain.grace_ms": 200},
    ),
    Directed(
        what="a crash with one attempt left",
        faults=(
            "svc.error@payment_gateway#1 first=1",
            "proc.crash@handler.before_commit#1 nth=3",
        ),
        happened=(struck("proc.crash"), called("charge", "Transient")),
        ends={"CONFIRMED": 1},
        policies={"retry.attempts_max": 2},
    ),
    Directed(
        what="an answer to a publish is lost, and nothing was appended",
        faults=("bus.publish_unknown@orders#1 first=1 appended=no",),
        happened=(
            lambda entries: (
                "Indeterminate" in {each.result for each in of_type(entries, PublishEndEntry)}
            ),
            acted("outbox", "repeated"),
        ),
        ends={"CONFIRMED": 1},
    ),
)


def broken(result: Result) -> dict[str, str]:
    return {check.name: check.witness for check in result.checks if check.verdict == "FAIL"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_it_happens_and_every_promise_holds(case: Directed) -> None:
    for seed in SEEDS:
        kept = Kept()

        result = run(
            "happy-path",
            seed=seed,
            orders=case.orders,
            rate=case.rate,
            faults=case.faults,
            settings=case.policies,
            watch=kept,
        )

        assert broken(result) == {}, seed
        assert [each(kept.entries) for each in case.happened] == [True] * len(case.happened), seed
        assert result.orders.by_state == case.ends, seed


def test_no_other_order_waits_for_the_retries_of_some() -> None:
    """Two alarms of half a minute used to take both places, and everybody waited for them."""
    kept = Kept()

    result = run(
        "happy-path",
        orders=30,
        rate=20,
        faults=("svc.error@payment_gateway#1-6 first=1",),
        settings={"bus.max_in_flight": 2, "retry.in_place": 1, "retry.tiers_ms": (30_000,)},
        watch=kept,
    )

    assert (result.verdict, broken(result)) == ("PASS", {})
    paid_us = {
        row.subject: row.t_us for row in of_type(kept.entries, RowEntry) if row.state == "PAID"
    }
    late = [subject for subject, t_us in paid_us.items() if t_us > 30_000_000]
    assert sorted(late) == [f"{ordinal}.1" for ordinal in range(1, 7)]
