"""Standard output gets results, in one piece; standard error gets everything else."""

import os
import sys


class OutputError(ValueError):
    """Standard output takes nothing, because a disk is full or the like."""


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


def print_message(text: str) -> None:
    """Say something beside the result, on standard error."""
    if sys.stderr is None:
        return
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def _silence() -> None:
    """Let the interpreter's last flush succeed: the text that could not be written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
