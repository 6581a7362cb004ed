"""How many keys a second Redis sets for 16 clients: by redis-benchmark, or by redis-py.

redis-benchmark takes a password on its command line only, where others could read it, so a server
that wants one is measured by redis-py. Nothing of the lab is used here.
"""

import asyncio
import csv
import shutil
import subprocess
import time
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from redis.asyncio import Redis

CLIENTS: Final = 16
_VALUE: Final = "xxx"
_TIMEOUT_S: Final = 60


class RawSets(NamedTuple):
    """The rate of a baseline, and the program that measured it."""

    rate: float
    by: str


def sets_a_second(url: str, prefix: str, count: int) -> RawSets:
    """Keys a second, one SET each, no client before its answer.

    Args:
        url: the server and its database.
        prefix: of the keys; they are left there.
        count: how many are set.

    Raises:
        subprocess.CalledProcessError: redis-benchmark failed; its output is attached.
        redis.exceptions.RedisError: the server did not answer.
    """
    parts = urlsplit(url)
    program = shutil.which("redis-benchmark")
    if program is None:
        return RawSets(_by_client(url, prefix, count), "redis-py SET (no redis-benchmark here)")
    if parts.password or parts.scheme != "redis":
        return RawSets(_by_client(url, prefix, count), "redis-py SET (the server wants a password)")
    database = parts.path.strip("/") or "0"
    done = subprocess.run(  # noqa: S603 - found beside the server's own programs
        [
            *(program, "-h", parts.hostname or "localhost", "-p", str(parts.port or 6379)),
            *("--dbnum", database, "-c", str(CLIENTS), "-P", "1", "-n", str(count)),
            *("-r", str(count), "--csv", "SET", f"{prefix}:__rand_int__", _VALUE),
        ],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    *_, row = csv.reader(done.stdout.splitlines())
    return RawSets(float(row[1]), f"redis-benchmark SET, {CLIENTS} clients")


def _by_client(url: str, prefix: str, count: int) -> float:
    return asyncio.run(_set_all(url, prefix, count))


async def _set_all(url: str, prefix: str, count: int) -> float:
    numbers = iter(range(count))

    async def run() -> None:
        client: Any = Redis.from_url(url, single_connection_client=True)
        async with client:
            for number in numbers:
                await client.set(f"{prefix}:{number:012}", _VALUE)

    start_s = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(CLIENTS)))
    return count / (time.perf_counter() - start_s)
