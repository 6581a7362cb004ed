"""When objects that refer to each other are collected: where somebody says so, and seldom all.

A simulated world is such a web. Left to the interpreter it would be found when some counter of
allocations says so, in the middle of a run too. Objects older than a run are no business of its
own: there are many, and its garbage is among the young ones.

Not here: collections in the middle of a long run (`virtual_loop.py`), and what is kept on purpose
(`graveyard.py`).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_BLOCKS_PER_FULL: Final = 100
_YOUNG, _YOUNG_AND_MIDDLE, _ALL = 0, 1, 2

_blocks = 0


@contextmanager
def no_automatic_gc() -> Iterator[None]:
    """Within the block cycles are collected only where somebody says so."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def own_garbage() -> Iterator[None]:
    """A block that collects the cycles that it made, at its end.

    What it hands to its caller lives on, and is collected by the next block if it was dropped by
    then. Every so many blocks all objects are gone through, for what lived longer than that.
    """
    global _blocks  # noqa: PLW0603 - counts over all blocks of this interpreter
    _blocks += 1
    with no_automatic_gc():
        gc.collect(_YOUNG_AND_MIDDLE if _blocks % _BLOCKS_PER_FULL else _ALL)
        try:
            yield
        finally:
            gc.collect(_YOUNG)
