"""Work that is not cut short: whoever is cancelled meanwhile waits for its end.

Half of it would be of no use: a thing that is half made can be found by nobody, and half a look is
none. Such work must be bounded.
"""

import asyncio
from collections.abc import Coroutine
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
