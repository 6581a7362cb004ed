"""What a real run leaves on the servers and tells to whoever reads along: nothing of its own.

Not here: what `--keep` leaves, row by row (`test_real_proofs.py`).
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer
from lab.wiring.worlds.assignment import read_assignment
from tests.cli.commands import lab
from tests.kit.real_servers import need

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(180),
]

TOP = Path(__file__).resolve().parents[2]
NOBODY = "127.0.0.1:9"
"""A port of this machine on which nobody listens."""

PASSWORD = "swordfish-7"
START_S_MAX = 60
RUN_S_MAX = 120


def addresses() -> dict[str, str]:
    """Where the servers are, as variables of a shell."""
    return {
        "LAB_KAFKA_BOOTSTRAP": need("kafka"),
        "LAB_POSTGRES_DSN": need("postgres"),
        "LAB_REDIS_URL": need("redis"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One `lab run` under way, and where its processes keep their files."""

    process: "subprocess.Popen[str]"
    files: Path

    def name(self) -> str:
        """Of the run on the servers, as its processes are told."""
        end = time.monotonic() + START_S_MAX
        while True:
            assert time.monotonic() < end, "no process was started"
            for path in self.files.glob("lab-*/api-1.1"):
                if path.stat().st_size:
                    return read_assignment(path).name
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.02)

    def wait_load(self) -> None:
        """Until events are at work in every consumer."""
        end = time.monotonic() + START_S_MAX
        while any(b'"handle.begin"' not in one for one in self._told()) or not any(self._told()):
            assert time.monotonic() < end, "no load was seen"
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.05)

    def _told(self) -> list[bytes]:
        groups = ("orders", "validation", "payment", "notification")
        return [
            path.read_bytes()
            for group in groups
            for path in self.files.glob(f"lab-*/{group}-1.1.journal")
        ]

    def result(self, code: int = 0) -> Mapping[str, Any]:
        """What it printed in the end."""
        out, err = self.process.communicate(timeout=RUN_S_MAX)
        assert self.process.returncode == code, err + out
        told = json.loads(out)
        assert isinstance(told, dict)
        return told


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    """Start a real run; one that still runs in the end is killed."""
    folder.mkdir()
    # Under `nohup`, and in the background of a script, they are ignored, which would be handed on.
    usual = {
        number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGINT)
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "run", *arguments, "--real", "--json"],
        cwd=folder,
        env={
            **os.environ,  # noqa: TID251 - a shell's part
            **addresses(),
            "PYTHONPATH": str(TOP),
            "TMPDIR": str(folder),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for number, handler in usual.items():
        signal.signal(number, handler)
    try:
        yield Running(process=process, files=folder)
    finally:
        process.kill()
        process.communicate()


async def found_on_servers(name: str) -> set[str]:
    """Whatever carries this name: topics, groups, schemas, keys."""
    stem = name.replace("_", "-")
    admin = AIOKafkaAdminClient(bootstrap_servers=need("kafka"))
    await admin.start()
    topics = await admin.list_topics()
    groups = [group for group, *_ in await admin.list_consumer_groups()]
    await admin.close()
    connection = await asyncpg.connect(need("postgres"))
    schemas = await connection.fetch("select nspname from pg_namespace")
    await connection.close()
    client = Redis.from_url(need("redis"))
    keys = [key.decode() async for key in client.scan_iter(match=f"{name}*", count=1_000)]
    await client.aclose()
    found = {f"topic {one}" for one in topics if one.startswith(stem)}
    found |= {f"group {one}" for one in groups if one.startswith(stem)}
    found |= {f"schema {row['nspname']}" for row in schemas if row["nspname"].startswith(name)}
    return found | {f"key {key}" for key in keys}


async def leave_foreign(name: str) -> None:
    """Put something on each server that is not the lab's."""
    admin = AIOKafkaAdminClient(bootstrap_servers=need("kafka"))
    await admin.start()
    await admin.create_topics([NewTopic(f"{name.replace('_', '-')}.orders", 1, 1)])
    await admin.close()
    connection = await asyncpg.connect(need("postgres"))
    await connection.execute(f"create schema {name}")
    await connection.close()
    client = Redis.from_url(need("redis"))
    await client.set(f"{name}:claim", "x")
    await client.aclose()


async def remove_foreign(name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=need("kafka"))
    await admin.start()
    await admin.delete_topics([f"{name.replace('_', '-')}.orders"])
    await admin.close()
    connection = await asyncpg.connect(need("postgres"))
    await connection.execute(f"drop schema if exists {name} cascade")
    await connection.close()
    client = Redis.from_url(need("redis"))
    await client.delete(f"{name}:claim")
    await client.aclose()


async def remove_run(name: str) -> None:
    """What a run that kept everything has left."""
    await postgres_schema.drop(PostgresServer(dsn=need("postgres"), schema=name))
    await redis.forget(RedisServer(url=need("redis"), prefix=name))
    kafka = KafkaSettings(bootstrap=need("kafka"), prefix=name.replace("_", "-"))
    async with KafkaTopics(kafka) as topics:
        await topics.delete()


def test_two_runs_side_by_side_do_not_meet_and_leave_nothing_but_what_is_not_theirs(
    tmp_path: Path,
) -> None:
    foreign = f"lab_foreign_{os.getpid()}"
    asyncio.run(leave_foreign(foreign))
    try:
        before = asyncio.run(found_on_servers(foreign))
        with (
            running(tmp_path / "a", "duplicates", "--orders", "25", "--rate", "8") as first,
            running(tmp_path / "b", "crashes", "--orders", "20", "--rate", "8") as second,
        ):
            names = first.name(), second.name()
            results = first.result(), second.result()
        left = [asyncio.run(found_on_servers(name)) for name in names]
        after = asyncio.run(found_on_servers(foreign))
    finally:
        asyncio.run(remove_foreign(foreign))

    assert names[0] != names[1]
    assert [result["verdict"] for result in results] == ["PASS", "PASS"]
    accepted = [result["orders"]["accepted"] for result in results]
    assert accepted == [25, 20]
    assert left == [set(), set()]
    assert len(before) == 3
    assert after == before


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["INT", "TERM", "HUP"]
)
def test_an_interrupted_run_leaves_nothing_and_is_not_judged_by_its_own_end(
    number: signal.Signals, tmp_path: Path
) -> None:
    with running(tmp_path / "a", "happy-path", "--orders", "600", "--rate", "60") as one:
        name = one.name()
        one.wait_load()
        one.process.send_signal(number)
        result = one.result(code=130)

    assert result["partial"] is True
    assert result["verdict"] == "UNKNOWN", result["why"]
    assert asyncio.run(found_on_servers(name)) == set()
    assert list((tmp_path / "a").glob("lab-*")) == []


