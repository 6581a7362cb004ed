"""Where tests marked `real` find their servers, and how they make one fail.

A server that is missing skips the test, and the reason names it; with `CI` set that is a failure.
Not here: starting servers (`scripts/servers`, which `make test` calls).
"""

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "servers"

_VARIABLES = {
    "kafka": "LAB_KAFKA_BOOTSTRAP",
    "postgres": "LAB_POSTGRES_DSN",
    "redis": "LAB_REDIS_URL",
    "search": "LAB_ELASTICSEARCH_URL",
}


def need(server: str) -> str:
    """Address of the server; ends the test if there is none."""
    address = os.environ.get(_VARIABLES[server], "")  # noqa: TID251 - see above
    if not address:
        _missing(f'no {server}: scripts/servers up {server}; then eval "$(scripts/servers env)"')
    return address


def need_control(server: str) -> None:
    """The test makes the server fail, so the server must be one of `scripts/servers`."""
    address = need(server)
    ours = subprocess.run([SCRIPT, "env"], check=True, capture_output=True, text=True).stdout
    if address not in ours:
        _missing(f"the {server} at {address} is not of scripts/servers, so no test may stop it")


def control(command: str, *servers: str) -> None:
    """`scripts/servers COMMAND SERVER...`; blocks until it is done.

    No other test may need the server meanwhile, so the test has the marker `alone`.
    """
    assert "PYTEST_XDIST_WORKER" not in os.environ, "mark it `alone`"  # noqa: TID251 - see above
    done = subprocess.run(
        [SCRIPT, command, *servers], check=False, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"scripts/servers {command} {' '.join(servers)}: {done.stderr}"


@contextmanager
def other_brokers(*shape: str) -> Iterator[Mapping[str, str]]:
    """The Kafka of `scripts/servers up SHAPE` in the block, and the variables of all its servers.

    It needs minutes on a busy machine, and is stopped afterwards if it did not run before.
    """
    need("postgres")
    up = subprocess.run(
        [SCRIPT, "up", *shape], check=False, capture_output=True, text=True, timeout=480
    )
    if up.returncode == 3:
        _missing(up.stderr.strip())
    assert up.returncode == 0, up.stderr
    try:
        told = subprocess.run([SCRIPT, "env", *shape], check=True, capture_output=True, text=True)
        words = [word for word in shlex.split(told.stdout) if "=" in word]
        yield dict(word.split("=", 1) for word in words)
    finally:
        if up.stdout.strip():
            control("stop", *up.stdout.split())


def need_filebeat() -> Path:
    """A real Filebeat, built once with Go; ends the test where there is no Go, and in CI."""
    done = subprocess.run(
        [SCRIPT, "filebeat"], check=False, capture_output=True, text=True, timeout=1_800
    )
    if done.returncode == 3:
        pytest.skip(f"no filebeat: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def _missing(reason: str) -> None:
    if os.environ.get("CI"):  # noqa: TID251 - see above
        pytest.fail(reason)
    pytest.skip(reason)
