"""`history.ndjson`: one entry a line, with the names of its fields.

A short history is written whole. Of a long one only some orders are kept: the first ones, and those
that a fault hit. Ten million lines have no reader, and a replay gives the rest. The length of a
file of orders is not known beforehand, so the written lines are thinned out once there are too
many. The story of an order has begun already when a fault hits it, so entries wait in a window of
the last batches before their choice. Entries about the run and no order (phases, lives, faults,
assignments, pauses, breakers) are always kept.

Not here: the orders that broke a promise. They are known only after the file is written; almost
always they are among the kept ones, else a replay with the whole history shows them.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO, Final

import msgspec

from lab.history.entries import FIELDS, Entry, as_dict, kind_of, subject_of
from lab.history.requests import HttpBeginEntry

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
    """The fields of a written line that decide whether it is kept."""

    kind: str
    subject: str
    event_id: str = ""


_decode_line = msgspec.json.Decoder(_Line).decode


class HistoryFile:
    """A sink that writes `history.ndjson`.

    An error of the file system ends the file and nothing else: a sink is called in the middle of
    the simulated world, where the error would pass for a failing handler.

    Args:
        path: of the file; an existing one is replaced.
        keep_all: keep every entry, however many orders there are.
        on_error: is told the first error; the file is not whole then.
    """

    def __init__(self, path: Path, *, keep_all: bool, on_error: Callable[[OSError], None]) -> None:
        self._path = path
        self._on_error = on_error
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
        """Write the waiting entries and close the file."""
        while self._choice is not None and self._window:
            self._write(self._choice.kept(self._window.popleft()))
        try:
            self._file.close()
        except OSError as error:
            self._give_up(error)

    def _thin_out(self, choice: "_Choice") -> None:
        """Keep only the chosen orders of the lines that are written already."""
        if self._error is not None:
            return
        whole = self._path.with_name(f"{self._path.name}.whole")
        try:
            self._file.close()
            self._path.replace(whole)
            self._file = self._path.open("wb")
            with whole.open("rb") as lines:
                for line in lines:
                    read = _decode_line(line)
                    if choice.keeps(read.kind, read.subject, read.event_id):
                        self._file.write(line)
            whole.unlink()
        except OSError as error:
            self._give_up(error)

    def _write(self, entries: Sequence[Entry]) -> None:
        if self._error is None:
            try:
                self._file.write(_encoder.encode_lines([as_dict(entry) for entry in entries]))
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self._error is None:
            self._error = error
            self._on_error(error)


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
