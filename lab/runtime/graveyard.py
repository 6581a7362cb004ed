"""Where the tasks of dead processes rest. Nothing is ever released from here.

Releasing a suspended coroutine closes it, which runs its `finally` blocks: a crash would execute
code. Keeping it is not enough either: at its end the interpreter collects the rest. So the
graveyard is a cycle (it holds itself), and every object alive at exit is frozen, so that the last
collection passes it over.

A grave keeps alive every object that its frames reach. With thousands of simulations in one
process, stores and logs should be cleared at the end of each.
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
