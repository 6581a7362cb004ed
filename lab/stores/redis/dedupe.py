"""The dedupe store on Redis: claims of concurrent callers travel in one script call.

Leases and windows are measured by the clock of Redis. Everything may vanish at any time: then an
event is claimed anew, and the inbox decides.
Not here: the use of a claim (`lab.patterns.dedupe`), the scripts (`lua/`), and how one is
called (`script`).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from lab.domain.errors import Down, EnvironmentNotReady, LabError
from lab.ports.dedupe import Claim, ClaimState, DedupeStore, Evictable
from lab.resources import how_to_start
from lab.stores.group_commit import Batcher
from lab.stores.reachability import Reachability, Tell, tell_nobody
from lab.stores.redis.script import Script

DEPENDENCY: Final = "redis"
AGAIN_AFTER_US: Final = 200_000
VERSION_MIN: Final = (6, 2)
CHECK_US: Final = 5_000_000
"""Least deadline of the first look: nobody can begin without it, and a disk may be busy."""
CONNECTIONS_MIN: Final = 3
"""Each of the two scripts keeps one; the rest is for whatever else is asked."""
KEYS_MAX: Final = 200
PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_SCANNED: Final = 1_000

_OURS: Final = (ClaimState.ACQUIRED, ClaimState.TAKEOVER)
"""By the number that the script has for them; the next one is BUSY, then DONE."""
_DONE: Final = Claim(ClaimState.DONE)

_Ask = tuple[str, str, int]
"""Key, owner, lease in microseconds."""
_End = tuple[str, str, int, int]
"""Key, owner, fence, window in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A server, the prefix of all keys of a run, and how long anybody waits for it.

    Attributes:
        url: its address; may hold a password, so it is never shown (`where` is).
        prefix: of every key; any other key is somebody else's.
        timeout_us: deadline of one call, and of one attempt to connect.
    """

    url: str
    prefix: str
    timeout_us: int = 1_000_000

    def __repr__(self) -> str:
        return f"RedisServer({self.where}, prefix={self.prefix!r})"

    @property
    def where(self) -> str:
        """Host and port, without user and password; "" if the address is none.

        A password that is not escaped may reach beyond the `@` that ends it: nothing is shown then.
        """
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "localhost", parts.port or 6379
        except ValueError:
            return ""
        is_odd = "@" in f"{parts.path}{parts.query}{parts.fragment}"
        return "" if is_odd or parts.scheme not in ("redis", "rediss") else f"{host}:{port}"


class RedisDedupe(DedupeStore, Evictable):
    """One process's way to the dedupe store.

    Args:
        server: where.
        compares_fences: 1, or 0 for the weak part of the pattern `fencing`.
        tell: hears when claims are refused, and when they are granted again.
    """

    def __init__(
        self, server: RedisServer, *, compares_fences: int = 1, tell: Tell = tell_nobody
    ) -> None:
        self._server = server
        self._reached = Reachability(f"Redis at {server.where}", tell)
        self._prefix = server.prefix
        self._fence = f"{server.prefix}:fence".encode()
        self._compares = b"%d" % compares_fences
        self._client = make_client(server)
        self._claim = Script(self._client, "claim.lua")
        self._finish = Script(self._client, "finish.lua")
        self._asks: Batcher[_Ask, Claim] = Batcher(self._claim_all, size=KEYS_MAX, rivals=_key_of)
        self._ends: Batcher[_End, bool] = Batcher(self._end_all, size=KEYS_MAX, rivals=_key_of)

    async def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Claim:
        return await self._asks.put((f"{self._prefix}:{group}:{event_id}", owner, lease_us))

    async def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> bool:
        window_ms = max(-(-window_us // 1_000), 1)
        return await self._ends.put((f"{self._prefix}:{group}:{event_id}", owner, fence, window_ms))

    async def release(self, group: str, event_id: str, *, owner: str, fence: int) -> bool:
        return await self._ends.put((f"{self._prefix}:{group}:{event_id}", owner, fence, 0))

    async def evict(self, group: str, event_id: str) -> None:
        try:
            await self._client.unlink(f"{self._prefix}:{group}:{event_id}")
        except (RedisError, OSError) as error:
            raise _down(self._server, error) from None

    async def close(self) -> None:
        """Finish the calls that run, refuse those that wait, take leave of the server."""
        why = Down("the dedupe store is closed", dependency=DEPENDENCY, after_us=0)
        await self._asks.close(why)
        await self._ends.close(why)
        try:
            await self._client.aclose()
        except (RedisError, OSError) as error:
            raise _down(self._server, error) from None

    def abort(self) -> None:
        """End as a killed process does: nobody gets an answer."""
        self._asks.abort()
        self._ends.abort()

    async def _claim_all(self, asks: Sequence[_Ask]) -> list[Claim | LabError]:
        # Encoded here, not by the driver: it looks at the type of each of hundreds of arguments.
        keys = [self._fence, *(key.encode() for key, _, _ in asks)]
        arguments = _shared([(owner, lease_us) for _, owner, lease_us in asks])
        said = await self._call(self._claim, keys, arguments)
        # Not at any answer: a full server still takes back what it has.
        self._reached.answered()
        pairs = zip(asks, said[::2], said[1::2], strict=True)
        return [_to_claim(state, number) or self._odd(key) for (key, *_), state, number in pairs]

    async def _end_all(self, ends: Sequence[_End]) -> list[bool | LabError]:
        keys = [key.encode() for key, *_ in ends]
        owners = _shared([(owner, window_ms) for _, owner, _, window_ms in ends])
        arguments = [self._compares, *(b"%d" % fence for _, _, fence, _ in ends), *owners]
        said = await self._call(self._finish, keys, arguments)
        pairs = zip(ends, said, strict=True)
        return [self._odd(key) if each > 1 else each == 1 for (key, *_), each in pairs]

    def _odd(self, key: str) -> Down:
        """The error of one caller: somebody else has put something under its key."""
        said = f"Redis at {self._server.where}: {key} holds no claim (WRONGTYPE)"
        return Down(said, dependency=DEPENDENCY, after_us=AGAIN_AFTER_US)

    async def _call(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> list[int]:
        try:
            return await script.run(keys, arguments)
        except (RedisError, OSError) as error:
            self._reached.refused(_said(error))
            raise _down(self._server, error) from None


async def check(server: RedisServer) -> str:
    """See that the server can be used; returns its version, and what becomes of it when it is full.

    Raises:
        EnvironmentNotReady: it cannot be reached, refuses us, is too old, or is a cluster.
    """
    if PREFIX.fullmatch(server.prefix) is None:
        raise _not_ready(
            server, f"{server.prefix!r} is no prefix", "take up to 100 letters, digits and _.-"
        )
    client = make_client(replace(server, timeout_us=max(server.timeout_us, CHECK_US)))
    try:
        told = await client.info("server", "cluster", "memory")
    except (RedisError, OSError) as error:
        remedy = how_to_start("redis", "LAB_REDIS_URL")
        raise _not_ready(server, f"it cannot be used ({_said(error)})", remedy) from None
    finally:
        await client.aclose()
    version = str(told["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < VERSION_MIN:
        wanted = ".".join(map(str, VERSION_MIN))
        raise _not_ready(server, f"it is {version}", f"{wanted} or later is needed")
    if told.get("cluster_enabled"):
        # Claims of many events travel in one script, and a cluster runs none over several slots.
        raise _not_ready(
            server,
            "it is a cluster (cluster_enabled:1), which refuses every claim of several events",
            "name one that is none: the keys of a day need little memory, and all may be lost",
        )
    most = int(told.get("maxmemory", 0))
    if most and told.get("maxmemory_policy") == "noeviction":
        return f"{version}, refuses claims beyond {most / 2**20:,.1f} MiB (noeviction)"
    return version


async def forget(server: RedisServer) -> int:
    """Delete every key of the run and no other; how many there were.

    Raises:
        Down: the server cannot be reached.
    """
    client = make_client(server)
    deleted = 0
    try:
        keys: list[bytes] = []
        async for key in client.scan_iter(match=f"{server.prefix}:*", count=_SCANNED):
            keys.append(key)
            if len(keys) >= _SCANNED:
                deleted += await client.unlink(*keys)
                keys.clear()
        if keys:
            deleted += await client.unlink(*keys)
    except (RedisError, OSError) as error:
        raise _down(server, error) from None
    finally:
        await client.aclose()
    return deleted


async def prefixes(server: RedisServer, beginning: str) -> Mapping[str, int]:
    """How many keys there are under each prefix that begins so, whoever's they are.

    Raises:
        Down: the server cannot be reached.
    """
    client = make_client(server)
    found: Counter[str] = Counter()
    try:
        async for key in client.scan_iter(match=f"{beginning}*:*", count=_SCANNED):
            found[key.partition(b":")[0].decode(errors="replace")] += 1
    except (RedisError, OSError) as error:
        raise _down(server, error) from None
    finally:
        await client.aclose()
    return found


async def live_claims(server: RedisServer) -> list[tuple[str, str, str, int]]:
    """Claims whose lease runs: (group, event id, owner, rest of the lease in microseconds).

    Raises:
        Down: the server cannot be reached.
    """
    client = make_client(server)
    found: list[tuple[str, str, str, int]] = []
    try:
        seconds, micros = await client.time()
        now_us = seconds * 1_000_000 + micros
        async for key in client.scan_iter(match=f"{server.prefix}:*:*", count=_SCANNED):
            until, _, owner = ((await client.get(key)) or b"").decode().partition(" ")
            if until.isdigit() and int(until) > now_us:
                group, _, event_id = key.decode()[len(server.prefix) + 1 :].partition(":")
                owner = owner.partition(" ")[2]
                found.append((group, event_id, owner, int(until) - now_us))
    except (RedisError, OSError) as error:
        raise _down(server, error) from None
    finally:
        await client.aclose()
    return sorted(found)


def make_client(server: RedisServer) -> Any:
    """A client with deadlines and without retries of its own: the lab retries in one place.

    Raises:
        EnvironmentNotReady: the address cannot be read.
    """
    seconds = server.timeout_us / 1e6
    try:
        if not server.where:
            raise ValueError
        client = Redis.from_url(server.url)
        # Options of the address come first otherwise, and some would have us read other answers.
        client.connection_pool.connection_kwargs |= {
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "decode_responses": False,
            # Its question and answer would come before a call, and have no deadline there.
            "health_check_interval": 0,
        }
        pool = client.connection_pool
        pool.max_connections = max(pool.max_connections, CONNECTIONS_MIN)
        # Options that nobody knows are noticed here, and not at the first call.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # the library types it half
    except (ValueError, TypeError):
        # Its text may quote the address, and the address may hold a password.
        raise _not_ready(
            server,
            "its address cannot be read",
            "expected redis://USER:PASSWORD@HOST:PORT/DB with %-escapes in the password",
        ) from None
    else:
        return client


def _key_of(question: _Ask | _End) -> tuple[str]:
    return (question[0],)


def _shared(pairs: Sequence[tuple[str, int]]) -> list[bytes]:
    """The pairs as arguments; only the first one if all are the same, as nearly always."""
    kept = pairs[:1] if pairs.count(pairs[0]) == len(pairs) else pairs
    return [part for owner, number in kept for part in (owner.encode(), b"%d" % number)]


def _to_claim(state: int, number: int) -> Claim | None:
    """What the script says of a claim; None: its key holds something else."""
    if state < len(_OURS):
        return Claim(_OURS[state], number)
    if state == len(_OURS):
        return Claim(ClaimState.BUSY, busy_us=number)
    return _DONE if state == len(_OURS) + 1 else None


def _down(server: RedisServer, error: BaseException) -> Down:
    return Down(
        f"Redis at {server.where}: {_said(error)}",
        dependency=DEPENDENCY,
        after_us=AGAIN_AFTER_US,
    )


def _not_ready(server: RedisServer, what: str, remedy: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(what, server="Redis", address=server.where or "?", remedy=remedy)


def _said(error: BaseException) -> str:
    """The error in one line; the driver's own words may quote the address."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, ResponseError) else name
