"""The file of a search that can be gone on with: a line for the question, a line for each task.

Lines are only added, so a search that was killed has lost no task but the one it was in; a last
line that was cut off is dropped. Not here: searching (`search`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

import lab
from lab.explore.findings import Judged
from lab.explore.search import SearchError

_VERSION: Final = 1


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    version: int
    lab: str
    question: str


class SearchFile:
    """What earlier parts of a search have found, and a place for more.

    Attributes:
        runs: of earlier parts.
    """

    def __init__(self, file: BinaryIO, runs: Sequence[Judged]) -> None:
        self.runs = tuple(runs)
        self._file = file

    def add(self, runs: Sequence[Judged]) -> None:
        """Keep the runs of a task."""
        self._file.write(msgspec.json.encode(runs) + b"\n")
        self._file.flush()


@contextmanager
def search_file(path: Path, question: str) -> Iterator[SearchFile]:
    """The file of a search, made if there is none; it is closed behind the block.

    Args:
        path: of the file.
        question: see `Searching`.

    Raises:
        SearchError: the file cannot be used, or belongs to another search or version.
    """
    try:
        with path.open("a+b") as file:
            file.seek(0)
            runs = _read(path, file, question)
            yield SearchFile(file, runs)
    except OSError as bad:
        raise SearchError(f"cannot write {path}: {bad.strerror}; name another file") from None


def _read(path: Path, file: BinaryIO, question: str) -> list[Judged]:
    """The runs in the file; one that is new gets its first line, and a torn last line goes."""
    ours = _Head(version=_VERSION, lab=lab.__version__, question=question)
    lines = file.read().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    if not whole and (not lines or msgspec.json.encode(ours).startswith(lines[0])):
        file.truncate(0)
        file.write(msgspec.json.encode(ours) + b"\n")
        return []
    try:
        head = msgspec.json.decode(lines[0], type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise SearchError(f"{path}:1: no file of a search; name another one") from None
    if head != ours:
        raise SearchError(
            f"{path}:1: the file of another search: {head.question}, lab {head.lab}; this one is "
            f"{question}, lab {lab.__version__}: name another file, or remove this one"
        )
    file.truncate(sum(map(len, whole)))
    found: list[Judged] = []
    for number, line in enumerate(whole[1:], start=2):
        try:
            found.extend(msgspec.json.decode(line, type=list[Judged]))
        except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
            raise SearchError(f"{path}:{number}: no runs of a search: {bad}") from None
    return found
