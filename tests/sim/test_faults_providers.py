"""Third parties that misbehave, in the whole system: with every pattern, and without its own."""

import pytest

from lab import run
from lab.report.result import Result

SEEDS = range(1, 7)  # `make soak` runs thousands

KINDS = (
    "svc.late_reply rate=0.2 by=1ms..10s",
    "svc.slow rate=0.4 by=100ms..12s",
    "svc.slow rate=0.3 times=30",
    "svc.flapping down=700ms up=300ms",
    "svc.flapping@payment_gateway down=4s up=1s status=500",
    "svc.rate_limit calls=3 after=2s",
    "svc.malformed rate=0.4",
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
