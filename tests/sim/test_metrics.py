"""The metrics of whole runs: every entry counts once, and no label grows with the orders."""

import json
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lab import run
from lab.history.entries import FIELDS, Entry, as_dict
from lab.history.journal import frozen
from lab.observe import metrics as fold
from lab.observe.metrics import ProcessMetrics
from tests.kit.scraped import Shown, shown_of, total

pytestmark = pytest.mark.slow

MEMBERS = ("payment-1", "validation-1", "orders-1", "notification-1")


@cache
def lives(orders: int) -> dict[str, list[Entry]]:
    """The entries of each process, all its lives, of a run in which everything may go wrong."""
    entries = defaultdict(list)
    with TemporaryDirectory() as folder:
        result = run("everything", seed=18, orders=orders, history="all", out=Path(folder))
        assert result.run_dir is not None
        for line in (Path(result.run_dir) / "history.ndjson").read_text("utf-8").splitlines():
            told: dict[str, Any] = json.loads(line)
            entry = tuple(frozen(told[field]) for field in FIELDS[told["kind"]])
            entries[told["process"].partition("#")[0]].append(entry)
    return entries


def measured(member: str, orders: int) -> Shown:
    metrics = ProcessMetrics(
        service="lab", version="1", group=member.rpartition("-")[0], tiers=3, guarded=("mailer",)
    )
    for entry in lives(orders)[member]:
        metrics.take(entry)
    return shown_of(metrics)


def kinds(member: str, orders: int) -> Counter[object]:
    return Counter(kind for kind, *_ in lives(orders)[member])


@pytest.mark.parametrize("member", MEMBERS)
def test_every_entry_counts_once(member: str) -> None:
    shown, kind = measured(member, 200), kinds(member, 200)

    assert kind["deliver"]
    assert total(shown, "lab_deliveries_total") == kind["deliver"]
    assert total(shown, "lab_settlements_total") == kind["settle"]
    assert total(shown, "lab_attempts_total") == kind["handle.end"]
    assert total(shown, "lab_call_duration_seconds_count") == (kind["call.end"] or None)
    assert total(shown, "lab_retries_total") == kind["retrying"]
    assert total(shown, "lab_dead_letters_total") == kind["buried"]
    assert total(shown, "lab_claims_total") == kind["claim"]
    assert total(shown, "lab_unit_commits_total") == (kind["commit.end"] or None)
    assert total(shown, "lab_offset_commits_total") == kind["position"]


def test_the_run_is_rich_enough_to_mean_something() -> None:
    seen = sum((kinds(member, 200) for member in MEMBERS), Counter())

    assert {"retrying", "breaker", "paused", "owned", "revoked", "claim"} <= set(seen)


def test_what_begins_at_0_is_all_that_there_is() -> None:
    values: dict[str, set[str]] = defaultdict(set)
    for member in MEMBERS:
        for name, labels in measured(member, 200):
            for label, given in labels:
                values[f"{name} {label}"].add(given)

    assert values["lab_dead_letters_total reason"] == set(fold.REASONS)
    assert values["lab_duplicates_suppressed_total by"] == set(fold.BY)
    assert values["lab_claims_total state"] == set(fold.CLAIMS)
    assert values["lab_breaker_state state"] == set(fold.STATES)
    tiers = {"in_place", "throttled", "unparked", "tier.1", "tier.2", "tier.3"}
    assert values["lab_retries_total tier"] == tiers


def test_no_label_tells_of_an_order_or_an_event() -> None:
    for member in MEMBERS:
        entries = [as_dict(entry) for entry in lives(200)[member]]
        ids = {entry["subject"] for entry in entries} | {entry.get("event_id") for entry in entries}
        ids -= {"", None}
        given = {value for _, labels in measured(member, 200) for _, value in labels}

        assert ids
        assert not ids & given


@pytest.mark.parametrize("member", MEMBERS)
def test_twice_the_orders_are_hardly_more_series(member: str) -> None:
    few, many = measured(member, 200), measured(member, 400)

    # A rare ending that happened only in the larger run.
    assert len(many) <= len(few) * 1.3
