"""`docker-compose.yml`, the `Dockerfile` and `.dockerignore`, as far as no engine is needed."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from lab.cli import docker
from lab.cli.app import app

TOP = Path(__file__).resolve().parents[2]
COMPOSE = TOP / "docker-compose.yml"
SERVERS = {"kafka", "postgres", "redis"}
GROUPS = ("validation", "payment", "orders", "notification")
ELK = {"elasticsearch", "kibana", "elk-setup", "filebeat"}
ENDS = "elk-setup"
BROKERS = {"kafka-1", "kafka-2", "kafka-3"}
OWN = {"providers", "api", "relay", *(f"work-{group}" for group in GROUPS)}


def services() -> dict[str, dict[str, Any]]:
    """Every service of the file, anchors resolved."""
    read = YAML(typ="safe", pure=True).load(COMPOSE.read_text("utf-8"))["services"]
    assert isinstance(read, dict)
    return read


def own() -> dict[str, dict[str, Any]]:
    """The lab's own processes."""
    return {name: one for name, one in services().items() if "app" in one.get("profiles", ())}


def elk() -> dict[str, dict[str, Any]]:
    """What shows the others."""
    return {name: one for name, one in services().items() if "elk" in one.get("profiles", ())}


def obeys_the_schema(file: Path) -> bool:
    """Whether it follows the schema of the Compose specification, which the checker carries."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode == 0


def seconds(length: str) -> int:
    """A length of time as the file has them."""
    assert length.endswith("s"), length
    return int(length[:-1])


def with_defaults(text: str) -> str:
    """The text after `${NAME:-default}` were replaced by their defaults."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


# ---- the whole file


@pytest.mark.slow
def test_the_file_obeys_the_schema_of_compose() -> None:
    assert obeys_the_schema(COMPOSE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    healthcheck:", "    healthchecks:"),
        ("condition: service_healthy", "condition: healthy"),
        ("command: [postgres, -c, max_connections=200]", "command: {postgres: 200}"),
    ],
)
def test_the_schema_finds_what_is_wrong(right: str, wrong: str, tmp_path: Path) -> None:
    text = COMPOSE.read_text("utf-8").replace(right, wrong, 1)
    assert wrong in text
    changed = tmp_path / "docker-compose.yml"
    changed.write_text(text, "utf-8")

    assert not obeys_the_schema(changed)


def test_the_servers_start_by_default_and_everything_else_only_with_its_profile() -> None:
    assert set(own()) == OWN
    assert set(elk()) == ELK
    brokers = {name for name, one in services().items() if "cluster" in one.get("profiles", ())}
    assert brokers == BROKERS
    assert {name for name, one in services().items() if "profiles" not in one} == SERVERS


def test_every_image_is_pinned_to_a_version() -> None:
    images = {name: services()[name]["image"] for name in SERVERS | ELK | BROKERS}

    loose = {name: image for name, image in images.items() if not re.search(r":\d+\.\d+", image)}

    assert loose == {}


def test_kafka_is_of_the_version_that_scripts_servers_starts() -> None:
    pom = (TOP / "scripts" / "poms" / "kafka.xml").read_text("utf-8")
    tried = re.search(r"<artifactId>kafka_[\d.]+</artifactId><version>([\d.]+)<", pom)

    assert tried is not None
    images = {services()[name]["image"] for name in ("kafka", *BROKERS)}
    assert images == {f"apache/kafka:{tried[1]}"}


def test_every_service_says_when_it_is_healthy() -> None:
    for name, one in services().items():
        if name == ENDS:
            continue
        check = one["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL"), name
        assert {"interval", "timeout", "retries"} <= set(check), name
        # Engines before 25 refuse a file that has it.
        assert "start_interval" not in check, name


@pytest.mark.parametrize(
    ("names", "limit_s"),
    [(SERVERS | OWN, docker.HEALTHY_S_MAX), (ELK - {ENDS}, docker.HEALTHY_ELK_S_MAX)],
)
def test_nothing_is_unhealthy_before_up_gives_up_and_everything_soon_after_it_has_begun_to_fail(
    names: set[str], limit_s: int
) -> None:
    for name in names:
        check = services()[name]["healthcheck"]
        assert check["start_period"] == f"{limit_s}s", name
        once_s = seconds(check["interval"]) + seconds(check["timeout"])
        assert once_s * check["retries"] <= 60, name


