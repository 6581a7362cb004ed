"""Every shipped scenario: passes with every pattern, and breaks its promise without its own."""

from typing import Final

import pytest

from lab import run
from lab.checks.run_numbers import DEEDS
from lab.report.result import Result
from lab.scenarios.loader import load_catalogue

SHIPPED = tuple(load_catalogue())
SEEDS = (1, 2)
SEEDS_OF: Final = {"fifo": (1, 2), "shuffle": (3,)}
"""Many more are those of `tests.soak`."""

ABLATIONS = (
    ("duplicates", ("dedupe", "inbox"), (), {"effect-once"}),
    ("hung-after-charge", ("provider_key",), (), {"no-double-charge", "money-matches"}),
    (
        "crash-between-commit-and-publish",
        ("outbox",),
        (),
        {"no-lost-event", "outbox-atomic", "converges"},
    ),
    ("timeouts", ("retry",), (), {"converges", "excuse-earned", "retry-law"}),
    ("graceful-shutdown", ("drain",), (), {"graceful-shutdown"}),
    ("poison-message", ("dead_letter",), (), {"converges", "drains", "dlq-complete"}),
    ("lost-acks", ("inbox", "dedupe"), (), {"effect-once"}),
    ("reordering", ("commit_prefix",), (), {"commit-prefix"}),
    ("reordering", ("key_lanes",), (), {"per-key-order"}),
    ("dlq-redrive", ("redrive",), (), {"dlq-complete"}),
    ("forgotten-key", ("provider_key",), (), {"no-double-charge", "money-matches"}),
    ("slow-third-party", ("timeout",), (), {"deadline"}),
    ("flapping-gateway", ("breaker",), (), {"breaker-law"}),
    ("retry-backlog", ("retry",), (), {"converges", "excuse-earned", "retry-law"}),
    ("crash-loop", ("poison_guard",), (), {"converges", "drains", "no-leak"}),
    ("rebalance-storm", ("fencing",), (), {"fenced"}),
    # A publish that fails behind the commit fails the run of the handler, whose work is done.
    (
        "broker-outage",
        ("outbox",),
        (),
        {"no-lost-event", "outbox-atomic", "converges", "retry-law"},
    ),
    ("broker-failover", ("outbox",), (), {"no-lost-event", "outbox-atomic", "converges"}),
    ("redis-down", ("inbox",), (), {"effect-once"}),
    ("redis-evicted", ("inbox",), (), {"effect-once"}),
    ("postgres-outage", ("inbox",), (), {"effect-once"}),
    ("client-retries", ("http_idempotency",), (), {"idempotency-key"}),
    ("cancellation", ("compensation",), (), {"money-matches"}),
    ("expiring", ("compensation",), (), {"money-matches"}),
    # What is told of a charge in doubt is the key of its intent: the money moved under another one.
    (
        "expiring",
        ("provider_key",),
        (),
        {"no-double-charge", "money-matches", "gateway-agrees"},
    ),
    ("black-friday", ("load_shedding",), (), {"bounded"}),
    ("happy-path", ("key_lanes",), ("svc.error@mailer#every5 first=3",), {"per-key-order"}),
    (
        "happy-path",
        ("timeout",),
        ("svc.hang_after_effect@payment_gateway#every10 first=1",),
        {"deadline", "converges", "drains"},
    ),
    ("happy-path", ("breaker",), ("svc.error@mailer rate=1 at=1s for=300s",), {"breaker-law"}),
    (
        "timeouts",
        ("commit_prefix",),
        ("proc.crash@validation at=5s",),
        {"commit-prefix", "no-lost-event", "converges"},
    ),
)
"""Scenario, patterns off, more faults, and exactly the promises that break."""


def broken(result: Result) -> set[str]:
    return {check.name for check in result.checks if check.verdict == "FAIL"}


@pytest.mark.parametrize("order", SEEDS_OF)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_scenario_passes_at_every_seed(name: str, order: str) -> None:
    for seed in SEEDS_OF[order]:
        result = run(name, seed=seed, settings={"run.order": order})

        assert (result.verdict, result.why) == ("PASS", ""), (seed, broken(result))
        assert all(goal.reached for goal in result.goals)


