"""`lab bench` measures whole runs of the lab; nothing here looks at how fast they are."""

import msgspec
import pytest

from lab.bench import load
from lab.bench.bench import measure
from lab.bench.long_run import measure_long_run
from lab.bench.rounds import Sizes
from lab.bench.step_count import count_steps

SMALL = Sizes(hops=400, orders=20, short=5, long=6, runs=1, tiny=2, grow=(10, 20, 30))


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
        "lab --help, cold",
        "lab run happy-path, cold",
    ]
    for figure in report.figures:
        assert figure.baseline > 0, figure
        assert figure.ratio == pytest.approx(figure.value / figure.baseline)
        assert figure.low <= figure.high
    assert [done for done, _, _ in told] == list(range(told[0][1]))


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
