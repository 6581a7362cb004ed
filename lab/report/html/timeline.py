"""What happened over the time of a run: faults above three charts, and the numbers as a table.

Not here: lines and places (`charts`), and the same of two runs (`beside`).
"""

from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree.ElementTree import Element

from lab.report.course import Course, CourseLane
from lab.report.html.axis import TimeAxis
from lab.report.html.charts import Chart, Dots, Series, chart, lane
from lab.report.html.markup import el
from lab.report.html.words import count, length, listed, number, often, round_length

LANES_MAX: Final = 8
LOG_FROM: Final = 25
"""A chart of lengths is logarithmic where the longest is so many times the middle."""
_PER: Final = ((1e6, "second"), (60e6, "minute"), (3_600e6, "hour"), (86_400e6, "day"))


def timeline(course: Course) -> list[Element]:
    """Lanes of faults, the charts below them, and their numbers."""
    time = TimeAxis(0, course.end_us)
    bands = bands_of(course)
    lines = phase_lines(course)
    lanes = list(_lanes(course, time))
    shown = [throughput(course), latency(course), backlog(course)]
    drawn = []
    for one in shown:
        drawn.append(chart(one, time, bands=bands, lines=lines, has_times=one is shown[-1]))
        # The word stands above the first chart, its line runs through all of them.
        lines = [(moment, "") for moment, _ in lines]
    return [el("div", lanes, _band_key(bands), drawn, class_="charts"), numbers(course)]


def bands_of(course: Course) -> list[tuple[float, float]]:
    """When faults were at work: what lasted, and columns in which something struck."""
    width = course.width_us
    found = [span for one in course.lanes for span in one.spans]
    lasting = {one.kind for one in course.lanes if one.spans}
    found += [
        (max(one.start_us, 0), one.start_us + width)
        for one in course.columns
        if one.faults.keys() - lasting
    ]
    bands: list[tuple[float, float]] = []
    for begin, end in sorted(found):
        if bands and begin <= bands[-1][1] + width:
            bands[-1] = bands[-1][0], max(bands[-1][1], end)
        else:
            bands.append((begin, end))
    return bands


def phase_lines(course: Course) -> list[tuple[float, str]]:
    """When the faults were ended, unless that was the end of everything."""
    heal_us = course.phases.get("heal")
    if heal_us is None or not course.lanes:
        return []
    return [(heal_us, "faults end")] if course.end_us - heal_us > 0.02 * course.end_us else []


def throughput(course: Course, name: str = "throughput") -> Chart:
    """Orders accepted and ended."""
    unit_us, per = per_of(course)
    accepted = rates(course, [one.accepted for one in course.columns], unit_us)
    ended = rates(course, [one.ended for one in course.columns], unit_us)
    hints = [
        f"{count(one.accepted, 'order')} accepted, {one.ended:,} ended" for one in course.columns
    ]
    return Chart(
        name=name,
        title="Throughput",
        told=f"{count(course.accepted, 'order')} accepted and {course.ended:,} ended in "
        f"{length(course.end_us)}.",
        unit=f"orders a {per}",
        value=number,
        series=(Series("accepted", "one", accepted), Series("ended", "two dashed", ended)),
        high=max(value for _, value in (*accepted, *ended) if value is not None),
        hints=_hints(course, hints),
    )


def latency(course: Course, name: str = "latency") -> Chart:
    """How long orders took, by when they were posted."""
    halfway = [_middle(course, one.start_us) for one in course.columns]
    low, high = latency_range([course])
    still_open = [(float(since), high) for since in course.open_since]
    hints = [
        f"half of the orders posted now took up to {length(one.p50_us)}, 95 % up to "
        f"{length(one.p95_us or 0)}"
        if one.p50_us is not None
        else "no order was posted"
        for one in course.columns
    ]
    return Chart(
        name=name,
        title="Latency",
        told="From the request of an order to its end, by the time at which it was posted. "
        + (f"The slowest took {length(course.slowest_us)}." if course.ended else "No order ended."),
        unit="from the request of an order to its end, by when it was posted"
        + ("" if low is None else "; each line is ten times the one below"),
        value=round_length,
        series=(
            Series("half of them", "one", _pairs(halfway, [one.p50_us for one in course.columns])),
            Series("95 %", "two dashed", _pairs(halfway, [one.p95_us for one in course.columns])),
        ),
        high=high,
        low=low,
        dots=(
            Dots("one order", "faint", [(float(at), float(took)) for at, took in course.dots]),
            Dots(f"never ended: {len(course.open_since):,}", "alarm", still_open),
        ),
        hints=_hints(course, hints),
    )


