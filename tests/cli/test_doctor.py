"""`lab doctor`: what works on this machine, and what to do about the rest."""

import json
import os
import sys
from pathlib import Path

import pytest

from lab import __version__
from lab.cli import determinism
from tests.cli.commands import Told, lab
from tests.kit.real_servers import need

NOWHERE = {
    "LAB_KAFKA_BOOTSTRAP": "127.0.0.1:9",
    "LAB_POSTGRES_DSN": "postgresql://lab:s3cr3t@127.0.0.1:9/lab",
    "LAB_REDIS_URL": "redis://127.0.0.1:9/0",
}


def findings(told: Told) -> dict[str, dict[str, str]]:
    """What was found, by name."""
    return {one["name"]: one for one in json.loads(told.out)["findings"]}


def make_python(folder: Path, name: str, *, says: str) -> None:
    """A program on PATH that answers whatever it is asked with `says`; "" fails."""
    program = folder / name
    answer = f"printf '%s\\n' '{says}'" if says else "exit 1"
    program.write_text(f"#!/bin/sh\n{answer}\n", "utf-8")
    program.chmod(0o755)


def path_with(folder: Path) -> str:
    """A PATH that begins with the folder."""
    return f"{folder}{os.pathsep}{os.defpath}"


@pytest.mark.slow
def test_without_servers_the_doctor_says_what_starts_them_and_that_the_simulator_works(
    tmp_path: Path,
) -> None:
    told = lab("doctor", "--json", folder=tmp_path, variables=NOWHERE)

    assert told.code == 4
    assert json.loads(told.out)["ready"] is False
    found = findings(told)
    assert list(found) == [
        *("Python", "Docker", "Programs", "Kafka", "PostgreSQL", "Redis", "Simulator")
    ]
    assert found["Python"]["answer"] == found["Simulator"]["answer"] == "ok"
    for server in ("Kafka", "PostgreSQL", "Redis"):
        assert found[server]["answer"] == "wrong"
        assert "lab up" in found[server]["remedy"]
    assert "s3cr3t" not in told.out + told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.processes
@pytest.mark.timeout(180)
def test_with_the_servers_up_the_machine_is_ready_whether_or_not_it_has_docker(
    tmp_path: Path,
) -> None:
    named = {
        "LAB_KAFKA_BOOTSTRAP": need("kafka"),
        "LAB_POSTGRES_DSN": need("postgres"),
        "LAB_REDIS_URL": need("redis"),
    }

    told = lab("doctor", folder=tmp_path, variables=named)

    assert told.code == 0, told.out + told.err
    assert "Simulator   ok" in told.out
    assert "Agreement   ok" in told.out
    assert told.err == ""


@pytest.mark.slow
def test_a_python_that_gives_another_digest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_python(tmp_path, "python3.29", says=__version__)
    monkeypatch.setenv("PATH", path_with(tmp_path))
    monkeypatch.setattr(determinism, "_VARIATIONS", ((0, 0),))

    same = determinism.compare_runs()

    assert not same.is_same
    assert list(same.digests) == ["this Python, hash seed 0", "python3.29"]


@pytest.mark.slow
def test_a_python_without_the_lab_or_with_another_one_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_python(tmp_path, "python3.28", says="")
    make_python(tmp_path, "python3.29", says="0.0.1")
    monkeypatch.setenv("PATH", path_with(tmp_path))
    monkeypatch.setattr(determinism, "_VARIATIONS", ((0, 0),))

    same = determinism.compare_runs()

    assert same.is_same
    assert same.left_out[-2:] == ("python3.28 has no lab", "python3.29 has another one, 0.0.1")


@pytest.mark.slow
def test_another_python_with_this_lab_takes_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python3.29"
    here = Path(__file__).parents[2]
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{here}" exec "{sys.executable}" "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", path_with(tmp_path))

    same = determinism.compare_runs()

    assert same.is_same
    assert len(same.digests) == 4
    assert "python3.29" in same.digests


@pytest.mark.parametrize("digests", [{"a": "1", "b": "2"}, {"a": "1", "b": ""}, {"a": ""}])
def test_runs_of_which_one_differs_or_failed_are_not_the_same(digests: dict[str, str]) -> None:
    assert not determinism.RunComparison(digests=digests, left_out=()).is_same
    assert determinism.RunComparison(digests={"a": "1", "b": "1"}, left_out=()).is_same
