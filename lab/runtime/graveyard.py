"""Where the tasks of dead processes rest. Nothing is ever released from here.

Releasing a suspended coroutine closes it, which runs its `finally` blocks: a crash would execute
code. Keeping it is not enough either: at its end the interpreter collects what is left. So the
graveyard is a cycle (it holds itself), and what is alive at exit is frozen, which tells the last
collection to pass it over.

A grave keeps alive whatever its frames reach. Who runs thousands of simulations in one process
should clear stores and logs at the end of each.
"""

import atexit
import gc
from typing import Final

_GRAVES: Final[list[object]] = []


def keep_forever(graveyard: list[object]) -> None:
    """Never release `graveyard` nor anything in it, not even when the interpreter exits."""
    if not _GRAVES:
        _GRAVES.append(_GRAVES)
        atexit.register(gc.freeze)
    _GRAVES.append(graveyard)
