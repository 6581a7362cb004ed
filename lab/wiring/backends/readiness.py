"""Whether the real servers are there and fit for use, as a run would find them.

Nothing is made on them. Not here: starting them (`lab up`, `scripts/servers`), and the needs of a
run of them beyond that: its schema, its topics, its keys.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lab.bus.kafka.client import KafkaSettings, quiet_client
from lab.bus.kafka.security import security_of
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady, Transient
from lab.resources import how_to_start
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer

PATIENCE_US: Final = 3_000_000
PORTS: Final[Mapping[str, int]] = {"POSTGRES_PORT": 5432, "REDIS_PORT": 6379, "KAFKA_PORT": 9092}
"""Where `docker-compose.yml` puts the servers, by the variables (without `LAB_`) that move them."""

_ANY_NAME: Final = "lab"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """The finding about one server.

    Attributes:
        name: `Kafka`, `PostgreSQL` or `Redis`.
        address: without user and password; "?" if it cannot be shown safely.
        version: as the server tells it; "" if it cannot be used.
        problem: why it cannot be used; "" if it can.
        remedy: advice.
    """

    name: str
    address: str
    version: str
    problem: str = ""
    remedy: str = ""


def addresses(variables: Mapping[str, str]) -> Mapping[str, str]:
    """The addresses of the servers by their variables, without `LAB_`.

    Args:
        variables: `lab.settings.environment()`; a missing server is looked for where `lab up` puts
            it.
    """
    port = {name: variables.get(name, str(usual)).strip() for name, usual in PORTS.items()}
    usual = {
        "POSTGRES_DSN": f"postgresql://lab@127.0.0.1:{port['POSTGRES_PORT']}/lab",
        "REDIS_URL": f"redis://127.0.0.1:{port['REDIS_PORT']}/0",
        "KAFKA_BOOTSTRAP": f"127.0.0.1:{port['KAFKA_PORT']}",
    }
    return {name: variables.get(name, address).strip() for name, address in usual.items()}


def look_at_servers(variables: Mapping[str, str]) -> Sequence[ServerState]:
    """Connect to each server and ask for its version; takes a few seconds at most."""
    quiet_client()
    return asyncio.run(_look(variables))


async def _look(variables: Mapping[str, str]) -> Sequence[ServerState]:
    at = addresses(variables)
    return await asyncio.gather(
        _kafka(at["KAFKA_BOOTSTRAP"], variables),
        _postgres(at["POSTGRES_DSN"]),
        _redis(at["REDIS_URL"]),
    )


async def _kafka(bootstrap: str, variables: Mapping[str, str]) -> ServerState:
    settings = KafkaSettings(bootstrap=bootstrap, connect_us=PATIENCE_US)

    async def ask() -> str:
        secure = replace(settings, security=security_of(variables))
        async with KafkaTopics(secure) as topics:
            return await topics.version()

    return await _state("Kafka", settings.where, ask)


async def _postgres(dsn: str) -> ServerState:
    server = PostgresServer(dsn=dsn, schema=_ANY_NAME, connect_us=PATIENCE_US)
    return await _state("PostgreSQL", server.where, lambda: postgres_schema.check(server))


async def _redis(url: str) -> ServerState:
    server = RedisServer(url=url, prefix=_ANY_NAME, timeout_us=PATIENCE_US)
    return await _state("Redis", server.where, lambda: redis.check(server))


async def _state(name: str, where: str, ask: Callable[[], Awaitable[str]]) -> ServerState:
    version = problem = remedy = ""
    try:
        version = await ask()
    except EnvironmentNotReady as error:
        problem, remedy = error.what, error.remedy
    except Transient:
        problem = "it has stopped answering"
        remedy = how_to_start("kafka", "LAB_KAFKA_BOOTSTRAP")
    return ServerState(
        name=name, address=where or "?", version=version, problem=problem, remedy=remedy
    )
