"""The recorder: entries in, batches out to the sinks that fold, hash or keep them.

Not here: the meaning of an entry (`entries`), and the sinks (`digest`, `history_file`,
`lab.checks.checker`).
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
    """Collects the entries of one run and hands them to its sinks in batches.

    Attributes:
        append: adds one entry, as `write` does, but its caller must call `flush_if_full` now and
            then. Entries are the most frequent thing in a run: this one costs no frame.
        count: entries handed on.
    """

    def __init__(self, sinks: Sequence[Sink], *, batch: int = BATCH) -> None:
        self._sinks = tuple(sinks)
        self._batch = batch
        self._entries: list[Entry] = []
        self.append: Write = self._entries.append
        self.count = 0

    def write(self, entry: Entry) -> None:
        """Add one entry, and hand them on if there are enough."""
        self._entries.append(entry)
        self.flush_if_full()

    def flush_if_full(self) -> None:
        """Hand the written entries on if they make a batch."""
        if len(self._entries) >= self._batch:
            self.flush()

    def flush(self) -> None:
        """Hand everything written so far to the sinks."""
        batch = self._entries.copy()
        self._entries.clear()
        self.count += len(batch)
        if batch:
            for sink in self._sinks:
                sink.take(batch)

    def close(self) -> None:
        """Let go of the sinks: dead processes keep a hold on their recorder for ever."""
        self._sinks = ()
