"""The way of one order as a waterfall: a table whose last column draws each step in its time.

The table says everything in words; what is drawn beside it is for the eye. Not here: what a step is
(`lab.story.steps`).
"""

from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree.ElementTree import Element

from lab.report.html.axis import TimeAxis
from lab.report.html.charts import times
from lab.report.html.markup import el
from lab.report.html.words import count, length
from lab.story.marks import Mark, Sign
from lab.story.steps import StoryStep

SERVICES: Final = (
    "client", "api", "relay", "orders", "validation", "payment", "notification", "fault",
)  # fmt: skip
"""Those that have a colour of their own."""

SIGNS: Final = {
    Sign.FAULT: "M0-6 6 5H-6z",
    Sign.SUPPRESSED: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0M-3 3 3-3",
    Sign.DEAD: "M-4.5-4.5h9v9h-9zM-4.5-4.5 4.5 4.5M4.5-4.5-4.5 4.5",
    Sign.CRASH: "M-5-5 5 5M5-5-5 5",
    Sign.TURN: "M0-6 6 0 0 6-6 0z",
    Sign.FACT: "M-3-3h6v6h-6z",
    Sign.NOTE: "M0-3.5 3.5 0 0 3.5-3.5 0z",
}
"""The shape of each mark, about its middle."""
_SIGN_NAMES: Final = {
    Sign.FAULT: "fault",
    Sign.SUPPRESSED: "duplicate suppressed",
    Sign.DEAD: "dead letter",
    Sign.CRASH: "process killed",
    Sign.TURN: "from here on it was inevitable",
    Sign.FACT: "stored, or done by a third party",
    Sign.NOTE: "commit, or what stands below the step",
}
FIRST_STEPS: Final = 45
LAST_STEPS: Final = 20
_ROW: Final = 26
_MIDDLE: Final = 13


def waterfall(name: str, caption: str, steps: Sequence[StoryStep]) -> list[Element]:
    """The table, and what its shapes mean.

    Args:
        name: for ids, unique on its page.
        caption: of the table.
        steps: at least one.
    """
    shown = [*steps[:FIRST_STEPS], *steps[FIRST_STEPS:][-LAST_STEPS:]]
    left_out = len(steps) - len(shown)
    moments = [moment for step in shown for moment in (step.start_us, step.end_us)]
    moments += [mark.at_us for step in shown for mark in step.marks]
    time = TimeAxis(min(moments), max(moments), moments)
    grid = f"{name}-grid"
    rows = [_row(step, time, grid) for step in shown]
    if left_out:
        rows.insert(FIRST_STEPS, _gap(left_out))
    table = el(
        "table",
        el("caption", caption, class_="hidden"),
        el(
            "thead",
            el(
                "tr",
                el("th", "Step", scope="col", class_="what"),
                el("th", el("span", "At"), scope="col", class_="when"),
                el("th", el("span", "Took"), scope="col", class_="when"),
                el("th", el("span", "In time", class_="hidden"), _head(time, grid), scope="col"),
            ),
        ),
        el("tbody", rows),
        class_="waterfall",
    )
    return [table, _key(shown, time)]


def _gap(left_out: int) -> Element:
    told = f"{count(left_out, 'step')} in between left out; lab ship has them all"
    return el("tr", el("td", told, colspan=4, class_="gap muted"))


def _head(time: TimeAxis, grid: str) -> Element:
    """The times, and the lines that every row repeats."""
    lines = [
        el("line", x1=f"{time.at(t):.2f}%", x2=f"{time.at(t):.2f}%", y1=0, y2="100%", class_="rule")
        for t in time.ticks(6)
    ]
    cuts = [
        el(
            "rect",
            x=f"{time.at(begin):.2f}%",
            width=f"{time.at(end) - time.at(begin):.2f}%",
            height="100%",
            class_="cut",
        )
        for begin, end in time.cuts
    ]
    return el(
        "svg",
        el("defs", el("g", lines, id=f"{grid}-lines"), el("g", cuts, id=f"{grid}-cuts")),
        list(times(time, 1, steps=6)),
        class_="bar",
        height=_ROW,
        aria_hidden="true",
    )


