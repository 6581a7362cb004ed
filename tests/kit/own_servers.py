"""Servers of special kinds that a test starts itself, on loopback: a pooler, an odd Redis.

Programs that are missing skip the test, as a missing server does. Not here: the usual servers
(`real_servers`).
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lab.runtime.http_server import reserved_port
from tests.kit.real_servers import SCRIPT

_READY_S = 10


@contextmanager
def own_redis(folder: Path, *options: str) -> Iterator[str]:
    """The address of a Redis that was started with `options`."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server: scripts/servers up redis says what to install")
    with reserved_port() as port:
        pass
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", *options]
    with _running([*command, "--dir", str(folder)], folder / "redis.log", port):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def own_pgbouncer(folder: Path, dsn: str, **settings: str) -> Iterator[str]:
    """The address of the database behind a PgBouncer with these settings."""
    found = subprocess.run(
        [SCRIPT, "pgbouncer"], check=False, capture_output=True, text=True, timeout=300
    )
    if found.returncode == 3 and not os.environ.get("CI"):  # noqa: TID251 - as `real_servers`
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0, found.stderr
    behind = urlsplit(dsn)
    with reserved_port() as port:
        pass
    users, config = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{behind.username}" ""\n', "utf-8")
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": str(users),
        **settings,
    }
    config.write_text(
        f"[databases]\n* = host={behind.hostname} port={behind.port}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in lines.items()),
        "utf-8",
    )
    command = [found.stdout.strip(), str(config)]
    if os.geteuid() == 0:
        # It refuses to be root; whom it becomes has to get to its files.
        for place in (folder, *folder.parents[:2]):
            place.chmod(0o755)
        command[1:1] = ["-u", "postgres"]
    with _running(command, folder / "pgbouncer.log", port):
        yield behind._replace(netloc=f"{behind.username}@127.0.0.1:{port}").geturl()


@contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[None]:
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        end = time.monotonic() + _READY_S
        while not _is_open(port):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < end, f"{command[0]} is not ready: {log.read_text('utf-8')}"
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def _is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
