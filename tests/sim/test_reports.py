"""Reports of whole runs: what the charts count is what the result says, and the right orders show.

Not here: single parts (`unit/report`), the command (`cli/test_report.py`).
"""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import run
from lab.observe.model import Span
from lab.report.course import CourseFold
from lab.report.result import Result
from lab.wiring.reporting import RunReport
from tests.kit.html_page import Node, read_page


def make_report(folder: Path, scenario: str, **asked: object) -> tuple[Result, RunReport]:
    result = run(scenario, out=folder, **asked)  # type: ignore[arg-type]  # of `run`
    return result, RunReport(Path(str(result.run_dir)))


def section(report: RunReport, name: str) -> Node:
    return read_page(report.html()).one("section", id=name)


@pytest.mark.parametrize(
    ("scenario", "off", "seed"),
    [
        ("happy-path", (), 1),
        ("duplicates", ("dedupe", "inbox"), 7),
        ("crashes", (), 1),
        ("cancellation", (), 1),
        ("crash-between-commit-and-publish", ("outbox",), 1),
        ("everything", (), 3),
        ("real-orders", (), 1),
    ],
)
def test_the_charts_count_what_the_result_says(
    scenario: str, off: Sequence[str], seed: int, tmp_path: Path
) -> None:
    result, report = make_report(tmp_path, scenario, off=off, seed=seed, orders=60)
    course = report.course

    assert course.accepted == result.orders.accepted
    assert sum(one.accepted for one in course.columns) == result.orders.accepted
    assert sum(one.ended for one in course.columns) == course.ended
    assert course.slowest_us == round(result.metrics["to_terminal_max_ms"] * 1_000)
    assert {lane.kind: lane.fired for lane in course.lanes} == {
        fault.name: fault.fired for fault in result.faults
    }
    # What is open at the end is what never ended.
    assert course.columns[-1].open >= course.accepted - course.ended == len(course.open_since)
    assert max(one.open for one in course.columns) >= 1
    assert course.columns[-1].records >= 0


def test_counting_while_the_run_goes_gives_the_same_course(tmp_path: Path) -> None:
    fold = CourseFold()

    _, report = make_report(tmp_path, "duplicates", orders=40, watch=fold)

    assert fold.course() == report.course


def test_watching_a_run_changes_nothing_of_it() -> None:
    assert run("crashes", orders=20, watch=CourseFold()).digest == run("crashes", orders=20).digest


def test_a_broken_promise_is_followed_by_the_way_of_its_witness(tmp_path: Path) -> None:
    result, report = make_report(tmp_path, "duplicates", off=("dedupe", "inbox"), orders=40)
    witness = next(check.witness_order for check in result.checks if check.verdict == "FAIL")

    way = section(report, "orders-followed")

    assert next(way.all("h3")).text == f"Order {witness}"
    told = next(way.all("table")).text
    assert "client sends POST /orders" in told
    assert "fault bus.duplicate" in told
    assert "again" in told


def test_of_a_run_that_passed_the_order_that_was_hit_most_and_the_slowest_are_followed(
    tmp_path: Path,
) -> None:
    _, report = make_report(tmp_path, "timeouts", orders=60)

    way = section(report, "orders-followed")

    heads = [head.text for head in way.all("h3")]
    slowest = report.course.slowest.partition(".")[0]
    assert heads[-1] == f"Order {slowest}"
    assert "attempt 2" in way.text
    assert "failed: " in way.text
    assert "The slowest order: it took" in way.text


def test_suppressed_duplicates_crashes_and_dead_letters_are_told_in_words(tmp_path: Path) -> None:
    duplicates = section(make_report(tmp_path, "duplicates", orders=40)[1], "orders-followed")
    crashes = section(make_report(tmp_path, "crashes", orders=60)[1], "orders-followed")
    poison = section(make_report(tmp_path, "poison-message", orders=60)[1], "orders-followed")

    assert "a duplicate: suppressed by dedupe" in duplicates.text
    assert "was killed" in crashes.text
    assert "dead letter: poison" in poison.text


def test_a_long_run_says_what_was_not_kept_unless_it_was_counted_on_the_way(
    tmp_path: Path,
) -> None:
    fold = CourseFold()
    result, thinned = make_report(tmp_path, "happy-path", orders=2_100, rate=500, watch=fold)
    counted = RunReport(Path(str(result.run_dir)), fold.course())

    assert thinned.course.accepted < result.orders.accepted == counted.course.accepted
    (told,) = [one.text for one in section(thinned, "timeline").all("p")
               if one.attributes.get("class") == "notice"]  # fmt: skip
    assert "keeps 200 of 2,100 accepted orders" in told
    assert "made from these alone" in told
    (told,) = [one.text for one in section(counted, "timeline").all("p")
               if one.attributes.get("class") == "notice"]  # fmt: skip
    assert "The charts show every order" in told
    assert section(counted, "orders-followed").one("table").text


def test_a_report_of_five_hundred_orders_is_made_in_less_than_two_seconds(tmp_path: Path) -> None:
    result = run("duplicates", seed=7, out=tmp_path)
    began = time.process_time()

    page = RunReport(Path(str(result.run_dir))).html()

    assert time.process_time() - began < 2
    assert len(page.encode()) < 250_000


def test_two_runs_beside_each_other_show_what_differs(tmp_path: Path) -> None:
    _, good = make_report(tmp_path, "duplicates", orders=40)
    _, bad = make_report(tmp_path, "duplicates", off=("dedupe", "inbox"), orders=40)

    page = read_page(bad.html_beside(good))

    assert page.one("h1").text.startswith("A is FAIL B is PASS They differ in 3 promises.")
    rows = [row.text for row in page.one("section", id="differences").one("tbody").all("tr")]
    assert [row.split()[0] for row in rows] == ["effect-once", "dedupe-sound", "claim-returned"]
    assert "switched off dedupe, inbox nothing" in page.one("section", id="settings").text
    assert "orders accepted 40 40 same" in page.one("section", id="numbers").text
    assert len(list(page.all("figure"))) == 3


def test_a_run_beside_itself_differs_in_nothing(tmp_path: Path) -> None:
    _, report = make_report(tmp_path, "happy-path", orders=10)

    page = read_page(report.html_beside(report))

    assert "No promise differs." in page.one("h1").text
    assert "Each promise has the same verdict" in page.text
    assert "same options, policies and seed" in page.text


def test_a_run_on_the_wall_clock_has_a_report_too(tmp_path: Path) -> None:
    result, report = make_report(
        tmp_path, "duplicates", orders=20, rate=200, wall_clock=True, off=("dedupe",)
    )

    assert result.digest == ""
    assert report.course.accepted == 20
    assert "inbox" in section(report, "orders-followed").text


def test_a_fault_at_a_third_party_stands_at_the_call_of_it(tmp_path: Path) -> None:
    _, report = make_report(tmp_path, "timeouts", orders=100)
    spans: list[Span] = []
    report.run.view(lambda seen: spans.append(seen) if isinstance(seen, Span) else None)

    struck = [
        (span.attributes.get("lab.provider"), moment.attributes["lab.fault.site"])
        for span in spans
        for moment in span.moments
        if moment.name == "lab.fault"
        and str(moment.attributes["lab.fault.kind"]).startswith("svc.")
    ]

    assert len(struck) > 20
    assert [pair for pair in struck if pair[0] != pair[1]] == []
