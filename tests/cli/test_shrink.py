"""`lab shrink`: its page, its JSON, and what it refuses."""

import json
from pathlib import Path

import pytest

from lab.cli import app


def test_a_broken_run_is_shrunk_to_one_order_and_one_fault_with_the_line_that_repeats_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app.run_command(["run", "duplicates", "--orders", "20", "--off", "dedupe,inbox", "--quiet"])
    capsys.readouterr()

    assert app.run_command(["shrink", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["promise"], told["orders"]) == ("effect-once", 1)
    (firing,) = told["plan"]["firings"]
    assert (firing["kind"], firing["subject"]) == ("bus.duplicate", "1.1")
    assert told["runs"] >= 2
    assert app.run_command(told["reproduce"].split()[1:]) == 1
    assert told["witness"] in " ".join(capsys.readouterr().out.split())

    assert app.run_command(["shrink", str(Path(told["run_dir"])), "--quiet"]) == 0
    page = capsys.readouterr().out
    assert "1 order, 1 fault" in page.splitlines()[0]
    assert "Fault          bus.duplicate@" in page
    assert "Again          lab run shrunk --scenarios" in page


def test_it_ends_after_max_runs_and_keeps_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    app.run_command(["run", "rebalance-storm", "--orders", "60", "--off", "fencing", "--quiet"])
    capsys.readouterr()

    assert app.run_command(["shrink", "--max-runs", "3", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["partial"] is True
    assert told["runs"] == 3
    assert told["run_dir"] is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "there is no run 'nobody'"),
        (("--promise", "fenced"), "does not break fenced"),
        (("--promise", "effect-onc"), "did you mean effect-once"),
        (("--max-runs", "0"), "--max-runs must be 1 or more"),
        (("cut.json",), "cut.json"),
    ],
)
def test_what_cannot_be_shrunk_is_refused_by_name(
    arguments: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    app.run_command(["run", "duplicates", "--orders", "5", "--quiet"])
    Path("cut.json").write_bytes(b'{"version":2,"seed":1')
    capsys.readouterr()

    assert app.run_command(["shrink", *arguments]) == 2

    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_a_run_that_passed_is_said_to_break_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    app.run_command(["run", "duplicates", "--orders", "5", "--quiet"])
    capsys.readouterr()

    assert app.run_command(["shrink"]) == 2

    assert "breaks no promise" in capsys.readouterr().err
