"""The numbers of a result, counted a second time: by hand, from the files that the run left.

Shares nothing with the checks and folds but the names of fields in `history.ndjson`.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab import run
from lab.checks.tables import KEY_REUSED

RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("duplicates", {}),
    ("duplicates", {"off": ["dedupe"]}),
    ("duplicates", {"off": ["dedupe", "inbox"]}),
    ("real-orders", {}),
    ("timeouts", {}),
    ("flapping-gateway", {}),
    ("crashes", {}),
    ("client-retries", {}),
    ("cancellation", {}),
    ("poison-message", {}),
    ("graceful-shutdown", {}),
)
"""Scenario and options: together every number of the page is above 0 in one of them."""

Entries = list[dict[str, Any]]


def recorded(name: str, options: dict[str, Any], out: Path) -> tuple[Any, Any, Entries]:
    """`result.json`, `plan.json` and `history.ndjson` of one run."""
    folder = run(name, seed=4, out=out, **options).run_dir
    assert folder is not None
    result, plan = (
        json.loads((Path(folder) / file).read_text()) for file in ("result.json", "plan.json")
    )
    lines = (Path(folder) / "history.ndjson").read_text().splitlines()
    return result, plan, [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), RUNS)
def test_a_result_says_what_its_history_says(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    result, plan, entries = recorded(name, options, tmp_path)
    kinds = Counter(entry["kind"] for entry in entries)
    rows = {entry["subject"]: entry for entry in entries if entry["kind"] == "row"}

    assert result["history_entries"] == len(entries)
    assert result["time"]["virtual_ms"] == entries[-1]["t_us"] // 1_000
    check_orders(result, entries, rows)
    check_faults(result, plan, entries)
    check_acted(result, entries)
    metrics = result["metrics"]
    assert metrics["deliveries"] == kinds["deliver"]
    assert metrics["attempts_per_order"] == round(kinds["handle.begin"] / len(rows), 3)
    assert metrics["calls_per_order"] == round(kinds["call.end"] / len(rows), 3)
    check_latencies(metrics, entries, rows)


def check_orders(result: Any, entries: Entries, rows: dict[str, dict[str, Any]]) -> None:
    """Every intent is an ordinal of the client; `rows` holds the last version of each order."""
    orders = result["orders"]
    creates = [e for e in entries if e["kind"] == "http.end" and e["op"] == "create"]
    refused = {
        e["subject"]
        for e in creates
        if 400 <= e["status"] < 500 and e["status"] != 409 and e["problem"] != KEY_REUSED
    }
    # A click that is repeated without a key is an intent of its own; a repeat under a key is none.
    intents = {(e["key"] or e["subject"]) for e in creates}
    # Nobody may send again what has no key.
    unheard = {
        e["subject"] for e in creates if not e["key"] and (not e["status"] or e["status"] >= 500)
    }

    assert orders["submitted"] == len(intents)
    assert orders["refused"] == len(refused) + len(unheard)
    assert orders["refused_by_reason"].get("unanswered", 0) == len(unheard)
    assert orders["accepted"] + orders["refused"] == orders["submitted"]
    assert orders["by_state"] == Counter(row["state"] for row in rows.values())
    assert refused.isdisjoint(rows)


def check_faults(result: Any, plan: Any, entries: Entries) -> None:
    """What fired stands in the history, in the plan, and on the page, equally often."""
    fired = Counter(e["kind_of_fault"] for e in entries if e["kind"] == "fault")

    assert {fault["name"]: fault["fired"] for fault in result["faults"]} == fired
    assert Counter(firing["kind"] for firing in plan["firings"]) == fired
    for fault in result["faults"]:
        hit = {
            int(e["subject"].partition(".")[0])
            for e in entries
            if e["kind"] == "fault" and e["kind_of_fault"] == fault["name"] and e["subject"]
        }
        assert set(fault["orders"]) <= hit
        assert len(fault["orders"]) == min(len(hit), 10)


def check_acted(result: Any, entries: Entries) -> None:
    """Deeds of patterns, from what was done instead of from what says so."""
    acted = {use["name"]: use["acted"] for use in result["patterns"]}
    claims = Counter(e["state"] for e in entries if e["kind"] == "claim")
    calls = [e for e in entries if e["kind"] == "call.end"]

    assert acted["dedupe"].get("suppressed", 0) == claims["done"]
    assert acted["dedupe"].get("taken_over", 0) == claims["takeover"]
    retried = sum(e["kind"] == "retrying" and e["where"] != "throttled" for e in entries)
    assert acted["retry"].get("retried", 0) == retried
    if not retried:  # else records whose event a retry topic has seen to are done too
        assert acted["inbox"].get("suppressed", 0) == suppressed_by_the_inbox(entries)
    assert acted["dead_letter"].get("dead_lettered", 0) == sum(
        e["kind"] == "buried" for e in entries
    )
    assert acted["timeout"].get("unanswered", 0) == sum(
        e["result"] == "Indeterminate" for e in calls
    )
    assert acted["provider_key"].get("asked", 0) == sum(e["action"] == "query" for e in calls)
    sent = Counter(e["key"] for e in entries if e["kind"] == "call.begin" and is_money(e))
    assert acted["provider_key"].get("sent_again", 0) == sent.total() - len(sent)
    assert acted["compensation"].get("refund_requested", 0) == sum(
        e["kind"] == "row" and e["state"] == "REFUND_PENDING" for e in entries
    )


def is_money(call: dict[str, Any]) -> bool:
    """Whether a call to a third party asks it to move money."""
    return call["action"] in ("charge", "refund")


def suppressed_by_the_inbox(entries: Entries) -> int:
    """Deliveries acknowledged as done already, less those that a finished claim had stopped."""
    kinds = Counter((e["kind"], e.get("settlement"), e.get("why"), e.get("state")) for e in entries)
    return kinds["settle", "ack", "done", None] - kinds["claim", None, None, "done"]


def check_latencies(metrics: Any, entries: Entries, rows: dict[str, dict[str, Any]]) -> None:
    """From the first request until the last row of the orders that came to their end."""
    begun: dict[str, int] = {}
    for entry in entries:
        if entry["kind"] == "http.begin" and entry["op"] == "create":
            begun.setdefault(entry["subject"], entry["t_us"])
    ended = ("CONFIRMED", "REJECTED", "DECLINED", "CANCELLED", "EXPIRED", "REFUNDED")
    took = sorted(
        row["t_us"] - begun[subject] for subject, row in rows.items() if row["state"] in ended
    )

    for percent in (50, 95, 99):
        at = took[max(-(-percent * len(took) // 100) - 1, 0)]
        assert metrics[f"to_terminal_p{percent}_ms"] == pytest.approx(at / 1_000, rel=0.01)
    assert metrics["to_terminal_max_ms"] == took[-1] / 1_000
