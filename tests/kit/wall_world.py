"""Builders for tests on the wall clock: calls into a process of a `WallScheduler`, and its run.

Not here: servers, claims.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lab.runtime.process_loop import ProcessLoop
from lab.runtime.wall_loop import WallScheduler

T = TypeVar("T")

SECOND_US = 1_000_000
LIMIT_US = 30 * SECOND_US
"""Of a test that hangs."""


def call(process: ProcessLoop, inside: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
    """Run it in the process; the future belongs to the caller's, and is cancelled by a kill."""
    outside: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def hand_over(task: asyncio.Task[T]) -> None:
        if outside.done():
            return
        if task.cancelled():
            outside.cancel()
        elif (error := task.exception()) is not None:
            outside.set_exception(error)
        else:
            outside.set_result(task.result())

    def hang_up() -> None:
        outside.cancel()

    process.create_task(inside).add_done_callback(hand_over)
    process.on_kill.append(hang_up)
    return outside


def run(main: Callable[[WallScheduler], Coroutine[Any, Any, T]]) -> T:
    """Run `main` in a world of its own, in which nothing may fail unnoticed."""
    with WallScheduler() as world:
        result = world.run(main(world), until_us=world.now_us + LIMIT_US)
        assert world.errors == []
    return result
