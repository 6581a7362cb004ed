"""Reads `history.ndjson` back: every line becomes the entry that it was written from.

Whoever changes a line, cuts the file or adds to it is told so by line, or by the digest of the run.
Not here: journals of real processes (`journal`), which are cut off by a kill and may be.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from lab.history.digest import Digest
from lab.history.entries import FIELDS, Entry
from lab.history.journal import frozen
from lab.history.recorder import Sink

_BATCH: Final = 1_000
_decode = msgspec.json.Decoder(dict[str, object]).decode


class HistoryError(ValueError):
    """A history that cannot be read; the text names place and remedy."""


def read_history(path: Path) -> Iterator[Entry]:
    """The entries of a file, in its order.

    Raises:
        HistoryError: there is no such file, or a line of it is no entry.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield _entry(path, number, line)
    except OSError as bad:
        raise HistoryError(
            f"cannot read {path}: {bad.strerror}; name the folder of a run (lab list --runs)"
        ) from None


def digest_of(path: Path, *sinks: Sink) -> tuple[str, int]:
    """The digest of the entries in a file, and how many there are.

    Args:
        path: of the file.
        sinks: take the entries on the way, so that the file need not be read again.

    Raises:
        HistoryError: see `read_history`.
    """
    digest, count = Digest(), 0
    takers: tuple[Sink, ...] = (digest, *sinks)
    entries = read_history(path)
    while batch := list(islice(entries, _BATCH)):
        count += len(batch)
        for sink in takers:
            sink.take(batch)
    return digest.hexdigest(), count


def _entry(path: Path, number: int, line: bytes) -> Entry:
    if not line.endswith(b"\n"):
        raise HistoryError(f"{path}, line {number}: the file breaks off here; run it again")
    try:
        found = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as bad:
        raise HistoryError(f"{path}, line {number}: not JSON ({bad}); run it again") from None
    fields = FIELDS.get(str(found.get("kind")), ())
    # As the lab writes it, the names stand in their order.
    values = list(found.values())
    if tuple(found) != fields:
        if not fields or found.keys() != set(fields):
            raise HistoryError(
                f"{path}, line {number}: no entry of this version of the lab; run it again"
            )
        values = [found[name] for name in fields]
    return tuple(map(frozen, values)) if list in map(type, values) else tuple(values)
