"""Where the tasks of dead processes rest, until nothing that they could do counts any more.

Releasing a suspended coroutine closes it, which runs its `finally` blocks: a crash would execute
code. Keeping it is not enough either: at its end the interpreter collects the rest. So the
graveyard is a cycle (it holds itself), and every object alive at exit is frozen, so that the last
collection passes it over.

A grave keeps alive every object that its frames reach, half a mebibyte a run. So a world that was
judged, and whose stores and log were emptied, releases its graves: what a `finally` does then meets
loops that start nothing, a log that is closed and a history that nobody reads.
"""

import asyncio
import atexit
import gc
import inspect
from asyncio import _get_running_loop, _set_running_loop
from typing import Final

from lab.runtime.virtual_task import VirtualTask

_GRAVES: Final[list[object]] = []
_AWAITS_MAX: Final = 20
"""How often a coroutine may wait in a `finally` of its own before it is left where it is."""

_ROUNDS_MAX: Final = 3


def keep(graveyard: list[object]) -> None:
    """Release nothing in `graveyard` before `release`, not even when the interpreter exits."""
    if not _GRAVES:
        _GRAVES.append(_GRAVES)
        atexit.register(gc.freeze)
    if not any(grave is graveyard for grave in _GRAVES):
        _GRAVES.append(graveyard)


def release(graveyard: list[object]) -> None:
    """Close what rests in a graveyard, and forget it; the world that it belongs to must be closed.

    A task that cannot be closed stays there, with what it reaches.
    """
    left: list[object] = []
    running = _get_running_loop()
    for _ in range(_ROUNDS_MAX):
        # Its `finally` may start tasks, which a dead process buries at once.
        tasks = [one for one in graveyard if isinstance(one, asyncio.Task | VirtualTask)]
        graveyard.clear()
        left += [task for task in tasks if not _close(task)]
    _set_running_loop(running)
    # What the last round started is closed by nobody.
    left += graveyard
    graveyard[:] = left
    _GRAVES[:] = [grave for grave in _GRAVES if grave is not graveyard or left]


def _close(task: asyncio.Task[object]) -> bool:
    """Whether its coroutine came to its end.

    The loop of the dead process runs meanwhile: a `finally` that waits is suspended there. Without
    a loop the wait would fail, and code that tries again after each failure would never end.
    """
    coroutine = task.get_coro()
    assert inspect.iscoroutine(coroutine), "a process runs coroutines"
    _set_running_loop(task.get_loop())
    for _ in range(_AWAITS_MAX):
        try:
            coroutine.close()
        except BaseException:  # noqa: BLE001 - whatever code of a dead process raises is nobody's
            is_closed = inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
        else:
            is_closed = True
        if is_closed:
            return True
    return False
