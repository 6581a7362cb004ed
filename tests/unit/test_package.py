"""The package's front door: its version, and `run` fetched on first use."""

import re
import subprocess
from pathlib import Path

import pytest

import lab
from lab.resources import how_to_start, resource_path, servers_command


def test_the_version_is_a_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", lab.__version__)


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ruin'"):
        lab.ruin  # noqa: B018 - the access is the claim


def test_a_missing_file_of_the_lab_names_the_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"'nothing\.toml'"):
        resource_path("nothing.toml")


def test_in_a_checkout_the_script_is_named_as_people_call_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])

    assert servers_command("up redis") == "scripts/servers up redis"


def test_elsewhere_the_command_that_starts_a_server_can_be_called_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    command = ["env", f"LAB_SERVERS_DIR={tmp_path}", "bash", "-c", servers_command("env")]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "export LAB_KAFKA_BOOTSTRAP=" in told


def test_who_misses_a_server_is_told_three_ways_to_have_one() -> None:
    told = how_to_start("kafka", "LAB_KAFKA_BOOTSTRAP")

    assert all(way in told for way in ("lab up", "servers up kafka", "LAB_KAFKA_BOOTSTRAP"))
