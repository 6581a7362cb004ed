"""`lab up`, `lab down` and `lab status` against a `docker` that records what it is asked."""

import json
import shlex
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.cli import docker as docker_module
from lab.cli import docker_findings
from tests.cli.commands import Told, lab

TOP = Path(__file__).resolve().parents[2]

# Its shell's own words only: nothing else is on its PATH.
STUB = r"""#!/bin/sh
printf '%s\n' "$*" >>"$STUB_LOG"
case "$*" in
"compose version --short")
  [ "$STUB_PLAYS" != "no plugin" ] || { echo "unknown command: docker compose" >&2; exit 1; }
  echo "${STUB_COMPOSE:-2.35.1}" ;;
"version --format "*)
  case "$STUB_PLAYS" in
  "no engine")
    printf '\nCannot connect to the Docker daemon at unix:///x.sock. Is it running?\n' >&2
    exit 1 ;;
  "no access")
    echo "permission denied while trying to connect to the Docker daemon socket" >&2
    exit 1 ;;
  esac
  echo 28.2.2 ;;
*" ps "*)
  case "$STUB_PLAYS" in
  "unhealthy") printf '%s\n' "$STUB_PS" ;;
  *) exit 1 ;;
  esac ;;
*" config "*) echo "$STUB_CONFIG" ;;
"inspect --format {{.RestartCount}} kafka-again") echo 7 ;;
"inspect "*) echo 0 ;;
"image inspect "*)
  case " $STUB_MISSING " in *" ${*##* } "*) exit 1 ;; esac ;;
*" pull "*)
  case " $STUB_PULLS " in *" ${*##* } "*) ;; *) echo "toomanyrequests" >&2; exit 1 ;; esac ;;
*" build")
  [ "$STUB_PLAYS" != "no build" ] || { echo "pip: no route to the index" >&2; exit 17; } ;;
*" up "*)
  echo "LAB_RUNS=$LAB_RUNS" >"${STUB_LOG%/*}/variables"
  echo "from standard output"
  echo "Container pulse-lab-kafka-1  Waiting" >&2
  case "$STUB_PLAYS" in "unhealthy" | "odd") exit 1 ;; esac ;;
*" down"*)
  [ "$STUB_PLAYS" != "stubborn" ] || exit 1 ;;
*) exit 64 ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub:
    """The stubbed docker: the folder it lies in, and what it has been asked."""

    folder: Path

    def lab(self, *arguments: str, **variables: str) -> Told:
        """A command of the lab that finds this docker and no other program."""
        own: Mapping[str, str] = {
            "PATH": str(self.folder),
            "STUB_LOG": str(self.folder / "asked"),
            "STUB_PLAYS": "",
            "STUB_CONFIG": "{}",
            "STUB_PS": "",
            "STUB_MISSING": "",
            "STUB_PULLS": "",
            **variables,
        }
        return lab(*arguments, folder=self.folder, variables=own)

    @property
    def asked(self) -> list[list[str]]:
        """Every call since, as words."""
        log = self.folder / "asked"
        return [shlex.split(line) for line in log.read_text("utf-8").splitlines()]


@pytest.fixture
def docker(tmp_path: Path) -> Stub:
    """A docker that works, unless it is told to play something else."""
    program = tmp_path / "docker"
    program.write_text(STUB, "utf-8")
    program.chmod(0o755)
    return Stub(folder=tmp_path)


def assert_not_ready(told: Told, *words: str) -> None:
    """Exit 4, nothing but one line, on standard error, with these words."""
    assert told.code == 4, told.err
    assert told.out == ""
    line = told.err.splitlines()[-1]
    assert line.startswith("lab: ")
    assert all(word in line for word in words), line


# ---- up


def test_up_waits_until_the_servers_are_healthy_and_prints_how_to_name_them(docker: Stub) -> None:
    told = docker.lab("up")

    assert told.code == 0, told.err
    assert told.out.splitlines() == [
        "export LAB_POSTGRES_DSN=postgresql://lab@127.0.0.1:5432/lab",
        "export LAB_REDIS_URL=redis://127.0.0.1:6379/0",
        "export LAB_KAFKA_BOOTSTRAP=127.0.0.1:9092",
    ]
    file = str(TOP / "docker-compose.yml")
    started = ["compose", "--file", file, "up", "--detach", "--wait", "--wait-timeout", "180"]
    assert docker.asked[-1] == started


def test_what_compose_says_never_reaches_standard_output(docker: Stub) -> None:
    told = docker.lab("up")

    assert "from standard output" not in told.out
    assert "from standard output" in told.err
    assert "Waiting" in told.err


def test_up_names_the_ports_that_were_chosen_and_not_servers_that_were_named_before(
    docker: Stub,
) -> None:
    told = docker.lab(
        "up", LAB_KAFKA_PORT="29092", LAB_REDIS_PORT="26379", LAB_REDIS_URL="redis://elsewhere:1/0"
    )

    assert "LAB_KAFKA_BOOTSTRAP=127.0.0.1:29092" in told.out
    assert "LAB_REDIS_URL=redis://127.0.0.1:26379/0" in told.out
    assert "elsewhere" not in told.out


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused_before_docker_is_asked(docker: Stub, port: str) -> None:
    told = docker.lab("up", LAB_KAFKA_PORT=port)

    assert told.code == 2
    assert "LAB_KAFKA_PORT" in told.err
    assert not (docker.folder / "asked").exists()


def test_up_with_the_own_processes_adds_their_profile_and_says_where_orders_go(
    docker: Stub,
) -> None:
    told = docker.lab("up", "--app", LAB_API_PORT="8100")

    assert told.code == 0, told.err
    assert docker.asked[-1][3:6] == ["--profile", "app", "up"]
    assert "http://127.0.0.1:8100" in told.err


def test_up_with_elk_names_elasticsearch_and_kibana_and_waits_longer(docker: Stub) -> None:
    told = docker.lab("up", "--elk", LAB_KIBANA_PORT="15601")

    assert told.code == 0, told.err
    assert told.out.splitlines()[3:] == [
        "export LAB_ELASTICSEARCH_URL=http://127.0.0.1:9200",
        "export LAB_KIBANA_URL=http://127.0.0.1:15601",
    ]
    asked = docker.asked[-1][3:]
    assert asked[:3] == ["--profile", "elk", "up"]
    assert int(asked[asked.index("--wait-timeout") + 1]) > 180
    assert "http://127.0.0.1:15601/app/dashboards#/view/orders-lab" in told.err


def test_elk_and_the_own_processes_go_together(docker: Stub) -> None:
    assert docker.lab("up", "--elk", "--app").code == 0
    assert docker.asked[-1][3:8] == ["--profile", "app", "--profile", "elk", "up"]


@pytest.mark.parametrize(("out", "folder"), [("", "runs"), ("kept/here", "kept/here")])
def test_filebeat_reads_the_folder_that_runs_are_kept_in_which_is_the_users_own(
    docker: Stub, out: str, folder: str
) -> None:
    told = docker.lab("up", "--elk", **({"LAB_OUT": out} if out else {}))

    assert (docker.folder / folder).is_dir()
    assert f"Filebeat reads {docker.folder / folder}" in told.err
    variables = (docker.folder / "variables").read_text("utf-8").split()
    assert variables == [f"LAB_RUNS={docker.folder / folder}"]


def test_a_folder_of_runs_that_cannot_be_made_is_said_before_docker_starts_anything(
    docker: Stub,
) -> None:
    (docker.folder / "taken").write_text("a file", "utf-8")

    told = docker.lab("up", "--elk", LAB_OUT="taken/runs")

    assert told.code == 2
    assert "LAB_OUT" in told.err
    assert not any("up" in call for call in docker.asked)


def test_an_option_that_is_not_built_is_unknown(docker: Stub) -> None:
    assert docker.lab("up", "--moon").code == 2


def test_without_docker_up_names_what_starts_the_servers_without_it(tmp_path: Path) -> None:
    told = Stub(folder=tmp_path).lab("up")

    assert_not_ready(told, "Docker", "no command docker", "scripts/servers up")


def test_a_docker_without_compose_is_said(docker: Stub) -> None:
    told = docker.lab("up", STUB_PLAYS="no plugin")

    assert_not_ready(told, "Compose plugin", "docker-compose-plugin", "scripts/servers up")


@pytest.mark.parametrize("version", ["2.19.1", "v1.29.2", ""])
def test_a_compose_that_is_too_old_is_said_with_the_version_that_is_needed(
    docker: Stub, version: str
) -> None:
    told = docker.lab("up", STUB_COMPOSE=version or "dev")

    assert_not_ready(told, version or "dev", "2.20 or later")


@pytest.mark.parametrize("version", ["2.20.0", "v2.35.1-desktop.1", "5.0.0"])
def test_a_compose_that_is_new_enough_is_taken(docker: Stub, version: str) -> None:
    assert docker.lab("up", STUB_COMPOSE=version).code == 0


def test_an_engine_that_does_not_run_is_said_in_its_own_words(docker: Stub) -> None:
    told = docker.lab("up", STUB_PLAYS="no engine")

    assert_not_ready(told, "Cannot connect to the Docker daemon", "scripts/servers up")
    assert not any("up" in call for call in docker.asked)


def test_an_engine_that_keeps_us_out_is_answered_with_what_lets_us_in(docker: Stub) -> None:
    told = docker.lab("up", STUB_PLAYS="no access")

    assert_not_ready(told, "permission denied", "usermod -aG docker")
    assert "systemctl" not in told.err


# ---- up: images

CONFIG = json.dumps(
    {
        "services": {
            "kafka": {"image": "apache/kafka:4.4.0"},
            "redis": {"image": "redis:7"},
            "postgres": {"image": "postgres:17"},
            "providers": {"image": "pulse-lab:local", "build": {"context": "."}},
            "api": {"image": "pulse-lab:local"},
        }
    }
)


def test_images_that_are_there_are_not_asked_for_again(docker: Stub) -> None:
    told = docker.lab("up", STUB_CONFIG=CONFIG, STUB_MISSING="pulse-lab:local")

    assert told.code == 0, told.err
    assert not any("pull" in call for call in docker.asked)


def test_images_that_are_missing_are_pulled_before_anything_starts(docker: Stub) -> None:
    told = docker.lab(
        "up", STUB_CONFIG=CONFIG, STUB_MISSING="redis:7 postgres:17", STUB_PULLS="redis postgres"
    )

    assert told.code == 0, told.err
    assert [call[3:] for call in docker.asked if "pull" in call] == [
        ["pull", "redis"],
        ["pull", "postgres"],
    ]
    assert "up" in docker.asked[-1]


def test_an_image_that_cannot_be_pulled_is_named_alone_and_nothing_is_started(docker: Stub) -> None:
    told = docker.lab(
        "up", STUB_CONFIG=CONFIG, STUB_MISSING="redis:7 postgres:17", STUB_PULLS="redis"
    )

    assert_not_ready(told, "image postgres:17 cannot be pulled", "docker pull postgres:17")
    line = told.err.splitlines()[-1]
    assert not any(word in line for word in ("logs", "_PORT", "redis:7", "kafka"))
    assert not any("up" in call for call in docker.asked)


def test_the_own_image_is_built_before_anything_starts_and_only_where_it_is_wanted(
    docker: Stub,
) -> None:
    assert docker.lab("up", "--app").code == 0
    built, started = docker.asked[-2:]
    assert built[3:] == ["--profile", "app", "build"]
    assert "up" in started

    (docker.folder / "asked").unlink()
    assert docker.lab("up").code == 0
    assert not any("build" in call for call in docker.asked)


def test_an_image_that_cannot_be_built_is_answered_with_what_a_build_needs(docker: Stub) -> None:
    told = docker.lab("up", "--app", STUB_PLAYS="no build")

    assert_not_ready(told, "the lab's own image", "cannot be built", "PyPI", "lab serve")
    assert "pip: no route to the index" in told.err
    line = told.err.splitlines()[-1]
    assert not any(word in line for word in ("logs", "_PORT", "pulled"))
    assert not any("up" in call for call in docker.asked)


# ---- up: containers


def container(service: str, state: str, health: str = "", code: int = 0) -> str:
    """A line of `docker compose ps`."""
    told: dict[str, object] = {"ID": f"{service}-1", "Service": service, "State": state}
    told |= {"Health": health, "ExitCode": code}
    return json.dumps(told)


LINES = "\n".join(
    (
        container("kafka", "running", "unhealthy"),
        container("redis", "running", "healthy"),
        container("postgres", "exited", code=1),
        container("providers", "running", "starting"),
        container("api", "created"),
    )
)


@pytest.mark.parametrize("seen", [LINES, f"[{LINES.replace(chr(10), ',')}]"])
def test_only_those_that_failed_are_named_with_their_own_logs(docker: Stub, seen: str) -> None:
    told = docker.lab("up", STUB_PLAYS="unhealthy", STUB_PS=seen)

    assert_not_ready(told, "kafka (unhealthy), postgres (exited)", "logs kafka postgres")
    line = told.err.splitlines()[-1]
    innocent = ("redis", "providers", "api", "_PORT")
    assert not any(word in line for word in innocent)


def test_a_job_that_has_done_its_work_is_not_named_but_one_that_failed_is(docker: Stub) -> None:
    kafka = container("kafka", "running", "unhealthy")
    ended = container("elk-setup", "exited")

    told = docker.lab("up", "--elk", STUB_PLAYS="unhealthy", STUB_PS=f"{kafka}\n{ended}")
    assert_not_ready(told, "kafka (unhealthy)")
    assert "elk-setup" not in told.err

    told = docker.lab(
        "up", "--elk", STUB_PLAYS="unhealthy", STUB_PS=container("elk-setup", "exited", code=1)
    )
    assert_not_ready(told, "elk-setup (exited)")


def test_a_port_that_is_taken_is_answered_with_the_variable_that_changes_it_and_no_other(
    docker: Stub,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        seen = "\n".join(
            (
                container("postgres", "created"),
                container("kafka", "running", "starting"),
                container("redis", "running", "starting"),
                # It waits for the others, and its own port is free.
                container("api", "created"),
            )
        )
        told = docker.lab(
            "up",
            "--app",
            STUB_PLAYS="unhealthy",
            STUB_PS=seen,
            LAB_POSTGRES_PORT=str(port),
            LAB_API_PORT="9",
        )

    assert_not_ready(told, f"the port {port} (postgres)", "LAB_POSTGRES_PORT")
    line = told.err.splitlines()[-1]
    innocent = ("kafka", "redis", "api", "LAB_KAFKA_PORT", "LAB_API_PORT", "logs")
    assert not any(word in line for word in innocent)


def test_a_port_of_a_server_that_runs_is_its_own(docker: Stub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = str(own.getsockname()[1])
        seen = "\n".join(
            (container("kafka", "running", "unhealthy"), container("redis", "running", "healthy"))
        )
        told = docker.lab("up", STUB_PLAYS="unhealthy", STUB_PS=seen, LAB_KAFKA_PORT=port)

    assert_not_ready(told, "kafka (unhealthy)", "logs kafka")
    assert "LAB_KAFKA_PORT" not in told.err


def test_what_only_has_not_come_yet_is_not_blamed_for_an_end_that_came_early(docker: Stub) -> None:
    seen = "\n".join((container("kafka", "running", "starting"), container("filebeat", "created")))

    told = docker.lab("up", STUB_PLAYS="unhealthy", STUB_PS=seen)

    assert_not_ready(told, "Docker says above why", "ps --all")
    assert not any(word in told.err.splitlines()[-1] for word in ("kafka", "logs", "_PORT"))


def test_what_is_just_starting_for_the_eighth_time_is_no_innocent(docker: Stub) -> None:
    again = container("kafka", "running", "starting").replace("kafka-1", "kafka-again")
    seen = "\n".join((again, container("redis", "running", "starting")))

    told = docker.lab("up", STUB_PLAYS="unhealthy", STUB_PS=seen)

    assert_not_ready(told, "failed: kafka (starting, it ends again and again)", "logs kafka")
    assert "redis" not in told.err.splitlines()[-1]


def test_what_is_still_starting_when_the_time_is_over_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = subprocess.CompletedProcess([], 0, stdout=container("kafka", "running", "starting"))
    monkeypatch.setattr(docker_module, "ask", lambda *_: told)

    late = docker_findings.not_everything_is_up({}, waited_s=180)

    assert late.what == "not healthy after 180 s: kafka (starting)"
    assert "logs kafka" in late.remedy


def test_a_failure_that_nobody_knows_leaves_the_word_to_docker(docker: Stub) -> None:
    assert_not_ready(docker.lab("up", STUB_PLAYS="odd"), "Docker says above why", "ps --all")


# ---- down


def test_down_stops_the_own_processes_too_and_keeps_the_data(docker: Stub) -> None:
    told = docker.lab("down")

    assert told.code == 0, told.err
    assert told.out == ""
    assert docker.asked[-1][3:] == ["--profile", "app", "--profile", "elk", "down"]
    assert "data is kept" in told.err


def test_down_forgets_the_data_only_when_it_is_asked_to(docker: Stub) -> None:
    told = docker.lab("down", "--volumes")

    assert told.code == 0, told.err
    assert docker.asked[-1][3:] == ["--profile", "app", "--profile", "elk", "down", "--volumes"]


def test_a_down_that_fails_is_no_success(docker: Stub) -> None:
    assert_not_ready(docker.lab("down", STUB_PLAYS="stubborn"), "not everything has stopped")


def test_without_an_engine_nothing_can_be_stopped(docker: Stub) -> None:
    assert_not_ready(docker.lab("down", STUB_PLAYS="no engine"), "Docker daemon")


# ---- status

SECRET = "s3cr3t-p4ss"
NOWHERE = {
    "LAB_KAFKA_BOOTSTRAP": "127.0.0.1:9",
    "LAB_POSTGRES_DSN": f"postgresql://lab:{SECRET}@127.0.0.1:9/lab",
    "LAB_REDIS_URL": f"redis://lab:{SECRET}@127.0.0.1:9/0",
}


def test_status_names_every_server_its_address_and_what_starts_it(docker: Stub) -> None:
    told = docker.lab("status", **NOWHERE)

    assert told.code == 4
    for server in ("Kafka", "PostgreSQL", "Redis"):
        assert f"{server} " in told.out
    assert told.out.count("127.0.0.1:9") >= 3
    assert "lab up" in told.out
    assert SECRET not in told.out + told.err
    assert told.err == ""


def test_status_as_json_is_one_object(docker: Stub) -> None:
    told = docker.lab("status", "--json", **NOWHERE)

    servers = json.loads(told.out)["servers"]
    assert [one["name"] for one in servers] == ["Kafka", "PostgreSQL", "Redis"]
    assert all(one["problem"] and one["remedy"] and not one["version"] for one in servers)
    assert SECRET not in told.out


@pytest.mark.parametrize(
    "odd",
    [
        {"LAB_KAFKA_BOOTSTRAP": f"sasl://lab:{SECRET}@127.0.0.1:9"},
        {"LAB_KAFKA_BOOTSTRAP": f"lab:{SECRET}@127.0.0.1:9"},
        {"LAB_POSTGRES_DSN": f"postgresql://lab:{SECRET}/@127.0.0.1:9/lab"},
        {"LAB_REDIS_URL": f"redis://lab:{SECRET}/@127.0.0.1:9/0"},
    ],
)
def test_an_address_that_cannot_be_read_is_not_shown(docker: Stub, odd: Mapping[str, str]) -> None:
    told = docker.lab("status", **{**NOWHERE, **odd})

    assert told.code == 4
    assert SECRET not in told.out + told.err
    assert "mistake of the lab" not in told.err


def test_status_shows_elasticsearch_and_kibana_only_when_they_are_named(docker: Stub) -> None:
    named = {
        "LAB_ELASTICSEARCH_URL": f"http://lab:{SECRET}@127.0.0.1:9",
        "LAB_KIBANA_URL": "http://127.0.0.1:9",
    }

    told = docker.lab("status", "--json", **NOWHERE, **named)

    assert told.code == 4
    servers = json.loads(told.out)["servers"]
    assert [one["name"] for one in servers[3:]] == ["Elasticsearch", "Kibana"]
    for one in servers[3:]:
        assert one["problem"] == "it does not answer"
        assert "lab up --elk" in one["remedy"]
        assert one["address"] == "http://127.0.0.1:9"
    assert SECRET not in told.out + told.err


def test_status_looks_where_up_puts_the_servers_when_nothing_is_named(docker: Stub) -> None:
    chosen = {"LAB_KAFKA_PORT": "9", "LAB_POSTGRES_PORT": "9", "LAB_REDIS_PORT": "9"}

    servers = json.loads(docker.lab("status", "--json", **chosen).out)["servers"]

    assert [one["address"] for one in servers] == ["127.0.0.1:9", "127.0.0.1:9/lab", "127.0.0.1:9"]