def test_a_health_check_is_rare_and_starts_neither_an_interpreter_nor_a_jvm() -> None:
    cheap = {"bash", "pg_isready", "redis-cli", "curl", "exec"}
    for name, one in services().items():
        if name == ENDS:
            continue
        check = one["healthcheck"]
        how, *words = check["test"]
        program = words[0] if how == "CMD" else words[0].split()[0]
        assert program in cheap, name
        assert not re.search(r"python|java|kafka-", " ".join(words)), name
        assert seconds(check["interval"]) >= 5, name


def test_no_service_can_fill_the_disk_with_its_log() -> None:
    for name, one in services().items():
        logging = one["logging"]
        # A limit is refused by some drivers that an engine may have as its usual one.
        assert logging["driver"] == "local", name
        assert {"max-size", "max-file"} <= set(logging["options"]), name


def test_what_ends_as_it_should_not_is_started_again_and_nothing_starts_with_the_machine() -> None:
    policies = {name: one.get("restart") for name, one in services().items()}

    assert policies == {**dict.fromkeys(services(), "on-failure"), ENDS: "no"}


def test_every_volume_of_kafkas_image_is_named_or_in_memory_so_that_down_leaves_none() -> None:
    kafka = services()["kafka"]
    # As its Dockerfile declares them.
    declared = {"/etc/kafka/secrets", "/mnt/shared/config", "/var/lib/kafka/data"}

    given = {mount.split(":")[1] for mount in kafka["volumes"]} | set(kafka["tmpfs"])

    assert given == declared


def test_every_port_is_bound_to_loopback_only() -> None:
    published = [port for one in services().values() for port in one.get("ports", ())]

    assert sorted(map(with_defaults, published)) == [
        "127.0.0.1:5432:5432",
        "127.0.0.1:5601:5601",
        "127.0.0.1:6379:6379",
        "127.0.0.1:8000:8000",
        "127.0.0.1:9092:9092",
        "127.0.0.1:9192:9092",
        "127.0.0.1:9200:9200",
        "127.0.0.1:9292:9092",
        "127.0.0.1:9392:9092",
    ]


def test_every_server_keeps_its_data_in_a_volume_of_its_own() -> None:
    declared = YAML(typ="safe", pure=True).load(COMPOSE.read_text("utf-8"))["volumes"]
    used = {name: one["volumes"] for name, one in services().items() if "volumes" in one}
    named = {
        name: [m for m in map(with_defaults, mounts) if m[0] != "."]
        for name, mounts in used.items()
    }
    sources = {
        name: {mount.partition(":")[0] for mount in mounts} for name, mounts in named.items()
    }

    assert set().union(*sources.values()) == set(declared)
    for name in (*SERVERS, *BROKERS, "elasticsearch", "filebeat", "providers"):
        others = set().union(*(found for other, found in sources.items() if other != name))
        assert sources[name] - others, name


def test_what_is_mounted_of_this_machine_is_read_only_and_exists() -> None:
    mounts = [with_defaults(m) for one in services().values() for m in one.get("volumes", ())]
    outside = [mount for mount in mounts if mount.startswith(".")]

    assert {mount.split(":")[0] for mount in outside} == {"./elk", "./elk/filebeat.yml", "./runs"}
    assert all(mount.endswith(":ro") for mount in outside)
    assert all((TOP / mount.split(":")[0]).exists() for mount in outside if "runs" not in mount)


def test_nothing_in_the_file_looks_like_a_password() -> None:
    text = COMPOSE.read_text("utf-8")

    assert not re.search(r"://[^/\s:@]*:[^/\s@]*@", text)
    assert "PASSWORD" not in text


# ---- kafka


def test_three_brokers_elect_together_and_keep_each_record_twice_at_least() -> None:
    found = {name: services()[name]["environment"] for name in BROKERS}
    voters = ",".join(f"{number}@kafka-{number}:9093" for number in (1, 2, 3))

    for name, told in found.items():
        assert told["KAFKA_NODE_ID"] == name.removeprefix("kafka-")
        assert told["KAFKA_CONTROLLER_QUORUM_VOTERS"] == voters
        inside, host = with_defaults(told["KAFKA_ADVERTISED_LISTENERS"]).split(",")
        assert inside == f"INSIDE://{name}:19092"
        (port,) = map(with_defaults, services()[name]["ports"])
        assert host == f"HOST://{port.removesuffix(':9092')}"
        copies = {key: value for key, value in told.items() if key.endswith("REPLICATION_FACTOR")}
        assert len(copies) == 4
        assert set(copies.values()) == {"3"}
        assert told["KAFKA_MIN_INSYNC_REPLICAS"] == "2"


