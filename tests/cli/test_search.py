"""`lab search`: what it finds, how it goes on, and what it refuses."""

import json
from pathlib import Path

import pytest

from lab.cli import app
from lab.explore.search import SEEDS_A_TASK, Searching
from lab.explore.spread import workers
from lab.scenarios.run_options import RunOptions

BROKEN = ("search", "duplicates", "--orders", "12", "--off", "dedupe,inbox")


def found(*arguments: str, capsys: pytest.CaptureFixture[str], code: int = 1) -> dict[str, object]:
    """The JSON of a search."""
    assert app.run_command([*arguments, "--json"]) == code, capsys.readouterr().err
    told: dict[str, object] = json.loads(capsys.readouterr().out)
    return told


def test_seeds_that_break_in_one_way_are_one_finding_with_the_line_that_repeats_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = found(*BROKEN, "--seeds", "1-8", "--jobs", "1", capsys=capsys)

    assert (result["verdict"], result["runs"], result["partial"]) == ("FAIL", 8, False)
    findings = result["findings"]
    assert isinstance(findings, list)
    assert {one["promise"] for one in findings} == {"effect-once"}
    assert sum(one["count"] for one in findings) == 8
    assert len(findings) < 8
    again = findings[0]["reproduce"].split()
    assert app.run_command(again[1:]) == 1
    assert findings[0]["witness"] in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_what_is_found_does_not_depend_on_the_number_of_jobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seeds = ("--seeds", f"1-{2 * SEEDS_A_TASK + 1}")
    one = found(*BROKEN, *seeds, "--jobs", "1", capsys=capsys)
    two = found(*BROKEN, *seeds, "--jobs", "2", capsys=capsys)

    assert one == two


def test_it_ends_when_enough_have_failed_and_says_that_seeds_are_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = found(*BROKEN, "--seeds", "1-60", "--jobs", "1", "--max-failures", "3", capsys=capsys)

    assert result["partial"] is True
    assert result["runs"] == SEEDS_A_TASK


def test_it_goes_on_where_it_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "found.ndjson"
    base = (*BROKEN, "--seeds", "1-30", "--jobs", "1")
    whole = found(*base, capsys=capsys)
    found(*base, "--max-failures", "1", "--resume", str(file), capsys=capsys)
    # Killed in the middle of a line.
    with file.open("ab") as more:
        more.write(b'[{"seed":11,')
    ran: list[int] = []
    original = Searching._batches

    def counted(self: Searching, seeds: "list[int]") -> object:
        ran.extend(seeds)
        return original(self, seeds)

    monkeypatch.setattr(Searching, "_batches", counted)
    assert found(*base, "--resume", str(file), capsys=capsys) == whole
    assert ran == list(range(11, 31))
    ran.clear()
    assert found(*base, "--resume", str(file), capsys=capsys) == whole
    assert ran == []


def test_what_was_found_until_ctrl_c_stays() -> None:
    search = Searching(RunOptions(scenario="happy-path", orders=2), range(1, 100))

    def told(_batch: object, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), workers(jobs=1) as pool:
        search.go_on(pool, told)

    result = search.result()
    assert (result.partial, result.runs, result.verdict) == (True, SEEDS_A_TASK, "PASS")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seed", "7"), "takes --seeds"),
        (("--real",), "simulated world"),
        (("--html", "x.html"), "--html"),
        (("--junit", "x.xml"), "--junit"),
        (("--jobs", "0"), "--jobs must be from 1"),
        (("--jobs", "two"), "--jobs must be a whole number"),
        (("--jobs", "2", "--cluster", "tcp://127.0.0.1:1"), "contradict"),
        (("--max-failures", "0"), "--max-failures must be"),
        (("--seeds", "9-1"), "--seeds must be like"),
        (("--off", "dedup"), "did you mean dedupe"),
        (("--resume", "."), "cannot write ."),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_run(
    more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["search", "duplicates", *more]) == 2

    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello\n", ":1: no file of a search"),
        (b'{"version":1,"lab":"0","question":"lab run x"}\n', "the file of another search"),
    ],
)
def test_the_file_of_something_else_is_refused_and_left_as_it_is(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f"
    file.write_bytes(content)

    assert app.run_command([*BROKEN, "--seeds", "1-2", "--resume", str(file)]) == 2

    assert said in capsys.readouterr().err
    assert file.read_bytes() == content
