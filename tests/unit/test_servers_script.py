"""`scripts/servers` as far as it can be tried without starting a server."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TOOLS = [
    *("bash", "cat", "cksum", "cut", "dirname", "find", "flock", "id", "mkdir"),
    *("readlink", "sed", "sort", "tail", "tr"),
]


def make_checkout(folder: Path) -> Path:
    """A copy of the scripts in a checkout of its own."""
    (folder / "scripts").mkdir(parents=True)
    for name in ("servers", "poms", "filebeat"):
        source = SCRIPTS / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / "scripts" / name)
    return folder / "scripts" / "servers"


def run(
    script: Path, *arguments: str, state: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run it without a terminal, with its state in `state`."""
    ours = ("CI", "LAB")
    names = {name: value for name, value in os.environ.items() if not name.startswith(ours)}  # noqa: TID251 - handed on
    return subprocess.run(
        [script, *arguments],
        env={**names, "LAB_SERVERS_DIR": str(state), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_two_checkouts_have_other_ports_and_everything_is_on_loopback(tmp_path: Path) -> None:
    texts = [
        run(make_checkout(tmp_path / name), "env", state=tmp_path / "state").stdout
        for name in ("one", "two")
    ]
    addresses = [line.split("=", 1)[1] for line in texts[0].splitlines()[:3]]
    assert all("127.0.0.1:" in address for address in addresses)
    assert not set(texts[0].splitlines()) & set(texts[1].splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["begin"], ["up", "oracle"], ["stop"], ["pause", "oracle"]),
        *(["kill", "kafka", "oracle"], ["up", "--brokers", "2"], ["env", "--brokers"]),
        *(["up", "--tls"], ["up", "--sasl", "oracle"]),
    ],
)
def test_wrong_use_says_so_and_exits_2(tmp_path: Path, arguments: list[str]) -> None:
    done = run(make_checkout(tmp_path / "c"), *arguments, state=tmp_path / "state")
    assert done.returncode == 2
    assert done.stderr
    assert not done.stdout


def test_three_brokers_are_named_where_they_run_or_are_asked_for(tmp_path: Path) -> None:
    script, state = make_checkout(tmp_path / "c"), tmp_path / "state"
    one = run(script, "env", state=state).stdout
    asked = run(script, "env", "--brokers", "3", state=state).stdout
    started = Path("/proc/self/stat").read_text("utf-8").rpartition(") ")[2].split()[19]
    (state / "run" / "kafka-2.pid").write_text(f"{os.getpid()} {started}\n")

    (addresses,) = re.findall(r"LAB_KAFKA_BOOTSTRAP=(.*)", asked)
    assert len(set(addresses.split(","))) == 3
    assert all(each.startswith("127.0.0.1:") for each in addresses.split(","))
    assert asked != one
    assert run(script, "env", state=state).stdout == asked
    assert "kafka-2 up" in run(script, "status", state=state).stdout


def test_a_password_is_told_by_env_only_and_only_where_a_broker_has_made_one(
    tmp_path: Path,
) -> None:
    script, state = make_checkout(tmp_path / "c"), tmp_path / "state"
    none = run(script, "env", "--sasl", state=state)
    (state / "data" / "keys").mkdir(parents=True)
    (state / "data" / "keys" / "password").write_text("swordfish\n")

    assert none.returncode == 4
    assert "up --sasl" in none.stderr
    told = run(script, "env", "--sasl", state=state).stdout
    assert "export LAB_KAFKA_SASL_PASSWORD=swordfish" in told.splitlines()
    assert "export LAB_KAFKA_SECURITY_PROTOCOL=SASL_SSL" in told.splitlines()
    assert "swordfish" not in run(script, "env", state=state).stdout


def test_what_is_missing_is_named_with_the_one_command_and_nothing_is_installed(
    tmp_path: Path,
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    installer = tools / "apt-get"
    installer.write_text(f"#!/bin/sh\necho called >>{tmp_path}/installed\n")
    installer.chmod(0o755)
    done = run(
        make_checkout(tmp_path / "c"),
        *("up", "redis", "kafka", "search"),
        state=tmp_path / "s",
        PATH=str(tools),
    )
    assert done.returncode == 3
    assert "search cannot be started" in done.stderr
    assert "apt-get install -y --no-install-recommends redis-server" in done.stderr
    assert "apt-get install -y --no-install-recommends maven default-jre-headless" in done.stderr
    assert done.stdout.strip() == ""
    assert not (tmp_path / "installed").exists()


def test_a_server_that_does_not_run_is_down_and_cannot_be_paused(tmp_path: Path) -> None:
    script = make_checkout(tmp_path / "c")
    state = tmp_path / "state"
    assert run(script, "status", state=state).stdout.splitlines() == [
        "postgres down",
        "redis down",
        "kafka down",
        "search down",
    ]
    assert run(script, "status", "redis", state=state).returncode == 1
    paused = run(script, "pause", "redis", state=state)
    assert paused.returncode == 1
    assert "scripts/servers start redis" in paused.stderr
    # A process id that now belongs to somebody else is not ours.
    (state / "run").mkdir(exist_ok=True)
    (state / "run" / "redis.pid").write_text(f"{os.getpid()} 1\n")
    assert run(script, "kill", "redis", state=state).returncode == 0


def test_a_server_that_no_run_needs_is_named_only_while_it_runs(tmp_path: Path) -> None:
    script = make_checkout(tmp_path / "c")
    state = tmp_path / "state"
    assert "ELASTICSEARCH" not in run(script, "env", state=state).stdout
    # Field 22 of its line: when a process was started. This one stands in for the server.
    started = Path("/proc/self/stat").read_text("utf-8").rpartition(") ")[2].split()[19]
    (state / "run" / "search.pid").write_text(f"{os.getpid()} {started}\n")
    told = run(script, "env", state=state, LAB_SERVERS_SEARCH_PORT="9211").stdout
    assert "export LAB_ELASTICSEARCH_URL=http://127.0.0.1:9211" in told.splitlines()


def test_the_port_of_the_search_server_is_one_that_its_runner_takes() -> None:
    text = (SCRIPTS / "servers").read_text("utf-8")
    port = re.search(r"search_port=.*\$\(\((\d+) \+ hash % (\d+)\)\)", text)
    assert port is not None
    assert int(port[1]) + int(port[2]) <= 9_300


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"CI": "1"}, "not built with CI set"), ({"PATH": ""}, "Go 1.24 or later is missing")],
)
def test_filebeat_is_not_built_in_ci_or_without_go_and_nothing_is_installed(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    paths = {"PATH": str(tools)} if "PATH" in environment else {}
    done = run(
        make_checkout(tmp_path / "c"),
        "filebeat",
        state=tmp_path / "s",
        **{**environment, **paths},
    )
    assert done.returncode == 3
    assert said in done.stderr
    assert done.stdout == ""
