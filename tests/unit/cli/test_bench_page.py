"""What the page of a bench shows of its report."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from lab.bench import asked_figures
from lab.bench.bench import BenchReport
from lab.bench.comparing import compare, left_out
from lab.bench.figures import make_figure, of_part
from lab.bench.long_run import LongRun
from lab.bench.pattern_costs import PatternCalls, PatternCost
from lab.cli import bench_page, render
from tests.kit.bench_reports import make_real_report, make_report, make_round


def text_of(lines: Sequence[Any]) -> str:
    """The lines as they are printed, folded nowhere."""
    return " ".join(render.to_text(lines, width=400, is_plain=True).split())


def of_patterns(*on_us: float) -> BenchReport:
    """A report of one pattern, without which an order takes 100 us; a number for each round."""
    rounds = [
        make_round(patterns={"dedupe": PatternCost(on_us=one, off_us=100.0)}) for one in on_us
    ]
    found = asked_figures.patterns(rounds, PatternCalls(on=4_000.0, off={"dedupe": 3_600.0}))
    return make_report(
        rounds=len(rounds), parts=("patterns",), figures=of_part("patterns", found), latency=None
    )


@pytest.mark.parametrize(
    ("on_us", "says"),
    [
        ((110, 111, 112, 113, 114), "1.10 to 1.14 +12.0 % +400"),
        ((90, 111, 112, 113, 114), "0.900 to 1.14 too noisy to tell +400"),
        ((110, 111, 112), "1.10 to 1.12 under 5 rounds tell nothing +400"),
    ],
)
def test_a_pattern_costs_something_if_enough_rounds_agree(
    on_us: tuple[float, ...], says: str
) -> None:
    page = text_of(bench_page.simulated_page(of_patterns(*on_us)))

    assert says in page
    assert "p50" not in page


def test_sizes_have_a_table_of_their_own() -> None:
    base = [LongRun(orders=100, order_us=us, hop_us=1.0, peak_kib=1_024) for us in (100, 110)]
    larger = [LongRun(orders=200, order_us=120, hop_us=1.0, peak_kib=2_048)]
    found = of_part("sizes", asked_figures.ladder(base, larger))

    page = text_of(bench_page.simulated_page(make_report(parts=("sizes",), figures=found)))

    assert "cost an order, 200 orders 120 hops 105 hops 1.14 1.09 to 1.20 +14.3 %" in page
    assert "peak memory, 200 orders 2.00 MiB 1.00 MiB 2.00 2.00 to 2.00 +100.0 %" in page


def test_what_is_left_out_is_named_with_the_way_to_it() -> None:
    simulated = text_of(bench_page.simulated_page(make_report(parts=("bus", "latency"))))
    real = text_of(bench_page.real_page(make_real_report()))

    assert "Left out order, core, chaos, pace, seeds, runs, cold, growth, patterns" in simulated
    assert "Left out workers: lab bench --real --only NAME" in real
    assert "p50/p95/p99/max 10.0 / 20.0 / 200 / 800 ms" in real


def test_a_comparison_names_what_was_measured_once_only() -> None:
    def made(name: str) -> Any:
        return make_figure(name, [(1.0, 2.0)], unit="us", against="x", how="y")

    before, now = [made("a"), made("b")], (made("b"), made("c"))
    report = msgspec.structs.replace(
        make_report(figures=now),
        compared=compare(before, now),
        not_now=left_out(before, now),
        not_before=left_out(now, before),
    )

    page = text_of(bench_page.judged_lines(report, report.machine))

    assert "b 0.500 0.500 1.00 unknown" in page
    assert "Not measured now a" in page
    assert "Not measured before c" in page
    assert bench_page.judged_lines(report, None) == []
