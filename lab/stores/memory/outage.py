"""A server in memory that nobody can reach for a while. Its data stays, and so do its locks.

A client that was connected when the outage began has one call under way: it learns only that the
connection is gone. Whether the server had carried that call out is decided by turns, because both
happen. Every other call finds that the server is down. Not here: the begin and end of an outage.
"""

from collections.abc import Callable
from typing import Final, NoReturn

from lab.domain.errors import Down, Indeterminate

AGAIN_AFTER_US: Final = 200_000


class Outage:
    """Whether a server can be reached.

    Attributes:
        is_on: it cannot be reached now.
        number: outages so far.
    """

    __slots__ = ("_cut", "dependency", "is_on", "number")

    def __init__(self, dependency: str) -> None:
        self.dependency = dependency
        self.is_on = False
        self.number = 0
        self._cut = 0

    def begin(self) -> None:
        """From now on no call is answered. Does nothing during an outage."""
        if not self.is_on:
            self.is_on = True
            self.number += 1

    def end(self) -> None:
        """The server is back, as it was."""
        self.is_on = False

    def cut(self) -> bool:
        """A call under way loses its connection; whether the server had carried it out."""
        self._cut += 1
        return self._cut % 2 == 1


class Line:
    """One client's connection to a server. Ask it after the way there, and only in an outage."""

    __slots__ = ("_cut_in", "_outage")

    def __init__(self, outage: Outage) -> None:
        self._outage = outage
        # A client that comes during an outage never had a connection to lose.
        self._cut_in = outage.number if outage.is_on else 0

    def refuse(self) -> NoReturn:
        """A call that changes nothing: it is not answered. Raises Down."""
        raise self._down()

    def cut(self, apply: Callable[[], object]) -> NoReturn:
        """A call that changes something, of a store whose answers matter.

        Raises:
            Indeterminate: it was under way when the outage began.
            Down: it came later; nothing was applied.
        """
        if self._was_under_way(apply):
            raise Indeterminate(f"{self._outage.dependency}: the connection was lost at commit")
        raise self._down()

    def drop(self, apply: Callable[[], object]) -> NoReturn:
        """The same for a store whose contract knows no doubt: Down, applied or not."""
        self._was_under_way(apply)
        raise self._down()

    def _was_under_way(self, apply: Callable[[], object]) -> bool:
        outage = self._outage
        if self._cut_in == outage.number:
            return False
        self._cut_in = outage.number
        if outage.cut():
            apply()
        return True

    def _down(self) -> Down:
        name = self._outage.dependency
        return Down(f"{name} cannot be reached", dependency=name, after_us=AGAIN_AFTER_US)
