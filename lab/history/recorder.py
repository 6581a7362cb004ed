"""The recorder: entries in, batches out to whoever folds, hashes or keeps them.

Not here: what an entry means (`entries`), and who reads it (`lab.checks`, `lab.report`).
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from lab.history.entries import Entry

Write = Callable[[Entry], None]
Now = Callable[[], int]

BATCH: Final = 2_048


class Sink(Protocol):
    """Takes entries in the order in which they were written."""

    def take(self, batch: Sequence[Entry]) -> None:
        """Take the next entries; the list is not kept by the recorder."""
        ...


class Recorder:
    """Collects the entries of one run and hands them to its sinks in batches."""

    def __init__(self, sinks: Sequence[Sink], *, batch: int = BATCH) -> None:
        self._sinks = tuple(sinks)
        self._batch = batch
        self._entries: list[Entry] = []
        self.count = 0

    def write(self, entry: Entry) -> None:
        """Add one entry."""
        self._entries.append(entry)
        if len(self._entries) >= self._batch:
            self.flush()

    def flush(self) -> None:
        """Hand everything written so far to the sinks."""
        batch, self._entries = self._entries, []
        self.count += len(batch)
        if batch:
            for sink in self._sinks:
                sink.take(batch)

    def close(self) -> None:
        """Let go of the sinks: dead processes keep a hold on their recorder for ever."""
        self._sinks = ()
