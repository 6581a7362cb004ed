"""Charts over the time of a run: faults, throughput, latency and backlog, one below the other.

Each is an SVG that is as wide as its place: places across are percent, and what is drawn stretches
while texts and lines keep their size. They are made here, of rectangles and paths: what draws
charts in Python (pygal, matplotlib, altair) brings scripts, fonts or megabytes, knows no bands of
faults and no cut axes, and its pages cannot be told to be readable in the dark; what merely writes
SVG (svgwrite, drawsvg) is no shorter than the elements themselves.

Not here: what a run did (`lab.report.course`), places (`axis`), the section with its words
(`timeline`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from lab.report.html.axis import Axis, LogAxis, TimeAxis
from lab.report.html.markup import el
from lab.report.html.words import round_length

HEIGHT: Final = 132
WIDTH: Final = 1_000
"""Of what stretches; its places are parts of it."""
_TOP: Final = 14
_LABEL_HEIGHT: Final = 24


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        label: for the legend.
        look: its class in the style sheet: it says colour and dashes.
        points: moments and values; None: nothing is known.
        is_area: filled down to 0, and a step holds until the next one.
    """

    label: str
    look: str
    points: Sequence[tuple[float, float | None]]
    is_area: bool = False


class Dots(NamedTuple):
    """Single values beside the lines; their look as of `Series`."""

    label: str
    look: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """What a chart shows.

    Attributes:
        name: for ids, unique on its page.
        title: names it; `told` says in a sentence what one sees.
        unit: of its values.
        value: a value as text.
        high: the largest value; `low` if the scale is logarithmic: the smallest.
        hints: begin, end and text of what a pointer is told.
    """

    name: str
    title: str
    told: str
    unit: str
    value: Callable[[float], str]
    series: Sequence[Series]
    high: float
    low: float | None = None
    dots: Sequence[Dots] = ()
    hints: Sequence[tuple[float, float, str]] = ()


def chart(
    shown: Chart,
    time: TimeAxis,
    *,
    bands: Sequence[tuple[float, float]] = (),
    lines: Iterable[tuple[float, str]] = (),
    has_times: bool = False,
) -> Element:
    """A figure with its legend.

    Args:
        shown: what is drawn.
        time: from left to right; the charts of one page share it.
        bands: begin and end of what lies behind: faults.
        lines: moments with a word, drawn as upright lines.
        has_times: the times stand below.
    """
    axis = Axis(shown.high) if shown.low is None else LogAxis(shown.low, shown.high)
    height = _TOP + HEIGHT + (_LABEL_HEIGHT if has_times else 6)
    title, told = f"{shown.name}-title", f"{shown.name}-told"
    drawing = el(
        "svg",
        el("title", shown.title, id=title),
        el("desc", shown.told, id=told),
        [_band(time, begin, end, HEIGHT) for begin, end in bands],
        [_level(axis, tick, shown.value) for tick in axis.ticks],
        [_upright(time, moment, word) for moment, word in lines],
        _stretched(
            [_dots(dots, time, axis) for dots in shown.dots],
            [part for one in shown.series for part in _series(one, time, axis)],
            [_hint(time, *hint) for hint in shown.hints],
            height=HEIGHT,
            y=_TOP,
        ),
        times(time, _TOP + HEIGHT) if has_times else None,
        class_="chart",
        height=height,
        role="img",
        aria_labelledby=f"{title} {told}",
    )
    return el(
        "figure",
        el("figcaption", el("b", shown.title), f" {shown.unit} ", _legend(shown)),
        drawing,
        class_="plot",
    )


def lane(
    time: TimeAxis, counts: Sequence[tuple[float, float, int]], spans: Iterable[tuple[float, float]]
) -> Element:
    """A strip that shows when something struck: its single times as bars, what lasted as a band."""
    height = 14
    most = max((many for _, _, many in counts), default=1)
    path = []
    for begin, end, many in counts:
        x, width = _x(time, begin), max(_x(time, end) - _x(time, begin), 2.0)
        tall = 4 + (height - 4) * many / most
        path.append(f"M{x:.1f} {height}v-{tall:.1f}h{width:.1f}v{tall:.1f}z")
    return el(
        "svg",
        el("line", x1=0, x2="100%", y1=height - 0.5, y2=height - 0.5, class_="rule"),
        [_band(time, begin, end, height, y=0) for begin, end in spans],
        _stretched(el("path", d="".join(path), class_="strike"), height=height) if path else None,
        class_="chart lane",
        height=height,
        aria_hidden="true",
    )


