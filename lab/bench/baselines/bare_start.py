"""How long a new interpreter takes, from cold to its end: one that does nothing, or a command."""

import subprocess
import sys
import time
from collections.abc import Sequence

_TIMEOUT_S = 60


def start_s(arguments: Sequence[str] = ("-c", "pass")) -> float:
    """Wall seconds that a new interpreter takes with these arguments, to its end.

    Args:
        arguments: after the interpreter's name; by default it has nothing to do.

    Raises:
        subprocess.CalledProcessError: it did not exit with 0.
        subprocess.TimeoutExpired: it took more than a minute.
    """
    start = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own interpreter with our own arguments
        [sys.executable, *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_S,
    )
    return time.perf_counter() - start