def test_a_run_that_keeps_leaves_all_of_it_and_a_password_stands_nowhere(tmp_path: Path) -> None:
    at = addresses()
    dsn = urlsplit(at["LAB_POSTGRES_DSN"])
    secret = dsn._replace(netloc=f"lab:{PASSWORD}@{dsn.hostname}:{dsn.port}").geturl()

    told = lab(
        *("run", "crashes", "--real", "--keep", "--orders", "15", "--rate", "8"),
        folder=tmp_path,
        variables={**at, "LAB_POSTGRES_DSN": secret},
    )

    assert told.code in (0, 3), told.err + told.out
    (folder,) = (tmp_path / "runs" / "crashes").iterdir()
    result = json.loads((folder / "result.json").read_text("utf-8"))
    name = result["kept"]
    try:
        kinds = {one.partition(" ")[0] for one in asyncio.run(found_on_servers(name))}
    finally:
        asyncio.run(remove_run(name))
    assert kinds == {"topic", "group", "schema", "key"}
    assert asyncio.run(found_on_servers(name)) == set()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"result.json", "logs.ndjson", "history.ndjson"} <= files.keys()
    assert PASSWORD not in told.out + told.err
    assert [file for file, text in files.items() if PASSWORD.encode() in text] == []


@pytest.mark.parametrize(
    ("server", "variable", "address"),
    [
        ("PostgreSQL", "LAB_POSTGRES_DSN", f"postgresql://lab:{PASSWORD}@{NOBODY}/lab"),
        ("Redis", "LAB_REDIS_URL", f"redis://:{PASSWORD}@{NOBODY}/0"),
        ("Kafka", "LAB_KAFKA_BOOTSTRAP", NOBODY),
    ],
    ids=["PostgreSQL", "Redis", "Kafka"],
)
def test_a_server_that_is_down_at_start_is_named_with_what_starts_it(
    server: str, variable: str, address: str, tmp_path: Path
) -> None:
    told = lab(
        *("run", "happy-path", "--real", "--orders", "5"),
        folder=tmp_path,
        variables={**addresses(), variable: address},
    )

    assert told.code == 4
    (line,) = told.err.splitlines()
    assert server in line
    assert NOBODY in line
    assert "lab up" in line or "scripts/servers" in line
    assert PASSWORD not in told.out + told.err
    assert told.out == ""


def test_who_says_not_how_to_stop_the_servers_gets_no_outage(tmp_path: Path) -> None:
    told = lab(
        *("run", "broker-outage", "--real", "--orders", "5"), folder=tmp_path, variables=addresses()
    )

    assert told.code == 4
    (line,) = told.err.splitlines()
    assert "LAB_SERVERS" in line
    assert "scripts/servers" in line
