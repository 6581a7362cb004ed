"""Outages of real servers: the server's processes are stopped as by SIGSTOP, and go on later.

`scripts/servers` does it, which started them; `scripts/servers env` says where it is. Not here:
when (`lab.faults.nemesis`), and outages in memory (`simulated`).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from lab.domain.errors import EnvironmentNotReady
from lab.runtime.errors import SimulationError

OUTAGES: Final[Mapping[str, str]] = {
    "bus.down": "kafka",
    "redis.down": "redis",
    "pg.shutdown": "postgres",
}
"""Which server each outage stops, by its name for `scripts/servers`."""


def check_can_strike(script: str) -> None:
    """See that the servers are ours to stop.

    Raises:
        EnvironmentNotReady: nobody said how to stop them.
    """
    if not script:
        raise EnvironmentNotReady(
            "an outage of a real server needs servers that the lab may stop",
            server="LAB_SERVERS",
            address="",
            remedy='start them with scripts/servers up, then eval "$(scripts/servers env)"',
        )


async def strike_server(script: str, what: str, server: str) -> None:
    """`pause` or `resume` a server.

    Raises:
        SimulationError: it could not be done.
    """
    process = await asyncio.create_subprocess_exec(
        "bash",
        script,
        what,
        server,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    if process.returncode:
        raise SimulationError(f"{script} {what} {server}: {told.decode('utf-8', 'replace')}")
