"""The bench measures what it says: figures are ratios to baselines that were really measured.

No test here looks at how fast anything is.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lab.bench import asked_figures, bench
from lab.bench import simulated_figures as figures
from lab.bench.baselines.bare_start import start_s
from lab.bench.baselines.queue_hop import hop_us
from lab.bench.baselines.skeleton import skeleton_us
from lab.bench.figures import BenchGoal, Figure, make_figure
from lab.bench.interpreter import this_machine
from lab.bench.long_run import LongRun
from lab.bench.pattern_costs import PatternCalls
from lab.bench.report import encode_report, report_schema
from lab.bench.rounds import Round
from tests.kit.bench_reports import make_report, make_round

TOP = Path(__file__).resolve().parents[3]


def all_figures(rounds: list[Round]) -> list[Figure]:
    """Every figure that is made of rounds."""
    return list(figures.all_of(rounds))


def test_a_ratio_is_the_value_over_its_baseline_and_both_are_medians() -> None:
    pairs = [(10.0, 2.0), (90.0, 3.0), (30.0, 5.0)]

    figure = make_figure("x", pairs, unit="us", against="a hop", how="so")

    assert (figure.value, figure.baseline, figure.ratio) == (30.0, 3.0, 10.0)
    assert (figure.low, figure.high) == (5.0, 30.0)
    assert figure.goal is None
    assert figure.reached is None


@pytest.mark.parametrize("pairs", [[], [(1.0, 0.0)]])
def test_a_figure_without_a_measured_baseline_is_refused(pairs: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="baseline above 0"):
        make_figure("x", pairs, unit="us", against="a hop", how="so")


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (BenchGoal(of="ratio", bound="at most", limit=10), True),
        (BenchGoal(of="ratio", bound="at most", limit=9.9), False),
        (BenchGoal(of="ratio", bound="at least", limit=10), True),
        (BenchGoal(of="value", bound="at most", limit=29), False),
        (BenchGoal(of="value", bound="at least", limit=30), True),
    ],
)
def test_a_goal_is_about_the_number_that_it_names(goal: BenchGoal, *, reached: bool) -> None:
    figure = make_figure("x", [(30.0, 3.0)], unit="us", against="a hop", how="so", goal=goal)

    assert figure.reached is reached
    assert figure.low == figure.high == (30.0 if goal.of == "value" else 10.0)


@pytest.mark.parametrize(
    ("limit", "reached"), [(3.9, False), (4.0, None), (5.0, None), (6.0, None), (6.1, True)]
)
def test_a_spread_that_covers_the_limit_is_too_noisy_to_tell(
    limit: float, *, reached: bool | None
) -> None:
    goal = BenchGoal(of="ratio", bound="at most", limit=limit)
    pairs = [(8.0, 2.0), (10.0, 2.0), (12.0, 2.0)]

    figure = make_figure("x", pairs, unit="us", against="a hop", how="so", goal=goal)

    assert figure.reached is reached


def test_every_figure_is_its_own_value_over_its_own_baseline() -> None:
    found = all_figures([make_round()])

    assert {figure.name: figure.ratio for figure in found} == pytest.approx(
        {
            "order, everything on": 50.0,
            "order, core": 20.0,
            "order, core / skeleton": 1.5,
            "order, chaos / none": 1.2,
            "simulated / real, 10 orders/s": 500.0,
            "seeds a second, 20 orders": 0.5,
            "seeds a second, 100 orders": 0.5,
            "runs a second, 1 order": 2.0,
            "a run of 1 order": 2.5 / 0.15,
            "memory bus, events": 0.1,
            "lab --help, cold": 10.0,
            "lab run happy-path, cold": 40.0,
        }
    )
    missed = {figure.name for figure in found if figure.reached is False}
    assert missed == {"seeds a second, 100 orders"}


def test_a_slower_machine_changes_values_and_no_ratio_of_an_order() -> None:
    twice = make_round(hop_us=6.0, order_us=300.0, core_us=120.0, chaos_us=360.0, skeleton_us=80.0)

    ratios = [figure.ratio for figure in all_figures([twice])[:4]]

    assert ratios == [figure.ratio for figure in all_figures([make_round()])[:4]]


def test_growth_compares_cost_in_hops_of_each_process() -> None:
    # The process of the long run met a machine half as fast: that is no growth.
    small = LongRun(orders=10_000, order_us=150.0, hop_us=3.0, peak_kib=60_000)
    middle = LongRun(orders=50_000, order_us=160.0, hop_us=3.0, peak_kib=102_400)
    large = LongRun(orders=100_000, order_us=330.0, hop_us=6.0, peak_kib=153_600)

    cost, memory = asked_figures.growth([small] * 3, middle, large)

    assert cost.ratio == pytest.approx(1.1)
    assert (memory.value, memory.baseline) == (150.0, 100.0)
    assert "1.02 KiB an order" in memory.how


def test_a_longer_run_is_compared_with_every_run_of_the_shortest() -> None:
    base = [
        LongRun(orders=1_000, order_us=us, hop_us=3.0, peak_kib=51_200) for us in (150, 120, 180)
    ]
    large = LongRun(orders=11_000, order_us=360.0, hop_us=6.0, peak_kib=61_440)

    cost, memory = asked_figures.ladder(base, [large])

    assert (cost.name, memory.name) == (
        "cost an order, 11,000 orders",
        "peak memory, 11,000 orders",
    )
    assert (cost.value, cost.baseline, cost.low, cost.high) == pytest.approx((60, 50, 1, 1.5))
    assert (memory.value, memory.baseline) == (60.0, 50.0)
    assert "1.02 KiB for each order more" in memory.how


def test_a_pattern_costs_what_an_order_without_it_does_not() -> None:
    calls = PatternCalls(on=110.0, off={"dedupe": 100.0, "inbox": 110.0})

    found = asked_figures.patterns([make_round(), make_round()], calls)

    assert {one.name: (one.ratio, one.unit) for one in found} == {
        "pattern dedupe": (1.25, "us"),
        "pattern dedupe, calls": (1.1, "calls"),
        "pattern inbox": (1.25, "us"),
        "pattern inbox, calls": (1.0, "calls"),
    }


def test_the_shortest_run_is_measured_around_the_longer_ones() -> None:
    assert bench.long_plan((1, 2)) == [1, 2, 1, 1]
    assert bench.long_plan((1, 2, 3)) == [1, 2, 1, 3, 1]
    assert bench.long_plan((1, 2, 3, 4)) == [1, 2, 1, 3, 1, 4, 1]


def test_baselines_are_measured_and_not_written_down() -> None:
    assert 0 < hop_us(200) < 10_000
    assert skeleton_us(3, steps=20, timers=2) > 0
    assert start_s() > 0
    assert hop_us(2_000) != hop_us(2_000)


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(Exception, match="non-zero exit status 3"):
        start_s(("-c", "raise SystemExit(3)"))


PEAKS = """
from lab.bench.peak_memory import peak_kib
before = peak_kib()
ballast = bytearray(64 << 20)
ballast[::4096] = b"x" * len(ballast[::4096])
grown = peak_kib()
del ballast
print(before, grown, peak_kib())
"""
"""In a process of its own: the peak of this one may be that of another test."""


def test_the_peak_of_memory_does_not_fall() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True
    )
    before, grown, after = map(int, ended.stdout.split())

    assert grown > before + (50 << 10)
    # The kernel counts in batches: what it says may be some hundred KiB off.
    assert after > before + (50 << 10)


def test_the_machine_names_the_build_of_the_interpreter() -> None:
    machine = this_machine()

    assert sys.version.split()[0].rstrip("+") in machine.python
    assert "PGO" in machine.python
    assert machine.cores >= 1


def test_the_published_schema_is_that_of_the_report() -> None:
    published = TOP / "docs" / "reference" / "bench.schema.json"

    assert published.read_bytes() == report_schema(bench.BenchReport, "lab bench")


def test_a_report_is_one_object_and_reads_back() -> None:
    report = make_report()

    assert msgspec.json.decode(encode_report(report), type=bench.BenchReport) == report
