"""The metrics of a process: every entry counts once, and what nobody knows is not shown."""

import re
from pathlib import Path

import pytest

from lab.history.entries import Entry
from lab.observe import metric_table as table
from lab.observe.metric_table import METRICS, MetricKind
from lab.observe.metrics import ProcessMetrics
from tests.kit.scraped import shown_of, value

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
P = "payment-1"
MS = 1_000


def payment(*entries: Entry, tiers: int = 2) -> ProcessMetrics:
    metrics = ProcessMetrics(
        service="lab-payment",
        version="1.2",
        group="payment",
        tiers=tiers,
        guarded=("payment_gateway", "mailer"),
    )
    for entry in entries:
        metrics.take(entry)
    return metrics


def deliver(topic: str = "validation") -> Entry:
    return ("deliver", 0, P, "1.1", "payment", topic, 0, 7, 1, "e1", "OrderValidated", 1, "d")


def handled(result: str, begun_us: int, ended_us: int, event_id: str = "e1") -> tuple[Entry, Entry]:
    head = ("payment", event_id, "OrderValidated", 1)
    return (
        ("handle.begin", begun_us, P, "1.1", *head, 2, 99, "validation", 1, "d", 0),
        ("handle.end", ended_us, P, "1.1", *head, result, 0),
    )


def called(result: str, took_us: int, provider: str = "payment_gateway") -> Entry:
    return ("call.end", 0, P, "1.1", provider, "charge", "k", result, 0, took_us, 0)


def acted(pattern: str, what: str) -> Entry:
    return ("acted", 0, P, "1.1", pattern, what)


def test_deliveries_are_counted_by_group_and_topic() -> None:
    metrics = payment(deliver(), deliver(), deliver("validation.payment.retry.1"))

    name = "lab_deliveries_total"
    assert value(metrics, name, group="payment", topic="validation") == 2
    assert value(metrics, name, group="payment", topic="validation.payment.retry.1") == 1


def test_attempts_are_counted_by_result_and_measured() -> None:
    metrics = payment(
        *handled("ok", 0, 3 * MS), *handled("Transient", 10 * MS, 50 * MS), *handled("ok", 0, MS)
    )

    assert value(metrics, "lab_attempts_total", group="payment", result="ok") == 2
    assert value(metrics, "lab_attempts_total", group="payment", result="Transient") == 1
    name = "lab_attempt_duration_seconds"
    assert value(metrics, f"{name}_count", group="payment") == 3
    assert value(metrics, f"{name}_sum", group="payment") == pytest.approx(0.044)
    assert value(metrics, f"{name}_bucket", group="payment", le="0.001") == 1
    assert value(metrics, f"{name}_bucket", group="payment", le="0.005") == 2
    assert value(metrics, f"{name}_bucket", group="payment", le="+Inf") == 3


def test_a_length_beyond_every_bound_stands_in_the_last_bucket_only() -> None:
    metrics = payment(called("captured", 31_000 * MS))

    labels = {"dependency": "payment_gateway", "action": "charge", "result": "captured"}
    name = "lab_call_duration_seconds_bucket"
    assert value(metrics, name, **labels, le="30.0") == 0
    assert value(metrics, name, **labels, le="+Inf") == 1


def test_an_attempt_that_ends_twice_is_measured_once() -> None:
    begin, end = handled("ok", 0, MS)
    metrics = payment(begin, end, end)

    assert value(metrics, "lab_attempts_total", group="payment", result="ok") == 2
    assert value(metrics, "lab_attempt_duration_seconds_count", group="payment") == 1


def test_retries_dead_letters_and_suppressed_duplicates_begin_at_0_and_are_counted() -> None:
    metrics = payment(
        ("retrying", 0, P, "1.1", "payment", "e1", 2, "Transient", "tier.2", 5),
        ("buried", 0, P, "1.1", "payment", "e1", "exhausted", 6, 0, 0),
        acted("dedupe", "suppressed"),
        acted("inbox", "suppressed"),
        acted("inbox", "suppressed"),
        acted("dedupe", "held"),
    )

    assert value(metrics, "lab_retries_total", group="payment", tier="tier.2") == 1
    assert value(metrics, "lab_retries_total", group="payment", tier="tier.1") == 0
    assert value(metrics, "lab_retries_total", group="payment", tier="tier.3") is None
    dead = "lab_dead_letters_total"
    assert value(metrics, dead, group="payment", reason="exhausted") == 1
    assert value(metrics, dead, group="payment", reason="poison") == 0
    suppressed = "lab_duplicates_suppressed_total"
    assert value(metrics, suppressed, group="payment", by="dedupe") == 1
    assert value(metrics, suppressed, group="payment", by="inbox") == 2
    assert value(metrics, "lab_pattern_acts_total", pattern="dedupe", act="held") == 1


