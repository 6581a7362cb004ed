"""A server that stops being of use, and one that is again: told once each, with a count.

Calls that fail say so themselves, each to its caller, who may have a way round; an operator needs
one sentence. Not here: the call, its error (the adapters), and where the sentence goes
(`lab.wiring.worlds.real_process`).
"""

from collections.abc import Callable
from typing import Final, Literal

REASONS_MAX: Final = 5
"""Reasons that are told of one outage."""

Tell = Callable[[Literal["warning", "info"], str], None]
"""`tell(level, sentence)`: a server went away, or has come back."""


def tell_nobody(level: str, sentence: str) -> None:
    """Where nobody listens: the callers have their errors."""


class Reachability:
    """Whether one server is of use to one client.

    Args:
        server: its name and address, as they may be shown.
        tell: hears of a change, and once of each further reason.
    """

    def __init__(self, server: str, tell: Tell) -> None:
        self._server = server
        self._tell = tell
        self._reasons: set[str] = set()
        self._refusals = 0

    def refused(self, why: str) -> None:
        """A call failed; `why` in a few words."""
        self._refusals += 1
        if why not in self._reasons and len(self._reasons) < REASONS_MAX:
            self._reasons.add(why)
            self._tell("warning", f"{self._server} is of no use: {why}")

    def answered(self) -> None:
        """A call was answered."""
        if self._refusals:
            calls, self._refusals = self._refusals, 0
            self._reasons.clear()
            self._tell("info", f"{self._server} is of use again, after {calls} refused calls")
