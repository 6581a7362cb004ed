"""Thresholds and comparisons of a bench: what people write, and what is made of it."""

from pathlib import Path

import msgspec
import pytest

from lab.bench.comparing import CompareError, compare, left_out, read_earlier
from lab.bench.figures import SCHEMA_VERSION, Figure, at_least, at_most, make_figure
from lab.bench.parts import REAL as REAL_PARTS
from lab.bench.parts import SIMULATED
from lab.bench.real_figures import prototypes as prototypes_of_real
from lab.bench.real_rounds import REAL
from lab.bench.report import encode_report
from lab.bench.rounds import DEFAULT
from lab.bench.simulated_figures import prototypes
from lab.bench.thresholds import Measured, ThresholdError, meet, read_threshold
from tests.kit.bench_reports import LATENCY, make_report


def make(name: str, *numbers: float, unit: str = "us", is_rate: bool | None = False) -> Figure:
    """A figure whose ratios are the numbers, over a baseline of 1."""
    goal = None if is_rate is None else (at_least if is_rate else at_most)(1.0)
    pairs = [(number, 1.0) for number in numbers]
    return make_figure(name, pairs, unit=unit, against="one", how="so", goal=goal)


FIGURES = [
    make_figure("an order", [(30.0, 3.0)], unit="us", against="a hop", how="so"),
    make("posts, in all", 7.0, unit="1/s"),
]


@pytest.mark.parametrize(
    ("text", "reached", "measured"),
    [
        ("p99<200ms", False, 200),
        ("p99<200.5ms", True, 200),
        ("p99 < 1s", True, 0.2),
        ("p50<20000us", True, 10_000),
        ("max>700ms", True, 800),
        ("p95>20ms", False, 20),
        ("orders/s>500", False, 500),
        ("orders/s>499", True, 500),
        ("an order<11", True, 10),
        ("an order<11us", False, 30),
        ("posts, in all>6", True, 7),
        (" posts, in all > 7.5 1/s ", False, 7),
        ("posts, in all>6.5/s", True, 7),
    ],
)
def test_a_threshold_is_about_what_it_names(text: str, *, reached: bool, measured: float) -> None:
    (met,) = meet([read_threshold(text, Measured(FIGURES))], FIGURES, LATENCY)

    assert (met.threshold, met.reached) == (text.strip(), reached)
    assert met.measured == pytest.approx(measured)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no threshold"),
        ("p99", "is no threshold"),
        ("p99<", "is no threshold"),
        ("p99<=200ms", "is no threshold"),
        ("p99<-1ms", "is no threshold"),
        ("p99<nan", "is no threshold"),
        ("p99<200", "needs a unit: us, ms or s"),
        ("p99<200h", "needs a unit: us, ms or s"),
        ("orders/s>5ms", "leave out 'ms'"),
        ("an ordre<3", "did you mean an order?"),
        ("xyz<3", "there are p50, p95, p99, max, orders/s, an order, posts, in all"),
        ("an order<3ms", "measured in us"),
    ],
)
def test_what_is_no_threshold_is_refused_with_the_remedy(text: str, says: str) -> None:
    with pytest.raises(ThresholdError, match=says.replace("?", r"\?")):
        read_threshold(text, Measured(FIGURES))


def test_every_figure_that_is_measured_can_be_named_before() -> None:
    for figures in (
        prototypes(DEFAULT, [part.name for part in SIMULATED]),
        prototypes_of_real(REAL, [part.name for part in REAL_PARTS]),
    ):
        measured = Measured(figures)
        for figure in figures:
            assert read_threshold(f"{figure.name}<1", measured).name == figure.name
            assert read_threshold(f"{figure.name}<2 {figure.unit}", measured).unit == figure.unit


@pytest.mark.parametrize(
    ("text", "part"),
    [("an order<11", "order"), ("p99<200ms", "latency"), ("orders/s>3", "latency")],
)
def test_a_threshold_about_what_is_left_out_is_refused(text: str, part: str) -> None:
    order, posts = FIGURES
    order = msgspec.structs.replace(order, part="order")

    with pytest.raises(ThresholdError, match=f"not measured this time: --only must name {part}"):
        read_threshold(text, Measured([posts], [order], latency_part="latency"))
    assert read_threshold("posts, in all>6", Measured([posts], [order], "latency")).limit == 6


def test_a_name_that_is_left_out_is_no_hint_for_a_mistake() -> None:
    with pytest.raises(ThresholdError, match=r"there are an order, posts, in all$"):
        read_threshold("xyz<3", Measured(FIGURES, latency_part="latency"))


@pytest.mark.parametrize(
    ("before", "now", "is_rate", "change"),
    [
        ((10, 12), (7, 9), False, "better"),
        ((10, 12), (7, 9), True, "worse"),
        ((10, 12), (7, 9), None, "lower"),
        ((10, 12), (13, 14), False, "worse"),
        ((10, 12), (13, 14), True, "better"),
        ((10, 12), (13, 14), None, "higher"),
        ((10, 12), (9, 10), False, "same"),
        ((10, 12), (12, 15), True, "same"),
        ((10, 12), (10, 12), True, "same"),
        ((10,), (20, 30), True, "unknown"),
        ((10, 12), (20,), True, "unknown"),
    ],
)
def test_two_numbers_differ_when_their_spreads_do_not_touch(
    before: tuple[float, ...], now: tuple[float, ...], change: str, *, is_rate: bool | None
) -> None:
    (found,) = compare([make("x", *before, is_rate=is_rate)], [make("x", *now, is_rate=is_rate)])

    assert found.change == change
    assert found.by == pytest.approx(found.now / found.before)


def test_only_what_was_measured_both_times_is_compared() -> None:
    found = compare([make("a", 1), make("b", 2)], [make("b", 3), make("c", 4)])

    assert [one.name for one in found] == ["b"]


def test_what_was_measured_once_only_is_named() -> None:
    before, now = [make("a", 1), make("b", 2)], [make("b", 3), make("c", 4)]

    assert left_out(before, now) == ("a",)
    assert left_out(now, before) == ("c",)


def report(**changes: object) -> bytes:
    return encode_report(make_report(**{"figures": (make("a", 1),), **changes}))


def test_a_report_of_before_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_bytes(report())

    assert read_earlier(path, [make("a", 2)]).figures == (make("a", 1),)


def test_a_report_of_the_version_before_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    older = msgspec.json.decode(report(schema_version=2))
    for figure in older["figures"]:
        del figure["part"]
    for name in ("parts", "not_now", "not_before"):
        del older[name]
    path.write_bytes(msgspec.json.encode(older))

    assert read_earlier(path, [make("a", 2)]).figures == (make("a", 1),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "is no report of a bench"),
        (b"{}", "is no report of a bench"),
        (b"\xff", "is no report of a bench"),
        (report(schema_version=1), "of another version"),
        (report(schema_version=SCHEMA_VERSION + 1), "of another version"),
        (report(figures=()), "has none of the figures"),
    ],
)
def test_what_is_no_report_is_refused_before_anything_is_measured(
    content: bytes | None, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "before.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CompareError, match=says):
        read_earlier(path, [make("a", 2)])
