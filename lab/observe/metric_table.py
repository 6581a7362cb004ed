"""Every metric of the lab: its name, type, labels and meaning.

Names follow Prometheus: base units, counters end in `_total`. A label takes its values from our own
code, never from what a client or a foreign record says: no order, event or customer. Not here:
counting (`metrics`). `docs/metrics.md` explains each; a test compares.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class MetricKind(StrEnum):
    """The type of a metric, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One metric. The name of a counter stands here with its `_total`."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    meaning: str


DELIVERIES: Final = "lab_deliveries_total"
SETTLEMENTS: Final = "lab_settlements_total"
ATTEMPTS: Final = "lab_attempts_total"
ATTEMPT_SECONDS: Final = "lab_attempt_duration_seconds"
RETRIES: Final = "lab_retries_total"
DEAD_LETTERS: Final = "lab_dead_letters_total"
SUPPRESSED: Final = "lab_duplicates_suppressed_total"
CLAIMS: Final = "lab_claims_total"
ACTS: Final = "lab_pattern_acts_total"
UNITS: Final = "lab_unit_commits_total"
POSITIONS: Final = "lab_offset_commits_total"
REBALANCES: Final = "lab_rebalances_total"
PAUSES: Final = "lab_pauses_total"
OWNED: Final = "lab_partitions_owned"
IN_FLIGHT: Final = "lab_records_in_flight"
CONSUMER_ERRORS: Final = "lab_consumer_errors_total"
OLDEST: Final = "lab_oldest_record_seconds"
LOST: Final = "lab_lost_records_total"
LAG: Final = "lab_consumer_lag_records"
PUBLISHED: Final = "lab_published_records_total"
OUTBOX_EVENTS: Final = "lab_outbox_events"
OUTBOX_AGE: Final = "lab_outbox_oldest_age_seconds"
CALL_SECONDS: Final = "lab_call_duration_seconds"
BREAKER: Final = "lab_breaker_state"
BREAKER_CHANGES: Final = "lab_breaker_changes_total"
REQUEST_SECONDS: Final = "lab_http_request_duration_seconds"
REQUESTS_IN_FLIGHT: Final = "lab_http_requests_in_flight"
PROBLEMS: Final = "lab_http_problems_total"
SHED: Final = "lab_shed_requests_total"
LEDGER: Final = "lab_ledger_entries_total"
STALLED: Final = "lab_stalled_seconds_total"
BUILD: Final = "lab_build_info"

_C, _G, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric(DELIVERIES, _C, ("group", "topic"), "records handed to the handlers of a group"),
        Metric(SETTLEMENTS, _C, ("group", "settlement", "why"), "deliveries settled, and how"),
        Metric(ATTEMPTS, _C, ("group", "result"), "runs of a handler, by how they ended"),
        Metric(ATTEMPT_SECONDS, _H, ("group",), "length of a run of a handler"),
        Metric(RETRIES, _C, ("group", "tier"), "attempts that failed and wait for another one"),
        Metric(DEAD_LETTERS, _C, ("group", "reason"), "events that a group gave up"),
        Metric(SUPPRESSED, _C, ("group", "by"), "deliveries of events that were done already"),
        Metric(CLAIMS, _C, ("group", "state"), "answers of the dedupe store to a claim"),
        Metric(ACTS, _C, ("pattern", "act"), "what a resilience pattern did"),
        Metric(UNITS, _C, ("group", "result"), "units of work brought to the order store"),
        Metric(POSITIONS, _C, ("group", "topic"), "positions of a partition told to the broker"),
        Metric(REBALANCES, _C, ("group", "change"), "changes of the partitions of this member"),
        Metric(PAUSES, _C, ("group", "why"), "pauses of the whole subscription"),
        Metric(OWNED, _G, ("group",), "partitions that this member owns"),
        Metric(IN_FLIGHT, _G, ("group",), "records fetched and not settled"),
        Metric(
            CONSUMER_ERRORS, _C, ("group", "call"), "calls of the member to the broker that failed"
        ),
        Metric(OLDEST, _G, ("group",), "time for which a partition has gone no further"),
        Metric(LOST, _C, ("group", "topic"), "records that the group can never read any more"),
        Metric(LAG, _G, ("group", "topic"), "records that the whole group has not committed"),
        Metric(PUBLISHED, _C, ("result",), "records that were to be published, by the answer"),
        Metric(OUTBOX_EVENTS, _G, (), "events that stand in the outbox and are not published"),
        Metric(OUTBOX_AGE, _G, (), "age of the oldest of them; 0 if there is none"),
        Metric(
            CALL_SECONDS,
            _H,
            ("dependency", "action", "result"),
            "length of a call to a third party, or to the customers in the order store",
        ),
        Metric(BREAKER, _G, ("dependency", "state"), "1 for the state of the breaker, else 0"),
        Metric(BREAKER_CHANGES, _C, ("dependency", "state"), "changes of a breaker to a state"),
        Metric(REQUEST_SECONDS, _H, ("route", "status"), "time until a request was answered"),
        Metric(REQUESTS_IN_FLIGHT, _G, (), "requests that came in and are not answered"),
        Metric(PROBLEMS, _C, ("route", "problem"), "requests answered with a problem, by type"),
        Metric(SHED, _C, ("route",), "requests refused before anything was stored"),
        Metric(LEDGER, _C, ("provider", "action"), "what the third parties really did"),
        Metric(STALLED, _C, (), "time in which the process stood still, beyond 20 ms a time"),
        Metric(BUILD, _G, ("service", "version"), "always 1; says what runs"),
    )
}
"""By name, in the order in which they are shown."""
