"""`lab run`: the whole lab behind one command, its verdict, its files and its exit codes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from lab import run
from lab.cli import app
from lab.report.result import OrdersRead, result_schema
from lab.scenarios.file_tally import RefusedField, RefusedOrder
from lab.scenarios.loader import load_catalogue
from tests.cli.commands import lab

GOOD = (
    '{"at":"2010-12-01T08:26:00","customer_id":"1","country":"UK","currency":"GBP",'
    '"items":[{"sku":"MUG","quantity":%d,"unit_price_cents":255}]}\n'
)
NEVER = """
[scenarios.mine]
summary = "what it is about never happens"
orders = 20
promises = ["effect-once"]
goals = ["bus.duplicate >= 4 %"]
"""


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = app.run_command(["run", *arguments, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert isinstance(told, dict)
    return code, told


def test_the_happy_path_passes_and_leaves_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["run", "happy-path", "--orders", "20"]) == 0

    told = capsys.readouterr()
    assert told.err == ""
    lines = told.out.splitlines()
    assert "seed 1   20 orders" in lines[0]
    assert "PASS" in lines[0]
    assert len(lines) <= 24
    (folder,) = (tmp_path / "runs" / "happy-path").iterdir()
    assert folder.name.endswith("Z-s1")
    assert {path.name for path in folder.iterdir()} >= {
        "result.json",
        "plan.json",
        "history.ndjson",
    }
    assert (tmp_path / "runs" / "latest").resolve() == folder


def test_json_prints_the_result_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["run", "happy-path", "--orders", "20", "--json"]) == 0

    told = capsys.readouterr()
    assert told.err == ""
    assert told.out == (tmp_path / "runs" / "latest" / "result.json").read_text()
    result = json.loads(told.out)
    jsonschema.validate(result, json.loads(result_schema()))
    assert (result["scenario"], result["seed"], result["verdict"]) == ("happy-path", 1, "PASS")
    assert result["orders"]["submitted"] == result["orders"]["accepted"] == 20


def test_a_broken_promise_is_exit_code_1_with_a_witness(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = app.run_command(["run", "duplicates", "--orders", "60", "--off", "dedupe,inbox"])

    told = capsys.readouterr().out
    assert code == 1
    assert "FAIL" in told.splitlines()[0]
    assert "effect-once" in told
    assert "order " in told
    assert "Again          lab run duplicates" in told


def test_a_goal_that_never_happens_is_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.toml").write_text(NEVER)

    assert app.run_command(["run", "mine", "--scenarios", "own.toml"]) == 3

    told = capsys.readouterr().out
    assert "UNKNOWN" in told.splitlines()[0]
    assert "Missed         bus.duplicate >= 4 %" in told


@pytest.mark.parametrize(
    "fault", ["proc.crash@handler.after_effect#999", "bus.duplicate rate=0", "svc.slow at=1h"]
)
def test_a_fault_that_never_fires_is_exit_code_3_and_the_page_names_it(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["run", "duplicates", "--orders", "25", "--fault", "bus.delay first=1", "--fault", fault]

    assert app.run_command(base) == 3

    told = capsys.readouterr().out
    assert "UNKNOWN" in told.splitlines()[0]
    assert f"Never fired    {fault}\n" in told
    why = f"Why a fault that was asked for never fired: {fault} "
    assert why in " ".join(told.split())

    assert app.run_command([*base, "--json"]) == 3

    result = json.loads(capsys.readouterr().out)
    assert result["never_fired"] == [fault]
    fired = {one["name"]: one["fired"] for one in result["faults"]}
    assert fired["bus.delay"] > 0
    kind = fault.split(maxsplit=1)[0].partition("@")[0]
    assert (fired[kind] == 0) is (kind != "bus.duplicate"), "the scenario has duplicates of its own"


def test_a_fault_of_a_process_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault = ["--fault", "proc.term@payment-2 at=1s"]

    assert app.run_command(["run", "happy-path", "--orders", "5", *fault]) == 2

    assert "no process payment-2, because run.members is 1" in capsys.readouterr().err
    more = ["--set", "run.members=2", "--quiet"]
    assert app.run_command(["run", "happy-path", "--orders", "5", *fault, *more]) == 0


def test_quiet_prints_the_verdict_line_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run_command(["run", "happy-path", "--orders", "20", "--quiet"]) == 0

    (line,) = capsys.readouterr().out.splitlines()
    assert "PASS" in line


def test_a_flag_goes_before_its_variable_and_that_before_the_scenario(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_SEED", "5")
    monkeypatch.setenv("LAB_ORDERS", "15")
    monkeypatch.setenv("LAB_OFF", "breaker,drain")
    monkeypatch.setenv("LAB_SET_RETRY_ATTEMPTS_MAX", "4")

    _, by_variable = run_json(capsys, "happy-path")
    _, by_flag = run_json(
        capsys, "happy-path", "--seed", "7", "--off", "timeout", "--set", "retry.attempts_max=3"
    )

    def what(result: dict[str, object]) -> tuple[object, ...]:
        orders, settings = result["orders"], result["settings"]
        assert isinstance(orders, dict)
        assert isinstance(settings, dict)
        return result["seed"], orders["read"], result["off"], settings["retry.attempts_max"]

    assert what(by_variable) == (5, 15, ["drain", "breaker"], 4)
    assert what(by_flag) == (7, 15, ["timeout"], 3)


def test_the_line_under_again_runs_exactly_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, first = run_json(
        capsys, "duplicates", "--orders", "30", "--seed", "9", "--off", "inbox", "--rate", "7",
        "--fault", "svc.error@mailer rate=0.1", "--set", "retry.in_place=2",
    )  # fmt: skip
    command = first["reproduce"]
    assert isinstance(command, str)

    words = shlex.split(command)
    assert words[:2] == ["lab", "run"]
    _, second = run_json(capsys, *words[2:])

    assert second["digest"] == first["digest"]
    assert second["reproduce"] == first["reproduce"]


def test_seeds_have_a_line_each_and_keep_no_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["run", "happy-path", "--orders", "10", "--seeds", "1-3"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["seed", str(seed), "PASS"] for seed in (1, 2, 3)
    ]
    assert "3 seeds" in lines[3]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_seeds_tell_in_which_world_they_ran(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run_json(capsys, "happy-path", "--orders", "3", "--seeds", "1-2", "--wall-clock")

    assert code == 0
    assert told["mode"] == "wall-clock"


def test_seeds_as_json_are_one_object_and_as_bad_as_the_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = run_json(
        capsys, "duplicates", "--orders", "30", "--seeds", "4,2", "--off", "dedupe,inbox",
        "--out", "kept",
    )  # fmt: skip

    assert code == 1
    assert told["verdict"] == "FAIL"
    runs = told["runs"]
    assert isinstance(runs, list)
    assert [one["seed"] for one in runs] == [4, 2]
    assert all("effect-once" in one["broken"] for one in runs)
    assert len(list((tmp_path / "kept" / "duplicates").iterdir())) == 2


def test_orders_of_a_file_are_counted_by_what_became_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [GOOD % 1, GOOD % 0, "nonsense\n", GOOD % -3, GOOD % 2]
    (tmp_path / "orders.ndjson").write_text("".join(lines))

    code, told = run_json(capsys, "real-orders", "--orders-from", "orders.ndjson")

    orders = told["orders"]
    assert isinstance(orders, dict)
    assert code == 0
    assert (orders["read"], orders["unreadable"], orders["submitted"]) == (5, 1, 4)
    assert (orders["accepted"], orders["refused"]) == (2, 2)
    assert orders["refused_by_reason"] == {"quantity_below_1": 2}
    (bad,) = told["unreadable_lines"] if isinstance(told["unreadable_lines"], list) else []
    assert bad["line"] == 3


@pytest.mark.slow
def test_the_shipped_orders_pass(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run_json(capsys, "real-orders")

    orders = told["orders"]
    assert isinstance(orders, dict)
    assert code == 0
    assert (orders["read"], orders["accepted"], orders["refused"]) == (500, 357, 143)
    assert set(orders["refused_by_reason"]) == {
        "quantity_below_1", "customer_missing", "price_below_1", "sku_empty",
    }  # fmt: skip


def test_a_python_program_gets_the_same_result(capsys: pytest.CaptureFixture[str]) -> None:
    _, told = run_json(capsys, "duplicates", "--orders", "30", "--seed", "7")

    result = run("duplicates", seed=7, orders=30)

    assert result.verdict == "PASS"
    assert result.digest == told["digest"]
    assert result.run_dir is None


@pytest.mark.parametrize(
    "command",
    [
        command
        for scenario in load_catalogue().values()
        for command in scenario.next
        if "FILE" not in command
    ],
)
def test_every_next_step_is_a_command_that_works(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)
    if words[1] != "list":
        words += ["--seeds", "1"] if "--seeds" in words else ["--quiet"]
        words += ["--orders", "5"]

    assert app.run_command(words[1:]) in (0, 1, 3)

    told = capsys.readouterr()
    assert told.out
    assert told.err == ""


def test_kept_runs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    app.run_command(["run", "happy-path", "--orders", "5", "--seed", "3", "--quiet"])
    capsys.readouterr()

    assert app.run_command(["list", "--runs", "--json"]) == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert (row["scenario"], row["seed"], row["verdict"]) == ("happy-path", 3, "PASS")
    assert Path(row["path"], "result.json").is_file()


@pytest.mark.slow
def test_an_interrupted_run_leaves_a_partial_report(tmp_path: Path) -> None:
    interrupted = Path(__file__).with_name("interrupt_at_order.py")
    ended = subprocess.run(
        [sys.executable, str(interrupted), "run", "happy-path", "--json"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 130, ended.stderr
    told = json.loads(ended.stdout)
    assert told["partial"] is True
    assert told["orders"]["submitted"] > 0
    assert json.loads((tmp_path / "runs" / "latest" / "result.json").read_text()) == told


@pytest.mark.slow
def test_orders_come_through_a_pipe(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe:
        for minute in range(3):
            pipe.write((GOOD % 1).replace("08:26:00", f"08:{minute:02}:00"))
    ended = subprocess.run(
        [sys.executable, "-m", "lab", "run", "real-orders", "--orders-from", "-", "--json"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=read,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(read)

    assert json.loads(ended.stdout)["orders"]["accepted"] == 3, ended.stderr


HEADER = "order,at,customer_id,country,currency,sku,quantity,unit_price_cents\n"


def test_a_clean_file_proves_as_much_as_the_sample_with_its_refusals(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f"{HEADER}1,2026-04-05,c1,DE,EUR,A,2,1000\n2,2026-04-06,c1,DE,JPY,A,1,7\n")

    result = run("real-orders", orders_from=path)

    assert (result.verdict, result.goals) == ("PASS", ())
    assert result.input == OrdersRead(
        rows=2,
        orders=2,
        unreadable=0,
        amounts={"EUR": 2_000, "JPY": 7},
        first_at="2026-04-05T00:00:00.000000Z",
        last_at="2026-04-06T00:00:00.000000Z",
        before_predecessor=0,
    )


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (
            "2,2026-04-06,c1,DE,EUR,,1,7\n3,2026-04-06,,DE,EUR,A,1,7\n",
            "orders of the file were ref",
        ),
        ("2,never,c1,DE,EUR,A,1,7\n3,x,c1,DE,EUR,A,1,7\n", "most of the file could not be read"),
    ],
)
def test_a_file_of_which_most_is_not_run_proves_nothing(tmp_path: Path, bad: str, why: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f"{HEADER}1,2026-04-05,c1,DE,EUR,A,2,1000\n{bad}")

    result = run("real-orders", orders_from=path)

    assert result.verdict == "UNKNOWN"
    assert why in result.why


def test_a_refusal_can_be_traced_to_its_line(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f"{HEADER}1,2026-04-05,c1,DE,EUR,A,2.0,1000\n2,2026-04-06,c1,DE,EUR,A,1,7\n")

    (refused,) = run("real-orders", orders_from=path).refused_orders

    assert refused == RefusedOrder(
        order=1, line=2, reasons=(RefusedField("type_wrong", "items[0].quantity", '"2.0"'),)
    )


def test_an_order_that_the_client_spoils_is_no_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f"{HEADER}1,2026-04-05,c1,DE,EUR,A,2,1000\n")

    result = run("real-orders", orders_from=path, faults="client.unsound_order rate=1")

    assert (result.verdict, result.orders.refused, result.refused_orders) == ("PASS", 1, ())


@pytest.mark.slow
def test_a_full_disk_costs_the_folder_and_neither_the_page_nor_the_exit_code(
    tmp_path: Path,
) -> None:
    command = f"ulimit -f 100; exec {sys.executable} -m lab run duplicates"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert " PASS" in ended.stdout.splitlines()[0]
    page = " ".join(ended.stdout.split())
    assert "Note the run could not be kept in runs/duplicates: File too large; choose" in page
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_colours_are_for_terminals_only(tmp_path: Path) -> None:
    told = lab("run", "happy-path", "--orders", "5", folder=tmp_path)

    assert told.code == 0
    assert "\x1b" not in told.out
    assert told.err == ""