def test_published_records_are_counted_one_by_one() -> None:
    metrics = payment(
        ("publish.end", 0, P, "", "", ("e1", "e2", "e3"), "ok"),
        ("publish.end", 0, P, "", "", ("e4",), "Transient"),
    )

    assert value(metrics, "lab_published_records_total", result="ok") == 3
    assert value(metrics, "lab_published_records_total", result="Transient") == 1


def test_the_partitions_of_a_member_are_those_of_its_last_assignment() -> None:
    metrics = payment()
    assert value(metrics, "lab_partitions_owned", group="payment") is None

    metrics.take(("owned", 0, P, "", "payment", 1, ("validation/0", "validation/1")))
    assert value(metrics, "lab_partitions_owned", group="payment") == 2

    metrics.take(("revoked", 0, P, "", "payment", 1, ("validation/0", "validation/1")))
    assert value(metrics, "lab_partitions_owned", group="payment") == 0
    assert value(metrics, "lab_rebalances_total", group="payment", change="owned") == 1
    assert value(metrics, "lab_rebalances_total", group="payment", change="revoked") == 1


def test_a_breaker_is_shown_once_its_dependency_was_called() -> None:
    name = "lab_breaker_state"
    metrics = payment()
    assert value(metrics, name, dependency="payment_gateway", state="closed") is None

    metrics.take(called("captured", MS))
    assert value(metrics, name, dependency="payment_gateway", state="closed") == 1
    assert value(metrics, name, dependency="mailer", state="closed") is None

    metrics.take(("breaker", 0, P, "", "payment_gateway", "open"))
    states = {
        state: value(metrics, name, dependency="payment_gateway", state=state)
        for state in ("closed", "half_open", "open")
    }
    assert states == {"closed": 0, "half_open": 0, "open": 1}
    changes = "lab_breaker_changes_total"
    assert value(metrics, changes, dependency="payment_gateway", state="open") == 1


def test_what_has_no_breaker_shows_none() -> None:
    metrics = payment(called("no", MS, provider="customers"))

    assert value(metrics, "lab_breaker_state", dependency="customers", state="closed") is None


def test_a_gauge_that_nobody_knows_now_is_absent_and_one_that_is_0_is_shown() -> None:
    metrics = payment()
    known: dict[tuple[str, ...], float] = {}
    metrics.read(table.OUTBOX_EVENTS, lambda: known)
    assert value(metrics, "lab_outbox_events") is None

    known[()] = 0
    assert value(metrics, "lab_outbox_events") == 0


def test_a_process_that_is_no_member_shows_no_retries() -> None:
    metrics = ProcessMetrics(service="lab-api", version="1.2")

    assert set(shown_of(metrics)) == {
        ("lab_build_info", frozenset({("service", "lab-api"), ("version", "1.2")}))
    }


def test_stalls_are_shown_in_seconds() -> None:
    metrics = payment(("stalled", 0, P, "", 1_500 * MS), ("stalled", 0, P, "", 500 * MS))

    assert value(metrics, "lab_stalled_seconds_total") == 2


def test_an_entry_of_which_nothing_is_counted_changes_nothing() -> None:
    metrics = payment()
    before = shown_of(metrics)

    metrics.take(("held", 0, P, "", "payment", 12))

    assert shown_of(metrics) == before


# ---- names


def test_names_follow_prometheus() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"lab_[a-z]+(_[a-z]+)*", name)
        assert name.endswith("_total") == (metric.kind is MetricKind.COUNTER), name
        assert metric.kind is not MetricKind.HISTOGRAM or name.endswith("_seconds")
        assert "us" not in name.split("_")
        assert metric.meaning
        assert not {"le", "job", "instance"} & set(metric.labels)


def test_the_page_names_every_metric_with_its_type_labels_and_meaning() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `lab_")]
    told = {}
    for row in rows:
        name, kind, labels, meaning, example = (
            cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]
        )
        name = name.strip("`")
        told[name] = (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        assert re.search(rf"\b{name}(_bucket|_count|_sum)?\b", example), f"no example: {name}"
        grouped = re.findall(r"by \(([^)]*)\)", example)
        taken = {label.strip() for group in grouped for label in group.split(",")}
        assert taken <= {*METRICS[name].labels, "le"}, f"{name}: its example groups by {taken}"

    assert told == {
        name: (str(metric.kind), metric.labels, metric.meaning) for name, metric in METRICS.items()
    }
