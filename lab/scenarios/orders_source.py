"""The bytes of a file of orders: a path, a pipe or standard input, plain or gzip.

A file is read more than once: to find what is wrong with it as a whole, before anything is run; for
the run; and where servers must know the customers beforehand. So what comes through a pipe is kept
in a temporary file until the process ends. Not here: the lines and what stands in them.
"""

import atexit
import gzip
import io
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, Final

from lab.scenarios.orders_lines import OrdersFileError
from lab.scenarios.scenario import SAMPLE

STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"
_kept: dict[Path, Path] = {}
"""The temporary file with what came through each pipe: it comes only once."""


def open_orders(path: Path) -> io.BufferedReader:
    """The file's bytes, unpacked.

    Raises:
        OrdersFileError: there is no such file, or it cannot be read.
    """
    try:
        file = _regular(path).open("rb")
    except FileNotFoundError:
        raise OrdersFileError(
            f"there is no file {path}; name one, `-` for standard input, or `{SAMPLE}` for the "
            "shipped orders"
        ) from None
    except (OSError, ValueError) as bad:
        why = getattr(bad, "strerror", None) or bad
        raise OrdersFileError(f"cannot read {path}: {why}") from None
    if file.peek(2)[:2] == _GZIP:
        # GzipFile would leave `file` open when it is closed; a reader over it closes both.
        return io.BufferedReader(_Unpacked(file))
    return file


def stamp(path: Path) -> tuple[int, int]:
    """Time and size of the file: another stamp is another file.

    Raises:
        OrdersFileError: there is no such file, or it cannot be read.
    """
    with open_orders(path):
        found = _kept.get(path, path).stat()
    return found.st_mtime_ns, found.st_size


def _regular(path: Path) -> Path:
    """The path itself, or that of the temporary file with what came through the pipe."""
    if path in _kept:
        return _kept[path]
    if str(path) == STDIN:
        if sys.stdin.isatty():
            raise OrdersFileError("`-` reads orders from standard input, which is a terminal")
        return _keep(path, sys.stdin.buffer)
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise OrdersFileError(f"{path} is a directory; name a file of orders (NDJSON or CSV)")
    if stat.S_ISFIFO(mode):
        with path.open("rb") as pipe:
            return _keep(path, pipe)
    if not stat.S_ISREG(mode):
        raise OrdersFileError(f"{path} is a device; name a file of orders (NDJSON or CSV)")
    return path


def _keep(path: Path, pipe: BinaryIO) -> Path:
    with tempfile.NamedTemporaryFile(prefix="lab-orders-", delete=False) as file:
        kept = Path(file.name)
        atexit.register(kept.unlink, missing_ok=True)
        shutil.copyfileobj(pipe, file)
    _kept[path] = kept
    return kept


class _Unpacked(gzip.GzipFile):
    """A gzip file that closes the file below it."""

    def __init__(self, below: io.BufferedReader) -> None:
        super().__init__(fileobj=below, mode="rb")
        self._below = below

    def close(self) -> None:
        super().close()
        self._below.close()
