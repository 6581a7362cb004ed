"""Spans and log lines of whole runs: every trace is one tree, and live is as afterwards.

Not here: the fields of documents (`test_seen_fields`).
"""

from collections import Counter
from collections.abc import Collection

import pytest

from lab.history.calls import DeliverEntry, PublishBeginEntry
from lab.history.entries import Entry
from lab.history.facts import FaultEntry
from lab.observe.model import Span
from lab.observe.open_spans import OpenSpans
from lab.observe.run_view import WITNESSES
from lab.scenarios.loader import load_catalogue
from tests.kit.entries import of_type
from tests.kit.seen import (
    Seen,
    entries_of,
    killed_at_work,
    life_faults,
    processes_of,
    tree_faults,
)

pytestmark = pytest.mark.slow

SHIPPED = tuple(load_catalogue())
RUNS = [
    *((name, seed) for name in SHIPPED for seed in (1, 2)),
    *(("everything", seed) for seed in range(3, 21)),
]


def attempts_of(spans: Collection[Span]) -> Counter[tuple[object, ...]]:
    """How often each process began to work on an event."""
    return Counter(
        (
            span.node,
            span.attributes["messaging.consumer.group.name"],
            span.attributes["messaging.message.id"],
        )
        for span in spans
        if span.action == "attempt"
    )


def deliveries_of(entries: Collection[Entry]) -> Counter[tuple[object, ...]]:
    """How often each process was handed an event of an order, by the entries alone."""
    return Counter(
        (one.process, one.group, one.event_id)
        for one in of_type(entries, DeliverEntry)
        if one.subject
    )


def copied_events(entries: Collection[Entry]) -> set[object]:
    """Events that several processes published: `Sent` knows of the copies, a process alone not."""
    first: dict[object, object] = {}
    found: set[object] = set()
    for published in of_type(entries, PublishBeginEntry):
        if "." not in published.topic:
            for event_id in published.event_ids:
                if first.setdefault(event_id, published.process) != published.process:
                    found.add(event_id)
    return found


@pytest.mark.parametrize(("scenario", "seed"), RUNS)
def test_every_trace_of_a_run_is_one_tree(scenario: str, seed: int) -> None:
    entries = entries_of(scenario, seed)
    seen = Seen(entries, seed)

    assert tree_faults(seen.spans) == []
    assert life_faults(entries, seen.spans) == []
    assert len({span.trace_id for span in seen.spans}) >= 15
    assert len({line.id for line in seen.lines}) == len(seen.lines)
    assert attempts_of(seen.spans) == deliveries_of(entries)
    killed = Counter(
        span.node
        for span in seen.spans
        if span.action == "deliver" and span.error == "process.killed"
    )
    assert killed == killed_at_work(entries)


@pytest.mark.parametrize(("scenario", "seed"), RUNS)
def test_every_fault_is_seen(scenario: str, seed: int) -> None:
    entries = entries_of(scenario, seed)
    seen = Seen(entries, seed)
    struck = Counter(
        (one.subject, one.kind_of_fault, one.site) for one in of_type(entries, FaultEntry)
    )

    told = Counter(
        (line.subject, line.attributes["lab.fault.kind"], line.attributes["lab.fault.site"])
        for line in seen.lines
        if line.action == "fault"
    )
    marked = Counter(
        (span.subject, moment.attributes["lab.fault.kind"], moment.attributes["lab.fault.site"])
        for span in seen.spans
        for moment in span.moments
        if moment.name == "lab.fault"
    )

    assert told == struck
    assert marked <= struck


@pytest.mark.parametrize(("scenario", "seed"), RUNS)
def test_a_process_alone_tells_the_spans_that_the_whole_history_tells(
    scenario: str, seed: int
) -> None:
    entries = entries_of(scenario, seed)
    copied = copied_events(entries)
    whole = Seen(entries, seed)
    for process in processes_of(entries):
        alone = Seen(entries, seed, process=process)

        assert ids_of(alone.spans, copied) == ids_of(
            [span for span in whole.spans if span.node == process], copied
        )
        assert alone.lines == [
            line for line in whole.lines if line.node == process and line.node not in WITNESSES
        ]


def ids_of(spans: Collection[Span], copied: Collection[object]) -> list[tuple[object, ...]]:
    """All of a span but the faults that others say have struck it, and publishes of copies."""
    return [
        (
            *(span.trace_id, span.span_id, span.parent_id, span.entry_id, span.name),
            *(span.start_us, span.end_us, span.outcome, span.error),
            tuple(span.attributes.items()),
            tuple(moment.name for moment in span.moments if moment.name != "lab.fault"),
        )
        for span in spans
        if span.action != "publish" or span.attributes["messaging.message.id"] not in copied
    ]


def test_the_runs_reach_what_the_claims_are_about() -> None:
    everything = [entries_of("everything", seed) for seed in range(1, 21)]

    assert sum(killed_at_work(entries).total() for entries in everything) >= 5
    assert any(copied_events(entries) for entries in everything)


# ---- planted offenders


def test_a_fold_that_forgets_a_kill_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, seed = next(
        (entries, seed)
        for seed in range(1, 21)
        if killed_at_work(entries := entries_of("everything", seed))
    )
    close_all = OpenSpans.close_all

    def forget(self: OpenSpans, t_us: int, *, outcome: str, error: str) -> None:  # noqa: ARG001 - as the method that it stands for
        if error != "process.killed":
            close_all(self, t_us, outcome="unknown", error=error)

    monkeypatch.setattr(OpenSpans, "close_all", forget)

    assert life_faults(entries, Seen(entries, seed).spans)


def test_a_parent_that_does_not_exist_is_found() -> None:
    spans = Seen(entries_of("happy-path", 1), 1).spans
    assert tree_faults(spans) == []
    child = next(span for span in spans if span.parent_id)
    child.parent_id = "0" * 16

    assert tree_faults(spans) == [f"{child.name} of {child.node} has no parent"]


def test_a_second_root_and_a_second_span_of_one_id_are_found() -> None:
    spans = Seen(entries_of("happy-path", 1), 1).spans
    child = next(span for span in spans if span.action == "attempt")
    child.parent_id = ""

    assert tree_faults(spans) == [f"trace {child.trace_id} has 2 roots"]
    assert f"{child.span_id} twice" in tree_faults([*spans, child])
