"""`lab clean` after a supervisor was killed: nothing of its run stays, and nothing else goes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.everybody import everything
from lab.cli.app import run_command
from lab.cli.exit_codes import ExitCode
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer
from lab.wiring.worlds.run_lock import run_locks
from tests.kit.real_servers import need

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(240),
]

TOP = Path(__file__).resolve().parents[2]
LIMIT_S = 90


@pytest.fixture(autouse=True)
def own_servers_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of the tests, and a folder for temporary files with a short name."""
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", need("kafka"))
    monkeypatch.setenv("LAB_POSTGRES_DSN", need("postgres"))
    monkeypatch.setenv("LAB_REDIS_URL", need("redis"))
    folder = tempfile.mkdtemp(prefix="lc")
    monkeypatch.setenv("TMPDIR", folder)
    monkeypatch.setattr(tempfile, "tempdir", None)


def start(*words: str, out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "lab", "run", "happy-path", "--real", "--json", *words],
        cwd=out,
        env={**os.environ, "PYTHONPATH": str(TOP)},  # noqa: TID251 - a shell's part
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def until(what: str, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < end, f"{what}: not within {LIMIT_S} s"
        time.sleep(0.2)


def names_of(run: str) -> list[str]:
    """Everything on the servers that carries the name."""

    async def look() -> list[str]:
        found = await everything(KafkaSettings(bootstrap=need("kafka")))
        schemas = await postgres_schema.ours(PostgresServer(dsn=need("postgres"), schema="lab"))
        keys = await redis.prefixes(RedisServer(url=need("redis"), prefix="lab"), run)
        stem = f"{run.replace('_', '-')}."
        on_broker = [one for one in (*found.topics, *found.groups) if one.startswith(stem)]
        return [*on_broker, *(one for one in schemas if one == run), *keys]

    return asyncio.run(look())


class Cleaner:
    """Types `lab clean`, and reads the document that it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def types(self, *words: str) -> Any:
        self._capsys.readouterr()
        assert run_command(["clean", "--json", *words]) == ExitCode.PASS
        return json.loads(self._capsys.readouterr().out)

    def has_removed(self, run: str) -> bool:
        """Whether it removes a run now; while somebody of it is about, it does not."""
        self._capsys.readouterr()
        run_command(["clean", "--json", "--yes"])
        return run in json.loads(self._capsys.readouterr().out)["removed"]

    def state(self, run: str) -> str:
        """What it says of a run."""
        found = {one["name"]: one["state"] for one in self.types("--dry-run")["found"]}
        return str(found.get(run, "nothing"))


def test_what_a_killed_supervisor_left_is_removed_and_a_kept_run_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaner = Cleaner(capsys)
    kept = start("--orders", "3", "--keep", out=tmp_path)
    document, _ = kept.communicate(timeout=LIMIT_S)
    kept_name = json.loads(document)["kept"]

    with start("--orders", "2000", "--rate", "20", out=tmp_path) as run:
        until(
            "it has a schema",
            lambda: any("_" in one for lock in run_locks() for one in names_of(lock.lock.name)),
        )
        (lock,) = run_locks()
        name = lock.lock.name
        assert cleaner.state(name) == "running"
        # Nothing of a run that lives is removed, named or not.
        assert cleaner.types("--yes")["removed"] == []
        assert run_command(["clean", name, "--yes"]) == ExitCode.USAGE
        assert names_of(name)
        run.send_signal(signal.SIGKILL)

    until("its processes have left", lambda: cleaner.state(name) == "killed")
    assert cleaner.types()["removed"] == []
    assert names_of(name)
    until("all of it is removed", lambda: cleaner.has_removed(name))
    assert names_of(name) == []
    assert not lock.folder.exists()
    assert cleaner.types("--yes")["removed"] == []

    assert cleaner.state(kept_name) == "no lock"
    assert names_of(kept_name)
    assert cleaner.types(kept_name, "--yes")["removed"] == [kept_name]
    assert names_of(kept_name) == []
