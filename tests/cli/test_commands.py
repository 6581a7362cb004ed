"""The command line without a run: what is listed, and what is refused in one message."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import patterns
from lab.bench.parts import REAL, SIMULATED, BenchPart
from lab.cli import app
from lab.cli.options import complete_scenario, parse_seeds
from lab.faults.table.kinds import KINDS
from lab.settings_table import SETTINGS
from tests.cli.commands import lab


def test_bare_lab_shows_three_commands_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command([]) == 0

    told = capsys.readouterr()
    assert len([line for line in told.out.splitlines() if line.startswith("  lab ")]) == 3
    assert told.err == ""
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["--version"]) == 0

    assert capsys.readouterr().out == "lab 0.1.0\n"


def test_python_dash_m_is_the_same_command(tmp_path: Path) -> None:
    told = lab("--version", folder=tmp_path)

    assert (told.code, told.out, told.err) == (0, "lab 0.1.0\n", "")


def test_help_imports_nothing_that_takes_time() -> None:
    script = (
        "import sys; from lab.cli.app import run_command; run_command(['--help']); "
        "print([name for name in ('rich', 'msgspec', 'starlette', 'faker', 'lab.wiring') "
        "if name in sys.modules])"
    )

    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert told.stdout.splitlines()[-1] == "[]"
    assert "Usage: lab [OPTIONS] COMMAND" in told.stdout


def test_every_mistake_of_a_user_is_known_by_the_name_of_its_class() -> None:
    for name in (*app.USAGE_ERRORS, app.NOT_READY_ERROR):
        module, _, kind = name.rpartition(".")
        error = getattr(importlib.import_module(module), kind)
        assert f"{error.__module__}.{error.__qualname__}" == name


def test_every_scenario_is_listed_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["list"]) == 0
    listed = capsys.readouterr().out
    assert app.run_command(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert len(told) >= 13
    for row in told:
        assert row["name"] in listed
        assert set(row) >= {"name", "summary", "patterns", "promises", "worlds"}


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("--patterns", list(patterns.NAMES)),
        ("--settings", [setting.name for setting in SETTINGS]),
        ("--faults", list(KINDS)),
    ],
)
def test_every_row_of_a_table_is_listed(
    form: str, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["list", form]) == 0
    listed = capsys.readouterr().out
    assert app.run_command(["list", form, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert [row["name"] for row in told] == names
    assert all(name in listed for name in names)


def test_promises_are_listed_in_a_sentence_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["list", "--promises", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert "no-double-charge" in [row["name"] for row in told]
    assert all(row["promise"] and row["kind"] in {"safety", "liveness"} for row in told)


def test_a_story_tells_what_goes_wrong_and_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["list", "duplicates"]) == 0
    told = capsys.readouterr().out

    assert "duplicates: every fifth record is delivered twice" in told
    assert "bus.duplicate rate=0.2" in told
    assert "dedupe: against most duplicates" in told
    assert "lab run duplicates --off dedupe,inbox" in told


def test_a_story_says_when_orders_come_faster(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["list", "black-friday"]) == 0

    assert "1000, at 20 a second, spike 20x at=5s for=2s" in capsys.readouterr().out


def test_the_list_of_faults_says_in_which_world_each_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run_command(["list", "--faults", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert {row["name"]: tuple(row["worlds"]) for row in told} == {
        kind.name: kind.worlds for kind in KINDS.values()
    }
    assert app.run_command(["list", "--faults"]) == 0
    assert " both " in capsys.readouterr().out


def test_a_printed_table_is_a_scenario_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["list", "duplicates", "--toml"]) == 0
    own = tmp_path / "own.toml"
    own.write_text(capsys.readouterr().out.replace("scenarios.duplicates", "scenarios.mine"))

    assert app.run_command(["list", "mine", "--scenarios", str(own), "--json"]) == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "mine"
    assert row["faults"][0] == "bus.duplicate rate=0.2"


def test_without_runs_the_list_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["list", "--runs", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "nothing yet\n"
    assert app.run_command(["list", "--runs", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("rnu", "No such command 'rnu'. Did you mean 'run'?"),
        ("--version2", "No such option: --version2"),
        ("run x --sed 7", "--seed"),
        ("run duplicats", "unknown scenario 'duplicats'; did you mean duplicates?"),
        ("run a b", "unexpected extra argument"),
        ("run happy-path --seed", "requires an argument"),
        ("run happy-path --seed x", "--seed must be a whole number, not 'x'"),
        ("run happy-path --seed -1", "--seed must be a whole number, not '-1'"),
        ("run happy-path --seed 99999999999999999999", "--seed must be a whole number"),
        ("run happy-path --seed 9223372036854775808", "seed must be from 0"),
        ("run happy-path --orders 0", "orders must be from 1 to 10,000,000"),
        ("run happy-path --orders 1e3", "--orders must be a whole number, not '1e3'"),
        ("run happy-path --rate nan", "--rate must be a number above 0, not 'nan'"),
        ("run happy-path --rate inf", "--rate must be a number above 0"),
        ("run happy-path --rate 0", "--rate must be a number above 0"),
        ("run happy-path --rate 1e9", "rate must be"),
        ("run happy-path --speed fast", "--speed must be a number above 0"),
        ("run happy-path --off dedup", "unknown pattern 'dedup'; did you mean dedupe?"),
        ("run happy-path --off inbox,dedup", "unknown pattern 'dedup'; did you mean dedupe?"),
        ("run happy-path --only effect-onc", "unknown promise 'effect-onc'; did you mean effect-"),
        ("run happy-path --real --store memory", "--real is all real parts: leave --bus, --store"),
        ("run happy-path --real --keep --seeds 1-2", "--keep is of one run, whose page names"),
        ("run happy-path --keep", "--keep is of what a real part makes"),
        ("run happy-path --set retry", "--set must be KEY=VALUE, not 'retry'"),
        ("run happy-path --set retry.atempts_max=3", "did you mean retry.attempts_max?"),
        ("run happy-path --set retry.attempts_max=x", "must be a whole number, not 'x'"),
        ("run happy-path --fault bus.dupicate", "did you mean bus.duplicate?"),
        ("run happy-path --fault bus.duplicate:x", "bus.duplicate"),
        ("run happy-path --history some", "--history must be all or witnesses, not 'some'"),
        ("run happy-path --scenarios none.toml", "cannot read none.toml"),
        ("run happy-path --scenarios .", "is a directory"),
        ("run happy-path --orders-from none", "there is no file none"),
        ("run happy-path --orders-from .", "is a directory"),
        ("run happy-path --out file", "cannot write runs to file"),
        ("run happy-path --seeds 5-1", "--seeds must be like 1-20"),
        ("run happy-path --seeds 1-9999999", "more than 1,000,000"),
        ("run happy-path --seeds 1-2 --seed 3", "contradict each other"),
        ("list duplicates --faults", "ask for one at a time"),
        ("list --settings --faults", "ask for one at a time"),
        ("list --toml", "lab list NAME --toml"),
        ("list --toml --json duplicates", "leave one out"),
        ("list duplicats", "did you mean duplicates?"),
        ("bench --rounds 0", "--rounds must be from 1"),
        ("bench --threshold p99", "'p99' is no threshold"),
        ("bench --threshold p98<3ms", "did you mean p9"),
        ("bench --compare nowhere.json", "nowhere.json cannot be read"),
        ("bench --only oder", "'oder'; did you mean order? There are order, core, chaos, pace"),
        ("bench --only bus,kafka", "--only kafka is of lab bench --real"),
        ("bench --real --only bus", "--only bus is of lab bench without --real"),
        ("bench --only ,", "--only is empty"),
        ("bench --only bus --threshold p99<3ms", "--only must name latency"),
        ("bench --only bus --threshold a_run<3", "nothing that is measured is called 'a_run'"),
        ("bench --real --only http --threshold p99<3ms", "--only must name run"),
        ("bench --duration 3", "--duration must be a length of time such as"),
        ("bench --duration 0s", "--duration must be a length of time such as"),
        ("bench --duration 11m", "--duration must be from 1s to 10m, not 11m"),
        ("bench --duration 9s --rounds 2", "--duration and --rounds contradict each other"),
        ("bench --duration 9s --only sizes", "--duration is of rounds, and sizes has none"),
        ("bench --duration 9s --real --only http", "the load of the whole run: add --only run"),
        ("bench --orders 100,200", "--orders is of --only sizes"),
        ("bench --only sizes --orders 100", "--orders must be 2 to 10 growing numbers"),
        ("bench --only sizes --orders 200,100", "growing numbers from 100 to 1,000,000"),
        ("bench --only sizes --orders 99,200", "growing numbers from 100 to 1,000,000"),
        ("bench --only sizes --orders 1e3,2e3", "such as 1000,10000,100000, not '1e3,2e3'"),
    ],
)
def test_wrong_usage_is_one_message_with_exit_code_2_and_nothing_else(
    command: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")

    assert app.run_command(command.split()) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert told.err.startswith("lab: ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("parts", [SIMULATED, REAL], ids=["simulated", "real"])
def test_the_help_of_the_bench_names_every_part(
    parts: Sequence[BenchPart], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["bench", "--help"]) == 0

    told = re.findall(r"[a-z]+", capsys.readouterr().out)
    assert [part.name for part in parts if part.name not in told] == []


def test_what_a_variable_says_of_runs_is_nothing_to_a_bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_ONLY", "no-lost-event")
    monkeypatch.setenv("LAB_ORDERS", "7")

    assert app.run_command(["bench", "--only", "bus", "--rounds", "1", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["parts"] == ["bus"]
    assert [one["name"] for one in report["figures"]] == ["memory bus, events"]


def test_an_empty_name_of_a_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["run", "happy-path", "--out", ""]) == 2
    assert app.run_command(["list", "--runs", "--out", ""]) == 2

    assert "--out must be the name of a folder, not ''" in capsys.readouterr().err


def test_run_without_a_name_shows_the_list_beside_the_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run_command(["run"]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert "lab run NAME" in told.err
    assert "duplicates" in told.err


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("LAB_SEED", "x", "LAB_SEED must be a whole number, not 'x'"),
        ("LAB_RATE", "-1", "LAB_RATE must be a number above 0"),
        ("LAB_OFF", "dedup", "unknown pattern 'dedup'; did you mean dedupe?"),
        ("LAB_SET_RETRY_ATEMPTS_MAX", "3", "did you mean LAB_SET_RETRY_ATTEMPTS_MAX?"),
        ("LAB_SET_RETRY_ATTEMPTS_MAX", "many", "retry.attempts_max must be a whole number"),
        ("LAB_JSON", "perhaps", "LAB_JSON must be 1 or 0"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(
    variable: str,
    value: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)

    assert app.run_command(["run", "happy-path"]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_ours_is_told_in_one_line_with_exit_code_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_path: str) -> Path:
        raise KeyError("oops\nand more")

    monkeypatch.setattr("lab.scenarios.loader.load_catalogue", breaks)

    assert app.run_command(["list"]) == 70

    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "KeyError" in told.err
    assert "LAB_DEBUG=1" in told.err


def test_the_traceback_of_a_mistake_is_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_path: str) -> Path:
        raise KeyError("oops")

    monkeypatch.setattr("lab.scenarios.loader.load_catalogue", breaks)
    monkeypatch.setenv("LAB_DEBUG", "1")

    assert app.run_command(["list"]) == 70

    assert "Traceback" in capsys.readouterr().err


def test_every_mistake_of_the_user_is_known_by_a_name_that_exists() -> None:
    for name in app.USAGE_ERRORS:
        module, _, kind = name.rpartition(".")
        assert issubclass(getattr(__import__(module, fromlist=[kind]), kind), ValueError)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("7", (7,)), ("1-4", (1, 2, 3, 4)), ("1,9-10, 3", (1, 9, 10, 3)), ("1-2,2-3", (1, 2, 3))],
)
def test_seeds_are_a_range_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


def test_scenario_names_are_completed() -> None:
    assert complete_scenario("crash") == [
        "crashes",
        "crash-before-ack",
        "crash-between-commit-and-publish",
        "crash-loop",
    ]


def test_a_reader_who_goes_away_is_no_error() -> None:
    told = subprocess.run(
        f"{sys.executable} -m lab list --settings --json | head -n 1",
        shell=True,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout == "[\n"
    assert told.stderr == ""


def test_a_closed_standard_output_is_told(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m lab list >&-"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stderr == "lab: cannot write to standard output: it is closed\n"


def test_a_full_disk_behind_standard_output_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(
            [sys.executable, "-m", "lab", "list", "--patterns"],
            cwd=Path(__file__).parents[2],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert told.returncode == 2
    assert "cannot write to standard output" in told.stderr
