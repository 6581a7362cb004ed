"""Faults of third parties: which calls the plan strikes, and with what."""

from collections.abc import Sequence

import pytest

from lab.faults.plan.plan import FaultPlan, Firing
from lab.faults.provider import KINDS_BY_NAME, ProviderFaults
from lab.faults.table.row import PROVIDERS
from lab.faults.table.spec import FaultError, parse_fault, parse_faults
from lab.ports.faults import CallFault, CallFaultKind
from lab.runtime.chance import KeyedChance

MS = 1_000
SECOND = 1_000_000
DOWN = CallFault(kind=CallFaultKind.ERROR, status=503)


class Run:
    """A plan whose time is set by hand, and what its third parties answer."""

    def __init__(self, *texts: str, explicit: Sequence[Firing] | None = None) -> None:
        self.t_us = 5_000 * SECOND
        self.plan = FaultPlan(
            parse_faults(texts),
            seed=7,
            chance=KeyedChance(7),
            now_us=lambda: self.t_us,
            explicit=explicit,
        )
        self.plan.begin()
        self.began_us = self.t_us
        self.faults = ProviderFaults(self.plan)

    def call_at(self, t_us: int, subject: str = "1.1", provider: str = "mailer") -> bool:
        """Whether a call that is made so long after the faults began is struck."""
        self.t_us = self.began_us + t_us
        return self.faults.strike(provider, "send", subject) is not None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("svc.late_reply by=70ms", CallFault(kind=CallFaultKind.LATE_REPLY, by_us=70 * MS)),
        ("svc.slow by=2s", CallFault(kind=CallFaultKind.SLOW, by_us=2 * SECOND)),
        ("svc.slow times=12", CallFault(kind=CallFaultKind.SLOW, times=12)),
        ("svc.malformed", CallFault(kind=CallFaultKind.MALFORMED)),
        ("svc.flapping status=502", CallFault(kind=CallFaultKind.ERROR, status=502)),
        (
            "svc.error status=500 done=yes",
            CallFault(kind=CallFaultKind.ERROR, status=500, is_done=True),
        ),
        (
            "svc.acts_late by=90ms cut=yes",
            CallFault(kind=CallFaultKind.ACTS_LATE, by_us=90 * MS, is_cut=True),
        ),
        (
            "svc.acts_late by=90ms seen=no",
            CallFault(kind=CallFaultKind.ACTS_LATE, by_us=90 * MS, is_seen=False),
        ),
        ("svc.refuse_refund", CallFault(kind=CallFaultKind.REFUSED)),
    ],
)
def test_a_fault_says_what_becomes_of_the_call(text: str, fault: CallFault) -> None:
    assert Run(text).faults.strike("payment_gateway", "refund", "1.1") == fault


def test_a_kind_that_is_about_some_calls_neither_strikes_nor_counts_others() -> None:
    faults = Run("svc.refuse_refund nth=2", "svc.acts_late nth=2").faults

    struck = [
        faults.strike("payment_gateway", action, "1.1")
        for action in ("query", "charge", "query", "charge", "refund", "query", "refund")
    ]

    assert [n for n, fault in enumerate(struck) if fault] == [3, 6]
    assert [fault.kind for fault in struck if fault] == [
        CallFaultKind.ACTS_LATE,
        CallFaultKind.REFUSED,
    ]


def test_each_slow_call_has_its_own_time_within_the_span() -> None:
    faults = Run("svc.slow rate=1 by=50ms..60ms").faults

    struck = [faults.strike("mailer", "send", f"{n}.1") for n in range(1, 40)]

    by = [fault.by_us for fault in struck if fault is not None]
    assert len(set(by)) > 10
    assert all(50 * MS <= us <= 60 * MS for us in by)


def test_a_third_party_that_flaps_is_down_and_up_by_turns_for_everybody() -> None:
    run = Run("svc.flapping down=2s up=3s")

    down = [n for n in range(24) if run.call_at(n * 500 * MS, subject=f"{n % 3 + 1}.1")]

    assert down == [*range(4), *range(10, 14), *range(20, 24)]
    assert [firing.kind for firing in run.plan.firings] == ["svc.flapping"] * len(down)


