"""Clients that misbehave, in the whole system."""

import pytest

from lab import run
from lab.report.result import Result

SEEDS = range(1, 7)  # `make soak` runs thousands

KINDS = (
    "client.same_key_new_body rate=0.4",
    "client.abandon rate=0.4",
    "client.abandon rate=0.4 after=1ms..4s",
    "client.unsound_order rate=0.4",
    "client.cancel rate=0.4 times=2 pause=5s",
    "client.cancel rate=0.4 times=2 after=1ms..200ms key=own slip=yes",
    "client.large_order rate=0.2",
    "client.look rate=0.4 pause=3s",
)

BESIDE = (
    "proc.crash@any rate=0.01",
    "proc.crash@api.after_commit#every5 first=1",
    "client.retry_same_key rate=0.2",
    "client.cancel rate=0.2",
    "client.double_submit rate=0.1",
    "client.look rate=0.2",
)


def broken(result: Result) -> set[str]:
    return {check.name for check in result.checks if check.verdict == "FAIL"}


def fired(result: Result, kind: str) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == kind)


@pytest.mark.parametrize("fault", KINDS)
def test_every_promise_holds_while_clients_misbehave(fault: str) -> None:
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

        assert fired(result, fault.partition(" ")[0]) > 0, seed
        assert broken(result) == set(), seed
        orders = result.orders
        assert orders.accepted + orders.refused == orders.submitted
        assert sum(orders.by_state.values()) == orders.accepted


def test_another_body_under_a_used_key_is_refused_and_makes_no_order() -> None:
    result = run("happy-path", seed=3, orders=20, faults=("client.same_key_new_body#every2",))

    acted = {use.name: use.acted for use in result.patterns}
    assert acted["http_idempotency"].get("other_body") == 10
    assert result.orders.submitted == sum(result.orders.by_state.values()) == 20
    checked = {check.name: check for check in result.checks}
    assert checked["idempotency-key"].checked >= 10
    assert checked["refused-leaves-nothing"].checked == 10


def test_without_stored_keys_another_body_makes_another_order() -> None:
    faults = ("client.same_key_new_body#every2",)

    result = run("happy-path", seed=3, orders=20, faults=faults, off=("http_idempotency",))

    assert broken(result) == {"idempotency-key"}


def test_an_order_that_nobody_waits_for_counts_by_what_is_stored() -> None:
    # One request dies before its commit, one after it; neither is asked for again.
    faults = (
        "client.abandon#every5",
        "proc.crash@api.before_commit#5",
        "proc.crash@api.after_commit#10",
    )

    result = run("happy-path", seed=1, orders=12, rate=2, faults=faults)

    assert broken(result) == set()
    assert fired(result, "proc.crash") == 2
    orders = result.orders
    assert (orders.submitted, orders.accepted, orders.refused) == (12, 11, 1)
    assert orders.refused_by_reason == {"unanswered": 1}
    assert sum(orders.by_state.values()) == 11


def test_a_run_ends_after_the_request_that_its_last_client_left() -> None:
    for after in ("1ms", "3ms", "8ms"):
        result = run("happy-path", seed=2, orders=1, faults=(f"client.abandon after={after}",))

        assert broken(result) == set()
        assert sum(result.orders.by_state.values()) == 1
        assert "PENDING" not in result.orders.by_state
