"""The task of virtual time does what asyncio's own does: each program runs on both."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from lab.runtime import virtual_task
from lab.runtime.virtual_loop import Scheduler, suspend
from lab.runtime.virtual_task import CurrentOfThread, VirtualTask

Program = Callable[[], Coroutine[Any, Any, object]]

NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def ending(task: "asyncio.Task[Any]") -> object:
    """The end of a task in words."""
    try:
        return await task
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any end is told
        return f"{type(error).__name__}{error.args}, cancelled: {task.cancelled()}"


def start(coro: Coroutine[Any, Any, Any], name: str = "one") -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(coro, name=name)


async def cancelled_before_its_first_step() -> object:
    steps: list[str] = []

    async def body() -> None:
        steps.append("ran")

    task = start(body())
    return task.cancel("why"), await ending(task), steps, task.cancel()


async def cancelled_while_it_waits() -> object:
    future = asyncio.get_running_loop().create_future()

    async def body() -> str:
        try:
            await future
        except asyncio.CancelledError as error:
            await suspend()
            return f"went on after {error.args}"
        return "not cancelled"

    task = start(body())
    await suspend()
    task.cancel("why")
    return task.cancelling(), await ending(task), future.cancelled(), task.uncancel()


async def cancelled_while_its_turn_has_come() -> object:
    future = asyncio.get_running_loop().create_future()

    async def body() -> None:
        await future

    task = start(body())
    await suspend()
    future.set_result(None)
    task.cancel()
    return await ending(task), future.cancelled()


async def cancelled_in_its_last_step() -> object:
    async def body() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("late")
        return "done"

    return await ending(start(body()))


async def cancelled_by_itself_before_it_waits() -> object:
    future = asyncio.get_running_loop().create_future()

    async def body() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("first")
        await future

    return await ending(start(body())), future.cancelled()


async def an_error_comes_out_at_the_await() -> object:
    future = asyncio.get_running_loop().create_future()

    async def body() -> str:
        try:
            await future
        except ValueError as error:
            return f"met {error.args}"
        return "none"

    task = start(body())
    await suspend()
    future.set_exception(ValueError("no"))
    return await ending(task)


async def an_error_that_nobody_catches() -> object:
    async def body() -> None:
        await suspend()
        raise KeyError("k")

    return await ending(start(body()))


async def waiting_for_itself() -> object:
    tasks: list[asyncio.Task[Any]] = []

    async def body() -> None:
        await tasks[0]

    tasks.append(start(body()))
    return (await ending(tasks[0]))[:40]  # type: ignore[index]  # in words


async def contexts_are_apart() -> object:
    seen: list[str] = []

    async def body(name: str) -> None:
        NAME.set(name)
        await suspend()
        seen.append(NAME.get())

    for task in [start(body("a")), start(body("b"))]:
        await task
    return seen, NAME.get()


async def the_running_task_is_known() -> object:
    seen: list[object] = []

    async def body() -> None:
        await suspend()
        seen.append(asyncio.current_task())

    task = start(body())
    await task
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_soon(lambda: over.set_result(asyncio.current_task()))
    return seen == [task], await over, task.get_name(), task.done(), task.result()


async def a_group_ends_with_its_first_error() -> object:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    async def fails() -> None:
        await suspend()
        raise ValueError("no")

    waiting: asyncio.Task[None] | None = None
    try:
        async with asyncio.TaskGroup() as group:  # noqa: TID251 - asyncio's own, to see that it works
            waiting = group.create_task(waits())
            group.create_task(fails())
    except ExceptionGroup as errors:
        return [
            repr(error) for error in errors.exceptions
        ], waiting is not None and waiting.cancelled()
    return None


@pytest.mark.parametrize(
    "program",
    [
        cancelled_before_its_first_step,
        cancelled_while_it_waits,
        cancelled_while_its_turn_has_come,
        cancelled_in_its_last_step,
        cancelled_by_itself_before_it_waits,
        an_error_comes_out_at_the_await,
        an_error_that_nobody_catches,
        waiting_for_itself,
        contexts_are_apart,
        the_running_task_is_known,
        a_group_ends_with_its_first_error,
    ],
)
def test_a_program_ends_as_on_asyncio(program: Program) -> None:
    with Scheduler() as scheduler:
        assert scheduler.run(program()) == asyncio.run(program())


def test_a_future_of_another_process_is_refused_in_words() -> None:
    with Scheduler() as scheduler:
        other = scheduler.process("other").create_future()

        async def body() -> None:
            await other

        async def main() -> object:
            return await ending(start(body()))

        assert "attached to a different loop" in str(scheduler.run(main()))


def test_a_world_that_is_over_is_let_go() -> None:
    async def main() -> None:
        task = start(suspend_twice())
        assert type(task) is VirtualTask
        await task

    async def suspend_twice() -> None:
        await suspend()
        await suspend()

    scheduler = Scheduler()
    scheduler.run(main())
    scheduler.close()
    scheduler.release()
    loop = weakref.ref(scheduler.root)
    del scheduler
    gc.collect()
    assert loop() is None


def test_an_error_shows_the_code_that_raised_it_and_nothing_of_the_task() -> None:
    async def fails() -> None:
        await suspend()
        raise ValueError("no")

    async def main() -> "asyncio.Task[Any]":
        task = start(fails())
        await asyncio.wait([task])
        return task

    with Scheduler() as scheduler:
        error = scheduler.run(main()).exception()
    assert error is not None
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code is fails.__code__


def test_the_current_task_is_known_without_a_table_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_task, "_current", CurrentOfThread())
    seen: list[object] = []

    async def fail() -> None:
        seen.append(asyncio.current_task())
        await suspend()
        seen.append(asyncio.current_task())
        raise ValueError("ended")

    async def main() -> None:
        task = start(fail())
        with pytest.raises(ValueError, match="ended"):
            await task
        seen.append(task)

    with Scheduler() as scheduler:
        scheduler.run(main())

    assert seen[0] is seen[1] is seen[2]
