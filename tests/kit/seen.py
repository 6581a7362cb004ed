"""What can be seen of simulated runs: entries, spans and lines, and checks that hold for them all.

Not here: the fields of documents (`telemetry`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Final

from lab import run
from lab.history.calls import DeliverEntry, RevokedEntry, SettleEntry
from lab.history.entries import KINDS, Entry, kind_of, time_of
from lab.history.facts import LifeEntry
from lab.observe.apm import span_documents
from lab.observe.ecs_line import line_document
from lab.observe.fields import Document, Origin
from lab.observe.model import LogLine, Span
from lab.observe.process_view import ProcessView
from lab.observe.run_view import WITNESSES, RunView
from lab.observe.traces import ComputedTraces
from lab.runtime.ids import SeededIds
from tests.kit.entries import of_type, process_of

EPOCH_US: Final = 1_735_689_600_000_000
ORDERS: Final = 20
_STAYS: Final = ("retry", "release")
"""After these a delivery waits in the hand of its process."""
_ENDS: Final = ("kill", "aborted", "stopped")


@lru_cache(maxsize=4)
def entries_of(scenario: str, seed: int, *off: str) -> tuple[Entry, ...]:
    """The whole history of a small run, with some patterns switched off."""
    kept = _Kept()
    run(scenario, seed=seed, orders=ORDERS, watch=kept, off=off)
    return tuple(kept.entries)


class _Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def take(self, entries: Sequence[Entry], /) -> None:
        self.entries += entries


class Seen:
    """Spans and lines in the order in which they were told.

    Args:
        entries: the history, or a part of it.
        seed: of the run.
        process: only this process life, by its fold alone; "" for the whole run.
    """

    def __init__(self, entries: Collection[Entry], seed: int, *, process: str = "") -> None:
        self.spans: list[Span] = []
        self.lines: list[LogLine] = []
        traces = ComputedTraces(SeededIds(seed).traceparent, has_client=True, sees_requests=False)
        if not process:
            whole = RunView(traces=traces, epoch_us=EPOCH_US, emit=self._take)
            for entry in entries:
                whole.take(entry)
            whole.close()
            return
        view = ProcessView(process, traces=traces, epoch_us=EPOCH_US, emit=self._take)
        for entry in entries:
            if process_of(entry) == process:
                view.take(entry)
        view.close(max(map(time_of, entries)))

    def _take(self, seen: Span | LogLine) -> None:
        if isinstance(seen, Span):
            self.spans.append(seen)
        else:
            self.lines.append(seen)

    def documents(self) -> list[Document]:
        """All of it, as it is shipped."""
        origin = Origin(run_id="run-1", environment="simulated", version="0")
        spans = [one for span in self.spans for one in span_documents(span, origin)]
        return [*spans, *(line_document(line, origin) for line in self.lines)]


def processes_of(entries: Collection[Entry]) -> list[str]:
    """The process lives of a run; the run itself tells of faults that strike others."""
    return sorted({process_of(entry) for entry in entries} - WITNESSES - {"run"})


def tree_faults(spans: Collection[Span]) -> list[str]:
    """What is wrong with the trees of a run; [] if nothing is."""
    found = [f"{name} twice" for name, n in Counter(s.span_id for s in spans).items() if n > 1]
    ids = defaultdict(set)
    roots: Counter[str] = Counter()
    for span in spans:
        ids[span.trace_id].add(span.span_id)
        roots[span.trace_id] += not span.parent_id
    found += [
        f"{span.name} of {span.node} has no parent"
        for span in spans
        if span.parent_id and span.parent_id not in ids[span.trace_id]
    ]
    return found + [f"trace {name} has {roots[name]} roots" for name in ids if roots[name] != 1]


def life_faults(entries: Collection[Entry], spans: Collection[Span]) -> list[str]:
    """Spans that begin before their process or end after it; what a kill has not ended."""
    begun: dict[str, int] = {}
    ended: dict[str, tuple[int, str]] = {}
    for _, t_us, process, _, event in of_type(entries, LifeEntry):
        if event == "start":
            begun.setdefault(process, EPOCH_US + t_us)
        elif event in _ENDS:
            ended[process] = EPOCH_US + t_us, event
    return list(_life_faults(begun, ended, spans))


def _life_faults(
    begun: dict[str, int], ended: dict[str, tuple[int, str]], spans: Collection[Span]
) -> Iterator[str]:
    for span in spans:
        if span.start_us < begun.get(span.node, 0):
            yield f"{span.name} of {span.node} begins before it"
        # A wait ends when the event is due, whoever fetches it.
        if span.node not in ended or span.action == "wait":
            continue
        end_us, event = ended[span.node]
        if span.end_us > end_us:
            yield f"{span.name} of {span.node} ends after it"
        if span.error == "process.killed" and (event != "kill" or span.outcome != "failure"):
            yield f"{span.name} of {span.node} was not killed"


def killed_at_work(entries: Collection[Entry]) -> Counter[str]:
    """How many deliveries each killed process had in hand, by the entries alone."""
    at_work: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    waiting: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    revoked: set[tuple[object, ...]] = set()
    found: Counter[str] = Counter()
    for entry in entries:
        process = process_of(entry)
        match KINDS[kind_of(entry)]._make(entry):
            case DeliverEntry(subject=subject) as delivery if subject:
                at_work[process].add(_place(delivery))
                waiting[process].discard(_place(delivery))
            case SettleEntry() as settled if _place(settled) in at_work[process]:
                at_work[process].remove(_place(settled))
                stays = settled.settlement in _STAYS
                if stays and (process, _place(settled)) not in revoked:
                    waiting[process].add(_place(settled))
            case RevokedEntry() as gone:
                waiting[process] -= {one for one in waiting[process] if _is_in(one, gone)}
                revoked |= {(process, one) for one in at_work[process] if _is_in(one, gone)}
            case LifeEntry(event="kill"):
                found[process] = len(at_work.pop(process, ())) + len(waiting.pop(process, ()))
            case _:
                pass
    return +found


def _place(entry: DeliverEntry | SettleEntry) -> tuple[object, ...]:
    return entry.group, entry.topic, entry.partition, entry.offset, entry.epoch


def _is_in(place: tuple[object, ...], revoked: RevokedEntry) -> bool:
    """Whether a delivery is of a partition that was taken away."""
    group, topic, partition, _, _ = place
    return group == revoked.group and f"{topic}/{partition}" in revoked.partitions
