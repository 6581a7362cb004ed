"""Third parties that misbehave, in the whole system: with every pattern, and without its own."""

import pytest

from lab import run
from lab.history.calls import CallBeginEntry
from lab.history.facts import LedgerEntry
from lab.report.result import Result
from lab.scenarios.loader import ScenarioError
from tests.kit.entries import Kept, of_type

SEEDS = range(1, 7)  # `make soak` runs thousands

KINDS = (
    "svc.late_reply rate=0.2 by=1ms..10s",
    "svc.slow rate=0.4 by=100ms..12s",
    "svc.slow rate=0.3 times=30",
    "svc.flapping down=700ms up=300ms",
    "svc.flapping@payment_gateway down=4s up=1s status=500",
    "svc.rate_limit calls=3 after=2s",
    "svc.malformed rate=0.4",
    "svc.acts_late rate=0.4",
    "svc.acts_late rate=0.4 by=1ms..2s cut=yes",
    "svc.error rate=0.4 status=502 done=yes",
    "svc.error rate=0.4 status=500 done=yes stored=yes",
)

BESIDE = ("proc.crash@any rate=0.005", "bus.duplicate rate=0.1", "client.cancel rate=0.1")


def broken(result: Result) -> set[str]:
    return {check.name for check in result.checks if check.verdict == "FAIL"}


def fired(result: Result, kind: str) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == kind)


@pytest.mark.parametrize("fault", KINDS)
def test_every_promise_holds_while_a_third_party_misbehaves(fault: str) -> None:
    for seed in SEEDS:
        beside = BESIDE if seed % 2 else ()
        order = "shuffle" if seed % 3 == 0 else "fifo"

        result = run(
            "happy-path",
            seed=seed,
            orders=20,
            rate=10,
            faults=(fault, *beside),
            settings={"run.order": order},
        )

        assert fired(result, fault.partition("@")[0].partition(" ")[0]) > 0, seed
        assert broken(result) == set(), seed


def test_every_promise_holds_while_they_misbehave_in_every_way() -> None:
    mixture = (
        "svc.late_reply rate=0.1",
        "svc.slow rate=0.2 by=1s..8s",
        "svc.flapping@payment_gateway down=1s up=2s",
        "svc.rate_limit calls=15",
        "svc.malformed rate=0.1",
        "svc.error rate=0.05 status=500 stored=yes",
        "svc.hang_after_effect rate=0.05",
        "proc.crash@any rate=0.005",
    )
    for seed in SEEDS:
        result = run("happy-path", seed=seed, orders=30, rate=15, faults=mixture)

        assert broken(result) == set(), seed


@pytest.mark.parametrize(
    ("fault", "off", "promises"),
    [
        ("svc.late_reply@payment_gateway#every3", "provider_key", {"no-double-charge"}),
        ("svc.malformed@payment_gateway#every3", "provider_key", {"no-double-charge"}),
        ("svc.error@payment_gateway#every3 done=yes", "provider_key", {"no-double-charge"}),
        ("svc.acts_late@payment_gateway#every3", "provider_key", {"no-double-charge"}),
        ("svc.slow rate=0.3 by=20s", "timeout", {"deadline"}),
        ("svc.flapping@mailer down=40s up=1s", "breaker", {"breaker-law"}),
    ],
)
def test_without_its_pattern_the_fault_breaks_a_promise(
    fault: str, off: str, promises: set[str]
) -> None:
    for seed in (1, 2, 3):
        result = run("happy-path", seed=seed, orders=20, faults=(fault,), off=(off,))

        assert broken(result) - {"money-matches"} == promises


def test_a_limit_is_kept_whoever_calls_and_costs_no_attempt() -> None:
    faults = ("svc.rate_limit@payment_gateway calls=2 after=1s",)

    result = run("happy-path", seed=5, orders=20, rate=40, faults=faults)

    assert fired(result, "svc.rate_limit") > 0
    retried = [use.acted.get("retried", 0) for use in result.patterns if use.name == "retry"]
    assert retried == [0]
    assert result.orders.by_state.get("PAYMENT_UNKNOWN", 0) == 0


CUT = "svc.acts_late@payment_gateway#1 nth=1 by=1s cut=yes"


def test_a_request_that_is_under_way_is_waited_for_and_never_sent_under_another_key() -> None:
    for seed in SEEDS:
        kept = Kept()

        result = run("happy-path", seed=seed, orders=1, faults=(CUT,), watch=kept)

        assert broken(result) == set(), seed
        assert result.orders.by_state == {"CONFIRMED": 1}
        charges = [
            each for each in of_type(kept.entries, CallBeginEntry) if each.action == "charge"
        ]
        assert charges[0].key == charges[-1].key
        (line,) = [each for each in of_type(kept.entries, LedgerEntry) if each.action == "capture"]
        sent = [each.t_us for each in charges]
        assert sent[0] + 2_000_000 < line.t_us <= sent[0] + 4_000_000
        assert len(charges) >= 2


def test_a_clock_that_is_behind_by_more_than_is_tolerated_is_beyond_the_contract() -> None:
    text = "svc.acts_late@payment_gateway rate=0.2 by=2500ms"

    with pytest.raises(ScenarioError, match=r"by is longer than provider_key\.skew_ms = 2000"):
        run("happy-path", faults=(text,))

    run("happy-path", orders=3, faults=(text,), settings={"provider_key.skew_ms": 2_500})
    result = run("happy-path", orders=3, faults=(text,), beyond_contract=True)
    assert len(result.beyond_contract) == 1


LATE_CANCEL = (
    "client.cancel#1-6 first=1 after=1500ms",
    "svc.hang_after_effect@payment_gateway#1-6 first=1",
)


def test_a_refund_that_is_refused_parks_the_order_and_is_made_when_a_person_sends_it_back() -> None:
    for seed in SEEDS:
        faults = (*LATE_CANCEL, "svc.refuse_refund#1-6 first=1")

        parked = run("happy-path", seed=seed, orders=6, faults=faults)

        assert broken(parked) == set(), seed
        assert parked.orders.by_state == {"REFUND_FAILED": 6}

        mended = run(
            "happy-path", seed=seed, orders=6, faults=faults, settings={"operator.redrives": 1}
        )

        assert broken(mended) == set(), seed
        assert mended.orders.by_state == {"REFUNDED": 6}
