"""Overload: what is too much waits in the log or is shed at the door, and memory stays bounded."""

import json
from pathlib import Path

import pytest

from lab import run
from lab.report.result import Result

CROWDED = ("black-friday", "slow-third-party")
ROUGH = (
    "bus.duplicate rate=0.1",
    "proc.crash@handler.after_effect#every50 first=1",
    "proc.crash@payment at=6s",
    "proc.crash@api at=6s",
    "bus.drop_ack rate=0.05",
)


def broken(result: Result) -> dict[str, str]:
    return {check.name: check.witness for check in result.checks if check.verdict == "FAIL"}


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", CROWDED)
def test_a_crowd_is_served_within_bounds_at_every_seed(name: str, seed: int) -> None:
    for order in ("fifo", "shuffle"):
        result = run(name, seed=seed, settings={"run.order": order})

        assert (result.verdict, broken(result)) == ("PASS", {}), (order, result.why)
        tally = result.orders
        assert tally.by_state == {"CONFIRMED": tally.submitted}, "who was shed came again"


@pytest.mark.parametrize("seed", range(1, 3))
@pytest.mark.parametrize("name", CROWDED)
def test_a_crowd_is_served_amid_crashes_and_duplicates(name: str, seed: int) -> None:
    for order in ("fifo", "shuffle"):
        result = run(name, seed=seed, faults=ROUGH, settings={"run.order": order})

        assert broken(result) == {}, order
        assert result.orders.accepted == result.orders.submitted


def test_with_more_in_hand_more_wait_and_none_are_shed() -> None:
    shed = [
        run("black-friday", settings={"api.max_in_flight": bound}).metrics["shed"]
        for bound in (20, 100, 1_000)
    ]

    assert shed[0] > shed[1] > shed[2] == 0


def test_normal_load_sheds_nothing() -> None:
    for name in ("happy-path", "duplicates", "timeouts"):
        assert run(name).metrics["shed"] == 0


def test_what_is_shed_is_told_to_come_back_and_has_stored_nothing(tmp_path: Path) -> None:
    result = run("black-friday", out=tmp_path, history="all")

    assert result.run_dir
    lines = (Path(result.run_dir) / "history.ndjson").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    ends = [entry for entry in entries if entry["kind"] == "http.end"]
    shed = [entry["subject"] for entry in ends if entry["problem"] == "shed"]
    assert len(shed) == result.metrics["shed"] > 0
    assert {entry["status"] for entry in ends if entry["problem"] == "shed"} == {503}
    stored = {entry["subject"] for entry in entries if entry["kind"] in ("row", "http_key")}
    assert stored.isdisjoint(shed)
    checks = {check.name: check for check in result.checks}
    assert checks["refused-leaves-nothing"].checked == len(set(shed))
