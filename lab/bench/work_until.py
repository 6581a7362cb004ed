"""Tasks that work together until something is done, or one of them fails, or time is up."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

LIMIT_S: Final = 60


async def work_until(
    end: "asyncio.Future[None]",
    work: Sequence[Coroutine[Any, Any, None]],
    *,
    limit_s: float = LIMIT_S,
) -> None:
    """Run all of `work` until `end` is set, then cancel the rest.

    Raises:
        TimeoutError: it took longer than `limit_s`.
        BaseException: the one that the first failing task has raised.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(one) for one in work]
    until_s = loop.time() + limit_s
    waiting: set[asyncio.Future[None]] = {end, *tasks}
    try:
        while not end.done():
            ended, waiting = await asyncio.wait(
                waiting, timeout=until_s - loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
            if not ended:
                raise TimeoutError(f"it was not done within {limit_s:g} s")
            for one in ended:
                one.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