def test_kafka_advertises_one_address_inside_and_one_on_this_machine() -> None:
    kafka = services()["kafka"]
    advertised = dict(
        one.split("://")
        for one in with_defaults(kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]).split(",")
    )
    listened = dict(one.split("://") for one in kafka["environment"]["KAFKA_LISTENERS"].split(","))

    assert advertised == {"INSIDE": "kafka:19092", "HOST": "127.0.0.1:9092"}
    assert listened["INSIDE"] == ":19092"
    assert with_defaults(kafka["ports"][0]).endswith(listened["HOST"])
    assert "KAFKA_PORT" in kafka["ports"][0]
    assert "KAFKA_PORT" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]


@pytest.mark.parametrize(
    ("name", "copies", "in_sync"), [("kafka", "1", "1"), ("kafka-2", "3", "2")]
)
def test_kafka_differs_from_scripts_servers_only_where_it_must(
    name: str, copies: str, in_sync: str
) -> None:
    script = (TOP / "scripts" / "servers").read_text("utf-8")
    lines = script.split("cat <<P\n", 1)[1].split("\nP\n", 1)[0].splitlines()
    there = {
        f"KAFKA_{key.upper().replace('.', '_')}": {"$copies": copies, "$in_sync": in_sync}.get(
            value, value
        )
        for key, value in (line.split("=", 1) for line in lines)
    }
    here = services()[name]["environment"]

    same = [key for key in there.keys() & here.keys() if there[key] == here[key]]

    assert set(same) >= {key for key in there if key.startswith(("KAFKA_GROUP_", "KAFKA_AUTO_"))}
    assert {key for key in here if key.endswith(("_FACTOR", "_ISR", "_REPLICAS"))} <= set(same)


# ---- the lab's own processes


def test_the_own_processes_wait_for_healthy_servers() -> None:
    for name, one in own().items():
        waits = {other: how["condition"] for other, how in one["depends_on"].items()}
        wanted = set() if name == "providers" else {*SERVERS, "providers"}
        assert waits == dict.fromkeys(wanted, "service_healthy"), name


def test_the_own_processes_reach_the_servers_by_their_inner_addresses() -> None:
    for name, one in own().items():
        addresses = one["environment"]
        assert addresses["LAB_KAFKA_BOOTSTRAP"] == "kafka:19092", name
        assert addresses["LAB_POSTGRES_DSN"].endswith("@postgres:5432/lab"), name
        assert addresses["LAB_REDIS_URL"].startswith("redis://redis:6379/"), name
        assert addresses["LAB_PROVIDERS_URL"] == "http://providers:8000", name


def test_one_service_builds_the_image_that_all_of_them_run() -> None:
    assert [name for name, one in own().items() if "build" in one] == ["providers"]
    assert len({one["image"] for one in own().values()}) == 1
    assert all(one["pull_policy"] == "never" for one in own().values() if "build" not in one)


def test_each_group_has_a_worker_of_its_own() -> None:
    for group in GROUPS:
        assert own()[f"work-{group}"]["command"][:2] == ["work", group]


def test_every_command_of_the_own_processes_exists_with_its_options() -> None:
    commands = typer.main.get_group(app).commands
    for name, one in own().items():
        command, *words = one["command"]
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, name


# ---- what shows them


def test_elastics_images_are_of_one_version() -> None:
    images = {one["image"] for one in elk().values()}

    assert {image.rpartition(":")[2] for image in images} == {"9.5.1"}
    assert {image.partition("/")[0] for image in images} == {"docker.elastic.co"}


def test_each_part_waits_for_what_it_needs() -> None:
    waits = {name: one.get("depends_on", {}) for name, one in elk().items()}

    assert waits == {
        "elasticsearch": {},
        "kibana": {"elasticsearch": {"condition": "service_healthy"}},
        "elk-setup": {
            "elasticsearch": {"condition": "service_healthy"},
            "kibana": {"condition": "service_healthy"},
        },
        # Also what makes `--wait` wait for the job's end, and not for its health.
        "filebeat": {"elk-setup": {"condition": "service_completed_successfully"}},
    }


