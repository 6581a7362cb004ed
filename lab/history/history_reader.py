"""Reads `history.ndjson` back: every line becomes the entry that it was written from.

Whoever changes a line, cuts the file or adds to it is told so by line, or by the digest of the run.
Not here: journals of real processes (`journal`), which are cut off by a kill and may be.
"""

import operator
from collections.abc import Iterator
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.history.digest import Digest
from lab.history.entries import FIELDS, Entry
from lab.history.recorder import Sink

_BATCH: Final = 1_000

_Scalar = bool | int | float | str | None
_VALUE: Final = _Scalar | tuple[_Scalar | tuple[Any, ...], ...]
"""What a field may hold; a list becomes a tuple."""

_TYPES: Final = [
    msgspec.defstruct(
        kind.title().replace(".", ""),
        [(name, _VALUE) for name in fields[1:]],
        tag_field=fields[0],
        tag=kind,
        forbid_unknown_fields=True,
        gc=False,
    )
    for kind, fields in FIELDS.items()
]
_KIND_OF: Final = dict(zip(_TYPES, FIELDS, strict=True))
_decode: Final = msgspec.json.Decoder(reduce(operator.or_, _TYPES)).decode
_values: Final = msgspec.structs.astuple


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
    except msgspec.ValidationError as bad:
        raise HistoryError(
            f"{path}, line {number}: no entry of this version of the lab ({bad}); run it again"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as bad:
        raise HistoryError(f"{path}, line {number}: not JSON ({bad}); run it again") from None
    return _KIND_OF[type(found)], *_values(found)
