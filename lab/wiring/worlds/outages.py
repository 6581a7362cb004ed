"""Outages of real servers: the server's processes are stopped as by SIGSTOP, and go on later.

`scripts/servers` does it, which started them; `scripts/servers env` says where it is. Not here:
when (`lab.faults.nemesis`), and outages in memory (`simulated.py`).
"""

import asyncio
import shlex
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from typing import Final

from lab.domain.errors import EnvironmentNotReady
from lab.resources import servers_command
from lab.runtime.errors import SimulationError

OUTAGES: Final[Mapping[str, str]] = {
    "bus.down": "kafka",
    "redis.down": "redis",
    "pg.shutdown": "postgres",
}
"""Which server each outage stops, by its name for `scripts/servers`."""


_VARIABLES: Final[Mapping[str, str]] = {
    "kafka": "LAB_KAFKA_BOOTSTRAP",
    "redis": "LAB_REDIS_URL",
    "postgres": "LAB_POSTGRES_DSN",
}


async def check_can_strike(script: str, used: Mapping[str, str]) -> None:
    """See that the servers to be stopped are those that the run uses, and ours to stop.

    Args:
        script: `scripts/servers`; "" if nobody said where it is.
        used: the address that the run uses, by the name of each server that it is to stop.

    Raises:
        EnvironmentNotReady: nobody said how to stop them, or others would be stopped.
    """
    if not script:
        what = "this run stops a server, and may stop only one that scripts/servers has started"
        raise _not_ready(what, "")
    code, out, _ = await _call(script, "env")
    if code:
        raise _not_ready("it does not say which servers it has started", script)
    words = [word for line in out.splitlines() for word in shlex.split(line)]
    for server, address in used.items():
        if f"{_VARIABLES[server]}={address}" not in words:
            raise _not_ready(
                f"its {server} is not the one that {_VARIABLES[server]} names, so an outage would "
                "stop another",
                script,
            )


def _not_ready(what: str, script: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        what,
        server="LAB_SERVERS",
        address=script,
        remedy=f'{servers_command()}; eval "$({servers_command("env")})" '
        "(servers in Docker cannot be stopped from here)",
    )


class Outages:
    """The outages of one run: strikes in the order in which they are asked for.

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
        """Let every server go on that is stopped: the next run needs it."""
        for server in list(self._paused):
            await self.strike("resume", server)


async def _strike(script: str, what: str, server: str) -> None:
    code, _, errors = await _call(script, what, server)
    if code:
        raise SimulationError(f"{script} {what} {server}: {errors}")


async def _call(script: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *("bash", script, *arguments), stdout=PIPE, stderr=PIPE
    )
    out, errors = await process.communicate()
    return (
        process.returncode or 0,
        out.decode("utf-8", "replace"),
        errors.decode("utf-8", "replace"),
    )
