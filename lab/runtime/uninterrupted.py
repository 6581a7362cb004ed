"""Work that is not cut short: whoever is cancelled meanwhile waits for its end.

Half of it would be of no use: a thing that is half made can be found by nobody, and half a look is
none. Such work must be bounded.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """The result of `work`, and whether its caller was cancelled meanwhile, however often."""
    working, is_cut = asyncio.ensure_future(work), False
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            is_cut = True
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
    return working.result(), is_cut


@contextmanager
def cancelled_by_ctrl_c() -> Iterator[None]:
    """Each Ctrl-C within the block cancels the task that is in it, and nothing else.

    The second one under `asyncio.run` would cancel every other task too, and so what is waited for.
    Nothing changes where SIGINT is ignored, or belongs to another thread.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not is_main or before in (signal.SIG_IGN, None):
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "a block of a coroutine"
    signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(task.cancel))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
