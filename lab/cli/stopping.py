"""The end of a command by a signal: SIGTERM and SIGHUP do what Ctrl-C does.

Everything that a run has made on servers is removed and a partial report is written, whether a
person, a job's time limit (SIGTERM) or a terminal that is closed (SIGHUP) ends it. Not here: the
processes of a system (`lab.wiring.worlds.real_process`), which drain.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """For the length of a block the signals of `ENDING` do the same as SIGINT.

    Nothing changes for a signal that is ignored, as under `nohup`, or is somebody else's already.
    """
    is_main = threading.current_thread() is threading.main_thread()
    ours = [one for one in ENDING if is_main and signal.getsignal(one) is signal.SIG_DFL]
    with _ctrl_c_that_does_something() if ours else nullcontext():
        for one in ours:
            signal.signal(one, _as_ctrl_c)
        try:
            yield
        finally:
            for one in ours:
                signal.signal(one, signal.SIG_DFL)


@contextmanager
def _ctrl_c_that_does_something() -> Iterator[None]:
    """Lend the handler of SIGINT to other signals, also where a shell has SIGINT ignored.

    A shell does so for the background of a script. Ctrl-C itself stays without effect there.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        # One that waits behind the mask is dropped.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_ctrl_c(_number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
