"""Redis as people have it: a cluster, and one that is full and evicts nothing."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from lab.domain.errors import Down, EnvironmentNotReady
from lab.ports.dedupe import ClaimState
from lab.stores.redis.dedupe import RedisDedupe, RedisServer, check
from lab.wiring.backends.readiness import look_at_servers
from tests.kit.own_servers import own_redis

pytestmark = pytest.mark.real

PLENTY_BYTES = 100_000_000
FULL_BYTES = 1_000
"""Less than an empty one takes."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node that owns every slot."""
    with own_redis(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes") as url:
        with Redis.from_url(url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        yield url


def test_a_cluster_is_refused_at_start(cluster: str) -> None:
    with pytest.raises(EnvironmentNotReady, match=r"cluster_enabled:1.*name one that is none"):
        asyncio.run(check(RedisServer(url=cluster, prefix="p")))


def test_doctor_and_status_say_that_it_is_a_cluster(cluster: str) -> None:
    nowhere = "127.0.0.1:9"
    variables = {
        "REDIS_URL": cluster,
        "POSTGRES_DSN": f"postgresql://{nowhere}/x",
        "KAFKA_BOOTSTRAP": nowhere,
    }
    (found,) = (one for one in look_at_servers(variables) if one.name == "Redis")
    assert "cluster" in found.problem
    assert found.remedy


def test_a_full_redis_refuses_claims_as_down_and_it_is_told_once_with_a_count(
    tmp_path: Path,
) -> None:
    told: list[tuple[str, str]] = []

    async def use(url: str, limit: Callable[[int], object]) -> None:
        server = RedisServer(url=url, prefix="full")
        assert "noeviction" in await check(server)
        store = RedisDedupe(server, tell=lambda level, sentence: told.append((level, sentence)))
        held = await store.claim("g", "held", owner="me", lease_us=60_000_000)
        limit(FULL_BYTES)
        for number in range(25):
            with pytest.raises(Down, match="OutOfMemory") as down:
                await store.claim("g", f"more {number}", owner="me", lease_us=1_000_000)
            assert down.value.dependency == "redis"
        # What it holds can be given back, which is no sign that it takes anything.
        assert await store.release("g", "held", owner="me", fence=held.fence)
        assert len(told) == 1
        limit(PLENTY_BYTES)
        claim = await store.claim("g", "after", owner="me", lease_us=1_000_000)
        assert claim.state is ClaimState.ACQUIRED
        await store.close()

    limits = ("--maxmemory", str(PLENTY_BYTES), "--maxmemory-policy", "noeviction")
    with own_redis(tmp_path, *limits) as url, Redis.from_url(url) as client:
        asyncio.run(use(url, partial(client.config_set, "maxmemory")))
    (away, why), (back, after) = told
    assert (away, back) == ("warning", "info")
    assert "OutOfMemory" in why
    assert "of use again, after 25 refused calls" in after
