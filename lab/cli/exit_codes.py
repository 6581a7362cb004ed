"""The exit codes of the commands, and their meanings."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """The exit codes that exist."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    UNKNOWN = 3
    NOT_READY = 4
    MISSED = 5
    DIFFERS = 6
    BUG = 70
    INTERRUPTED = 130


MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.PASS: "PASS: every promise that was put at risk held; or the command did its work",
    ExitCode.FAIL: "FAIL: a promise was broken",
    ExitCode.USAGE: "wrong usage: unknown name, wrong value, unreadable file; nothing was run",
    ExitCode.UNKNOWN: (
        "UNKNOWN: nothing was broken, but something that had to happen did not, so the run "
        "proves nothing"
    ),
    ExitCode.NOT_READY: (
        "environment not ready: a server is down, too old or not ours to use; the message says "
        "which, where, and what starts it"
    ),
    ExitCode.MISSED: "a threshold of `lab bench` was missed; the page names it",
    ExitCode.DIFFERS: "a recorded plan was run again, and the run is not the same",
    ExitCode.BUG: "a mistake of the lab itself; LAB_DEBUG=1 shows where",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C; a run leaves a partial report",
}
"""One sentence each, as the reference prints them."""

_OF_VERDICT: Final[Mapping[str, ExitCode]] = {
    "PASS": ExitCode.PASS,
    "FAIL": ExitCode.FAIL,
    "UNKNOWN": ExitCode.UNKNOWN,
}
_WORST_FIRST: Final = (ExitCode.INTERRUPTED, ExitCode.FAIL, ExitCode.UNKNOWN, ExitCode.PASS)


def code_of(verdict: str, *, is_partial: bool) -> ExitCode:
    """The exit code of one run; a partial one is interrupted, whatever it found so far."""
    return ExitCode.INTERRUPTED if is_partial else _OF_VERDICT[verdict]


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of many runs."""
    found = set(codes)
    return next((code for code in _WORST_FIRST if code in found), ExitCode.PASS)
