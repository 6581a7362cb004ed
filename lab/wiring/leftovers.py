"""What runs have left on the servers: found, told apart, and removed.

A run's name is on everything of it, and its lock says whether it lives (`worlds/run_lock`). What a
standing system has made carries a name of another form, and is never among this.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from lab.bus.kafka.client import KafkaSettings, quiet_client
from lab.bus.kafka.everybody import everything
from lab.bus.kafka.security import security_of
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady, LabError
from lab.settings import environment, settings_for
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer
from lab.wiring.backends.interface import Backend
from lab.wiring.backends.readiness import addresses
from lab.wiring.backends.real import KafkaBackend, PostgresBackend, Where
from lab.wiring.backends.redis_claims import RedisBackend
from lab.wiring.worlds.run_lock import NAME, FoundLock, forget_lock, run_locks

State = Literal["killed", "running", "elsewhere", "no lock"]

_BEGINNING: Final = "lab_"
_LATE_S: Final = 1.0
"""A request of a process that was killed in the middle of it is carried out within this time."""


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """What stands on the servers under the name of one run.

    Attributes:
        state: `killed`: its lock is here and nobody holds it; `running`: somebody does, or is in
            one of its groups; `elsewhere`: its lock names other servers than these; `no lock`: it
            was kept, or began on another machine.
        topics, groups, schemas, keys: how many there are; None: that server was not asked.
        folder: its temporary folder on this machine, "" if there is none.
    """

    name: str
    state: State
    topics: int | None = 0
    groups: int | None = 0
    schemas: int | None = 0
    keys: int | None = 0
    folder: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it may be removed without being named."""
        return self.state == "killed"


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """The finding on all servers. `away`: why a server could not be looked at, in sentences."""

    found: Sequence[Leftover]
    away: Sequence[str]


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """`removed`: names of the runs of which nothing is left; `failed`: why not of others."""

    removed: Sequence[str]
    failed: Sequence[str]


@dataclass(slots=True)
class _Servers:
    """What stands on each server, by the name of its run. None: it could not be asked."""

    topics: Counter[str] | None = None
    groups: Counter[str] | None = None
    schemas: Counter[str] | None = None
    keys: Counter[str] | None = None
    used: set[str] = field(default_factory=set)
    away: list[str] = field(default_factory=list)


def look() -> Looked:
    """What runs have left on the servers of the environment, and on this machine.

    Raises:
        EnvironmentNotReady: no server can be asked.
    """
    quiet_client()
    at = addresses(environment())
    servers, held = asyncio.run(_look(at)), {one.lock.name: one for one in run_locks()}
    if len(servers.away) == len(at):
        raise EnvironmentNotReady(
            "none of them can be asked: " + "; ".join(servers.away),
            server="the servers",
            address="",
            remedy="start them: scripts/servers up, or lab up",
        )
    kinds = (servers.topics, servers.groups, servers.schemas, servers.keys)
    names = sorted(set(held).union(*(kind for kind in kinds if kind is not None)))
    found = []
    for name in names:
        topics, groups, schemas, keys = (None if kind is None else kind[name] for kind in kinds)
        found.append(
            Leftover(
                name=name,
                state=_state(held.get(name), is_used=name in servers.used, at=at),
                topics=topics,
                groups=groups,
                schemas=schemas,
                keys=keys,
                folder=str(held[name].folder) if name in held else "",
            )
        )
    return Looked(found=found, away=servers.away)


def clean(chosen: Sequence[Leftover]) -> Cleaned:
    """Remove everything of these runs.

    All servers are asked once more: a run that is in use by now is left alone, and so is one of
    which a server cannot be asked. A lock goes last, and only if everything else is gone. Of a run
    that was killed there is a second look: a server may still be making what it was asked for.

    Raises:
        EnvironmentNotReady: no server can be asked.
    """
    held = {one.lock.name: one for one in run_locks()}
    removed, failed = _clean_now(chosen, look().found, held)
    over = {one.name for one in chosen if one.is_over} & set(removed)
    if over:
        time.sleep(_LATE_S)
        found = look().found
        late = [one for one in found if one.name in over and _has_any(one)]
        _, more = _clean_now(late, found, held)
        failed += more
        removed = [name for name in removed if not any(why.startswith(name) for why in more)]
    for name in removed:
        if name in held:
            forget_lock(held[name])
    return Cleaned(removed=removed, failed=failed)


def _has_any(one: Leftover) -> bool:
    return any((one.topics, one.groups, one.schemas, one.keys))


