"""The dedupe backend on a real Redis: every key of a system carries its name.

Not here: the client itself (`lab.stores.redis`), and the other real servers (`real`).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from lab.domain.errors import Down, EnvironmentNotReady, LabError
from lab.history.entries import Entry
from lab.ports.dedupe import DedupeStore
from lab.stores.reachability import Tell, tell_nobody
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisDedupe, RedisServer
from lab.wiring.backends.interface import DedupeBackend
from lab.wiring.ports import Life


class RedisBackend(DedupeBackend):
    """The keys of a run on a Redis.

    Args:
        url: of the server.
        name: of the run or the system.
        compares_fences: False for the weak part of the pattern `fencing`.
        tell: hears when the server is of no use, and when it is again.
    """

    make = "redis"

    def __init__(
        self, url: str, name: str, *, compares_fences: bool, tell: Tell = tell_nobody
    ) -> None:
        self._server = RedisServer(url=url, prefix=name)
        self._tell = tell
        self._compares_fences = int(compares_fences)

    async def prepare(self, stack: AsyncExitStack) -> None:  # noqa: ARG002 - keys need no preparation
        await redis.check(self._server)

    async def connect(self, life: Life, stack: AsyncExitStack) -> DedupeStore:  # noqa: ARG002 - all lives of a process use the same server
        dedupe = RedisDedupe(self._server, compares_fences=self._compares_fences, tell=self._tell)
        stack.push_async_callback(dedupe.close)
        return dedupe

    async def answers(self) -> None:
        """Return if the server answers, in bounded time.

        Raises:
            Down: it does not.
        """
        try:
            await redis.check(self._server)
        except EnvironmentNotReady as error:
            raise Down(str(error), dependency=redis.DEPENDENCY, after_us=0) from error

    async def owners(self) -> Sequence[str] | None:
        try:
            return [owner for _, _, owner, _ in await redis.live_claims(self._server)]
        except LabError:
            return None

    async def facts(self) -> AsyncIterator[Entry]:
        nothing: tuple[Entry, ...] = ()
        for entry in nothing:
            yield entry

    async def remove(self) -> None:
        await redis.forget(self._server)
