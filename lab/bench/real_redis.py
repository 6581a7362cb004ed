"""The dedupe store on Redis: keys a second that are claimed and then completed.

Keys carry a prefix of their own and are deleted. Not here: the baseline
(`baselines.redis_set`).
"""

import asyncio
import secrets
import time
from typing import Final

from lab.bench.baselines.redis_set import RawSets, sets_a_second
from lab.bench.load import BenchError
from lab.bench.real_http import loop_to_measure
from lab.ports.dedupe import ClaimState
from lab.runtime.real_loop import run_on
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisDedupe, RedisServer

HANDLERS: Final = 64

_PATIENCE_US: Final = 10_000_000
_LEASE_US: Final = 2_000_000
_DAY_US: Final = 86_400_000_000
_OWNER: Final = "payment-1#1"


def keys_a_second(url: str, *, keys: int, raw_keys: int) -> tuple[float, float, RawSets]:
    """Keys a second that are claimed and completed, those that are claimed only, and plain SETs.

    Raises:
        BenchError: a claim was refused that nobody else had.
    """
    loop = loop_to_measure()
    server = RedisServer(url=url, prefix=f"bench-{secrets.token_hex(5)}", timeout_us=_PATIENCE_US)
    try:
        raw = sets_a_second(url, f"{server.prefix}:raw", raw_keys)
        claims = run_on(loop, _through(server, "claimed", keys, completes=0))
        both = run_on(loop, _through(server, "completed", keys, completes=1))
    finally:
        asyncio.run(redis.forget(server))
    return both, claims, raw


async def _through(server: RedisServer, group: str, keys: int, *, completes: int) -> float:
    dedupe = RedisDedupe(server)
    numbers = iter(range(keys))

    async def handle() -> None:
        for number in numbers:
            event_id = f"{number:032x}"
            claim = await dedupe.claim(group, event_id, owner=_OWNER, lease_us=_LEASE_US)
            is_ours = claim.state is ClaimState.ACQUIRED
            if is_ours and completes:
                is_ours = await dedupe.complete(
                    group, event_id, owner=_OWNER, fence=claim.fence, window_us=_DAY_US
                )
            if not is_ours:
                raise BenchError(f"the claim of {event_id}, which nobody else has, is {claim}")

    try:
        start_s = time.perf_counter()
        await asyncio.gather(*(handle() for _ in range(min(HANDLERS, keys))))
        return keys / (time.perf_counter() - start_s)
    finally:
        await dedupe.close()
