"""The journal of one process life: its entries on disk, one line each, one `write(2)` each.

A process that is killed leaves every entry that it wrote before, and at most a torn line after
them. Journals and what servers know are merged into one history by time; entries of one source stay
in its order. Not here: `history.ndjson` (`history_file.py`), which is made of the merged ones.
"""

import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.history.entries import FIELDS, Entry

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_MODE: Final = 0o600
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[Any]).decode


class JournalError(ValueError):
    """A journal that cannot be read; the message names the file, the line and what is wrong."""


class Journal:
    """An open journal.

    Once a line could not be written nothing more is: what follows a gap would tell a wrong story.

    Args:
        path: of a file that does not exist yet.
        on_failure: is told of the first entry that could not be written. A process whose story is
            not kept should end: nothing that it does from then on can be judged.

    Attributes:
        failure: why nothing is written any more; None if all is well.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, *, on_failure: Callable[[OSError], object]) -> None:
        self.path = path
        self.failure: OSError | None = None
        self._on_failure = on_failure
        self._fd = os.open(path, _FLAGS, _MODE)

    def write(self, entry: Entry) -> None:
        """Append one entry. When this returns, a kill does not undo it."""
        if self.failure is not None:
            return
        line = _encode(entry) + b"\n"
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError("the line was written in part: the disk is full")
        except OSError as failure:
            self.failure = failure
            self._on_failure(failure)

    def close(self) -> None:
        """Close the file; nothing is written from then on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.failure = self.failure or OSError("the journal is closed")


def read_journal(path: Path) -> Iterator[Entry]:
    """The entries of a journal, as they were written; a torn last line is left out.

    Raises:
        JournalError: a line is no entry.
        OSError: the file cannot be read.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                found = _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise JournalError(f"{path}, line {number}: {error}") from None
            kind = found[0] if found else None
            if not isinstance(kind, str) or len(FIELDS.get(kind, ())) != len(found):
                raise JournalError(f"{path}, line {number}: no entry of a history")
            yield tuple([frozen(value) if type(value) is list else value for value in found])


def merged(sources: Sequence[Iterable[Entry]]) -> Iterator[Entry]:
    """All entries by time; of one instant, those of the earlier source first.

    Each source keeps its order, also where its clock went back.
    """
    return (entry for _, entry in heapq.merge(*map(_ranked, sources), key=_rank))


def frozen(value: object) -> object:
    """The value with tuples for lists, as entries have them."""
    return tuple([frozen(each) for each in value]) if isinstance(value, list) else value


def _ranked(source: Iterable[Entry]) -> Iterator[tuple[int, Entry]]:
    """Each entry with its place in time: never before one that its witness told earlier."""
    rank_us = 0
    for entry in source:
        t_us = entry[1]
        assert isinstance(t_us, int), "every entry has its time"
        rank_us = max(rank_us, t_us)
        yield rank_us, entry


def _rank(pair: tuple[int, Entry]) -> int:
    return pair[0]