def test_turns_are_counted_from_the_begin_of_the_window() -> None:
    run = Run("svc.flapping at=10s for=10s down=1s up=4s")

    assert [t for t in range(30) if run.call_at(t * SECOND)] == [10, 15]


def test_calls_beyond_the_limit_of_their_second_are_told_when_to_come_back() -> None:
    run = Run("svc.rate_limit calls=3 after=7s")

    struck = [run.call_at(n * 100 * MS, subject=f"{n}.1") for n in range(20)]

    assert struck == ([False] * 3 + [True] * 7) * 2
    run.t_us = run.began_us + 1_999 * MS
    assert run.faults.strike("mailer", "send", "99.1") == CallFault(
        kind=CallFaultKind.ERROR, status=429, after_us=7 * SECOND
    )


def test_a_limit_counts_the_calls_of_all_processes_to_one_provider() -> None:
    run = Run("svc.rate_limit calls=2")
    others = ProviderFaults(run.plan)

    assert run.faults.strike("mailer", "send", "1.1") is None
    assert others.strike("mailer", "send", "2.1") is None
    assert others.strike("payment_gateway", "charge", "2.1") is None
    assert others.strike("mailer", "send", "3.1") is not None


def test_only_calls_of_the_chosen_orders_count_towards_a_limit() -> None:
    run = Run("svc.rate_limit#every2 calls=1")

    assert [run.call_at(n, subject=f"{n}.1") for n in range(1, 7)] == [
        False, False, False, True, False, True,
    ]  # fmt: skip


def test_no_third_party_stays_down_or_limited_after_heal() -> None:
    run = Run("svc.flapping down=1h", "svc.rate_limit calls=1")
    assert run.call_at(0)

    run.plan.heal()

    assert not any(run.call_at(n) for n in range(5))


def test_what_was_struck_while_down_is_struck_again_by_the_explicit_plan() -> None:
    first = Run("svc.flapping down=1s up=1s", "svc.rate_limit calls=1")
    times = [n * 300 * MS for n in range(12)]
    struck = [first.call_at(t_us) for t_us in times]
    assert True in struck
    assert False in struck

    # The state of the provider decided then; now the list does, whatever the time.
    again = Run(explicit=first.plan.firings)

    assert [again.call_at(0) for _ in times] == struck


def test_a_provider_that_is_down_is_nothing_else() -> None:
    run = Run("svc.timeout rate=1", "svc.malformed rate=1", "svc.flapping down=1s up=1s")

    assert run.faults.strike("mailer", "send", "1.1") == DOWN
    run.t_us += SECOND
    fault = run.faults.strike("mailer", "send", "1.1")
    assert fault is not None
    assert fault.kind is CallFaultKind.TIMEOUT


def test_every_kind_of_third_parties_has_its_deed() -> None:
    for kind in KINDS_BY_NAME:
        run = Run(f"{kind} rate=1") if kind != "svc.rate_limit" else Run(f"{kind} calls=1")
        struck = [
            run.faults.strike(provider, action, "1.1")
            for provider, action in zip(
                PROVIDERS, ("in_stock", "is_fraud", "refund", "send"), strict=True
            )
            for _ in range(2)
        ]
        assert any(struck), kind


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("svc.slow by=5ms times=3", "times is instead of by"),
        ("svc.flapping status=429", "status must be one of"),
        ("svc.rate_limit calls=0", "calls must be a whole number from 1"),
        ("svc.late_reply by=3ms..1ms", "ends before it begins"),
        ("svc.flapping@orders", "unknown site 'orders'"),
        ("svc.refuse_refund@mailer", "unknown site 'mailer'"),
        ("svc.acts_late@warehouse", "unknown site 'warehouse'"),
        ("svc.error status=400 done=yes", "done=yes contradicts status=400"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, says: str) -> None:
    with pytest.raises(FaultError, match=says):
        parse_fault(text)


def test_a_state_strikes_every_call_and_an_event_the_first() -> None:
    assert parse_fault("svc.flapping").nth == 0
    assert parse_fault("svc.rate_limit@mailer").nth == 0
    assert parse_fault("svc.malformed").nth == 1
