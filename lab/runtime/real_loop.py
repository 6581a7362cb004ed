"""The event loop of a real process: uvloop where it is installed and wanted, else asyncio's own.

Not here: the loops of processes that share one interpreter (`virtual_loop`, `wall_loop`): their
tasks are killed one by one, which a loop in C does not offer.
"""

import asyncio
import gc
from collections.abc import Coroutine
from importlib.util import find_spec
from typing import Any, Final, TypeVar

T = TypeVar("T")

UVLOOP: Final = "uvloop"
"""The word for it in the setting `process.loop`, and the name of the module."""


def is_installed() -> bool:
    """Whether the extra `uvloop` is there."""
    return find_spec(UVLOOP) is not None


def run_on(loop: str, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` as `asyncio.run` does, on the loop of this name or on asyncio's.

    What is there by now, mostly imported modules, stays for ever: the collector, which would go
    through all of it again and again, leaves it out from here on.

    Args:
        loop: of the setting `process.loop`.
        main: of the process.
    """
    gc.freeze()
    if loop != UVLOOP or not is_installed():
        return asyncio.run(main)
    import uvloop  # noqa: PLC0415 - an extra, and of no use to whoever never comes here

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
