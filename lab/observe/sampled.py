"""A value that only a server knows, asked for when somebody wants to see it.

One question at a time, and not more often than once a second; whoever asks waits a second for the
answer, and if there is none by then, the value is absent. Not here: who asks (`scrape`,
`lab.wiring.process.readiness`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from lab.domain.errors import LabError

T = TypeVar("T")

FRESH_S: Final = 1.0
"""A younger value is not asked for again."""
WAIT_S: Final = 1.0
KEPT_S: Final = 15.0
"""An older value is none."""


class Sampled(Generic[T]):
    """A value that a server knows. Used from one event loop.

    Args:
        ask: asks for it, and ends within some bound; a LabError says that it is not known now.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._value: T | None = None
        self._at_s = 0.0

    @property
    def value(self) -> T | None:
        """The last answer, None if there is none or if it is too old to say anything."""
        age_s = asyncio.get_running_loop().time() - self._at_s
        return self._value if age_s <= KEPT_S else None

    async def refresh(self) -> None:
        """Ask, unless the value is fresh; wait for the answer, for a second at most."""
        loop = asyncio.get_running_loop()
        if self._asking is None:
            if self._value is not None and loop.time() - self._at_s <= FRESH_S:
                return
            self._asking = loop.create_task(self._look())
        await asyncio.wait((self._asking,), timeout=WAIT_S)

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _look(self) -> None:
        try:
            self._value = await self._ask()
        except LabError:
            self._value = None
        finally:
            self._at_s = asyncio.get_running_loop().time()
            self._asking = None
