"""`lab ablate`: what breaks without a pattern, what another layer saved, and what is refused."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from lab import run
from lab.cli import app
from lab.cli.ablate import number
from lab.cli.ablations import PAGE, rows_of
from lab.explore.ablation import Ablation, AblationRun, Variation
from lab.explore.spread import workers
from lab.scenarios.loader import load_catalogue
from lab.scenarios.run_options import RunOptions

DUPLICATES = ("duplicates", "--orders", "12", "--jobs", "1")


def told(*arguments: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    """The JSON of an ablation."""
    assert app.run_command(["ablate", *arguments, "--json"]) == code, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def made(options: RunOptions, vary: Variation | None = None) -> Ablation:
    """An ablation of what a scenario teaches, made here."""
    ablation = Ablation([options], teach_only=True, vary=vary)
    with workers(jobs=1) as pool:
        ablation.go_on(pool)
    return ablation


def test_a_row_says_what_breaks_or_who_saved_it_and_what_the_pattern_costs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = made(RunOptions(scenario="duplicates", orders=12)).result()

    rows = {row.off: row for row in result.rows}
    assert list(rows) == [("dedupe",), ("inbox",), ("dedupe", "inbox")]
    assert rows["dedupe",].outcome == rows["inbox",].outcome == "saved"
    assert "the inbox stopped" in rows["dedupe",].why
    assert "dedupe stopped" in rows["inbox",].why
    both = rows["dedupe", "inbox"]
    assert (both.outcome, both.broken) == ("broken", ("effect-once",))
    assert both.witness
    (base,) = result.with_all
    assert base.struck == both.struck > 0
    assert both.price is not None
    assert both.price.calls == round(base.measures.calls - both.measures.calls, 3)
    assert app.run_command(both.reproduce.split()[1:]) == 0
    assert "breaks effect-once" in capsys.readouterr().out


def test_the_plan_of_the_run_with_all_patterns_is_the_one_that_is_run() -> None:
    options = RunOptions(scenario="duplicates", orders=12, off=("dedupe", "inbox"))

    (row,) = made(options).result().rows

    # Visits to its sites do not depend on the pattern, so the coins would have fallen alike.
    assert row.digest == run("duplicates", orders=12, off="dedupe,inbox").digest
    assert row.plan == "recorded"


def test_a_third_party_that_is_down_is_down_for_calls_that_the_breaker_kept_away_too() -> None:
    options = RunOptions(scenario="forgotten-key", off=("breaker",))

    ablation = made(options).result()

    (row,) = ablation.rows
    assert (row.plan, row.broken) == ("keyed", ("breaker-law",))
    assert row.struck > ablation.with_all[0].struck


def test_values_of_a_policy_are_compared_on_one_plan(capsys: pytest.CaptureFixture[str]) -> None:
    options = RunOptions(scenario="timeouts", orders=25)
    vary = Variation("retry.attempts_max", ("2", "6"))

    result = made(options, vary).result()

    two, six = result.rows
    assert six.digest == result.with_all[0].digest, "6 is what the scenario has"
    assert two.digest != six.digest
    assert two.measures.attempts < six.measures.attempts
    assert two.price is None
    assert two.reproduce.endswith("--orders 25 --vary retry.attempts_max=2")
    base = ["ablate", "timeouts", "--orders", "25", "--jobs", "1"]
    assert app.run_command([*base, "--vary", "retry.attempts_max=2,6"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    bars = [words for words in lines if len(words) == 3 and set(words[1]) == {"#"}]
    assert {words[0] for words in bars} == {"2", "6"}
    assert max(len(words[1]) for words in bars) == 30


@pytest.mark.slow
def test_the_table_does_not_depend_on_the_number_of_jobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("crash-loop", "--orders", "5", "--off", "poison_guard")

    assert told(*arguments, "--jobs", "1", capsys=capsys) == told(
        *arguments, "--jobs", "2", capsys=capsys
    )


def test_a_named_scenario_is_run_without_each_pattern_and_a_broken_one_ends_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from lab import patterns

    result = told("happy-path", "--orders", "1", "--jobs", "1", capsys=capsys)

    assert [row["off"] for row in result["rows"]] == [
        *([name] for name in patterns.NAMES),
        ["dedupe", "inbox"],
    ]
    assert not any(row["broken"] for row in result["rows"])
    broken = ("happy-path", "--orders", "8", "--set", "dedupe.phases=1", "--off", "breaker")
    fault = ("--fault", "proc.crash@dedupe.after_claim#every2 first=1")
    assert told(*broken, *fault, "--jobs", "1", capsys=capsys, code=1)["verdict"] == "FAIL"


def test_what_is_there_at_ctrl_c_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Ablation._tell

    def interrupted(self: Ablation, tell: Any) -> None:
        original(self, tell)
        if self._rows:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ablation, "_tell", interrupted)

    result = told(*DUPLICATES, capsys=capsys, code=130)

    assert (result["partial"], len(result["with_all"]), len(result["rows"])) == (True, 1, 1)
    assert app.run_command(["ablate", *DUPLICATES, "--no-color"]) == 130
    assert "interrupted: rows are missing" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("duplicats",), "did you mean duplicates"),
        (("duplicates", "--off", "dedup"), "did you mean dedupe"),
        (("duplicates", "--vary", "retry.attempt_max=1,2"), "did you mean retry.attempts_max"),
        (("duplicates", "--vary", "retry.attempts_max=1,two"), "retry.attempts_max"),
        (("duplicates", "--vary", "retry.attempts_max"), "--vary must be KEY=A,B,C"),
        (("duplicates", "--vary", "retry.attempts_max=1,,2"), "--vary must be KEY=A,B,C"),
        (("duplicates", "--vary", "retry.tiers_ms=1,2"), "a list already"),
        (("--vary", "retry.attempts_max=1,2"), "name one"),
        (("duplicates", "--seeds", "1-3"), "take --seed N"),
        (("--real",), "name the scenarios"),
        (("duplicates", "--real", "--jobs", "2"), "leave --jobs and --cluster out"),
        (("happy-path", "--wall-clock"), "teaches no pattern"),
        (("duplicates", "--real", "--keep"), "keeps nothing"),
        (("duplicates", "--orders-from", "-"), "only once"),
        (("duplicates", "--html", "x.html"), "--html"),
        (("duplicates", "--jobs", "0"), "--jobs must be from 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_run(
    more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["ablate", *more]) == 2

    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duplicates", "hung-after-charge"])
def test_the_page_of_the_catalogue_has_what_a_scenario_shows_now(name: str) -> None:
    rows = PAGE.read_text(encoding="utf-8").splitlines()

    assert set(rows_of(*shown_by(made(RunOptions(scenario=name))))) <= set(rows)
    taught = [one for one in load_catalogue().values() if one.patterns]
    assert sum(row.startswith("| `") for row in rows) == len(taught)


def shown_by(ablation: Ablation) -> tuple[AblationRun, Sequence[AblationRun]]:
    result = ablation.result()
    return result.with_all[0], result.rows


@pytest.mark.slow
def test_on_the_clock_the_same_coins_decide_and_the_same_promise_breaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["ablate", "duplicates", "--wall-clock", "--off", "dedupe,inbox", "--orders", "20"]
    assert app.run_command([*command, "--rate", "50", "--json"]) == 0

    result = json.loads(capsys.readouterr().out)
    (base,), (row,) = result["with_all"], result["rows"]
    assert (result["mode"], base["plan"], row["plan"]) == ("wall-clock", "keyed", "keyed")
    assert (base["outcome"], row["outcome"], row["broken"]) == ("held", "broken", ["effect-once"])
    assert base["struck"] == row["struck"] > 0
    assert "--wall-clock" in row["reproduce"]


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    assert number(-0.001, is_signed=True) == number(0.0, is_signed=False) == "0"
    assert number(100.0, is_signed=True) == "+100"
