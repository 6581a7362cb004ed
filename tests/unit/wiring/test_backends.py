"""Preparing what a run stands on: what was made is removed, also when nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from lab.checks.check import Verdict
from lab.checks.checker import Checker
from lab.domain.errors import Down, EnvironmentNotReady
from lab.history.entries import Entry
from lab.settings import WALL_CLOCK, settings_for
from lab.wiring.backends.interface import (
    Backend,
    Backends,
    not_removed,
    prepare_whole,
    telling_what_is_left,
)
from lab.wiring.backends.real import PostgresBackend, Where
from lab.wiring.backends.redis_claims import RedisBackend
from tests.kit.histories import CONTRACT


class SlowBackend(Backend):
    """Makes something on a server that answers when it is let."""

    make = "slow"

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.made = 0
        self.refusal: EnvironmentNotReady | None = None
        self.gone: Down | EnvironmentNotReady | None = None

    async def prepare(self, stack: AsyncExitStack) -> None:  # noqa: ARG002 - the port's shape
        self.is_asked.set()
        await self.may_answer.wait()
        if self.refusal is not None:
            raise self.refusal
        self.made += 1

    async def remove(self) -> None:
        if self.gone is not None:
            raise self.gone
        self.made -= 1

    async def facts(self) -> AsyncIterator[Entry]:
        nothing: tuple[Entry, ...] = ()
        for entry in nothing:
            yield entry


@pytest.mark.parametrize(("keep", "left"), [(False, 0), (True, 1)])
def test_what_a_server_still_makes_for_somebody_who_was_interrupted_is_removed(
    *, keep: bool, left: int
) -> None:
    async def main() -> int:
        backend = SlowBackend()

        async def opening() -> None:
            async with AsyncExitStack() as stack:
                await prepare_whole(backend, stack, keep=keep, left=[])

        task = asyncio.ensure_future(opening())
        await backend.is_asked.wait()
        task.cancel()
        asyncio.get_running_loop().call_soon(backend.may_answer.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        return backend.made

    assert asyncio.run(main()) == left


def test_what_was_not_made_is_not_removed() -> None:
    async def main() -> int:
        backend = SlowBackend()
        backend.may_answer.set()
        backend.refusal = EnvironmentNotReady("no", server="It", address="there", remedy="help")
        with pytest.raises(EnvironmentNotReady):
            async with AsyncExitStack() as stack:
                await prepare_whole(backend, stack, keep=False, left=[])
        return backend.made

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize(
    "gone",
    [
        Down("Redis at there: ConnectionError", dependency="redis", after_us=0),
        EnvironmentNotReady("it is gone", server="Redis", address="there", remedy="start it"),
    ],
)
def test_a_server_that_went_away_takes_no_verdict_along_and_what_it_has_is_told(
    gone: Down | EnvironmentNotReady,
) -> None:
    async def main() -> list[str]:
        first, second = SlowBackend(), SlowBackend()
        first.may_answer.set()
        second.may_answer.set()
        second.gone = gone
        left: list[str] = []
        async with AsyncExitStack() as stack:
            for backend in (first, second):
                await prepare_whole(backend, stack, keep=False, left=left)
        assert first.made == 0, "what can be removed is"
        return left

    (told,) = not_removed("lab_x", asyncio.run(main()))
    assert told.startswith("what is named lab_x could not be removed: Redis at there: ")


class Owing:
    """A server that owes nothing."""

    async def owed(self) -> dict[str, int]:
        return {"outbox": 0, "waiting": 0}

    async def lag(self) -> int:
        return 0


def test_a_run_that_cannot_be_judged_says_what_it_has_left() -> None:
    gone = EnvironmentNotReady("it is gone", server="It", address="there", remedy="start it")
    with pytest.raises(EnvironmentNotReady) as told, telling_what_is_left("lab_x", ["It: gone"]):
        raise gone
    assert str(told.value) == (
        "It at there: it is gone, and what is named lab_x could not be removed; start it"
    )
    with pytest.raises(EnvironmentNotReady) as told, telling_what_is_left("lab_x", []):
        raise gone
    assert told.value is gone


def test_leases_that_nobody_can_look_at_are_not_given_back() -> None:
    where = Where(name="x", postgres_dsn="", redis_url="redis://127.0.0.1:1", kafka_bootstrap="")
    redis = RedisBackend(where.redis_url, where.name, compares_fences=True)
    assert asyncio.run(redis.owners()) is None
    checker = Checker(CONTRACT, only=("no-leak",))
    backends = Backends(bus=Owing(), store=Owing(), dedupe=redis, third=Owing())  # type: ignore[arg-type]  # it has what is asked of all of them
    checker.take(asyncio.run(backends.left(7)))
    (finding,) = checker.findings()
    assert finding.verdict is Verdict.UNKNOWN


def test_a_database_that_has_gone_away_ends_the_run_with_what_starts_it() -> None:
    nowhere = "postgresql://me:swordfish@127.0.0.1:1/lab"
    where = Where(name="lab_x", postgres_dsn=nowhere, redis_url="", kafka_bootstrap="")
    backend = PostgresBackend(where, settings_for(WALL_CLOCK), epoch_us=0)

    async def facts() -> None:
        async for _ in backend.facts():
            pass

    for look in (backend.survey, facts):
        with pytest.raises(EnvironmentNotReady) as told:
            asyncio.run(look())
        assert "PostgreSQL at 127.0.0.1:1/lab: it has stopped answering" in str(told.value)
        assert "up postgres" in told.value.remedy
        assert "swordfish" not in str(told.value)
