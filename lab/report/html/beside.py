"""The page about two runs side by side: what differs in verdicts, promises, numbers and time.

Not here: one run (`page`).
"""

from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element

from lab.report.course import Course
from lab.report.html import sections
from lab.report.html.axis import TimeAxis
from lab.report.html.charts import Chart, Series, chart, lane
from lab.report.html.markup import Child, el
from lab.report.html.page import RunPage, document
from lab.report.html.timeline import bands_of, latency_range, per_of, rates
from lab.report.html.words import (
    count,
    length,
    number,
    proof,
    round_length,
    verdict_sentence,
)
from lab.report.result import CheckResult, Result
from lab.story.words import sentence

NAMES: Final = ("A", "B")
_LOOKS: Final = ("one under", "two dashed")
TIMES_FROM: Final = 10
"""What is so many times as much is told as a multiple, not in percent."""
_RANK: Final = {"FAIL": 0, "UNKNOWN": 1, "PASS": 2}


def beside_page(first: RunPage, second: RunPage) -> str:
    """The page as text."""
    one, other = first.result, second.result
    parts: list[tuple[str, str, Sequence[Element]]] = [
        ("differences", "Promises that differ", _promises(one, other)),
        ("both", "Over time", [*_missing(first, second), *_timeline(first, second)]),
        ("numbers", "Numbers", _numbers(one, other)),
        ("settings", "What was asked for", _settings(first, second)),
        ("next", "Go on", sections.commands((*first.commands, *_other_commands(second)))),
    ]
    return document(
        f"A {one.verdict}, B {other.verdict}",
        _hero(one, other),
        parts,
        f"pulse-lab {one.versions.lab}",
    )


def _hero(one: Result, other: Result) -> Element:
    many = len(_different(one, other))
    differ = f"They differ in {count(many, 'promise')}." if many else "No promise differs."
    worse = one if _RANK[one.verdict] <= _RANK[other.verdict] else other
    return el(
        "header",
        el("p", el("span", "pulse-lab", class_="brand"), "two runs side by side", class_="kicker"),
        el(
            "h1",
            el("span", "A is ", sections.verdict_mark(one.verdict)),
            " ",
            el("span", "B is ", sections.verdict_mark(other.verdict)),
            " ",
            el("span", differ, class_="outcome"),
        ),
        el("div", [_card(*pair) for pair in zip(NAMES, (one, other), strict=True)], class_="pair"),
        class_=f"hero {worse.verdict.lower()}",
    )


def _card(name: str, result: Result) -> Element:
    rests_on = proof(result)
    return el(
        "section",
        el("h2", f"{name}: {result.scenario}, seed {result.seed}"),
        el("p", result.summary, class_="muted"),
        el("p", sections.verdict_mark(result.verdict), " ", verdict_sentence(result)),
        el("p", rests_on, class_="witness") if rests_on else None,
        el("pre", el("code", result.reproduce)),
    )


# ---- promises


def _different(one: Result, other: Result) -> list[tuple[CheckResult | None, CheckResult | None]]:
    """The promises whose verdicts differ, the worst first."""
    mine = {check.name: check for check in one.checks}
    yours = {check.name: check for check in other.checks}
    pairs = [(mine.get(name), yours.get(name)) for name in dict.fromkeys((*mine, *yours))]
    found = [pair for pair in pairs if _verdict(pair[0]) != _verdict(pair[1])]
    return sorted(found, key=lambda pair: min(_RANK.get(_verdict(each), 3) for each in pair))


def _verdict(check: CheckResult | None) -> str:
    return "not judged" if check is None else check.verdict


def _promises(one: Result, other: Result) -> list[Element]:
    rows: list[Sequence[Child]] = []
    for pair in _different(one, other):
        name = next(check.name for check in pair if check is not None)
        told = sentence(sections.SENTENCES.get(name, ""))
        rows.append((sections.named(name, told), *map(_judged, pair)))
    if not rows:
        return [el("p", "Each promise has the same verdict in both runs.")]
    return [table_of("Promises with different verdicts", "Promise", rows)]


def _judged(check: CheckResult | None) -> Child:
    if check is None:
        return "not judged"
    told = f"{check.violations:,} of {check.checked:,} broken" if check.checked else ""
    witness = check.witness if check.verdict == "FAIL" else ""
    return [
        sections.verdict_mark(check.verdict),
        " ",
        el("span", witness or told, class_="witness") if witness or told else None,
    ]


def table_of(caption: str, first: str, rows: Sequence[Sequence[Child]]) -> Element:
    """A table with a column for each run."""
    return sections.table(caption, (first, *NAMES), rows, look="both")


# ---- numbers


def _numbers(one: Result, other: Result) -> list[Element]:
    rows = [
        _counted("orders accepted", one.orders.accepted, other.orders.accepted),
        _counted("orders refused", one.orders.refused, other.orders.refused),
        _counted("faults that struck", _fired(one), _fired(other)),
        _counted("promises broken", _broken(one), _broken(other)),
    ]
    mine, yours = one.orders.by_state, other.orders.by_state
    rows += [
        _counted(f"orders {state}", mine.get(state, 0), yours.get(state, 0))
        for state in dict.fromkeys((*mine, *yours))
    ]
    rows += [
        _metric(name, told, one.metrics[name], other.metrics[name])
        for name, told in sections.COSTS.items()
        if name in one.metrics and name in other.metrics
    ]
    shown = [row for row in rows if row[1] not in ("0", "0 ms") or row[2] not in ("0", "0 ms")]
    heads = ("Number", *NAMES, "Difference")
    return [sections.table("Numbers of both runs", heads, shown, numbers=(1, 2, 3))]