@pytest.mark.parametrize(("name", "off", "faults", "promises"), ABLATIONS)
def test_without_its_pattern_a_scenario_breaks_exactly_its_promises(
    name: str, off: tuple[str, ...], faults: tuple[str, ...], promises: set[str]
) -> None:
    for seed in SEEDS:
        assert not faults or run(name, seed=seed, faults=faults).verdict == "PASS"
        result = run(name, seed=seed, off=off, faults=faults)

        assert result.verdict == "FAIL"
        assert broken(result) == promises, seed
        witness = next(check.witness for check in result.checks if check.verdict == "FAIL")
        assert witness


def test_a_mark_before_the_effect_loses_the_event_of_a_worker_that_dies_in_between() -> None:
    for seed in SEEDS:
        result = run(
            "happy-path",
            seed=seed,
            faults=["proc.crash@dedupe.after_claim#every10 first=1"],
            settings={"dedupe.phases": 1},
        )

        assert {"no-lost-event", "dedupe-sound", "converges"} <= broken(result)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_saves_a_scenario_is_shown_to_have_acted(name: str) -> None:
    needed = {
        pattern
        for scenario, off, faults, _ in ABLATIONS
        if scenario == name and not faults
        for pattern in off
    }

    result = run(name, seed=2)

    acted = {use.name: use.acted for use in result.patterns}
    counted = {pattern for pattern in needed if DEEDS[pattern]} - {"inbox"}
    assert {pattern for pattern in counted if not acted[pattern]} == set()
    for pattern, deeds in acted.items():
        assert deeds.keys() <= DEEDS[pattern].keys()


def test_an_overloaded_api_sheds_before_it_stores_and_accepts_everything_in_the_end() -> None:
    result = run("black-friday", seed=3)

    orders, metrics = result.orders, result.metrics
    assert metrics["shed"] > 0
    assert metrics["in_hand_max"] == 256, "a consumer fetches no more than it may hold"
    assert orders.submitted == orders.accepted == 1_000
    roomy = run("black-friday", seed=3, settings={"api.max_in_flight": 1_000})
    assert (roomy.verdict, roomy.metrics["shed"]) == ("UNKNOWN", 0)


def test_a_pattern_that_is_off_has_done_nothing() -> None:
    result = run("hung-after-charge", seed=2, off=["provider_key"])

    (use,) = [use for use in result.patterns if use.name == "provider_key"]
    assert (use.on, use.acted) == (False, {})


@pytest.mark.parametrize("name", SHIPPED)
def test_one_seed_is_one_digest(name: str) -> None:
    first, second = (run(name, seed=5, orders=40) for _ in range(2))

    assert first.digest == second.digest
    assert first.checks == second.checks
    assert run(name, seed=6, orders=40).digest != first.digest


def test_with_dedupe_off_the_inbox_saves_the_run_and_the_page_says_so() -> None:
    result = run("duplicates", seed=7, off=["dedupe"])

    assert result.verdict == "PASS"
    assert "the inbox stopped" in result.why


def test_switching_a_pattern_off_moves_no_fault() -> None:
    with_it, without = (
        {fault.name: fault.orders for fault in run("duplicates", seed=3, off=off).faults}
        for off in ((), ("dedupe",))
    )

    assert with_it == without


def test_two_orders_a_year_apart_cost_two_orders(tmp_path: object) -> None:
    """Idle virtual time is free: nothing ticks."""
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    line = (
        '{{"at": "{at}", "customer_id": "1", "country": null, "currency": "EUR", '
        '"items": [{{"sku": "A", "quantity": 1, "unit_price_cents": 100}}]}}\n'
    )
    file = tmp_path / "orders.ndjson"
    file.write_text(line.format(at="2024-01-01T00:00:00") + line.format(at="2025-01-01T00:00:00"))

    result = run("happy-path", orders_from=str(file))

    assert result.orders.by_state == {"CONFIRMED": 2}
    assert result.time.virtual_ms > 365 * 86_400_000
    assert result.history_entries < 400


def test_the_real_orders_are_refused_for_the_reasons_that_they_give() -> None:
    result = run("real-orders")

    orders = result.orders
    assert orders.accepted + orders.refused == orders.submitted == orders.read == 500
    assert set(orders.refused_by_reason) == {
        "customer_missing",
        "price_below_1",
        "quantity_below_1",
        "sku_empty",
    }
    assert next(c for c in result.checks if c.name == "refused-leaves-nothing").checked
