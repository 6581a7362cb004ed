"""The hunt notices what it should: a known bug is killed, a mutant that changes nothing is not.

It forks, so it runs in a process of its own. Not here: each slip (`unit/hunt/test_slips.py`).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hunt.__main__ import Kept
from tests.hunt.changes import Change
from tests.hunt.equivalents import outlived, reason_for
from tests.hunt.in_child import hunt_first, hunt_fresh
from tests.hunt.judging import Baseline, Fate, fate_of
from tests.hunt.mutants import Mutant, all_mutants, changed, sample
from tests.hunt.runs import all_runs
from tests.hunt.targets import LAB, TOP

RUNS = "happy-path:1 duplicates:1"
CHARGED_TWICE = "services/payment.py Payment._send wrong-key key is new each time"
CONFIRMED_AS_PAID = (
    "services/orders.py Orders._confirmation wrong-state CONFIRMED -> PAYMENT_UNKNOWN"
)


def hunted(tmp_path: Path, match: str) -> list[dict[str, object]]:
    """What became of the mutants with this text in the key."""
    kept = tmp_path / "hunt.json"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.hunt",
            "--match",
            match,
            "--runs",
            RUNS,
            "--jobs",
            "1",
            "--json",
            str(kept),
        ],
        cwd=TOP,
        check=True,
        capture_output=True,
        text=True,
    )
    fates: list[dict[str, object]] = json.loads(kept.read_text(encoding="utf-8"))["fates"]
    return fates


@pytest.mark.slow
def test_a_mutant_that_a_promise_sees_is_killed_and_the_file_is_as_it_was(tmp_path: Path) -> None:
    source = LAB / "services" / "orders.py"
    before = source.read_bytes()

    (fate,) = hunted(tmp_path, CONFIRMED_AS_PAID)

    assert (fate["status"], fate["where"]) == ("killed", "happy-path seed 1")
    assert fate["by"]
    assert source.read_bytes() == before


@pytest.mark.slow
def test_a_mutant_that_changes_nothing_survives_with_the_same_histories() -> None:
    nothing = """if True:
        from tests.hunt.changes import Change
        from tests.hunt.judging import judge_all, take_baseline, to_json
        from tests.hunt.mutants import Mutant
        from tests.hunt.runs import parse_runs
        import json
        runs = parse_runs("happy-path:1 duplicates:1")
        mutant = Mutant("services/orders.py", 1, 300, "", "none", "nothing", Change("", ()))
        found = judge_all([mutant], runs, take_baseline(runs), jobs=1, goes_on=lambda: True)
        print(json.dumps([to_json(each) for each in found]))
    """
    ran = subprocess.run(
        [sys.executable, "-c", nothing], cwd=TOP, check=True, capture_output=True, text=True
    )

    (fate,) = json.loads(ran.stdout)
    assert (fate["status"], fate["same"], fate["runs"]) == ("survived", True, 2)


def test_a_change_of_nothing_is_the_source_itself() -> None:
    source = "def f():\n    return 1\n"

    assert compile(changed(source, Change("", ())), "f", "exec") == compile(source, "f", "exec")


@pytest.mark.parametrize(
    ("told", "was_stopped", "status"),
    [
        ([{"run": "a seed 1"}, {"digest": "1", "broken": {"converges": "why"}}], False, "killed"),
        ([{"run": "a seed 1"}, {"error": "KeyError: 'x'"}], False, "error"),
        ([{"run": "a seed 1"}], True, "timeout"),
        ([{"run": "a seed 1"}, {"digest": "1", "broken": {}}], False, "survived"),
    ],
)
def test_the_lines_of_a_child_make_its_fate(
    told: list[dict[str, object]], *, was_stopped: bool, status: str
) -> None:
    assert fate_of("key", told, ["1"], was_stopped=was_stopped).status == status


def test_a_survivor_under_which_one_history_differs_is_not_marked() -> None:
    told: list[dict[str, object]] = [
        {"run": "a seed 1"}, {"digest": "1", "broken": {}},
        {"run": "a seed 2"}, {"digest": "9", "broken": {}},
    ]  # fmt: skip

    assert not fate_of("key", told, ["1", "2"], was_stopped=False).same


def at_line(line: int) -> Mutant:
    return Mutant("f.py", line, line, "", "none", f"line {line}", Change("", ()))


def test_a_mutant_is_judged_by_the_runs_that_come_by_its_line_and_a_constant_by_all() -> None:
    lines = {"f.py": {"1": ["import"], "3": ["1"], "5": ["import", "0"]}}
    baseline = Baseline("", ("a", "b"), lines)

    assert [baseline.runs_by(at_line(line)) for line in (1, 3, 5, 7)] == [[0, 1], [1], [0], []]


def test_what_was_not_killed_is_open_again_once_the_lab_has_changed(tmp_path: Path) -> None:
    kept = Kept(None, tmp_path / "hunt.json")
    kept.baseline = Baseline("new", (), {})
    for status, lab in (("killed", "old"), ("survived", "old"), ("error", "new")):
        kept.fates[status] = Fate(status, status, by=("why",), lab=lab)
    kept.write()

    again = Kept(tmp_path / "hunt.json", None)

    assert again.fates == kept.fates
    assert [key for key in again.fates if again.is_open(key)] == ["survived"]


def test_a_sample_is_the_same_again_and_another_one_by_another_seed() -> None:
    mutants = [at_line(line) for line in range(100)]

    assert sample(mutants, 10, 1) == sample(mutants, 10, 1) != sample(mutants, 10, 2)
    assert len(sample(mutants, 10, 1)) == 10


def test_every_scenario_is_run_and_the_mixture_last() -> None:
    runs = all_runs()

    assert [run.scenario for run in runs[-20:]] == ["everything"] * 20
    assert len(set(runs)) == len(runs)
    assert {run.seed for run in runs if run.scenario == "crashes"} == {1, 2, 3}


def test_a_fresh_key_is_another_each_time_and_of_the_same_type() -> None:
    assert hunt_fresh("a") != hunt_fresh("a")
    assert isinstance(hunt_fresh(b"a"), bytes)
    assert list(hunt_first([1, 2])) == [1]


@pytest.mark.slow
def test_every_row_of_the_table_of_equivalents_fits_a_mutant() -> None:
    assert outlived(all_mutants()) == []


def test_in_a_row_that_ends_with_a_star_each_star_is_any_text() -> None:
    why = "services/payment.py Payment.on_refund_requested swallowed-error raise Transient(f'order"
    assert reason_for(f"{why} {{payload.order_id}} kept changing while it w... -> pass")
    assert not reason_for(f"{why} is not kept")


def test_a_row_with_a_star_explains_all_that_begin_so() -> None:
    assert reason_for("patterns/retry.py NoRetry._again wrong-field x")
    assert not reason_for("patterns/retry.py Retrying._again wrong-field x")
