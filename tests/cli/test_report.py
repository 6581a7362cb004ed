"""`lab report`, and `--html` and `--junit` of a run: as a user would call them."""

import os
import stat
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from lab.cli import app
from tests.cli.commands import lab
from tests.kit.html_page import read_page


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a run."""
    assert app.run_command(["run", "duplicates", "--orders", "20", "--quiet"]) == 0
    capsys.readouterr()
    return (tmp_path / "runs" / "latest").resolve()


def test_the_newest_run_gets_its_report_in_its_folder(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["report"]) == 0

    told = capsys.readouterr()
    assert told.err == ""
    path = Path(told.out.strip())
    assert path.resolve() == kept / "report.html"
    page = read_page(path.read_text("utf-8"))
    assert page.one("h1").text.startswith("PASS All")
    assert "lab run duplicates --seed 1 --orders 20" in page.one("section", id="next").text


def test_a_name_and_a_file_may_be_given(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["report", "duplicates", "--html", "mine.html"]) == 0
    assert app.run_command(["report", str(kept), "--html", "other.html"]) == 0

    assert capsys.readouterr().out == "mine.html\nother.html\n"
    assert (tmp_path / "mine.html").read_bytes() == (tmp_path / "other.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.html", "other.html", "runs"]


def test_two_runs_are_shown_beside_each_other(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["run", "happy-path", "--orders", "10", "--quiet"]) == 0
    capsys.readouterr()

    assert app.run_command(["report", "latest", "--beside", "duplicates"]) == 0

    path = Path(capsys.readouterr().out.strip())
    assert path.name == f"beside-duplicates-{kept.name}.html"
    assert "A is PASS" in read_page(path.read_text("utf-8")).one("h1").text


def test_open_shows_it_in_the_browser_of_the_user(kept: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$(dirname "$0")/shown"\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)

    told = lab("report", "--open", folder=tmp_path, variables={"BROWSER": f"{browser} %s"})

    assert (told.code, told.err) == (0, "")
    assert (tmp_path / "shown").read_text().strip() == (kept / "report.html").as_uri()


def test_without_a_browser_it_says_what_to_open(kept: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "empty"
    nothing.mkdir()

    told = lab("report", "--open", folder=tmp_path, variables={"BROWSER": "", "PATH": str(nothing)})

    assert told.code == 0
    assert told.err.startswith("lab: no browser was found here; open ")
    assert (kept / "report.html").is_file()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["report", "nobody"], "there is no run 'nobody' in runs; see: lab list --runs"),
        (["report", "--beside", "nobody"], "there is no run 'nobody' in runs"),
        (["report", "--html", "none/x.html"], "there is no folder none; make it first"),
        (["report", "--html", "runs"], "it is a folder; name a file in it"),
        (["report", "--out", "none"], "there is no run in none; make one: lab run happy-path"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    command: list[str], message: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(command) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert not (kept / "report.html").exists()


def test_a_folder_that_is_no_run_is_refused(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kept / "result.json").write_text('{"schema_version": 1}')

    assert app.run_command(["report", str(kept)]) == 2

    assert "is no result of this version of the lab" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[:-1], "the history has"),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], "the file breaks off here"),
        (
            lambda lines: [lines[0].replace(b"faults", b"faulty"), *lines[1:]],
            "not the one that was judged",
        ),
        (lambda lines: [b"{}\n", *lines[1:]], "line 1: no entry of this version"),
    ],
)
def test_a_truncated_or_changed_history_is_refused(
    spoil: object, message: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = kept / "history.ndjson"
    assert callable(spoil)
    history.write_bytes(b"".join(spoil(history.read_bytes().splitlines(keepends=True))))

    assert app.run_command(["report"]) == 2

    told = capsys.readouterr().err
    assert message in told
    assert "run it again" in told
    assert not (kept / "report.html").exists()


def test_a_run_without_a_history_is_refused(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kept / "history.ndjson").unlink()

    assert app.run_command(["report"]) == 2

    assert "No such file" in capsys.readouterr().err


# ---- of a run that is made now


def test_a_run_writes_its_report_and_its_test_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--off", "dedupe,inbox", "--orders", "20", "--html", "r.html", "--junit", "r.xml"]

    assert app.run_command(["run", "duplicates", *asked]) == 1

    told = capsys.readouterr()
    assert told.err == ""
    assert "effect-once" in told.out
    assert read_page((tmp_path / "r.html").read_text("utf-8")).one("h1").text.startswith("FAIL")
    suite = fromstring((tmp_path / "r.xml").read_bytes())
    assert suite.get("failures") == "2"
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_what_is_printed_is_the_same_with_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*more: str) -> str:
        asked = ["run", "happy-path", "--orders", "10", "--json", "--out", "o", *more]
        assert app.run_command(asked) == 0
        return "\n".join(
            line for line in capsys.readouterr().out.splitlines()
            if '"wall_ms"' not in line and '"run_dir"' not in line
        )  # fmt: skip

    assert told() == told("--html", str(tmp_path / "x.html"))


def test_chaos_takes_both_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "chaos --duplicate-rate 0.3 --orders 20 --quiet --html c.html --junit c.xml"

    assert app.run_command(line.split()) == 0

    page = read_page((tmp_path / "c.html").read_text("utf-8"))
    assert "Without faults" in page.one("section", id="costs").text
    assert fromstring((tmp_path / "c.xml").read_bytes()).get("failures") == "0"
    assert capsys.readouterr().err == ""


def test_many_seeds_are_test_cases_and_have_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["run", "happy-path", "--orders", "5", "--seeds", "1-3", "--quiet"]

    assert app.run_command([*asked, "--junit", "s.xml"]) == 0
    assert app.run_command([*asked, "--html", "s.html"]) == 2

    assert fromstring((tmp_path / "s.xml").read_bytes()).get("tests") == "3"
    assert "--html is of one run" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("--html", "--junit"):
        assert app.run_command(["run", "happy-path", flag, "none/x"]) == 2

    assert "there is no folder none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_written_to_and_not_replaced(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    small = ["run", "happy-path", "--orders", "2", "--seeds", "1", "--quiet"]

    assert app.run_command([*small, "--junit", str(pipe)]) == 0

    assert os.read(reader, 1 << 16).startswith(b"<?xml")
    os.close(reader)
    assert pipe.is_fifo()
    assert kept.is_dir()
    assert capsys.readouterr().err == ""


def test_variables_name_the_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_JUNIT", "v.xml")

    assert app.run_command(["run", "happy-path", "--orders", "5", "--quiet"]) == 0

    assert (tmp_path / "v.xml").is_file()
    assert "PASS" in capsys.readouterr().out
