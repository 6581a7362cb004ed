"""Preparing what a run stands on: what was made is removed, also when nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.history.entries import Entry
from lab.wiring.backends import Backend, prepare_whole


class SlowBackend(Backend):
    """Makes something on a server that answers when it is let."""

    make = "slow"

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.made = 0
        self.refusal: EnvironmentNotReady | None = None

    async def prepare(self, stack: AsyncExitStack) -> None:  # noqa: ARG002
        self.is_asked.set()
        await self.may_answer.wait()
        if self.refusal is not None:
            raise self.refusal
        self.made += 1

    async def remove(self) -> None:
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
                await prepare_whole(backend, stack, keep=keep)

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
                await prepare_whole(backend, stack, keep=False)
        return backend.made

    assert asyncio.run(main()) == 0