def test_no_part_takes_more_memory_than_it_is_given() -> None:
    given = {name: one["mem_limit"] for name, one in elk().items()}

    assert given == {
        "elasticsearch": "2g",
        "kibana": "1500m",
        "elk-setup": "256m",
        "filebeat": "400m",
    }
    heap = re.search(r"-Xmx(\d+)g", elk()["elasticsearch"]["environment"]["ES_JAVA_OPTS"])
    assert heap is not None
    # As much again is for what it keeps outside of the heap.
    assert int(heap[1]) * 2 <= 2


def test_filebeat_reads_what_the_others_write_under_the_names_that_it_is_told() -> None:
    filebeat = elk()["filebeat"]
    mounts = dict(with_defaults(mount).split(":")[:2] for mount in filebeat["volumes"])
    told = filebeat["environment"]
    config = (TOP / "elk" / "filebeat.yml").read_text("utf-8")

    assert mounts["./runs"] == told["LAB_RUNS"]
    assert mounts["telemetry"] == told["LAB_TELEMETRY"]
    for name in ("LAB_RUNS", "LAB_TELEMETRY", "LAB_ELASTICSEARCH_URL"):
        assert f"${{{name}:{told[name]}}}" in config
    port = re.search(r"http\.port: (\d+)", config)
    assert port is not None
    assert filebeat["healthcheck"]["test"][-1].endswith(f"/{port[1]}")
    for name, one in own().items():
        assert one["environment"]["LAB_TELEMETRY"] == "/telemetry", name
        assert "telemetry:/telemetry" in one["volumes"], name


def test_the_job_is_the_one_that_is_tried_and_starts_once() -> None:
    job = elk()[ENDS]
    (mount,) = job["volumes"]
    source, inside, _ = mount.split(":")

    assert job["image"] == elk()["elasticsearch"]["image"]
    assert job["restart"] == "no"
    assert job["entrypoint"] == ["bash", f"{inside}/setup"]
    assert (TOP / source / "setup").is_file()
    assert job["environment"] == {
        "LAB_ELASTICSEARCH_URL": "http://elasticsearch:9200",
        "LAB_KIBANA_URL": "http://kibana:5601",
    }


# ---- the image


def copied() -> list[str]:
    """What the Dockerfile copies, from the top of the repository."""
    lines = re.findall(r"^COPY (.+) \S+$", (TOP / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    return [name for line in lines for name in line.split()]


def test_the_image_runs_as_a_user_without_rights() -> None:
    lines = (TOP / "Dockerfile").read_text("utf-8").splitlines()

    assert "USER lab" in lines
    # A volume that is new takes the owner of the folder that it is put on.
    (made,) = (line for line in lines if line.startswith("RUN useradd"))
    assert made.endswith("install --directory --owner=lab /lab /telemetry")
    assert lines.index("USER lab") < lines.index('ENTRYPOINT ["lab"]')
    assert re.fullmatch(r"FROM python:3\.\d+-slim", next(x for x in lines if x.startswith("FROM")))


def test_a_change_of_the_code_leaves_the_layer_of_the_dependencies_alone() -> None:
    lines = (TOP / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    (fetched,) = (
        n for n, line in enumerate(lines) if "pip install" in line and "--no-index" not in line
    )
    (built,) = (n for n, line in enumerate(lines) if "pip install" in line and "--no-index" in line)
    before = [line.split()[1:-1] for line in lines[:fetched] if line.startswith("COPY")]

    assert before == [["pyproject.toml"]]
    assert fetched < built
    # What builds the package is fetched with them: a build without network works from then on.
    assert "build-system" in lines[fetched]
    assert {"--no-deps", "--no-build-isolation"} <= set(lines[built].split())


def test_the_layer_of_the_dependencies_asks_for_what_the_package_does(tmp_path: Path) -> None:
    dockerfile = (TOP / "Dockerfile").read_text("utf-8")
    found = re.search(r"python -c '(.+)' >/src/needed", dockerfile)
    assert found is not None
    program = found[1].replace("/src/", f"{TOP}/")

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))
    wanted = {*project["build-system"]["requires"], *project["project"]["dependencies"]}
    assert set(done.stdout.splitlines()) == wanted


def test_nothing_that_the_image_needs_is_kept_from_it() -> None:
    ignored = (TOP / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}

    assert "*" in ignored
    assert let_in == set(copied())


@pytest.mark.slow
def test_the_lab_can_be_built_from_what_the_image_copies(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in copied():
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(TOP / name, source)

    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    assert list((source / "dist").glob("*.whl"))