def _clean_now(
    chosen: Sequence[Leftover], found: Sequence[Leftover], held: Mapping[str, FoundLock]
) -> tuple[list[str], list[str]]:
    """Remove what was `found`: the names of the runs that are gone, and why others are not."""
    now = {one.name: one for one in found}
    removed: list[str] = []
    failed: list[str] = []
    for one in chosen:
        present, lock = now.get(one.name), held.get(one.name)
        if present is None:
            continue
        if present.state != one.state:
            failed.append(f"{one.name}: it is in use by now")
            continue
        if unasked := _unasked(present, lock):
            failed.append(f"{one.name}: {unasked} was not looked at, and may have something of it")
            continue
        left = asyncio.run(_remove(present))
        failed += [f"{one.name}: {why}" for why in left]
        if left:
            continue
        removed.append(one.name)
    return removed, failed


def _unasked(one: Leftover, lock: FoundLock | None) -> str:
    """A server that this run may use and that could not be asked; "" if there is none."""
    uses = None if lock is None else lock.lock
    kinds = (
        ("Kafka", one.topics, uses is None or uses.kafka_bootstrap),
        ("PostgreSQL", one.schemas, uses is None or uses.postgres_dsn),
        ("Redis", one.keys, uses is None or uses.redis_url),
    )
    return next((name for name, count, is_used in kinds if count is None and is_used), "")


def _state(lock: FoundLock | None, *, is_used: bool, at: Mapping[str, str]) -> State:
    if is_used or (lock is not None and lock.is_held):
        return "running"
    if lock is None:
        return "no lock"
    theirs = lock.lock
    pairs = (
        (theirs.kafka_bootstrap, at["KAFKA_BOOTSTRAP"]),
        (theirs.postgres_dsn, at["POSTGRES_DSN"]),
        (theirs.redis_url, at["REDIS_URL"]),
    )
    is_here = all(used in ("", address) for used, address in pairs)
    return "killed" if is_here else "elsewhere"


async def _look(at: Mapping[str, str]) -> _Servers:
    servers = _Servers()

    async def kafka() -> None:
        settings = KafkaSettings(
            bootstrap=at["KAFKA_BOOTSTRAP"], security=security_of(environment())
        )
        # It says why a broker cannot be used, and what helps.
        async with KafkaTopics(settings):
            found = await everything(settings)
        servers.topics, servers.groups = _by_run(found.topics), _by_run(found.groups)
        servers.used = set(_by_run(found.used))

    async def postgres() -> None:
        server = PostgresServer(dsn=at["POSTGRES_DSN"], schema="lab")
        names = await postgres_schema.ours(server)
        servers.schemas = Counter(name for name in names if NAME.fullmatch(name))

    async def keys() -> None:
        found = await redis.prefixes(RedisServer(url=at["REDIS_URL"], prefix="lab"), _BEGINNING)
        servers.keys = Counter(
            {name: count for name, count in found.items() if NAME.fullmatch(name)}
        )

    async def ask(question: Callable[[], Awaitable[None]]) -> None:
        try:
            await question()
        except (EnvironmentNotReady, LabError) as error:
            servers.away.append(str(error))

    await asyncio.gather(*(ask(one) for one in (kafka, postgres, keys)))
    return servers


async def _remove(one: Leftover) -> list[str]:
    at = addresses(environment())
    where = Where(
        name=one.name,
        postgres_dsn=at["POSTGRES_DSN"],
        redis_url=at["REDIS_URL"],
        kafka_bootstrap=at["KAFKA_BOOTSTRAP"],
        kafka_security=security_of(environment()),
    )
    settings = settings_for("wall-clock")
    left: list[str] = []
    async with AsyncExitStack() as stack:
        backends: list[Backend] = []
        try:
            if one.topics or one.groups:
                bus = KafkaBackend(where, settings, epoch_us=0)
                await bus.reach(stack)
                backends.append(bus)
        except (EnvironmentNotReady, LabError) as error:
            left.append(str(error))
        if one.schemas:
            backends.append(PostgresBackend(where, settings, epoch_us=0))
        if one.keys:
            backends.append(RedisBackend(where.redis_url, where.name, compares_fences=True))
        for backend in backends:
            try:
                await backend.remove()
            except (EnvironmentNotReady, LabError) as error:
                left.append(str(error))
    return left


def _by_run(names: Iterable[str]) -> Counter[str]:
    """How many of the broker's names are of each run."""
    stems = (name.partition(".")[0].replace("-", "_") for name in names if "." in name)
    return Counter(stem for stem in stems if NAME.fullmatch(stem))
