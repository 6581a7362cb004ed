"""The entries of a real process while it works: into its journal, and to whoever looks on.

The journal comes first: once an entry was handed on, a kill does not undo it. What looks on must
not harm what it looks at: a sink that fails is reported and dropped, and the process goes on.
Not here: the sinks themselves (`metrics`).
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from lab.history.entries import Entry
from lab.history.recorder import Write

_log: Final = logging.getLogger("lab")


class EntrySink(Protocol):
    """Looks on at one process. Called on the way of every order, so it is quick and never waits."""

    def take(self, entry: Entry, /) -> None:
        """Take the next entry, in the order in which they were written."""
        ...


class Live:
    """Hands each entry on.

    Args:
        journal: where entries are kept, or None.
        sinks: whoever looks on.
    """

    def __init__(self, journal: Write | None, sinks: Sequence[EntrySink]) -> None:
        self._journal = journal
        self._sinks = tuple(sinks)

    @property
    def write(self) -> Write | None:
        """Takes the entries; None if nobody wants them, so that none need be made."""
        return self._write if self._sinks else self._journal

    def _write(self, entry: Entry) -> None:
        if self._journal is not None:
            self._journal(entry)
        for sink in self._sinks:
            try:
                sink.take(entry)
            except Exception:  # noqa: BLE001 - an order must not fail because somebody counts it
                self._drop(sink)

    def _drop(self, failed: EntrySink) -> None:
        self._sinks = tuple(sink for sink in self._sinks if sink is not failed)
        name = type(failed).__name__
        _log.exception(
            "%s failed and is told nothing more", name, extra={"event.action": "sink_failed"}
        )
