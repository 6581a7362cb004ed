"""Lines in a file that ends before it grows too large; the next one has the next number.

No path is ever given to another file: what ships the lines remembers by the path how far it has
come. Not here: what is written.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 32 * 1024 * 1024
KEPT: Final = 2
"""The file that grows and the one before it; older ones are removed, shipped or not."""


class NumberedFile:
    """Appends to `<stem>.<number>.ndjson`, of the highest number that is there.

    What cannot be written is left out: a full disk is no reason to end. Not for several threads at
    once; several processes may append to one file.

    Args:
        folder: where the files stand.
        stem: their common name.
        bytes_max: a file that has reached this is the last one's.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, folder: Path, stem: str, *, bytes_max: int = BYTES_MAX) -> None:
        self._folder = folder
        self._stem = stem
        self._bytes_max = bytes_max
        self._number = max(self._numbers(), default=1)
        self._file = self._path(self._number).open("ab", buffering=0)

    def write(self, text: str) -> None:
        """Append whole lines; they are with the system when it returns."""
        with suppress(OSError):
            if self._file.tell() >= self._bytes_max:
                self._begin_next()
            self._file.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """End it. Idempotent."""
        self._file.close()

    def _begin_next(self) -> None:
        following = self._path(self._number + 1).open("ab", buffering=0)
        self._file.close()
        self._file, self._number = following, self._number + 1
        for number in self._numbers():
            if number <= self._number - KEPT:
                self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._stem}.{number}.ndjson"

    def _numbers(self) -> list[int]:
        pattern = re.compile(rf"{re.escape(self._stem)}\.([1-9][0-9]*)\.ndjson")
        found = (pattern.fullmatch(path.name) for path in self._folder.iterdir())
        return [int(one[1]) for one in found if one]