def latency_range(courses: Iterable[Course]) -> tuple[float | None, float]:
    """The smallest and the largest length of a chart; no smallest: its scale is linear."""
    found = [one.p50_us for course in courses for one in course.columns if one.p50_us is not None]
    highest = max([course.slowest_us for course in courses if course.ended], default=0)
    highest = max(highest, *found) if found else max(highest, 1_000)
    middle = sorted(found)[len(found) // 2] if found else 0
    return (min(found), highest) if 0 < middle * LOG_FROM < highest else (None, highest)


def backlog(course: Course, name: str = "backlog") -> Chart:
    """What waits: orders, events in the outbox, records."""
    columns = course.columns
    starts = [float(one.start_us) for one in columns]
    opened, outbox = [one.open for one in columns], [one.outbox for one in columns]
    records = [one.records for one in columns]
    hints = [
        f"at most {count(one.open, 'order')} open, {count(one.outbox, 'event')} in the outbox, "
        f"{count(one.records, 'record')} not settled"
        for one in columns
    ]
    return Chart(
        name=name,
        title="Backlog",
        told=f"At most {count(max(opened), 'order')} were open, {count(max(outbox), 'event')} "
        f"waited in the outbox and {count(max(records), 'record')} for a consumer.",
        unit="at most, at one moment",
        value=number,
        series=(
            Series("open orders", "one", _pairs(starts, opened), is_area=True),
            Series("events in the outbox", "two dashed", _pairs(starts, outbox)),
            Series("records that a consumer has not settled", "three dotted",
                   _pairs(starts, records)),
        ),
        high=max(*opened, *outbox, *records, 1),
        hints=_hints(course, hints),
    )  # fmt: skip


def per_of(*courses: Course) -> tuple[float, str]:
    """The unit of time in which orders are counted: microseconds, and its name."""
    busiest = max(one.accepted / course.width_us for course in courses for one in course.columns)
    return next((unit for unit in _PER if busiest * unit[0] >= 1), _PER[-1])


def rates(
    course: Course, counts: Sequence[int], unit_us: float
) -> list[tuple[float, float | None]]:
    """Counts of columns as rates, each in the middle of its column; the last may be cut short."""
    made: list[tuple[float, float | None]] = []
    for one, many in zip(course.columns, counts, strict=True):
        begin = max(one.start_us, 0)
        lasts = max(min(one.start_us + course.width_us, course.end_us) - begin, 1)
        # A sliver at the end would make a peak of one order.
        whole = lasts if lasts > course.width_us / 2 else course.width_us
        made.append((_middle(course, one.start_us), many * unit_us / whole))
    return made


def numbers(course: Course) -> Element:
    """The charts as a table."""
    heads = ("From", "Accepted", "Refused", "Ended", "Half took", "95 % took", "Open", "Outbox",
             "Records", "Faults")  # fmt: skip
    rows = [
        el(
            "tr",
            el("th", length(max(one.start_us, 0)), scope="row"),
            [
                el("td", cell)
                for cell in (
                    number(one.accepted),
                    number(one.refused),
                    number(one.ended),
                    "" if one.p50_us is None else length(one.p50_us),
                    "" if one.p95_us is None else length(one.p95_us),
                    number(one.open),
                    number(one.outbox),
                    number(one.records),
                    ", ".join(f"{kind} {fired:,}" for kind, fired in one.faults.items()),
                )
            ],
        )
        for one in course.columns
    ]
    return el(
        "details",
        el("summary", "The numbers of these charts"),
        el(
            "div",
            el(
                "table",
                el("caption", f"The run in steps of {length(course.width_us)}"),
                el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
                el("tbody", rows),
                class_="numbers",
            ),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label="The numbers of these charts",
        ),
    )


def _lanes(course: Course, time: TimeAxis) -> Iterable[Element]:
    shown, hidden = course.lanes[:LANES_MAX], course.lanes[LANES_MAX:]
    for one in shown:
        counts = [
            (column.start_us, column.start_us + course.width_us, column.faults[one.kind])
            for column in course.columns
            if one.kind in column.faults
        ]
        yield el(
            "div",
            el("p", el("code", one.kind), " ", el("span", _struck(one), class_="muted")),
            lane(time, [] if one.spans else counts, one.spans),
            class_="struck",
        )
    if hidden:
        names = listed([one.kind for one in hidden], most=99)
        yield el("p", f"And {count(len(hidden), 'more kind')}: {names}.", class_="muted")


def _struck(one: CourseLane) -> str:
    told = f"struck {often(one.fired)}"
    if len(one.spans) == 1:
        begin, end = one.spans[0]
        told = f"from {length(begin)} to {length(end)}"
    elif one.spans:
        told += f", at work in {count(len(one.spans), 'stretch', 'stretches')}"
    return told


def _band_key(bands: Sequence[object]) -> Element | None:
    if not bands:
        return None
    drawing = el("svg", el("rect", width=24, height=12, class_="band"), width=24, height=12)
    drawing.set("aria-hidden", "true")
    key = el("span", drawing, "in the charts: faults were at work", class_="key")
    return el("p", key, class_="legend")


def _hints(course: Course, texts: Sequence[str]) -> list[tuple[float, float, str]]:
    made = []
    for one, text in zip(course.columns, texts, strict=True):
        begin, end = one.start_us, one.start_us + course.width_us
        told = f"{length(max(begin, 0))} to {length(end)}"
        made.append((float(begin), float(end), f"{told}: {text}"))
    return made


def _pairs(
    moments: Sequence[float], values: Sequence[int | None]
) -> list[tuple[float, float | None]]:
    return [
        (moment, None if value is None else float(value))
        for moment, value in zip(moments, values, strict=True)
    ]


def _middle(course: Course, start_us: int) -> float:
    end = min(start_us + course.width_us, course.end_us)
    return (max(start_us, 0) + end) / 2