def times(time: TimeAxis, y: float, steps: int = 8) -> Iterable[Element]:
    """The line below charts, with round times."""
    yield el("line", x1=0, x2="100%", y1=y, y2=y, class_="axis")
    ticks = time.ticks(steps)
    for place, moment in enumerate(ticks):
        x = time.at(moment)
        # A narrow page shows every second one, a narrow column of it two or three of many.
        less = " less" if place % 2 else " least" if place % 4 and len(ticks) > 5 else ""
        yield el("line", x1=f"{x:.2f}%", x2=f"{x:.2f}%", y1=y, y2=y + 4, class_=f"axis{less}")
        yield el(
            "text",
            round_length(moment - time.start_us),
            x=f"{x:.2f}%",
            y=y + 17,
            class_=f"{_side(x)}{less}",
        )


def _side(x: float) -> str:
    """How a text at this place is set, so that it stays on the page."""
    return "from" if x < 3 else "to" if x > 95 else "mid"


def _stretched(*children: object, height: float, y: float = 0) -> Element:
    return el(
        "svg",
        *children,  # type: ignore[arg-type]  # elements and lists of them
        y=y,
        width="100%",
        height=height,
        viewBox=f"0 0 {WIDTH} {height}",
        preserveAspectRatio="none",
    )


def _x(time: TimeAxis, moment: float) -> float:
    return time.at(moment) * WIDTH / 100


def _y(axis: Axis | LogAxis, value: float) -> float:
    return HEIGHT * (1 - axis.at(value))


def _band(time: TimeAxis, begin: float, end: float, height: float, y: float = _TOP) -> Element:
    left = time.at(begin)
    return el(
        "rect",
        x=f"{left:.2f}%",
        width=f"{max(time.at(end) - left, 0.15):.2f}%",
        y=y,
        height=height,
        class_="band",
    )


def _level(axis: Axis | LogAxis, tick: float, value: Callable[[float], str]) -> Iterable[Element]:
    y = _TOP + HEIGHT * (1 - axis.at(tick))
    yield el("line", x1=0, x2="100%", y1=y, y2=y, class_="rule")
    yield el("text", value(tick), x=-8, y=y + 4, class_="to")


def _upright(time: TimeAxis, moment: float, word: str) -> Iterable[Element]:
    x = time.at(moment)
    place = f"{x:.2f}%"
    yield el("line", x1=place, x2=place, y1=_TOP - 2, y2=_TOP + HEIGHT, class_="phase")
    if word:
        yield el("text", word, x=place, y=_TOP - 4, class_=_side(x))


def _series(one: Series, time: TimeAxis, axis: Axis | LogAxis) -> Iterable[Element]:
    if one.is_area:
        path = _steps(one, time, axis)
        yield el("path", d=f"{path}V{HEIGHT}H{_x(time, one.points[0][0]):.1f}z", class_="area")
        yield el("path", d=path, class_=f"line {one.look}")
        return
    places, is_down = [], False
    for moment, value in one.points:
        if value is not None:
            place = f"{_x(time, moment):.1f} {_y(axis, value):.1f}"
            # A point alone is a line of no length: its round ends are seen.
            places.append(f"L{place}" if is_down else f"M{place}h0.01")
        is_down = value is not None
    yield el("path", d="".join(places), class_=f"line {one.look}")


def _steps(one: Series, time: TimeAxis, axis: Axis | LogAxis) -> str:
    path = ""
    for moment, value in one.points:
        x, y = _x(time, moment), _y(axis, value or 0)
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    return f"{path}H{_x(time, time.end_us):.1f}"


def _dots(dots: Dots, time: TimeAxis, axis: Axis | LogAxis) -> Element:
    places = (f"M{_x(time, at):.1f} {_y(axis, value):.1f}h0.01" for at, value in dots.points)
    return el("path", d="".join(places), class_=f"dots {dots.look}")


def _hint(time: TimeAxis, begin: float, end: float, text: str) -> Element:
    x = _x(time, begin)
    return el(
        "rect",
        el("title", text),
        x=f"{x:.1f}",
        width=f"{_x(time, end) - x:.1f}",
        height=HEIGHT,
        class_="hint",
    )


def _legend(shown: Chart) -> Element:
    swatches = [(one.label, f"line {one.look}") for one in shown.series]
    swatches += [(dots.label, f"dots {dots.look}") for dots in shown.dots if dots.points]
    return el("span", [swatch(label, look) for label, look in swatches], class_="legend")


def swatch(label: str, look: str) -> Element:
    """A line of a legend: what it looks like, and what it is."""
    path = "M3 6h.01M12 6h.01M21 6h.01" if look.startswith("dots") else "M1 6h22"
    drawing = el("svg", el("path", d=path, class_=look), width=24, height=12, aria_hidden="true")
    return el("span", drawing, label, class_="key")
