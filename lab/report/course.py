"""The course of a run in time, folded out of its entries: orders, latencies, backlog, faults.

It may be taken while the run goes or from a kept history; memory is bounded in both. Not here: how
it is drawn (`html.charts`), and bins of time (`time_bins`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from lab.checks.tables import TERMINAL
from lab.history.entries import Entry
from lab.report.time_bins import Bins, Column, Level

DOTS_MAX: Final = 1_500
COLUMNS: Final = 80
SPANS_MAX: Final = 400
HITS_MAX: Final = 100_000
EARLY_MAX: Final = 10_000

_RESTING: Final = frozenset({"CANCELLED", "EXPIRED"})
"""An order may have to give money back from here: whether this was its end shows later."""
_REFUNDING: Final = "REFUND_PENDING"
_SETTLED: Final = frozenset({"ack", "dead"})


class CourseLane(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault in time.

    Attributes:
        fired: how often.
        spans: begin and end of those that lasted.
    """

    kind: str
    fired: int
    spans: tuple[tuple[int, int], ...]


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did, over its time; times are microseconds since its load began.

    Attributes:
        end_us: the last entry.
        width_us: of each column.
        columns: without gaps; the first may begin before the load did.
        lanes: faults by kind, in the order in which they first fired.
        phases: when each phase of the run began.
        dots: of each order that ended: when it was posted, and how long it took; empty if there
            are more than `DOTS_MAX`.
        open_since: of orders that never ended, when they were posted; the first `DOTS_MAX`.
        accepted, refused, ended: orders.
        slowest: the order that took longest, as the history names it; "" if none ended.
        hit_most: the order that most faults struck, `hits` times; "" if they struck none.
    """

    end_us: int
    width_us: int
    columns: tuple[Column, ...]
    lanes: tuple[CourseLane, ...]
    phases: dict[str, int]
    dots: tuple[tuple[int, int], ...]
    open_since: tuple[int, ...]
    accepted: int
    refused: int
    ended: int
    slowest: str
    slowest_us: int
    hit_most: str
    hits: int


class CourseFold:
    """Takes the entries of a run and gives its course.

    Clocks of real machines differ a little: an end that is told before its begin counts as none.
    """

    def __init__(self) -> None:
        self._bins = Bins()
        self._first_us = self._last_us = -1
        self._phases: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._resting: dict[str, tuple[int, int]] = {}
        self._owed = _Waiting(self._bins, Level.OUTBOX)
        self._records = _Waiting(self._bins, Level.RECORDS)
        self._readers: dict[str, dict[str, None]] = {}
        self._lanes: dict[str, _Lane] = {}
        self._hits: Counter[str] = Counter()
        self._dots: list[tuple[int, int]] = []
        self._counts: Counter[str] = Counter()
        self._slowest = ("", -1)
        self._folds: Mapping[object, Callable[[Any], None]] = {
            "phase": self._phase,
            "http.begin": self._http_begin,
            "http.end": self._http_end,
            "row": self._row,
            "appended": self._appended,
            "settle": self._settle,
            "owned": self._owned,
            "fault": self._fault,
            "fault_end": self._fault_end,
        }

    def take(self, batch: Sequence[Entry]) -> None:
        """See `lab.history.recorder.Sink`."""
        folds = self._folds
        for entry in batch:
            fold = folds.get(entry[0])
            if fold is not None:
                fold(entry)
        if batch:
            first, last = batch[0][1], batch[-1][1]
            assert isinstance(first, int)
            assert isinstance(last, int)
            if self._first_us < 0:
                self._first_us = first
            self._last_us = max(self._last_us, last)

    def course(self) -> Course:
        """What was taken so far, as if it were all."""
        for subject, (begun_us, ended_us) in self._resting.items():
            self._ended(subject, begun_us, ended_us)
        self._resting.clear()
        start_us = self._phases.get("faults", max(self._first_us, 0))
        end_us = max(self._last_us, start_us + 1)
        hit = max(self._hits.items(), key=lambda one: one[1], default=("", 0))
        columns = self._bins.columns(start_us, end_us, COLUMNS)
        dots = self._dots if self._counts["ended"] <= DOTS_MAX else []
        return Course(
            end_us=end_us - start_us,
            width_us=self._bins.width_of(start_us, end_us, COLUMNS),
            columns=tuple(replace(one, start_us=one.start_us - start_us) for one in columns),
            lanes=tuple(self._lane(kind, lane, start_us) for kind, lane in self._lanes.items()),
            phases={name: t_us - start_us for name, t_us in self._phases.items()},
            dots=tuple((t_us - start_us, took_us) for t_us, took_us in dots),
            open_since=tuple(t_us - start_us for t_us in islice(self._open.values(), DOTS_MAX)),
            accepted=self._counts["accepted"],
            refused=self._counts["refused"],
            ended=self._counts["ended"],
            slowest=self._slowest[0],
            slowest_us=max(self._slowest[1], 0),
            hit_most=hit[0],
            hits=hit[1],
        )

    # ---- orders

    def _phase(self, entry: Any) -> None:
        _, t_us, _, _, name = entry
        self._phases.setdefault(name, t_us)

    def _http_begin(self, entry: Any) -> None:
        _, t_us, _, subject, op, *_ = entry
        if op == "create" and subject not in self._open:
            self._begun.setdefault(subject, t_us)

    def _http_end(self, entry: Any) -> None:
        _, t_us, _, subject, op, _, _, _, status, *_ = entry
        if op == "create" and 400 <= status < 500 and self._begun.pop(subject, None) is not None:
            self._counts["refused"] += 1
            self._bins.at(t_us).refused += 1

    def _row(self, entry: Any) -> None:
        _, t_us, _, subject, version, state, event_id, *_ = entry
        if version == 1:
            self._open[subject] = self._begun.pop(subject, t_us)
            self._counts["accepted"] += 1
            self._bins.at(t_us).accepted += 1
            self._bins.step(t_us, Level.OPEN, 1)
        if event_id:
            self._owed.begin(event_id, t_us)
        if state in TERMINAL:
            begun_us = self._open.pop(subject, None)
            if begun_us is None:
                return
            self._bins.step(t_us, Level.OPEN, -1)
            if state in _RESTING:
                self._resting[subject] = begun_us, t_us
            else:
                self._ended(subject, begun_us, t_us)
        elif state == _REFUNDING and subject in self._resting:
            self._open[subject], _ = self._resting.pop(subject)
            self._bins.step(t_us, Level.OPEN, 1)

    def _ended(self, subject: str, begun_us: int, ended_us: int) -> None:
        took_us = max(ended_us - begun_us, 0)
        self._counts["ended"] += 1
        self._bins.at(ended_us).ended += 1
        self._bins.at(begun_us).add_latency(took_us)
        if len(self._dots) < DOTS_MAX:
            self._dots.append((begun_us, took_us))
        if took_us > self._slowest[1]:
            self._slowest = subject, took_us

    # ---- records

    def _appended(self, entry: Any) -> None:
        _, t_us, _, _, topic, partition, offset, event_id, *_ = entry
        self._owed.end(event_id, t_us)
        for group in self._readers.get(topic, ()):
            self._records.begin((group, topic, partition, offset), t_us)

    def _settle(self, entry: Any) -> None:
        _, t_us, _, _, group, topic, partition, offset, _, _, settlement, _, _ = entry
        if settlement in _SETTLED:
            self._records.end((group, topic, partition, offset), t_us)

    def _owned(self, entry: Any) -> None:
        _, _, _, _, group, _, partitions = entry
        for name in partitions:
            self._readers.setdefault(name.rpartition("/")[0], {})[group] = None

    # ---- faults

    def _fault(self, entry: Any) -> None:
        _, t_us, _, subject, kind, site, _, lasts_us = entry
        lane = self._lanes.get(kind)
        if lane is None:
            lane = self._lanes[kind] = _Lane()
        lane.fired += 1
        lane.last_us[site] = t_us
        # What a clock goes wrong by is told as a length, too.
        if lasts_us > 0 and not kind.startswith("clock."):
            lane.add(t_us, t_us + lasts_us, self._bins.width_us)
        faults = self._bins.at(t_us).faults
        faults[kind] = faults.get(kind, 0) + 1
        if subject and (subject in self._hits or len(self._hits) < HITS_MAX):
            self._hits[subject] += 1

    def _fault_end(self, entry: Any) -> None:
        _, t_us, _, _, kind, site = entry
        lane = self._lanes.get(kind)
        if lane is not None and site in lane.last_us:
            lane.cut(lane.last_us.pop(site), t_us, self._bins.width_us)

    def _lane(self, kind: str, lane: "_Lane", start_us: int) -> CourseLane:
        heal_us = self._phases.get("heal", self._last_us)
        spans = [
            (begin - start_us, min(end, heal_us) - start_us)
            for begin, end in lane.spans
            if begin < heal_us
        ]
        return CourseLane(kind=kind, fired=lane.fired, spans=tuple(spans))


class _Waiting:
    """What waits for its end, as one level of the bins."""

    def __init__(self, bins: Bins, level: Level) -> None:
        self._bins = bins
        self._level = level
        self._keys: set[object] = set()
        self._early: dict[object, None] = {}

    def begin(self, key: object, t_us: int) -> None:
        """It waits from now on."""
        if self._early and key in self._early:
            del self._early[key]
        elif key not in self._keys:
            self._keys.add(key)
            self._bins.step(t_us, self._level, 1)

    def end(self, key: object, t_us: int) -> None:
        """It has come to its end; a second end is none."""
        if key in self._keys:
            self._keys.remove(key)
            self._bins.step(t_us, self._level, -1)
            return
        if len(self._early) >= EARLY_MAX:
            del self._early[next(iter(self._early))]
        self._early[key] = None


class _Lane:
    """One kind of fault, while the run goes; spans that meet are one, so there are few."""

    def __init__(self) -> None:
        self.fired = 0
        self.spans: list[tuple[int, int]] = []
        self.last_us: dict[str, int] = {}

    def add(self, begin_us: int, end_us: int, apart_us: int) -> None:
        """It lasts; what is less than `apart_us` apart is one."""
        if self.spans:
            begin, end = self.spans[-1]
            if begin_us <= end + apart_us or len(self.spans) >= SPANS_MAX:
                self.spans[-1] = begin, max(end, end_us)
                return
        self.spans.append((begin_us, end_us))

    def cut(self, begun_us: int, end_us: int, apart_us: int) -> None:
        """What began at `begun_us` is over."""
        if self.spans and self.spans[-1][0] == begun_us:
            self.spans[-1] = begun_us, end_us
        else:
            self.add(begun_us, end_us, apart_us)
