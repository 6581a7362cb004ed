"""`lab explain`: the story of an order, as a user would ask for it."""

import json
import re
from pathlib import Path

import pytest

from lab.cli import app

BROKEN = ["run", "duplicates", "--orders", "15", "--quiet"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a healthy run, and a later one that broke a promise."""
    place = tmp_path_factory.mktemp("kept")
    assert app.run_command([*BROKEN, "--out", str(place)]) == 0
    assert app.run_command([*BROKEN, "--off", "dedupe,inbox", "--out", str(place)]) == 1
    return place


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(
    kept: Path, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0
) -> tuple[str, str]:
    assert app.run_command(["explain", *words, "--out", str(kept)]) == code
    shown = capsys.readouterr()
    return shown.out, shown.err


def test_it_begins_with_what_was_promised_what_happened_and_what_made_it_inevitable(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = told(kept, capsys)

    assert err == ""
    head = " ".join(out.split("Where the two runs part")[0].split())
    assert re.search(r"Promised .*takes effect at most once .*\(effect-once\)\.", head)
    assert "Happened Order 1: its revenue was added 2 times." in head
    assert re.search(r"Inevitable From 0\.\d+s on: the store adds .* for the second time\.", head)
    assert "Before it, at" in head
    assert "fault bus.duplicate at notification" in head


def test_it_shows_where_the_run_parts_from_the_same_plan_with_the_patterns_on(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = json.loads(told(kept, capsys, "--json")[0])

    without, healthy = story["parting"]["sides"]
    assert (without["label"], healthy["label"]) == ("without dedupe, inbox", "with dedupe, inbox")
    assert "starts its handler of OrderValidated, for the second time" in without["told"][0]
    assert "a duplicate: suppressed by dedupe" in healthy["told"][0]
    line = (kept / "latest" / "history.ndjson").read_text().splitlines()[story["turning_entry"] - 1]
    assert '"kind":"revenue"' in line


@pytest.mark.parametrize("columns", [40, 60, 72, 80, 120])
def test_every_step_is_told_at_any_width_and_no_line_is_longer(
    kept: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    out, _ = told(kept, capsys, "latest", "--order", "1", "--beside", "latest~1")

    assert max(map(len, out.splitlines())) <= columns
    assert "\x1b" not in out
    steps = " ".join(out.split())
    for step in ("sends POST /orders", "gets OrderConfirmed again", "calls mailer: send"):
        assert step in steps
    assert "<--" in steps


def test_two_kept_runs_part_where_they_first_differ(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = json.loads(told(kept, capsys, "latest~1", "--beside", "latest", "--json")[0])
    assert [side["told"][0].partition("  ")[2] for side in story["parting"]["sides"]] == [
        "payment-1: a duplicate: suppressed by dedupe",
        "payment-1 starts its handler of OrderValidated, for the second time",
    ]
    assert story["verdict"] == "PASS"

    alike = json.loads(told(kept, capsys, "latest", "--beside", "latest", "--json")[0])
    assert alike["parting"]["sides"] == []


def test_of_a_run_that_held_it_tells_what_saved_the_order(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = told(kept, capsys, "latest~1")

    assert "more than any other order" in out
    assert "It held: " in out
    assert re.search(r"Saved by +First at 0\.\d+s: .*suppressed by dedupe", " ".join(out.split()))


def test_of_another_order_its_own_witness_is_told(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads((kept / "latest" / "result.json").read_bytes())
    hit = [order for fault in result["faults"] for order in fault["orders"] if order != 1]
    stories = [
        json.loads(told(kept, capsys, "--order", str(order), "--json")[0]) for order in hit[:3]
    ]

    for story in stories:
        happened = story["sentences"][1]["text"]
        assert happened.startswith((f"Order {story['order']}: ", "It held: "))


def test_quiet_prints_the_sentences_alone(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = told(kept, capsys, "--quiet")

    assert "Inevitable" in out
    assert "POST /orders" not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nobody",), "there is no run 'nobody'"),
        (("duplicates",), "'duplicates' may be one of 2 runs"),
        (("latest~9",), "there are only 2 runs"),
        (("--order", "99"), "has no order 99: its orders are 1 to 15"),
        (("--order", "0"), "--order must be 1 or more"),
        (("--order", "one"), "--order must be a whole number, not 'one'"),
        (("--beside", "nobody"), "there is no run 'nobody'"),
    ],
)
def test_what_cannot_be_told_is_exit_2(
    kept: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    out, err = told(kept, capsys, *words, code=2)

    assert out == ""
    assert says in err


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("result.json", lambda data: data.replace(b'"schema_version"', b'"version"'), "no result"),
        ("history.ndjson", lambda data: data[: len(data) // 2], "the file breaks off here"),
        ("history.ndjson", lambda data: data.replace(b'"kind":"row"', b'"kind":"raw"'), "line"),
    ],
)
def test_a_run_of_another_version_or_one_that_was_tampered_with_is_exit_2_by_place(
    kept: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    spoil: "object",
    says: str,
) -> None:
    assert callable(spoil)
    run = tmp_path / "runs" / "duplicates" / "20260101T000000Z-s1"
    run.mkdir(parents=True)
    for source in (kept / "latest").iterdir():
        data = source.read_bytes()
        (run / source.name).write_bytes(spoil(data) if source.name == file else data)

    out, err = told(tmp_path / "runs", capsys, code=2)

    assert out == ""
    assert f"{run}/{file}" in err
    assert says in err


def test_without_its_plan_the_story_is_told_and_says_what_is_missing(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "duplicates" / "20260101T000000Z-s1"
    run.mkdir(parents=True)
    for name in ("result.json", "history.ndjson"):
        (run / name).write_bytes((kept / "latest" / name).read_bytes())

    out, _ = told(tmp_path / "runs", capsys)

    assert "nobody can say: cannot read" in " ".join(out.split())
    assert "Inevitable" in out


def test_the_result_page_ends_with_the_way_on_where_it_would_say_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run_command(["run", "duplicates", "--orders", "5"]) == 0
    assert "lab explain" not in capsys.readouterr().out

    assert app.run_command(["run", "duplicates", "--orders", "5", "--off", "dedupe,inbox"]) == 1
    ways = capsys.readouterr().out.splitlines()[-2:]
    assert ways == ["Story          lab explain", "Smaller        lab shrink"]
    words = ["run", "duplicates", "--orders", "5", "--off", "dedupe,inbox", "--out", "mine"]
    assert app.run_command(words) == 1
    story, smaller = capsys.readouterr().out.splitlines()[-2:]
    assert story.startswith("Story          lab explain mine/duplicates/")
    assert smaller.startswith("Smaller        lab shrink mine/duplicates/")
    assert app.run_command(story.split()[2:]) == 0
