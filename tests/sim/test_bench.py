"""`lab bench` measures whole runs of the lab; nothing here looks at how fast they are."""

from dataclasses import replace

import msgspec
import pytest

from lab.bench import load
from lab.bench.bench import measure
from lab.bench.long_run import measure_long_run
from lab.bench.open_loop import OpenLoop, planned_us
from lab.bench.pattern_costs import cost_of
from lab.bench.rounds import Sizes
from lab.bench.step_count import count_calls, count_steps
from lab.scenarios.run_options import RunOptions
from lab.wiring.run import run_spec
from lab.wiring.spec import make_spec
from tests.kit.entries import Kept

SMALL = Sizes(
    hops=400,
    orders=20,
    short=5,
    long=6,
    runs=1,
    tiny=2,
    events=20,
    grow=(10, 20, 30),
)


@pytest.mark.slow
def test_a_small_bench_measures_every_figure_and_its_baseline() -> None:
    told: list[tuple[int, int, str]] = []

    report = measure(
        rounds=2,
        sizes=SMALL,
        on_progress=lambda done, total, what: told.append((done, total, what)),
    )

    assert [figure.name for figure in report.figures] == [
        "order, everything on",
        "order, core",
        "order, core / skeleton",
        "order, chaos / none",
        "simulated / real, 10 orders/s",
        "seeds a second, 5 orders",
        "seeds a second, 6 orders",
        "runs a second, 1 order",
        "a run of 1 order",
        "memory bus, events",
        "lab --help, cold",
        "lab run happy-path, cold",
    ]
    for figure in report.figures:
        assert figure.baseline > 0, figure
        assert figure.ratio == pytest.approx(figure.value / figure.baseline)
        assert figure.low <= figure.high
    assert [done for done, _, _ in told] == list(range(told[0][1]))


@pytest.mark.slow
def test_calls_of_an_order_are_the_same_every_time_and_fewer_without_a_pattern() -> None:
    calls = count_calls(3)

    assert calls == count_calls(3)
    assert count_calls(3, ("dedupe",)) < calls


@pytest.mark.slow
def test_a_pattern_is_measured_with_and_without_it() -> None:
    cost = cost_of("dedupe", 3)

    assert cost.on_us != cost.off_us > 0


def test_a_promise_may_fall_without_the_pattern_that_keeps_it() -> None:
    assert load.order_us(3, observe=True, off=("commit_prefix",)) > 0


@pytest.mark.slow
def test_a_long_run_has_a_process_and_a_hop_of_its_own() -> None:
    grown = measure_long_run(30)

    assert grown.orders == 30
    assert grown.hop_us > 0
    assert grown.peak_kib > 10_000


def test_the_same_order_takes_the_same_steps_every_time() -> None:
    first = count_steps(10)

    assert first == count_steps(10)
    assert first[0] > first[1] > 0


def test_a_run_that_does_other_work_is_no_measurement() -> None:
    with pytest.raises(load.BenchError, match="happy-path"):
        load.order_us(5, observe=True, faults=["client.double_submit rate=1"])


def test_the_report_of_a_bench_is_plain_data() -> None:
    assert msgspec.to_builtins(SMALL)["orders"] == 20


@pytest.mark.parametrize("stall_s", [0, 2])
def test_a_server_that_stands_still_is_sent_no_less_and_shows_in_p99(stall_s: int) -> None:
    kept = Kept()
    faults = (f"proc.pause@payment at=500ms for={stall_s}s",) if stall_s else ()
    spec = make_spec(RunOptions(scenario=load.LOAD, orders=60, faults=faults))

    metrics = run_spec(replace(spec, watch=kept)).metrics

    times = OpenLoop(kept.entries, planned_us(spec))
    assert times.late_us_max == 0
    assert times.percentile_ms(100) == metrics["to_terminal_max_ms"]
    assert (times.percentile_ms(99) > 1_900) is bool(stall_s)
