"""Redrive in the whole system: what was given up comes to its end, and nothing happens twice."""

import pytest

from lab import run
from lab.report.result import Result

REFUSED_CHARGE = ("svc.error@payment_gateway#every10 first=1 status=400",)
REFUSED_REFUND = (
    "client.cancel#every5 first=1 after=140ms",
    "svc.error@payment_gateway#every5 nth=2 status=400",
)
DEAD_HEAD = (
    "svc.error@mailer#every10 first=3",
    "svc.error@mailer#every10 nth=4 status=400",
)
ONCE = {"operator.redrives": 1}

MIXES = {
    "duplicates and crashes": (
        ("proc.crash@any rate=0.01", "bus.duplicate rate=0.2"),
        {"operator.every_ms": 500},
    ),
    "attempts that run out": (
        ("proc.crash@any rate=0.02", "bus.drop_ack rate=0.1", "svc.error rate=0.05 status=400"),
        {"operator.every_ms": 300, "retry.attempts_max": 4},
    ),
    "rebalances and lost answers": (
        (
            "bus.rebalance rate=0.02",
            "bus.publish_unknown rate=0.05",
            "bus.drop_publish rate=0.05",
            "pg.conn_loss_after_commit rate=0.02",
        ),
        {"operator.every_ms": 300, "run.members": 2},
    ),
    "outages": (
        ("bus.down at=3s for=4s", "redis.evict rate=0.1", "pg.shutdown at=8s for=3s"),
        {"operator.every_ms": 700, "operator.redrives": 3},
    ),
}
"""More faults, and how the operator works meanwhile."""


def broken(result: Result) -> dict[str, str]:
    return {check.name: check.witness for check in result.checks if check.verdict == "FAIL"}


def acted(result: Result) -> dict[str, int]:
    (use,) = [use for use in result.patterns if use.name == "redrive"]
    return dict(use.acted)


def test_a_refused_charge_is_sent_back_and_paid() -> None:
    parked = run("happy-path", faults=REFUSED_CHARGE)
    sent_back = run("happy-path", faults=REFUSED_CHARGE, settings=ONCE)

    assert parked.orders.by_state == {"CONFIRMED": 90, "PAYMENT_UNKNOWN": 10}
    assert sent_back.orders.by_state == {"CONFIRMED": 100}
    assert (sent_back.verdict, acted(sent_back)) == ("PASS", {"redriven": 10, "revived": 10})
    assert (parked.metrics["open_intents"], sent_back.metrics["open_intents"]) == (10, 0)


def test_an_open_intent_is_asked_about_before_money_moves_again() -> None:
    """The answers of two charges are lost, then the gateway refuses to say anything more."""
    faults = (
        "svc.hang_after_effect@payment_gateway#every10 first=2",
        "svc.error@payment_gateway#every10 nth=3 status=400",
    )

    result = run("happy-path", rate=5, faults=faults, settings=ONCE)

    dead = result.metrics["dead_letters"]
    assert dead >= 5
    assert (result.verdict, acted(result)) == ("PASS", {"redriven": dead, "revived": dead})
    assert result.orders.by_state == {"CONFIRMED": 100}


def test_a_refused_refund_is_sent_back_and_made() -> None:
    parked = run("happy-path", faults=REFUSED_REFUND)
    sent_back = run("happy-path", faults=REFUSED_REFUND, settings=ONCE)

    failed = parked.orders.by_state["REFUND_FAILED"]
    assert failed
    assert sent_back.orders.by_state["REFUNDED"] == failed
    assert "REFUND_FAILED" not in sent_back.orders.by_state
    assert broken(sent_back) == {}


@pytest.mark.parametrize("policies", [ONCE, {"operator.discards": "yes"}])
def test_what_waits_behind_a_dead_head_goes_on_once_that_is_answered(
    policies: dict[str, object],
) -> None:
    waiting = run("happy-path", rate=5, faults=DEAD_HEAD)
    answered = run("happy-path", rate=5, faults=DEAD_HEAD, settings=policies)

    dead = waiting.metrics["dead_letters"]
    assert dead >= 5
    assert waiting.verdict == answered.verdict == "PASS"
    assert acted(waiting) == {}
    assert acted(answered)["revived" if policies is ONCE else "discarded"] == dead
    # The mail about the confirmation, which had waited behind the one about the order.
    runs = [result.metrics["attempts_per_order"] for result in (waiting, answered)]
    assert runs[0] < runs[1]


def test_what_stays_poison_dies_as_often_as_it_is_sent_back_and_is_then_discarded() -> None:
    result = run(
        "poison-message",
        orders=100,
        settings={"operator.redrives": 3, "operator.discards": "yes"},
    )

    given_up = acted(result)["discarded"]
    assert acted(result) == {"redriven": 3 * given_up, "discarded": given_up}
    assert result.metrics["dead_letters"] == 4 * given_up
    assert broken(result) == {}


def test_switched_off_nobody_looks_into_the_dead_letters() -> None:
    result = run("dlq-redrive", off=["redrive"])

    assert acted(result) == {}
    assert broken(result).keys() == {"dlq-complete"}
    assert result.orders.by_state["PAYMENT_UNKNOWN"]


@pytest.mark.parametrize("order", ["fifo", "shuffle"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_dlq_redrive_brings_every_order_to_its_end(seed: int, order: str) -> None:
    result = run("dlq-redrive", seed=seed, orders=100, settings={"run.order": order})

    assert (result.verdict, result.why) == ("PASS", "")
    states = set(result.orders.by_state)
    assert states <= {"CONFIRMED", "CANCELLED", "REFUNDED", "PENDING", "VALIDATED", "PAID"}
    assert acted(result)["revived"] >= 10


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", range(1, 4))
def test_an_operator_at_work_amid_faults_breaks_no_promise(seed: int, mix: str) -> None:
    faults, policies = MIXES[mix]
    for order in ("fifo", "shuffle"):
        settings = {"run.order": order, **policies}
        result = run("dlq-redrive", seed=seed, orders=40, rate=5, faults=faults, settings=settings)

        assert broken(result) == {}, order
        assert acted(result)["redriven"]
