"""A SIGTERM before a process of the system has begun: it ends at once, and says that all is well.

The first process of a container is sent no signal that it has no handler for, so one that came
while the libraries are being imported would be lost, and the container killed some time later. This
handler stands before anything of weight is imported; the process's own takes its place
(`lab.wiring.worlds.signals`).
Not here: commands that end as by Ctrl-C (`stopping`).
"""

import os
import signal
from collections.abc import Sequence
from typing import Final

PROCESSES: Final = ("serve", "relay", "work", "providers")
"""Commands that are a process of the system until they are told to end."""


def hear_from_the_start(arguments: Sequence[str]) -> None:
    """End by SIGTERM from here on, if that is what these arguments of `lab` are to be ended by.

    Nothing changes where the signal is ignored, or somebody else's.
    """
    is_process = bool(arguments) and arguments[0] in PROCESSES
    if is_process and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: object) -> None:
    # Nothing has begun: there is nothing to settle, close or write down. An exception could be
    # taken for one of the module that is being imported.
    os._exit(0)
