"""Standard output gets results, in one piece; standard error gets everything else."""

import os
import sys
from pathlib import Path


class OutputError(ValueError):
    """What was found cannot be written, because a disk is full or the like."""


def print_result(text: str | bytes) -> None:
    """Print a result. A reader that has gone away (`| head`) is no error.

    Raises:
        OutputError: it cannot be written.
    """
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed")
    try:
        if isinstance(text, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(text)
        else:
            encoding = sys.stdout.encoding or "utf-8"
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
    except OSError as bad:
        _silence()
        raise OutputError(f"cannot write to standard output: {bad.strerror}") from None


def check_file(path: Path | None) -> None:
    """See to it that a file can be written there, before there is anything to write.

    Raises:
        OutputError: it is a folder, or stands in none.
    """
    if path is not None and path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file in it")
    if path is not None and not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; make it first")


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; what is no plain file, such as a pipe, is written to.

    Raises:
        OutputError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        try:
            aside.write_bytes(data)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as bad:
        raise OutputError(f"cannot write {path}: {bad.strerror}; name another file") from None


def print_message(text: str) -> None:
    """Say something beside the result, on standard error."""
    if sys.stderr is None:
        return
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def can_be_asked() -> bool:
    """Whether somebody sits at a terminal who can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def _silence() -> None:
    """Let the interpreter's last flush succeed: the text that could not be written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
