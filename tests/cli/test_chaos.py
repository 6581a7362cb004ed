"""`lab chaos`: a mixture of faults out of flags, and what it costs."""

import dataclasses
import json
import shlex
from pathlib import Path

import jsonschema
import pytest

from lab import run
from lab.cli import app
from lab.cli.chaos import FAULT_FLAGS, FaultFlags
from lab.faults.table.spec import parse_fault
from lab.report.result import result_schema

Told = dict[str, object]


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def chaos(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, Told]:
    code = app.run_command(["chaos", *shlex.split(line), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert isinstance(told, dict)
    return code, told


def asked_faults(told: Told) -> list[str]:
    options = told["options"]
    assert isinstance(options, dict)
    return list(options["faults"])


def test_duplicates_are_all_stopped_and_stand_beside_the_calm_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run_command(["chaos", "--duplicate-rate", "0.2", "--orders", "100"]) == 0

    page = capsys.readouterr().out
    assert page.startswith("chaos   simulated   seed 1   100 orders")
    assert "deliveries duplicates, all stopped\n" in page
    assert "No faults      deliveries 5.0   attempts 5.0   calls 6.0   p50/p95/p99 " in page
    assert "Again          lab chaos --duplicate-rate 0.2 --seed 1 --orders 100\n" in page
    assert "--duplicate-rate 0.2 --off dedupe,inbox\n" in page


def test_without_its_patterns_the_same_line_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = chaos(capsys, "--duplicate-rate 0.2 --orders 100 --off dedupe,inbox")

    checks, metrics = told["checks"], told["metrics"]
    assert isinstance(checks, list)
    assert isinstance(metrics, dict)
    assert code == 1
    assert "effect-once" in [check["name"] for check in checks if check["verdict"] == "FAIL"]
    assert metrics["duplicates"] > 0
    assert metrics["duplicates_stopped"] == 0


def test_the_calm_run_is_the_same_load_without_any_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, told = chaos(capsys, "--duplicate-rate 0.3 --orders 60 --seed 5 --set retry.in_place=2")

    jsonschema.validate(told, json.loads(result_schema()))
    calm = run("happy-path", orders=60, rate=50, seed=5, settings={"retry.in_place": 2})
    beside, metrics = told["without_faults"], told["metrics"]
    assert isinstance(beside, dict)
    assert isinstance(metrics, dict)
    assert beside["digest"] == calm.digest
    assert beside["metrics"] == calm.metrics
    assert beside["metrics"].keys() == metrics.keys()
    assert metrics["deliveries"] > beside["metrics"]["deliveries"]
    assert calm.without_faults is None


def test_every_flag_is_short_for_a_fault_that_exists() -> None:
    for flag in FAULT_FLAGS:
        spec = parse_fault(flag.spec.format(value="0.5", at_ms=1_500, ms=2_000))
        assert spec.kind == flag.kind


def test_every_flag_but_the_length_of_the_load_has_its_fault() -> None:
    flags = [field.name for field in dataclasses.fields(FaultFlags)]

    assert flags == [*(flag.field for flag in FAULT_FLAGS), "for_"]


def test_a_mixture_is_the_sum_of_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    _, told = chaos(
        capsys,
        "--duplicate-rate .25 --timeout-rate 0.1 --error-rate 0 --orders 40 "
        "--fault 'svc.error@mailer#5 status=500'",
    )

    assert asked_faults(told) == [
        "bus.duplicate rate=0.25",
        "svc.timeout rate=0.1",
        "svc.error@mailer#5 status=500",
    ]
    goals = told["goals"]
    assert isinstance(goals, list)
    assert [goal["goal"] for goal in goals] == [
        "bus.duplicate >= 1",
        "svc.timeout >= 1",
        "svc.error >= 1",
    ]


@pytest.mark.parametrize(
    ("line", "orders", "rate"),
    [
        ("", 500, 50.0),
        ("--orders 40", 40, 50.0),
        ("--for 2", 100, 50.0),
        ("--for 2 --rate 10", 20, 10.0),
        ("--for 2 --orders 30", 30, 15.0),
        ("--rate 100 --orders 30", 30, 100.0),
        ("--for 0.001", 1, 50.0),
    ],
)
def test_the_length_of_the_load_is_said_in_orders_or_seconds(
    line: str, orders: int, rate: float, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = chaos(capsys, f"--duplicate-rate 0 {line}")

    options = told["options"]
    assert isinstance(options, dict)
    assert (options["orders"], options["rate"]) == (orders, rate)


@pytest.mark.parametrize(
    "line",
    [
        "--duplicate-rate 0.2 --orders 40 --seed 9",
        "--timeout-rate 0.05 --for 2 --rate 20 --off breaker",
        "--error-rate 0.1 --orders 30 --fault 'bus.duplicate#every5 first=1' --only converges",
        "--hang-rate 1e-05 --orders 30 --set payment.key_mode=none --beyond-contract",
    ],
)
def test_the_line_under_again_runs_exactly_the_same(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = chaos(capsys, line)
    again = first["reproduce"]
    assert isinstance(again, str)

    words = shlex.split(again)
    assert words[:2] == ["lab", "chaos"]
    _, second = chaos(capsys, shlex.join(words[2:]))

    assert second["digest"] == first["digest"]
    assert second["reproduce"] == again


def test_a_fault_that_never_happens_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = chaos(capsys, "--poison-rate 0.000001 --orders 5")

    assert code == 3
    assert told["why"] == "a fault that was asked for never fired: bus.poison rate=0.000001"


def test_seeds_run_the_same_mixture(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = chaos(capsys, "--duplicate-rate 0.2 --orders 20 --seeds 1-3")

    runs = told["runs"]
    assert isinstance(runs, list)
    assert code == 0
    assert told["scenario"] == "chaos"
    assert runs[2]["reproduce"] == "lab chaos --duplicate-rate 0.2 --seed 3 --orders 20"


def test_a_flag_has_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DUPLICATE_RATE", "0.5")

    _, told = chaos(capsys, "--orders 20")

    assert asked_faults(told) == ["bus.duplicate rate=0.5"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "say what is to go wrong, such as lab chaos --duplicate-rate 0.2"),
        ("--duplicate-rate 1.5", "--duplicate-rate must be a share from 0 to 1, not '1.5'"),
        ("--crash-rate -0.1", "--crash-rate must be a share from 0 to 1, not '-0.1'"),
        ("--hang-rate nan", "--hang-rate must be a share from 0 to 1, not 'nan'"),
        ("--poison-rate often", "--poison-rate must be a share from 0 to 1, not 'often'"),
        ("--redis-down -3", "--redis-down must be seconds from 0 to 86,400, not '-3'"),
        ("--broker-down inf", "--broker-down must be seconds from 0 to 86,400, not 'inf'"),
        ("--delay-ms -1", "--delay-ms must be milliseconds from 0 to 600,000, not '-1'"),
        ("--duplicate-rate 0.2 --for 0", "--for must be a number above 0, not '0'"),
        ("--duplicate-rate 0.2 --for -5", "--for must be a number above 0, not '-5'"),
        (
            "--duplicate-rate 0.2 --for 1e9",
            "--for 1000000000 at 50 orders a second is more than the 10,000,000 orders",
        ),
        ("--duplicate-rat 0.2", "No such option: --duplicate-rat"),
        ("--duplicate-rate", "requires an argument"),
        ("duplicates", "unexpected extra argument"),
        (
            "--duplicate-rate 0.2 --for 5 --orders 10 --rate 2",
            "--orders, --rate and --for contradict each other",
        ),
        (
            "--duplicate-rate 0.2 --for 5 --orders-from sample",
            "--for and --orders-from contradict each other",
        ),
        (
            "--redis-down 5 --orders-from sample",
            "take --fault 'redis.down at=10s for=5s'",
        ),
        ("--duplicate-rate 0.2 --orders 0", "orders must be from 1 to 10,000,000"),
        ("--duplicate-rate 0.2 --off dedup", "did you mean dedupe?"),
        ("--fault bus.dupicate", "did you mean bus.duplicate?"),
    ],
)
def test_wrong_usage_is_one_message_with_exit_code_2_and_nothing_else(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["chaos", *line.split()]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_beyond_the_contract_is_refused_without_its_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["happy-path", "--set", "payment.key_mode=none"]

    assert app.run_command(["run", *line]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert "payment.key_mode=none: beyond what the design promises" in told.err
    assert "--beyond-contract" in told.err


def test_beyond_the_contract_a_broken_promise_is_expected_and_nothing_is_proven(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "--hang-rate 0.5 --orders 60 --set payment.key_mode=none --beyond-contract"

    assert app.run_command(["chaos", *line.split()]) == 3

    page = capsys.readouterr().out
    assert "UNKNOWN  beyond the contract: " in page.splitlines()[0]
    assert "no-double-charge  expected" in page
    _, told = chaos(capsys, line)
    checks = told["checks"]
    assert isinstance(checks, list)
    assert told["beyond_contract"] == ["payment.key_mode=none"]
    assert [c["verdict"] for c in checks if c["name"] == "no-double-charge"] == ["FAIL"]
    assert all(c["expected"] == (c["verdict"] == "FAIL") for c in checks)


def test_the_flag_alone_changes_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = chaos(capsys, "--duplicate-rate 0.2 --orders 30 --beyond-contract")

    assert (code, told["verdict"], told["beyond_contract"]) == (0, "PASS", [])


def test_a_limit_over_the_run_comes_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--orders", "30", "--fault", "bus.duplicate rate=0.5 max=3"]

    assert app.run_command(["chaos", *line]) == 0

    page = " ".join(capsys.readouterr().out.split())
    assert "Note bus.duplicate rate=0.5 max=3: max counts over the run" in page
    assert "need not contain" in page