def _fired(result: Result) -> int:
    return sum(fault.fired for fault in result.faults)


def _broken(result: Result) -> int:
    return sum(check.verdict == "FAIL" for check in result.checks)


def _counted(told: str, mine: float, yours: float) -> Sequence[str]:
    return told, number(mine), number(yours), _difference(mine, yours, number(abs(yours - mine)))


def _metric(name: str, told: str, mine: float, yours: float) -> Sequence[str]:
    apart = sections.metric(name, abs(yours - mine))
    return (
        told,
        sections.metric(name, mine),
        sections.metric(name, yours),
        _difference(mine, yours, apart),
    )


def _difference(mine: float, yours: float, apart: str) -> str:
    if mine == yours:
        return "same"
    sign = "+" if yours > mine else "\u2212"
    if not mine:
        return f"{sign}{apart}"
    if yours / mine >= TIMES_FROM:
        return f"{sign}{apart} (\u00d7{yours / mine:,.0f})"
    return f"{sign}{apart} ({sign}{abs(yours - mine) / mine:.0%})"


# ---- time


def _timeline(first: RunPage, second: RunPage) -> list[Element]:
    courses = (first.course, second.course)
    time = TimeAxis(0, max(course.end_us for course in courses))
    lanes = [
        el(
            "div",
            el("p", el("b", name), ": ", _faults(course)),
            lane(time, [], bands_of(course)),
            class_="struck",
        )
        for name, course in zip(NAMES, courses, strict=True)
    ]
    shown = [_throughput(courses), _latency(courses), _backlog(courses)]
    drawn = [chart(one, time, has_times=one is shown[-1]) for one in shown]
    note = "The numbers of each chart stand in the report of its own run: lab report RUN."
    return [el("div", lanes, drawn, class_="charts"), el("p", note, class_="muted")]


def _faults(course: Course) -> Child:
    if not course.lanes:
        return "no fault struck"
    told = ", ".join(f"{one.kind} {one.fired:,}" for one in course.lanes)
    return f"faults were at work ({told})"


def _throughput(courses: Sequence[Course]) -> Chart:
    unit_us, per = per_of(*courses)
    lines = [rates(course, [one.ended for one in course.columns], unit_us) for course in courses]
    told = ", ".join(f"{count(course.ended, 'order')}" for course in courses)
    return Chart(
        name="throughput",
        title="Throughput",
        told=f"Orders that came to their end in A and B: {told}.",
        unit=f"orders ended, a {per}",
        value=number,
        series=_series(lines),
        high=max(value for line in lines for _, value in line if value is not None),
    )


def _latency(courses: Sequence[Course]) -> Chart:
    low, high = latency_range(courses)
    lines: list[list[tuple[float, float | None]]] = [
        [
            (one.start_us + course.width_us / 2, None if one.p95_us is None else float(one.p95_us))
            for one in course.columns
        ]
        for course in courses
    ]
    told = ", ".join(length(course.slowest_us) for course in courses)
    return Chart(
        name="latency",
        title="Latency",
        told=f"The slowest orders of A and B took {told}.",
        unit="within which 95 % of the orders posted then came to their end"
        + ("" if low is None else "; each line is ten times the one below"),
        value=round_length,
        series=_series(lines),
        high=high,
        low=low,
    )


def _backlog(courses: Sequence[Course]) -> Chart:
    lines: list[list[tuple[float, float | None]]] = [
        [(float(one.start_us), float(one.open)) for one in course.columns] for course in courses
    ]
    most = [max(one.open for one in course.columns) for course in courses]
    return Chart(
        name="backlog",
        title="Backlog",
        told=f"At most {most[0]:,} orders were open in A and {most[1]:,} in B.",
        unit="open orders, at most at one moment",
        value=number,
        series=_series(lines),
        high=max(*most, 1),
    )


def _series(lines: Sequence[Sequence[tuple[float, float | None]]]) -> tuple[Series, ...]:
    return tuple(
        Series(name, look, line) for name, look, line in zip(NAMES, _LOOKS, lines, strict=True)
    )


# ---- what was asked for


def _settings(first: RunPage, second: RunPage) -> list[Element]:
    mine, yours = sections.asked(first.result), sections.asked(second.result)
    mine["seed"], yours["seed"] = str(first.result.seed), str(second.result.seed)
    for page, found in ((first, mine), (second, yours)):
        found.update({name: value for name, value, _, _ in page.changed})
    defaults = {name: default for page in (first, second) for name, _, default, _ in page.changed}
    rows = [
        (name, mine.get(name, defaults.get(name, "")), yours.get(name, defaults.get(name, "")))
        for name in dict.fromkeys((*mine, *yours))
    ]
    different = [row for row in rows if row[1] != row[2]]
    if not different:
        return [el("p", "Both runs were asked for with the same options, policies and seed.")]
    return [table_of("Options and policies that differ", "Option", different)]


def _missing(first: RunPage, second: RunPage) -> list[Element]:
    pages = zip(NAMES, (first, second), strict=True)
    return [
        el("p", el("b", f"{name}: "), told, class_="notice")
        for name, page in pages
        for told in page.missing
    ]


def _other_commands(second: RunPage) -> Sequence[tuple[str, tuple[str, ...]]]:
    return (("Exactly the other run again", (second.result.reproduce,)),)
