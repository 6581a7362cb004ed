"""`lab replay`: a recorded plan again, as a user would ask for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli import app
from lab.wiring import replay as replays
from tests.cli.commands import lab

BROKEN = ["run", "duplicates", "--orders", "15", "--off", "dedupe,inbox", "--quiet"]


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a run that broke a promise."""
    assert app.run_command(BROKEN) == 1
    capsys.readouterr()
    return (tmp_path / "runs" / "latest").resolve()


def test_a_run_is_replayed_from_its_plan_alone_with_the_same_digest(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "away" / "plan.json"
    alone.parent.mkdir()
    alone.write_bytes((kept / "plan.json").read_bytes())
    digest = json.loads((kept / "result.json").read_bytes())["digest"]

    assert app.run_command(["replay", str(alone), "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["is_same"], told["expected"], told["found"]) == (True, digest, digest)
    assert told["result"]["verdict"] == "FAIL"


def test_a_replay_is_a_run_that_can_be_replayed(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["replay"]) == 0
    assert app.run_command(["replay"]) == 0
    assert capsys.readouterr().err == ""

    again = kept.parents[1] / "latest"
    assert again.resolve() != kept
    result = json.loads((again / "result.json").read_bytes())
    assert result["reproduce"].startswith("lab replay runs/duplicates/")


def test_another_run_is_exit_6_with_the_first_entry_that_differs(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((kept / "plan.json").read_bytes())
    plan["firings"] = plan["firings"][1:]
    _write_with_sums(kept / "plan.json", plan)

    assert app.run_command(["replay", str(kept)]) == 6

    told = capsys.readouterr().out
    assert "Differs" in told
    assert "kind=fault" in told.partition("then")[2]
    assert f"lab explain {kept} --beside runs/duplicates/" in " ".join(told.split())


def test_without_a_history_nobody_says_which_entry_differs(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((kept / "plan.json").read_bytes())
    plan["run"] |= {"digest": "0" * 32, "lab": "0.0.1"}
    _write_with_sums(kept.parent / "moved.json", plan)

    assert app.run_command(["replay", str(kept.parent / "moved.json")]) == 6

    told = capsys.readouterr().out
    assert "nobody can tell" in told
    assert "lab 0.0.1 ran it then" in told


def test_a_plan_that_was_edited_on_purpose_is_run_and_compared_with_nothing(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((kept / "plan.json").read_bytes())
    del plan["sums"]
    plan["firings"] = []
    (kept / "mine.json").write_text(json.dumps(plan))

    assert app.run_command(["replay", str(kept / "mine.json"), "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["compared_by"] == "nothing"
    assert {fault["name"]: fault["fired"] for fault in told["result"]["faults"]} == {
        "bus.duplicate": 0
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace('"version": 2', '"version": 1'), "a plan of version 1"),
        (lambda text: text[: len(text) // 2], "no fault plan: Input data was truncated"),
        (lambda text: text.replace('"seed": 1', '"seed": 2', 1), "seed: this part was changed"),
        (lambda text: text.replace('"payment"', '"orders"', 1), "firings: this part was changed"),
        (lambda text: text.replace('"orders": 15', '"orders": 16'), "run: this part was changed"),
    ],
)
def test_a_plan_that_cannot_be_used_is_exit_2_and_names_file_and_place(
    kept: Path, capsys: pytest.CaptureFixture[str], change: "object", says: str
) -> None:
    assert callable(change)
    text = (kept / "plan.json").read_text()
    (kept / "plan.json").write_text(change(text))
    before = list(kept.parent.iterdir())

    assert app.run_command(["replay"]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"lab: {Path('runs') / kept.parent.name / kept.name}/plan.json: ")
    assert says in told.err
    assert list(kept.parent.iterdir()) == before, "nothing was run"


def test_options_that_this_version_does_not_know_are_refused_by_place(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((kept / "plan.json").read_bytes())
    del plan["sums"]
    plan["run"]["options"]["seed"] = "seven"
    (kept / "mine.json").write_text(json.dumps(plan))
    plan["run"] = None
    (kept / "none.json").write_text(json.dumps(plan))

    assert app.run_command(["replay", str(kept / "mine.json")]) == 2
    assert "mine.json: run.options: Expected `int`, got `str` - at `$.seed`" in (
        capsys.readouterr().err
    )
    assert app.run_command(["replay", str(kept / "none.json")]) == 2
    assert "none.json: run: it names no run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nobody", "nobody.json", "latest~7"])
def test_a_name_of_no_run_or_plan_is_exit_2(
    kept: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert kept.is_dir()
    assert app.run_command(["replay", name]) == 2
    assert capsys.readouterr().out == ""


def test_two_histories_differ_first_where_their_lines_do(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"kind":"phase","n":1}\n{"kind":"life"}\n')
    (tmp_path / "b").write_text('{"kind":"phase","n":1}\n')
    (tmp_path / "c").write_text('{"kind":"phase","n":1}\nno JSON\n')

    assert replays.first_difference(tmp_path / "a", tmp_path / "a") is None
    assert replays.first_difference(tmp_path / "a", tmp_path / "gone") is None
    short = replays.first_difference(tmp_path / "a", tmp_path / "b")
    assert short is not None
    assert (short.number, short.then, short.now) == (2, {"kind": "life"}, None)
    odd = replays.first_difference(tmp_path / "a", tmp_path / "c")
    assert odd is not None
    assert odd.now == {"unreadable": "no JSON\n"}


@pytest.mark.slow
def test_an_interrupted_replay_is_130_and_its_plan_has_no_equal(kept: Path, tmp_path: Path) -> None:
    interrupted = Path(__file__).with_name("interrupt_at_order.py")
    ended = subprocess.run(
        [sys.executable, str(interrupted), "replay", "--json"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 130, ended.stderr
    assert json.loads(ended.stdout)["compared_by"] == "nothing"
    again = lab("replay", str(kept.parents[1] / "latest"), "--json", folder=tmp_path)
    assert json.loads(again.out)["compared_by"] == "nothing"


def test_runs_beyond_those_that_are_to_stay_are_removed(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        app.run_command(["run", "happy-path", "--orders", "3", "--quiet", "--keep-runs", "1"]) == 0
    )
    assert "removed 1 older run from runs" in capsys.readouterr().err
    assert not kept.exists()

    assert app.run_command(["list", "--runs", "--keep-runs", "1"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.split()[:4] == ["Path", "Verdict", "Size", "Age"]
    assert "happy-path" in told.out
    for words in (["list", "--keep-runs", "1"], ["list", "--runs", "--keep-runs", "0"]):
        assert app.run_command(words) == 2


def _write_with_sums(path: Path, plan: dict[str, object]) -> None:
    import msgspec

    from lab.faults.plan.file import PlanFile, write_plan

    path.write_bytes(write_plan(msgspec.convert(plan, PlanFile)))
