"""The sections of a page about one run that are words and tables: promises, patterns, costs.

Not here: the verdict (`page`), the charts (`timeline`), the way of an order (`waterfall`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from xml.etree.ElementTree import Element

from lab.checks.registry import PROMISES
from lab.checks.run_numbers import DEEDS
from lab.faults.table.kinds import KINDS
from lab.patterns import PATTERNS
from lab.report.html.markup import Child, el
from lab.report.html.words import broken, count, length, listed, number, often, percent
from lab.report.result import CheckResult, PatternUse, Result
from lab.story.words import sentence

SENTENCES: Final[Mapping[str, str]] = {one.name: one.sentence for one in PROMISES}
PREVENTS: Final[Mapping[str, str]] = {one.name: one.prevents for one in PATTERNS}
ICONS: Final[Mapping[str, str]] = {
    "PASS": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1M4.6 8.2 7 10.6 11.4 5.8",
    "FAIL": "M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1zM5.4 5.4l5.2 5.2M10.6 5.4 5.4 10.6",
    "UNKNOWN": "M8 .8 15 8 8 15 1 8zM6.1 6.4a1.9 1.9 0 1 1 2.6 1.8c-.5.2-.7.6-.7 1.1M8 11.4v.01",
}
"""A shape for each verdict, beside its word and its colour."""

COSTS: Final[Mapping[str, str]] = {
    "deliveries_per_order": "deliveries an order",
    "attempts_per_order": "attempts an order",
    "calls_per_order": "calls to third parties an order",
    "duplicates": "duplicate deliveries",
    "duplicates_stopped": "of them suppressed",
    "retries": "attempts that got another one",
    "timeouts": "calls and handlers given up at their deadline",
    "dead_letters": "dead letters",
    "shed": "requests shed",
    "in_hand_max": "records in hand of one process, at most",
    "to_terminal_p50_ms": "half of the orders ended within",
    "to_terminal_p95_ms": "95 % of the orders ended within",
    "to_terminal_p99_ms": "99 % of the orders ended within",
    "to_terminal_max_ms": "the slowest order ended within",
    "recovery_ms": "after the last fault, the last order that it could have hit ended within",
}
"""What the metrics of a result are, in the order of the page."""


def verdict_mark(verdict: str, word: str = "") -> Element:
    """The word of a verdict with its shape."""
    icon = el(
        "svg",
        el("path", d=ICONS[verdict]),
        class_="icon",
        width=16,
        height=16,
        viewBox="0 0 16 16",
        aria_hidden="true",
    )
    return el("span", icon, word or verdict, class_=f"verdict {verdict.lower()}")


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    numbers: Iterable[int] = (),
    look: str | None = None,
) -> Element:
    """A table whose first column names its rows.

    Args:
        caption: for those who do not see where it stands.
        heads: of its columns.
        rows: their cells.
        numbers: the columns that are set to the right.
        look: its class in the style sheet.
    """
    right = set(numbers)
    cells = ["number" if place in right else None for place in range(len(heads))]
    body = [
        el(
            "tr",
            el("th", row[0], scope="row", class_=cells[0]),
            [el("td", cell, class_=cells[place]) for place, cell in enumerate(row[1:], 1)],
        )
        for row in rows
    ]
    head = [el("th", text, scope="col", class_=cells[place]) for place, text in enumerate(heads)]
    return el(
        "table",
        el("caption", caption, class_="hidden"),
        el("thead", el("tr", head)),
        el("tbody", body),
        class_=look,
    )


def named(name: str, told: str, *more: Child) -> Child:
    """A name of the lab with what it means, and what else there is to say."""
    about = el("span", told, class_="what-it-says") if told else None
    return [el("code", name), " ", about, [(" ", one) for one in more]]


def promises(result: Result) -> list[Element]:
    """What is broken or was at risk, with its witness; then what held beside it."""
    first = broken(result)
    first += [one for one in result.checks if one.verdict != "FAIL" and one.at_risk]
    held = [one for one in result.checks if one.verdict == "PASS" and not one.at_risk]
    parts: list[Element] = []
    if first:
        parts.append(_promise_table("Promises that were broken or at risk", first))
    if held:
        summary = f"{count(len(held), 'more promise')} held" if first else "All that held"
        told = _promise_table("Promises that held", held)
        parts.append(el("details", el("summary", summary), told, open=None if first else ""))
    return parts


def _promise_table(caption: str, checks: Iterable[CheckResult]) -> Element:
    rows: list[Sequence[Child]] = [
        (
            named(check.name, sentence(SENTENCES.get(check.name, "")), _witness(check)),
            [
                verdict_mark(check.verdict, "expected" if check.expected else ""),
                " ",
                el("span", _checked(check), class_="what-it-says"),
            ],
        )
        for check in checks
    ]
    return table(caption, ("Promise", "Verdict"), rows, look="verdicts")


def _checked(check: CheckResult) -> str:
    if not check.checked:
        return "not exercised"
    if not check.violations:
        return f"checked {often(check.checked)}"
    return f"broken {check.violations:,} of {count(check.checked, 'time')}"


def _witness(check: CheckResult) -> Element | None:
    if not check.witness:
        return None
    what = "Witness: " if check.verdict == "FAIL" else ""
    return el("span", el("b", what) if what else None, sentence(check.witness), class_="witness")


def faults(result: Result) -> list[Element]:
    """Which faults struck, how often, and whom."""
    if not result.faults:
        return [el("p", "Nothing was made to go wrong.")]
    rows = []
    for fault in result.faults:
        kind = KINDS.get(fault.name)
        more = ", ..." if fault.orders and fault.fired > len(fault.orders) else ""
        hit = ", ".join(map(str, fault.orders)) + more
        told = named(fault.name, sentence(kind.summary) if kind else "")
        rows.append((told, f"{fault.fired:,}", hit))
    heads = ("Fault", "Struck", "First orders hit")
    parts = [table("Faults", heads, rows, numbers=(1,))]
    if result.never_fired:
        parts.append(el("p", sentence(f"Never fired: {'; '.join(result.never_fired)}")))
    return [*parts, *(el("p", sentence(note), class_="muted") for note in result.notes)]


def orders(result: Result) -> list[Element]:
    """Where the orders ended."""
    told, rows = result.orders, []
    whole = max(told.accepted, 1)
    for state, many in sorted(told.by_state.items(), key=lambda one: -one[1]):
        if many:
            bar = el("rect", width=f"{100 * many / whole:.2f}%", height=10, y=3, rx=2)
            share = el("svg", bar, class_="share", height=16, aria_hidden="true")
            rows.append((el("code", state), f"{many:,}", percent(many, whole), share))
    words = [f"{count(told.submitted, 'order')} posted", f"{told.accepted:,} accepted"]
    if told.refused:
        reasons = sorted(told.refused_by_reason.items(), key=lambda one: (-one[1], one[0]))
        why = listed([f"{reason} {many:,}" for reason, many in reasons], most=8)
        words.append(f"{told.refused:,} refused ({why})")
    if told.unreadable:
        lines = [f"line {bad.line}: {bad.reason}" for bad in result.unreadable_lines]
        words.append(f"{told.unreadable:,} of {told.read:,} lines unreadable ({listed(lines)})")
    heads = ("State at the end", "Orders", "Share", "Drawn")
    caption = "Orders by their state at the end"
    drawn = [table(caption, heads, rows, numbers=(1, 2))] if rows else []
    return [el("p", sentence("; ".join(words))), *drawn]


def patterns(result: Result) -> list[Element]:
    """What each pattern that was provoked did, and those that were switched off."""
    shown = [use for use in result.patterns if not use.on or any(use.acted.values())]
    if not shown:
        return [el("p", "No pattern was provoked: nothing had to be dealt with.")]
    rows = []
    for use in shown:
        told = f"Against {PREVENTS[use.name]}." if use.name in PREVENTS else ""
        off = None if use.on else el("b", "switched off", class_="witness")
        rows.append((named(use.name, told, off), _deeds(use)))
    return [table("Patterns that acted or were off", ("Pattern", "Did"), rows)]


def _deeds(use: PatternUse) -> Child:
    done = [(name, many) for name, many in use.acted.items() if many]
    if not done:
        return "nothing"
    told = DEEDS.get(use.name, {})
    return el(
        "ul",
        [el("li", el("b", f"{many:,}"), f" {told.get(name, name)}") for name, many in done],
        class_="plain",
    )


def not_exercised(result: Result) -> list[Element]:
    """What this run says nothing about: goals, promises, patterns."""
    parts: list[Element] = [
        el(
            "p",
            "A promise whose subject never occurred is not kept, it is not known. What stands here "
            "needs another run.",
        )
    ]
    missed = [goal for goal in result.goals if goal.applicable and not goal.reached]
    senseless = [goal.goal for goal in result.goals if not goal.applicable]
    idle = [use.name for use in result.patterns if use.on and not any(use.acted.values())]
    if missed:
        told = [f"{goal.goal}: happened {count(goal.count, 'time')}" for goal in missed]
        parts += [el("h3", "Goals that were missed"), _names(told)]
    if senseless:
        parts += [el("h3", "Goals that only a part that is off could reach"), _names(senseless)]
    if result.not_exercised:
        parts += [el("h3", "Promises"), _names(result.not_exercised, SENTENCES)]
    if idle:
        parts += [el("h3", "Patterns that were on and had nothing to do"), _names(idle)]
    return parts if len(parts) > 1 else [el("p", "Every promise and every pattern was put to use.")]


def _names(names: Iterable[str], about: Mapping[str, str] | None = None) -> Element:
    items = []
    for name in names:
        told = sentence((about or {}).get(name, ""))
        items.append(el("li", el("code", name), f" {told}" if told else None))
    return el("ul", items, class_="plain" if about else "names")


def costs(result: Result) -> list[Element]:
    """What it took, beside the same load without faults if that was run."""
    calm = result.without_faults
    rows: list[Sequence[Child]] = []
    for name, told in COSTS.items():
        if name not in result.metrics or (not result.metrics[name] and name not in _ALWAYS):
            continue
        row = [told, metric(name, result.metrics[name])]
        if calm is not None:
            row.append(metric(name, calm.metrics[name]) if name in calm.metrics else "")
        rows.append(row)
    heads = ["Cost", "This run", *(["Without faults"] if calm else [])]
    return [table("What the run cost", heads, rows, numbers=(1, 2), look="compact")]


_ALWAYS: Final = frozenset({"deliveries_per_order", "attempts_per_order", "calls_per_order"})


def metric(name: str, value: float) -> str:
    """A metric as text, with its unit."""
    return length(value * 1_000) if name.endswith("_ms") else number(value)


def settings(result: Result, changed: Sequence[tuple[str, str, str, str]]) -> list[Element]:
    """What was asked for that is not the default."""
    parts = [table("Options", ("Option", "Value"), list(asked(result).items()), look="free")]
    if not changed:
        return [*parts, el("p", "Every policy has its default.", class_="muted")]
    rows = [(named(name, meaning), value, default) for name, value, default, meaning in changed]
    heads = ("Policy", "Here", "Default")
    return [*parts, table("Policies that differ from their defaults", heads, rows, numbers=(1, 2))]


def asked(result: Result) -> dict[str, str]:
    """The options of a run that say something."""
    found = {
        "world": f"{result.mode} (bus {result.bus}, store {result.store}, dedupe {result.dedupe})",
        "switched off": ", ".join(result.off) or "nothing",
    }
    for name, value in result.options.items():
        if value not in (None, "", [], False) and _USUAL.get(name) != value:
            found[name.replace("_", " ")] = _option(value)
    return found


_USUAL: Final[Mapping[str, object]] = {"speed": 1.0, "history": "witnesses"}


def _option(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return number(value) if isinstance(value, int | float) else str(value)


def commands(groups: Iterable[tuple[str, Sequence[str]]]) -> list[Element]:
    """Commands to copy, by what they are for."""
    parts: list[Element] = []
    for about, lines in groups:
        if lines:
            parts += [el("h3", about), *(el("pre", el("code", line)) for line in lines)]
    return parts