def _row(step: StoryStep, time: TimeAxis, grid: str) -> Element:
    took = step.end_us - step.start_us
    notes = [el("span", text, class_=f"note {look}") for text, look in _notes(step)]
    below = el("span", [(note, " ") for note in notes], class_="notes") if notes else None
    is_moment = not took and bool(step.marks) and step.text == step.marks[0].text
    return el(
        "tr",
        el(
            "th",
            el(
                "span",
                el("span", step.service, class_=f"service {_service(step)}"),
                " ",
                step.text,
                class_=f"depth-{min(step.depth, 4)}",
            ),
            " ",
            below,
            scope="row",
            class_="what",
        ),
        el("td", el("span", length(step.start_us - time.start_us)), class_="when"),
        el("td", None if is_moment else el("span", length(took)), class_="when"),
        el("td", _drawing(step, time, grid, is_moment=is_moment)),
    )


def _notes(step: StoryStep) -> Iterable[tuple[str, str]]:
    """What stands below the text of a step; commits are drawn and not worth a line each."""
    if step.failure:
        yield step.failure, "alarm"
    for mark in step.marks:
        if mark.text not in ("commit", step.text):
            yield mark.text, mark.sign.value


def _drawing(step: StoryStep, time: TimeAxis, grid: str, *, is_moment: bool) -> Element:
    begin, end = time.at(step.start_us), time.at(step.end_us)
    look = f"work {_service(step)}{' failed' if step.failure else ''}"
    if step.is_wait:
        look = "wait"
    return el(
        "svg",
        el("use", href=f"#{grid}-lines"),
        el("use", href=f"#{grid}-cuts"),
        None if is_moment else _work(begin, end, look, step.depth),
        None if is_moment else _beside(begin, end, length(step.end_us - step.start_us)),
        [_sign(mark, time.at(mark.at_us)) for mark in step.marks],
        class_="bar",
        height=_ROW,
        aria_hidden="true",
    )


def _work(begin: float, end: float, look: str, depth: int) -> Element:
    tall = 12 if depth == 0 else 8
    # What takes next to no time is still to be seen.
    width = f"{end - begin:.2f}%" if end - begin > 0.5 else 3
    y = _MIDDLE - tall / 2
    return el("rect", x=f"{begin:.2f}%", width=width, y=y, height=tall, rx=2, class_=look)


def _beside(begin: float, end: float, took: str) -> Element:
    """How long it took, where the column that says so has no room."""
    if end < 70:
        return el("text", took, x=f"{end:.2f}%", dx=9, y=_MIDDLE + 4, class_="from took")
    if begin > 30:
        return el("text", took, x=f"{begin:.2f}%", dx=-9, y=_MIDDLE + 4, class_="to took")
    return el("text", took, x=f"{end:.2f}%", dx=-9, y=_MIDDLE + 4, class_="to took inside")


def _sign(mark: Mark, x: float) -> Element:
    shape = el("path", el("title", mark.text), d=SIGNS[mark.sign], class_=f"sign {mark.sign.value}")
    return el("svg", shape, x=f"{x:.2f}%", y=_MIDDLE, class_="place")


def _service(step: StoryStep) -> str:
    return f"s-{step.service}" if step.service in SERVICES else "s-other"


def _key(steps: Sequence[StoryStep], time: TimeAxis) -> Element:
    """What the shapes of this waterfall mean."""
    used = {mark.sign for step in steps for mark in step.marks}
    keys = [
        el(
            "span",
            el(
                "svg",
                el("path", d=path, class_=f"sign {sign.value}"),
                width=16,
                height=16,
                viewBox="-8 -8 16 16",
                aria_hidden="true",
            ),
            _SIGN_NAMES[sign],
            class_="key",
        )
        for sign, path in SIGNS.items()
        if sign in used
    ]
    if time.cuts:
        cut = [length(end - begin) for begin, end in time.cuts]
        told = "hatched: time in which nothing began or ended, drawn shorter than it was "
        swatch = el(
            "svg",
            el("rect", width=16, height=12, class_="cut"),
            width=16,
            height=12,
            aria_hidden="true",
        )
        keys.append(el("span", swatch, f"{told}({', '.join(cut)})", class_="key"))
    return el("p", keys, class_="legend")
