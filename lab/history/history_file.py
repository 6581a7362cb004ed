"""`history.ndjson`: one entry a line, with the names of its fields.

A short history is written whole. Of a long one only witness orders are kept, because nobody reads
ten million lines and a replay gives the rest: the first orders, and those that a fault hit. Nobody
knows beforehand how long a file of orders is, so what was written is thinned out once there are too
many. When it is known that an order was hit, its story has begun already; so entries wait in a
window of the last batches before it is decided about them. What concerns no order but the run
(phases, lives, faults, assignments, pauses, breakers) is always kept.

Not here: which orders broke a promise. That is known when the file is written already;
almost always they are among the kept ones, else a replay with the whole history shows them.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO, Final

import msgspec

from lab.history.calls import HttpBeginEntry
from lab.history.entries import FIELDS, Entry, as_dict, kind_of, subject_of

WHOLE_UP_TO: Final = 2_000
"""Orders up to which every entry is kept."""

FIRST_ORDERS: Final = 200
HIT_ORDERS: Final = 800
WINDOW_BATCHES: Final = 16
"""With the recorder's batches some 300 orders: more than any fault-free order takes to its end."""

_OF_THE_RUN: Final = frozenset(
    {
        "phase",
        "life",
        "fault",
        "fault_end",
        "left",
        "held",
        "owned",
        "revoked",
        "paused",
        "breaker",
        "drained",
        "stalled",
    }
)
_BY_EVENT: Final = frozenset({"claim", "complete", "unclaim"})
_READ_EVENT: Final[Mapping[str, Callable[[Entry], str]]] = {
    kind: itemgetter(FIELDS[kind].index("event_id")) for kind in ("row", *sorted(_BY_EVENT))
}
"""Reads the event id of the entries of these kinds."""

_encoder = msgspec.json.Encoder()


class _Line(msgspec.Struct, gc=False):
    """What is looked at of a line that is written already."""

    kind: str
    subject: str
    event_id: str = ""


_decode_line = msgspec.json.Decoder(_Line).decode


class HistoryFile:
    """A sink that writes `history.ndjson`.

    An error of the file system is kept and raised by `close`: a sink is called in the middle of the
    simulated world, where somebody might take it for a failing handler.

    Args:
        path: of the file; an existing one is replaced.
        keep_all: keep every entry, however many orders there are.
    """

    def __init__(self, path: Path, *, keep_all: bool) -> None:
        self._path = path
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
        if not choice.is_needed and choice.orders > WHOLE_UP_TO:
            choice.is_needed = True
            self._thin_out(choice)
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

    def _thin_out(self, choice: "_Choice") -> None:
        """Of what is written already, keep the chosen orders."""
        if self._error is not None:
            return
        whole = self._path.with_name(f"{self._path.name}.whole")
        try:
            self._file.close()
            self._path.replace(whole)
            self._file = self._path.open("wb")
            with whole.open("rb") as lines:
                for line in lines:
                    told = _decode_line(line)
                    if choice.keeps(told.kind, told.subject, told.event_id):
                        self._file.write(line)
            whole.unlink()
        except OSError as error:
            self._error = error

    def _write(self, entries: Sequence[Entry]) -> None:
        if self._error is None:
            try:
                self._file.write(_encoder.encode_lines([as_dict(entry) for entry in entries]))
            except OSError as error:
                self._error = error


class _Choice:
    """Which orders are kept, and the ids of their events.

    Attributes:
        orders: how many have begun. is_needed: there are too many to keep them all.
    """

    def __init__(self) -> None:
        self.orders = 0
        self.is_needed = False
        self._first = 0
        self._hit = 0
        self._subjects: set[str] = set()
        self._events: set[str] = set()

    def look(self, batch: Sequence[Entry]) -> None:
        """Choose among the orders of a batch that has just come."""
        chosen = self._subjects
        kinds, subjects = map(kind_of, batch), map(subject_of, batch)
        for entry, kind, subject in zip(batch, kinds, subjects, strict=True):
            if kind == "http.begin":
                begun = HttpBeginEntry._make(entry)
                self.orders += begun.op == "create" and begun.send == 1
            if subject in chosen:
                continue
            if kind == "http.begin" and self._first < FIRST_ORDERS:
                self._first += 1
                chosen.add(subject)
            elif kind == "fault" and subject and self._hit < HIT_ORDERS:
                self._hit += 1
                chosen.add(subject)

    def kept(self, batch: Sequence[Entry]) -> Sequence[Entry]:
        """The entries of a batch that has waited long enough."""
        if not self.is_needed:
            return batch
        return [
            entry
            for entry in batch
            if self.keeps(kind_of(entry), subject_of(entry), _event_of(entry))
        ]

    def keeps(self, kind: str, subject: str, event_id: str) -> bool:
        """Whether an entry is kept. Asked in the order of the history."""
        if subject in self._subjects:
            if kind == "row":
                self._events.add(event_id)
            return True
        return kind in _OF_THE_RUN or (kind in _BY_EVENT and event_id in self._events)


def _event_of(entry: Entry) -> str:
    """The event id of an entry that may be kept because of it, else ""."""
    read = _READ_EVENT.get(kind_of(entry))
    return "" if read is None else read(entry)
