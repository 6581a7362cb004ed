"""`history.ndjson`: one entry a line, with the names of its fields.

A short history is written whole. Of a long one only witness orders are kept, because nobody reads
ten million lines and a replay gives the rest: the first orders, and those that a fault hit. When it
is known that an order was hit, its story has begun already; so entries wait in a window of the last
batches before it is decided about them. What concerns no order but the run (phases, lives, faults,
assignments, pauses, breakers) is always kept.

Deliberately not here: which orders broke a promise. That is known when the file is written already;
almost always they are among the kept ones, else a replay with the whole history shows them.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from lab.history.entries import Entry, as_dict

WHOLE_UP_TO: Final = 2_000
"""Orders up to which every entry is written."""

FIRST_ORDERS: Final = 200
HIT_ORDERS: Final = 800
WINDOW_BATCHES: Final = 16
"""With the recorder's batches some 300 orders: more than any fault-free order takes to its end."""

_OF_THE_RUN: Final = frozenset(
    {"phase", "life", "fault", "left", "owned", "revoked", "paused", "breaker", "drained"}
)
_BY_EVENT: Final = frozenset({"claim", "complete", "unclaim"})

_encoder = msgspec.json.Encoder()


class HistoryFile:
    """A sink that writes `history.ndjson`.

    An error of the file system is kept and raised by `close`: a sink is called in the middle of the
    simulated world, where somebody might take it for a failing handler.

    Args:
        path: of the file; an existing one is replaced.
        keep_all: write every entry, however many orders there are.
    """

    def __init__(self, path: Path, *, keep_all: bool) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._choice = None if keep_all else _Choice()
        self._window: deque[Sequence[Entry]] = deque()
        self._error: OSError | None = None

    def take(self, batch: Sequence[Entry]) -> None:
        """See `lab.history.recorder.Sink`."""
        choice = self._choice
        if choice is None:
            self._write(batch)
            return
        choice.look(batch)
        self._window.append(batch)
        if len(self._window) > WINDOW_BATCHES:
            self._write(choice.kept(self._window.popleft()))

    def close(self) -> None:
        """Write what still waits and close the file.

        Raises:
            OSError: something could not be written, now or earlier.
        """
        while self._choice is not None and self._window:
            self._write(self._choice.kept(self._window.popleft()))
        self._file.close()
        if self._error is not None:
            raise self._error

    def _write(self, entries: Sequence[Entry]) -> None:
        if self._error is None:
            try:
                self._file.write(_encoder.encode_lines([as_dict(entry) for entry in entries]))
            except OSError as error:
                self._error = error


class _Choice:
    """Which orders are kept, and the ids of their events."""

    def __init__(self) -> None:
        self._first = 0
        self._hit = 0
        self._subjects: set[object] = set()
        self._events: set[object] = set()

    def look(self, batch: Sequence[Entry]) -> None:
        """Choose among the orders of a batch that has just come."""
        subjects = self._subjects
        for entry in batch:
            kind, subject = entry[0], entry[3]
            if subject in subjects:
                continue
            if kind == "http.begin" and self._first < FIRST_ORDERS:
                self._first += 1
                subjects.add(subject)
            elif kind == "fault" and subject and self._hit < HIT_ORDERS:
                self._hit += 1
                subjects.add(subject)

    def kept(self, batch: Sequence[Entry]) -> list[Entry]:
        """The entries of a batch that has waited long enough."""
        subjects, events = self._subjects, self._events
        chosen = []
        for entry in batch:
            kind = entry[0]
            if entry[3] in subjects:
                if kind == "row":
                    events.add(entry[6])
                chosen.append(entry)
            elif kind in _OF_THE_RUN or (kind in _BY_EVENT and entry[5] in events):
                chosen.append(entry)
        return chosen
