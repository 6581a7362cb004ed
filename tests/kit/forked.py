"""What the forks of a test become: small programs, named by a word."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

MEMORY: Final[list[str]] = []
"""Each fork has one of its own."""


def become(word: str) -> int:
    """Do what the word says: `name argument`."""
    name, _, argument = word.partition(" ")
    return _PROGRAMS[name](argument)


def _tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def _exit(argument: str) -> int:
    return int(argument)


def _say(argument: str) -> int:
    """Say it, and what else is in memory; then wait for the end of the input."""
    MEMORY.append(argument)
    _tell(*MEMORY, os.getpid(), os.getsid(0))
    sys.stdin.read()
    return 7


def _hang(_: str) -> int:
    _tell("hangs")
    while True:
        signal.pause()


def _fail(_: str) -> int:
    raise RuntimeError("a mistake of its own")


def _hold(argument: str) -> int:
    """Whether an open file was inherited."""
    os.write(int(argument), b"held")
    return 0


def _look_around(_: str) -> int:
    """Say what it has of the one that it was forked from."""
    handlers = [signal.getsignal(one) is signal.SIG_DFL for one in (signal.SIGCHLD, signal.SIGTERM)]
    links = []
    for handle in sorted(Path("/proc/self/fd").iterdir(), key=lambda one: int(one.name)):
        with suppress(OSError):
            links.append(str(handle.readlink()).partition(":")[0])
    _tell(*handlers, signal.set_wakeup_fd(-1), gc.get_freeze_count() > 0, *links)
    return 0


_PROGRAMS: Final[Mapping[str, Callable[[str], int]]] = {
    "exit": _exit,
    "say": _say,
    "hang": _hang,
    "fail": _fail,
    "hold": _hold,
    "look": _look_around,
}
