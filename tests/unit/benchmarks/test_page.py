"""The page about peers says what was measured, what was not, and where rounds do not agree."""

from dataclasses import replace

import msgspec
import pytest

from benchmarks.peers.catalogue import LAB, PEERS
from benchmarks.peers.figures import Spread, ratio
from benchmarks.peers.judge import Rate, Stop
from benchmarks.peers.kafka_rounds import KafkaRound
from benchmarks.peers.loop_peers import LOOPS
from benchmarks.peers.loop_programs import PROGRAMS, TRACES
from benchmarks.peers.page import LIKE_OURS, render
from benchmarks.peers.results import Results
from lab.bench.interpreter import Machine

QUIET = Machine(python="CPython 3.13.0, GCC", processor="x86_64", cores=2, load_before=0.1)


def make_round(per_s: float, *, lost: int = 0, is_own: bool = True) -> KafkaRound:
    """A round of one consumer."""
    return KafkaRound(
        rate=Rate(per_s=per_s, cpu_us=1e6 / per_s, handled=1_000, disorders=0),
        killed=Stop(lost=lost, again=7),
        terminated=Stop(lost=0, again=0, exit_s=0.5, is_own=is_own),
    )


def make_results(*rounds: dict[str, KafkaRound]) -> Results:
    """Results of consumers only."""
    return Results(
        date="2026-01-31", machine=QUIET, broker="Kafka", versions={"aiokafka": "1"}, kafka=rounds
    )


def row_of(page: str, name: str, table: int = 0) -> list[str]:
    """The cells of the row that begins with a name, in the table of so many that have one."""
    row = [line for line in page.splitlines() if line.startswith(f"| {name} |")][table]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratio([10, 30], [5, 10]) == Spread(2.5, 2, 3)


def test_rounds_that_do_not_agree_make_no_difference() -> None:
    assert not ratio([10, 10], [9, 11]).is_there_a_difference
    assert not ratio([10, 10], [10, 9]).is_there_a_difference
    assert ratio([10, 10], [8, 9]).is_there_a_difference
    assert ratio([10, 10], [11, 12]).is_there_a_difference


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([], [])])
def test_rounds_that_do_not_pair_are_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="round"):
        ratio(ours, theirs)


def test_a_row_has_its_median_its_spread_and_what_every_round_lost() -> None:
    page = render(
        make_results(
            {LAB: make_round(2_000), "taskiq": make_round(1_000, lost=3)},
            {LAB: make_round(3_000), "taskiq": make_round(1_000, lost=0)},
        )
    )

    assert row_of(page, "taskiq") == [
        "taskiq", "1,000 (1,000-1,000)", "2.5 (2-3)", "none", "1,000 (1,000-1,000)", "2.5 (2-3)",
    ]  # fmt: skip
    assert row_of(page, "taskiq", 1) == ["taskiq", "3, 0", "7", "0", "0", "0.5 s"]
    assert row_of(page, LAB)[2] == row_of(page, LAB)[5] == "-"
    assert "busy" not in page


def test_a_spread_that_covers_the_difference_is_said() -> None:
    page = render(
        make_results(
            {LAB: make_round(1_000), "taskiq": make_round(900)},
            {LAB: make_round(1_000), "taskiq": make_round(1_250)},
        )
    )

    assert row_of(page, "taskiq")[2] == "no difference (0.8-1.1)"


def test_a_consumer_that_had_to_be_killed_is_named() -> None:
    page = render(make_results({LAB: make_round(1_000, is_own=False)}))

    assert row_of(page, LAB, 1)[-1] == "0.5 s; killed in 1 of 1 rounds"


def test_who_could_not_be_installed_says_so_and_has_no_figure() -> None:
    results = replace(
        make_results({LAB: make_round(1_000)}),
        missing={"taskiq": "it is not installed", "simloop": "needs Python 3.12"},
        loops=[{"lab fifo": dict.fromkeys(PROGRAMS, 1_000.0)}],
    )

    page = render(results)

    assert row_of(page, "taskiq") == ["taskiq", "not run: it is not installed"] + [""] * 4
    assert row_of(page, "simloop")[:2] == ["simloop", "not run: needs Python 3.12"]
    # Not measured and not missing: nothing is said of it but its promise.
    assert len(row_of(page, "aiokafka keys")) == 3


def test_a_loop_stands_beside_the_one_of_ours_that_orders_alike() -> None:
    round_of_loops = {loop.name: dict.fromkeys(PROGRAMS, 1_000.0) for loop in LOOPS}
    round_of_loops["lab shuffled"] = dict.fromkeys(PROGRAMS, 4_000.0)
    results = replace(
        make_results(),
        loops=[round_of_loops],
        traces={"simloop": dict(zip(TRACES, [1, 4], strict=True))},
    )

    page = render(results)

    assert row_of(page, "simloop") == ["simloop", "1 (1-1)", "1 (1-1)", "1 (1-1)", "1", "4"]
    assert row_of(page, "simloop (by lab shuffled)")[1:] == ["4 (4-4)"] * 3
    assert row_of(page, "looptime (by lab fifo)")[1:] == ["no difference (1-1)"] * 3


def test_a_busy_machine_is_said() -> None:
    results = make_results({LAB: make_round(1_000)})

    page = render(replace(results, machine=msgspec.structs.replace(QUIET, load_before=9.0)))

    assert "busy with other work" in page


def test_names_are_no_others_and_every_loop_of_others_has_one_of_ours() -> None:
    names = [one.name for one in (*PEERS, *LOOPS)]

    assert len(names) == len(set(names))
    assert set(LIKE_OURS) == {loop.name for loop in LOOPS if loop.packages}
    assert set(LIKE_OURS.values()) == {loop.name for loop in LOOPS if not loop.packages}
