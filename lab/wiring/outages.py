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


class Outages:
    """The outages of one run: strikes in the order in which they are told.

    Args:
        script: see `check_can_strike`.
    """

    def __init__(self, script: str) -> None:
        self._script = script
        self._one_at_a_time = asyncio.Lock()
        self._paused: dict[str, None] = {}

    async def strike(self, what: str, server: str) -> None:
        """`pause` or `resume` a server.

        Raises:
            SimulationError: it could not be done.
        """
        async with self._one_at_a_time:
            # Also one that is cancelled meanwhile may be stopped.
            if what == "pause":
                self._paused[server] = None
            await _strike(self._script, what, server)
            if what == "resume":
                self._paused.pop(server, None)

    async def end(self) -> None:
        """Let every server go on that is stopped: whoever comes next needs it."""
        for server in list(self._paused):
            await self.strike("resume", server)


async def _strike(script: str, what: str, server: str) -> None:
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
