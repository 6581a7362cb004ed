"""A plain asyncio loop as the host of a process life, in a process of its own or in the supervisor.

Not here: what lives in it (`real_process`, `real`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class AsyncHost:
    """A plain asyncio loop as the host of one process life.

    Args:
        on_failure: called with the error of a task that nobody waits for and that failed, and with
            its name.
    """

    def __init__(self, on_failure: Callable[[BaseException, str], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._alive: dict[asyncio.Task[Any], None] = {}
        self._on_failure = on_failure

    def create_task(self, coro: Coroutine[Any, Any, None], /) -> "asyncio.Task[None]":
        """See `Host`."""
        return self._loop.create_task(coro)

    def spawn(self, coro: Coroutine[Any, Any, object], /, *, name: str = "task") -> None:
        """See `Host`."""
        task = self._loop.create_task(coro, name=name)
        self._alive[task] = None
        task.add_done_callback(self._ended)

    def call_after_us(
        self, delay_us: int, callback: Callable[..., object], /, *args: object
    ) -> asyncio.TimerHandle:
        """See `Host`."""
        return self._loop.call_later(delay_us / 1e6, callback, *args)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._alive.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error, task.get_name())
