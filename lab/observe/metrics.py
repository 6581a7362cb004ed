"""The numbers of one process life: a fold over its entries, and what is read when somebody asks.

A fold is called on the way of every order, so it adds one to a cell of a dictionary and no more;
the objects of the client library are made when the process is scraped. A gauge that nobody knows
now is absent; counters of what may happen here begin at 0, so that a rate has a beginning. Not
here: names and meanings (`metric_table`), HTTP (`scrape`).

Source: Prometheus, "Writing exporters" and "Instrumentation".
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from lab.history.entries import FIELDS, Entry
from lab.observe import metric_table as table
from lab.observe.metric_table import METRICS, MetricKind

Labels = tuple[str, ...]
Cells = dict[Labels, int]
Read = Callable[[], Mapping[Labels, float]]
"""Gives the present values of a gauge by its labels; none of what is not known now."""

BOUNDS_US: Final = tuple(
    round(seconds * 1e6)
    for seconds in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
)
"""Upper bounds of the buckets of every histogram."""

REASONS: Final = ("poison", "permanent", "exhausted", "starts", "expired")
BY: Final = ("dedupe", "inbox")
CLAIMS: Final = ("acquired", "takeover", "busy", "done")
STATES: Final = ("closed", "half_open", "open")
CONSUMER_CALLS: Final = ("join", "poll", "commit")
_NO_TIER: Final = ("in_place", "throttled", "unparked")

_COUNTED: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "deliver": (table.DELIVERIES, ("group", "topic")),
    "settle": (table.SETTLEMENTS, ("group", "settlement", "why")),
    "handle.end": (table.ATTEMPTS, ("group", "result")),
    "retrying": (table.RETRIES, ("group", "where")),
    "buried": (table.DEAD_LETTERS, ("group", "reason")),
    "claim": (table.CLAIMS, ("group", "state")),
    "acted": (table.ACTS, ("pattern", "what")),
    "commit.end": (table.UNITS, ("group", "result")),
    "position": (table.POSITIONS, ("group", "topic")),
    "owned": (table.REBALANCES, ("group", "kind")),
    "revoked": (table.REBALANCES, ("group", "kind")),
    "paused": (table.PAUSES, ("group", "why")),
    "breaker": (table.BREAKER_CHANGES, ("dependency", "state")),
    "ledger": (table.LEDGER, ("provider", "action")),
}
"""Of each kind of entry: the counter that it adds 1 to, and which of its fields are the labels."""

Fold = Callable[[Any], None]
"""Takes an entry of one kind; each knows the fields of its kind."""


class Spread:
    """The cells of one histogram."""

    __slots__ = ("counts", "total_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.total_us = 0

    def add(self, us: int) -> None:
        """Count one length."""
        self.counts[bisect_left(BOUNDS_US, us)] += 1
        self.total_us += us

    def buckets(self) -> list[tuple[str, float]]:
        """Each upper bound with how many lengths did not exceed it."""
        bounds = [*(str(bound / 1e6) for bound in BOUNDS_US), "+Inf"]
        seen, found = 0, []
        for bound, count in zip(bounds, self.counts, strict=True):
            seen += count
            found.append((bound, float(seen)))
        return found


class ProcessMetrics(Collector):
    """The metrics of one process life.

    Args:
        service: what runs, such as `lab-payment`.
        version: of the lab.
        group: of a member of a consumer group; "" if it is none.
        tiers: retry topics of the group.
        guarded: dependencies that are called through a breaker. It is closed until it says more.
    """

    def __init__(
        self,
        *,
        service: str,
        version: str,
        group: str = "",
        tiers: int = 0,
        guarded: Collection[str] = (),
    ) -> None:
        self._group = group
        self._guarded = guarded
        self._cells: dict[str, Cells] = {
            name: {} for name, metric in METRICS.items() if metric.kind is MetricKind.COUNTER
        }
        self._spreads: dict[str, dict[Labels, Spread]] = {
            name: {} for name, metric in METRICS.items() if metric.kind is MetricKind.HISTOGRAM
        }
        self._gauges: dict[str, list[Read]] = {}
        self._begun: dict[str, int] = {}
        self._breakers: dict[str, str] = {}
        self._owned: dict[Labels, float] = {}
        self._folds: dict[str, Fold] = dict(self._counting())
        self._folds |= {
            "handle.begin": self._handle_begins,
            "handle.end": _both(self._folds["handle.end"], self._handle_ends),
            "acted": _both(self._folds["acted"], self._acted),
            "owned": _both(self._folds["owned"], self._owns),
            "revoked": _both(self._folds["revoked"], self._owns_nothing),
            "publish.end": self._published,
            "lost": self._lost,
            "call.end": self._called,
            "breaker": _both(self._folds["breaker"], self._breaker_changed),
            "stalled": self._stalled,
        }
        self.read(table.BUILD, lambda: {(service, version): 1})
        self.read(table.OWNED, lambda: self._owned)
        self.read(table.BREAKER, self._breaker_states)
        if group:
            self._begin_group(tiers)

    def take(self, entry: Entry, /) -> None:
        """See `lab.observe.live.EntrySink`."""
        fold = self._folds.get(entry[0])  # type: ignore[call-overload]  # a kind is a text
        if fold is not None:
            fold(entry)

    def read(self, gauge: str, read: Read) -> None:
        """Ask `read` for the values of that gauge whenever the process is scraped."""
        self._gauges.setdefault(gauge, []).append(read)

    def begin_at_0(self, counter: str, cells: Iterable[Labels]) -> None:
        """What these labels count may happen in this process: it has not yet."""
        self._cells[counter] |= dict.fromkeys(cells, 0)

    # ---- HTTP, of which the history of a server says nothing

    def answered(self, route: str, status: str, took_us: int) -> None:
        """A request was answered; `status` is "none" if it got no answer."""
        self._spread(table.REQUEST_SECONDS, (route, status)).add(took_us)

    def refused(self, route: str, problem: str, *, is_shed: bool) -> None:
        """A request was answered with a problem; `is_shed`: to be asked again, nothing stored."""
        _add(self._cells[table.PROBLEMS], (route, problem), 1)
        if is_shed:
            _add(self._cells[table.SHED], (route,), 1)

    # ---- calls of a consumer, of which the history says nothing

    def consumer_failed(self, call: str) -> None:
        """A call of this member to the broker failed: `join`, `poll` or `commit`."""
        _add(self._cells[table.CONSUMER_ERRORS], (self._group, call), 1)

    # ---- folds

    def _counting(self) -> Iterator[tuple[str, Fold]]:
        for kind, (counter, fields) in _COUNTED.items():
            places = [FIELDS[kind].index(field) for field in fields]
            yield kind, _count(self._cells[counter], itemgetter(*places))

    def _handle_begins(self, entry: Any) -> None:
        _, t_us, _, _, _, event_id, *_ = entry
        self._begun[event_id] = t_us

    def _handle_ends(self, entry: Any) -> None:
        _, t_us, _, _, group, event_id, _, _, _, _ = entry
        begun_us = self._begun.pop(event_id, None)
        # Without key lanes two runs of one event may overlap: only one of them is measured then.
        if begun_us is not None:
            self._spread(table.ATTEMPT_SECONDS, (group,)).add(t_us - begun_us)

    def _acted(self, entry: Any) -> None:
        _, _, _, _, pattern, what = entry
        if what == "suppressed":
            _add(self._cells[table.SUPPRESSED], (self._group, pattern), 1)

    def _owns(self, entry: Any) -> None:
        _, _, _, _, group, _, partitions = entry
        self._owned[group,] = len(partitions)

    def _owns_nothing(self, entry: Any) -> None:
        _, _, _, _, group, _, _ = entry
        self._owned[group,] = 0

    def _lost(self, entry: Any) -> None:
        _, _, _, _, group, topic, _, offset, until = entry
        _add(self._cells[table.LOST], (group, topic), max(until - offset, 1))

    def _published(self, entry: Any) -> None:
        _, _, _, _, _, event_ids, result = entry
        _add(self._cells[table.PUBLISHED], (result,), len(event_ids))

    def _called(self, entry: Any) -> None:
        _, _, _, _, provider, action, _, result, _, took_us, _ = entry
        self._spread(table.CALL_SECONDS, (provider, action, result)).add(took_us)

    def _breaker_changed(self, entry: Any) -> None:
        _, _, _, _, dependency, state = entry
        self._breakers[dependency] = state

    def _stalled(self, entry: Any) -> None:
        _, _, _, _, for_us = entry
        _add(self._cells[table.STALLED], (), for_us)

    # ---- what is shown

    def describe(self) -> Iterator[Family]:
        """Every family that may ever be shown."""
        for name in METRICS:
            yield _family(name)

    def collect(self) -> Iterator[Family]:
        """Every family of which something is known."""
        for name, metric in METRICS.items():
            family = _family(name)
            match metric.kind:
                case MetricKind.COUNTER:
                    scale = 1e6 if name == table.STALLED else 1
                    for labels, count in self._cells[name].items():
                        family.add_metric(labels, count / scale)
                case MetricKind.HISTOGRAM:
                    for labels, spread in self._spreads[name].items():
                        total = spread.total_us / 1e6
                        family.add_metric(labels, buckets=spread.buckets(), sum_value=total)
                case MetricKind.GAUGE:
                    for read in self._gauges.get(name, ()):
                        for labels, value in read().items():
                            family.add_metric(labels, value)
            if family.samples:
                yield family

    def _begin_group(self, tiers: int) -> None:
        group = self._group
        where = (*_NO_TIER, *(f"tier.{tier}" for tier in range(1, tiers + 1)))
        self.begin_at_0(table.RETRIES, ((group, tier) for tier in where))
        self.begin_at_0(table.DEAD_LETTERS, ((group, reason) for reason in REASONS))
        self.begin_at_0(table.SUPPRESSED, ((group, by) for by in BY))
        self.begin_at_0(table.CONSUMER_ERRORS, ((group, call) for call in CONSUMER_CALLS))
        self.begin_at_0(table.CLAIMS, ((group, state) for state in CLAIMS))

    def _breaker_states(self) -> Mapping[Labels, float]:
        called = {dependency for dependency, _, _ in self._spreads[table.CALL_SECONDS]}
        states = dict.fromkeys(sorted(called.intersection(self._guarded)), STATES[0])
        return {
            (dependency, each): float(each == state)
            for dependency, state in (states | self._breakers).items()
            for each in STATES
        }

    def _spread(self, name: str, labels: Labels) -> Spread:
        spreads = self._spreads[name]
        found = spreads.get(labels)
        if found is None:
            found = spreads[labels] = Spread()
        return found


def make_registry(metrics: ProcessMetrics) -> CollectorRegistry:
    """What is scraped: the process's own metrics, and what the system knows of the process."""
    registry = CollectorRegistry()
    registry.register(metrics)
    ProcessCollector(registry=registry)
    return registry


def _add(cells: Cells, labels: Labels, count: int) -> None:
    cells[labels] = cells.get(labels, 0) + count


def _count(cells: Cells, labels_of: Callable[[Any], Any]) -> Fold:
    def count(entry: Any) -> None:
        labels = labels_of(entry)
        cells[labels] = cells.get(labels, 0) + 1

    return count


def _both(first: Fold, second: Fold) -> Fold:
    def both(entry: Any) -> None:
        first(entry)
        second(entry)

    return both


def _family(name: str) -> Any:
    metric = METRICS[name]
    match metric.kind:
        case MetricKind.COUNTER:
            return CounterMetricFamily(name, metric.meaning, labels=metric.labels)
        case MetricKind.GAUGE:
            return GaugeMetricFamily(name, metric.meaning, labels=metric.labels)
        case MetricKind.HISTOGRAM:
            return HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
