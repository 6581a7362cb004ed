"""Outages of real servers: one stands still and goes on later, or a broker ends and begins again.

`scripts/servers` does it, which started them; `scripts/servers env` says where it is. Not here:
when (`lab.faults.nemesis`), and outages in memory (`simulated.py`).
"""

import asyncio
import shlex
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Mapping
from typing import Final

from lab.domain.errors import EnvironmentNotReady
from lab.faults.plan.plan import Firing
from lab.faults.table.bus import LEADER_MOVE
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


BROKERS: Final = ("kafka-1", "kafka-2", "kafka-3")
"""The names of three brokers that stand together; one alone is `kafka`."""

_AS_THREE: Final = ("--brokers", "3")
_UNDONE_BY: Final[Mapping[str, str]] = {"pause": "resume", "kill": "start", "stop": "start"}


def servers_of(server: str, address: str) -> tuple[str, ...]:
    """The names for `scripts/servers` of what a run uses as `server`: one, or three brokers."""
    return BROKERS if server == "kafka" and "," in address else (server,)


async def check_can_strike_all(
    script: str, timetable: Iterable[Firing], at: Mapping[str, str]
) -> None:
    """See that every server whose outage is planned is one that the run may stop.

    Args:
        script: see `check_can_strike`.
        timetable: of the faults.
        at: the address of each server of the run.

    Raises:
        EnvironmentNotReady: see `check_can_strike`.
    """
    kinds = {firing.kind for firing in timetable}
    struck = {OUTAGES.get(kind) for kind in kinds}
    if moves := LEADER_MOVE in kinds:
        struck.add("kafka")
    if used := {server: at[server] for server in at if server in struck}:
        await check_can_strike(script, used, needs_brokers=moves)


async def check_can_strike(
    script: str, used: Mapping[str, str], *, needs_brokers: bool = False
) -> None:
    """See that the servers to be stopped are those that the run uses, and ours to stop.

    Args:
        script: `scripts/servers`; "" if nobody said where it is.
        used: the address that the run uses, by the name of each server that it is to stop.
        needs_brokers: one of three brokers is to be stopped.

    Raises:
        EnvironmentNotReady: nobody said how to stop them, or others would be stopped.
    """
    if not script:
        what = "this run stops a server, and may stop only one that scripts/servers has started"
        raise _not_ready(what, "")
    shape = _AS_THREE if servers_of("kafka", used.get("kafka", "")) == BROKERS else ()
    if needs_brokers and not shape:
        raise _not_ready(
            "one of three brokers is to be stopped, and there is one", script, *_AS_THREE
        )
    code, out, _ = await _call(script, "env", *shape)
    if code:
        raise _not_ready("it does not say which servers it has started", script)
    words = [word for line in out.splitlines() for word in shlex.split(line)]
    for server, address in used.items():
        if f"{_VARIABLES[server]}={address}" not in words:
            raise _not_ready(
                f"its {server} is not the one that {_VARIABLES[server]} names, so an outage would "
                "stop another",
                script,
                *shape,
            )


def _not_ready(what: str, script: str, *shape: str) -> EnvironmentNotReady:
    flags = "".join(f" {flag}" for flag in shape)
    return EnvironmentNotReady(
        what,
        server="LAB_SERVERS",
        address=script,
        remedy=f'{servers_command(f"up{flags}")}; eval "$({servers_command(f"env{flags}")})" '
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
        self._struck: dict[tuple[str, ...], str] = {}

    async def strike(self, what: str, *servers: str) -> None:
        """`pause` and `resume` servers that are one to a run; `kill` or `stop`, and `start` one.

        Raises:
            SimulationError: it could not be done.
        """
        async with self._one_at_a_time:
            # Also one that is cancelled meanwhile may be stopped.
            if what in _UNDONE_BY:
                self._struck[servers] = _UNDONE_BY[what]
            await _strike(self._script, what, *servers)
            if what not in _UNDONE_BY:
                self._struck.pop(servers, None)

    async def end(self) -> None:
        """Let every server go on that is stopped: the next run needs it.

        Brokers begin together: one of three alone would wait for another one.
        """
        for what in dict.fromkeys(self._struck.values()):
            together = [one for one, undo in self._struck.items() if undo == what]
            await self.strike(what, *(name for servers in together for name in servers))
            for servers in together:
                self._struck.pop(servers, None)


async def _strike(script: str, what: str, *servers: str) -> None:
    code, _, errors = await _call(script, what, *servers)
    if code:
        raise SimulationError(f"{script} {what} {' '.join(servers)}: {errors}")


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
