"""The README does what it says: its commands, its page, its scenario and its Python."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lab.scenarios.loader import load_file
from tests.cli.examples import steady
from tests.kit.real_servers import need
from tests.kit.search_server import SearchServer, run_setup

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PAGE = re.search(r"<!-- output: (lab .*?) -->\n```text\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    found = [line.partition(" #")[0].strip() for line in lines]
    return [line for line in found if line.startswith("lab ") and "FILE" not in line]


def is_real(command: str) -> bool:
    """Whether it needs servers."""
    return bool(re.search(r"--(real|bus|store|dedupe)\b", command))


def is_shipped(command: str) -> bool:
    """Whether it needs a search server."""
    return command.startswith("lab ship") or "--ship" in command


def expected_code(command: str) -> int:
    """A FAIL where every line of defence is taken away."""
    return int("--off" in command and not command.endswith("--off dedupe"))


def lab(command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["env", "COLUMNS=100", sys.executable, "-m", "lab", *shlex.split(command)[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


@pytest.mark.parametrize(
    "command", [one for one in commands() if not is_real(one) and not is_shipped(one)]
)
def test_a_command_of_the_readme_runs(command: str, tmp_path: Path) -> None:
    ended = lab(command, tmp_path)

    assert ended.returncode == expected_code(command), ended.stdout + ended.stderr


@pytest.mark.real
@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", [one for one in commands() if is_shipped(one)])
def test_a_command_of_the_readme_that_ships_finds_its_server(command: str, tmp_path: Path) -> None:
    with SearchServer(need("search")) as server:
        run_setup(server.url)

        ended = lab(command, tmp_path)

        server.forget("logs-orders.lab-default", "traces-apm-default", "logs-apm.error-default")
    assert ended.returncode == expected_code(command), ended.stdout + ended.stderr
    assert "not shipped" not in ended.stderr


@pytest.mark.real
@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", [one for one in commands() if is_real(one)])
def test_a_command_of_the_readme_runs_for_real(command: str, tmp_path: Path) -> None:
    for server in ("postgres", "redis", "kafka"):
        need(server)

    ended = lab(command, tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_page_in_the_readme_is_what_its_command_prints(tmp_path: Path) -> None:
    assert PAGE is not None
    command, page = PAGE.groups()

    printed = lab(command, tmp_path).stdout

    assert steady(printed) == steady(page)


def test_the_scenario_of_the_readme_can_be_loaded(tmp_path: Path) -> None:
    (tables,) = [text for kind, text in BLOCKS if kind == "toml"]
    file = tmp_path / "mine.toml"
    file.write_text(tables)
    (scenario,) = load_file(file)

    ended = lab(f"lab run {scenario.name} --scenarios {file}", tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    found = re.search(r"From Python: `(.*?)`", README)
    assert found is not None

    subprocess.run([sys.executable, "-c", found[1]], check=True, cwd=tmp_path)
