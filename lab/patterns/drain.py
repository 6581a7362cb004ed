"""Drain: a process that is told to stop ends the work that it began, and leaves none done twice.

Every deployment stops every process. One that exits at once leaves charges made and not recorded,
and records handled and not committed, to be found out by the next one; one that never exits is
killed in the middle.

The rule: the process is ready no more. Whoever sends it work learns of that late, so for a
lame-duck time it goes on as before; then it takes nothing new, while its heartbeats go on. It runs
started records, and those below them, to their end, cancels the ones that take too long, commits,
leaves the group, publishes the rest of its events, and closes. A second signal aborts. A report
lists the drained, the cancelled and the abandoned events.

The weak part exits at once, uncommitted.

Source: the order of steps follows the lessons of Kafka consumers (zio-kafka #1087, atleon #541).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from lab.ports.bus import StopReport

DRAIN_PERCENT: Final = 60
"""Share of the grace for work; the rest is for cancelling, committing, flushing and closing."""


class Drainable(Protocol):
    """A consumer with its deliveries in hand; the delivery loop is one."""

    async def stop(self, grace_us: int) -> StopReport:
        """Take nothing new at once, drain within `grace_us`, cancel the rest, commit, leave."""
        ...

    async def abort(self) -> StopReport:
        """Do not drain, or not any longer."""
        ...


class Background(Protocol):
    """Work that no record asks for, such as the relay or a timer."""

    def halt(self) -> None:
        """Begin nothing new."""
        ...

    async def finish(self, grace_us: int) -> None:
        """Return when the work that was begun is done, at the latest after `grace_us`."""
        ...


class ShutdownReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended; event ids.

    Attributes:
        drained: settled during the shutdown.
        cancelled: their handler was cancelled; they were moved to the retry path, or given back.
        abandoned: begun and neither settled nor moved away.
        is_clean: no record that this process started will be started again because of it.
        is_aborted: a second signal came.
    """

    drained: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()
    is_clean: bool = True
    is_aborted: bool = False


class Shutdown(Protocol):
    """The end of a process that is told to stop."""

    async def on_signal(self) -> ShutdownReport:
        """End the process's work; when this returns it may exit. May be called again meanwhile."""
        ...


class Drain(Shutdown):
    """The whole sequence, within `grace_us` and a bounded rest.

    Args:
        unready: tells the outside that nothing new is taken; called once, first.
        subscriptions: drained side by side.
        background: halted before the drain, finished after it.
        close: called last, in order, whatever happened.
        now: monotonic microseconds.
        grace_us: for everything after the lame-duck time; sixty percent of it for the drain.
        lame_duck: waits for that time.
    """

    def __init__(
        self,
        *,
        unready: Callable[[], None],
        subscriptions: Sequence[Drainable],
        background: Sequence[Background],
        close: Sequence[Callable[[], Awaitable[None]]],
        now: Callable[[], int],
        grace_us: int,
        lame_duck: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._lame_duck = lame_duck
        self._waiting: asyncio.Task[None] | None = None
        self._unready = unready
        self._subscriptions = tuple(subscriptions)
        self._background = tuple(background)
        self._close = tuple(close)
        self._now = now
        self._grace_us = grace_us
        self._is_begun = False
        self._is_aborted = False
        self._report = ShutdownReport(is_clean=False)
        self._ended = asyncio.Event()

    async def on_signal(self) -> ShutdownReport:
        if self._is_begun:
            await self._abort()
            return self._report
        self._is_begun = True
        try:
            self._report = await self._shut_down()
        finally:
            self._ended.set()
        return self._report

    async def _shut_down(self) -> ShutdownReport:
        try:
            self._unready()
            await self._be_a_lame_duck()
            deadline_us = self._now() + self._grace_us
            for work in self._background:
                work.halt()
            reports = await self._drain(self._grace_us * DRAIN_PERCENT // 100)
            for work in self._background:
                left_us = 0 if self._is_aborted else max(deadline_us - self._now(), 0)
                await work.finish(left_us)
        finally:
            for close in self._close:
                await close()
        return ShutdownReport(
            drained=_joined(report.drained for report in reports),
            cancelled=_joined(report.cancelled for report in reports),
            abandoned=_joined(report.abandoned for report in reports),
            is_clean=all(report.is_clean for report in reports),
            is_aborted=self._is_aborted,
        )

    async def _be_a_lame_duck(self) -> None:
        """Serve as before; a second signal ends it."""
        if self._lame_duck is not None:
            self._waiting = asyncio.get_running_loop().create_task(self._lame_duck())
            await asyncio.wait([self._waiting])

    async def _drain(self, grace_us: int) -> list[StopReport]:
        """Stop all subscriptions side by side: the slow one must not keep others fetching."""
        loop = asyncio.get_running_loop()
        stops = [
            loop.create_task(subscription.stop(grace_us)) for subscription in self._subscriptions
        ]
        return [await stop for stop in stops]

    async def _abort(self) -> None:
        self._is_aborted = True
        if self._waiting is not None:
            self._waiting.cancel()
        for subscription in self._subscriptions:
            await subscription.abort()
        await self._ended.wait()


class ExitAtOnce(Shutdown):
    """The weak part: the process exits in the middle of its work."""

    def __init__(self, **_: object) -> None:
        """Nobody is waited for."""

    async def on_signal(self) -> ShutdownReport:
        return ShutdownReport(is_clean=False, is_aborted=True)


def _joined(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(event_id for part in parts for event_id in part)
