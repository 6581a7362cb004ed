"""A command that is told to end by whoever is not at its keyboard: as by Ctrl-C.

What a run has made on servers is removed and a partial report is written, whether a person, a job's
time limit (SIGTERM) or a terminal that is closed (SIGHUP) ends it. Not here: the processes of a
system (`lab.wiring.process`), which drain.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """For the length of a block `ENDING` do what SIGINT does.

    Nothing changes for a signal that is ignored, as under `nohup`, or is somebody else's already.
    """
    ours = [one for one in ENDING if _is_free() and signal.getsignal(one) is signal.SIG_DFL]
    for one in ours:
        signal.signal(one, _as_ctrl_c)
    try:
        yield
    finally:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)


def _is_free() -> bool:
    """Whether signals can be heard here, and Ctrl-C does something."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and callable(signal.getsignal(signal.SIGINT))


def _as_ctrl_c(_number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
