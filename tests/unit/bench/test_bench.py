"""The bench measures what it says: figures are ratios to baselines that were really measured.

No test here looks at how fast anything is.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lab.bench import bench
from lab.bench import simulated_figures as figures
from lab.bench.baselines.bare_start import start_s
from lab.bench.baselines.queue_hop import hop_us
from lab.bench.baselines.skeleton import skeleton_us
from lab.bench.figures import SCHEMA_VERSION, BenchGoal, Figure, make_figure
from lab.bench.interpreter import this_machine
from lab.bench.latency import latency_of
from lab.bench.long_run import LongRun
from lab.bench.report import encode_report, report_schema
from lab.bench.rounds import Round, Sizes

LATENCY = latency_of(
    {
        "to_terminal_p50_ms": 100.0,
        "to_terminal_p95_ms": 200.0,
        "to_terminal_p99_ms": 400.0,
        "to_terminal_max_ms": 800.0,
    },
    orders_per_s=1_000.0,
    how="so",
)
TOP = Path(__file__).resolve().parents[3]


def make_round(**changes: float) -> Round:
    """A round with numbers that are easy to divide."""
    numbers = {
        "hop_us": 3.0,
        "order_us": 150.0,
        "core_us": 60.0,
        "chaos_us": 180.0,
        "skeleton_us": 40.0,
        "steps": 40.0,
        "timers": 6.0,
        "paced_s": 0.2,
        "short_seeds": 20.0,
        "short_calm": 40.0,
        "long_seeds": 10.0,
        "long_calm": 20.0,
        "tiny_runs": 300.0,
        "tiny_default": 150.0,
        "bare_s": 0.02,
        "help_s": 0.2,
        "run_s": 0.8,
    }
    return Round(sizes=Sizes(orders=1_000), **{**numbers, **changes})


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

    cost, memory = figures.growth([small] * 3, middle, large)

    assert cost.ratio == pytest.approx(1.1)
    assert (memory.value, memory.baseline) == (150.0, 100.0)
    assert "1.02 KiB an order" in memory.how


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
    report = bench.BenchReport(
        schema_version=SCHEMA_VERSION,
        lab="0",
        machine=this_machine(),
        rounds=1,
        full=False,
        hop_us=3.0,
        hop_us_low=3.0,
        hop_us_high=3.0,
        figures=tuple(all_figures([make_round()])),
        latency=LATENCY,
        wall_s=1.0,
    )

    assert msgspec.json.decode(encode_report(report), type=bench.BenchReport) == report
