"""How long a whole run takes, from the command to its verdict: in real processes, and simulated."""

import subprocess
import sys
import tempfile
import time
from typing import Final

from lab.bench.load import LOAD, BenchError

_TIMEOUT_S: Final = 300
_SHOWN: Final = 300


def verdicts_s(orders: int) -> tuple[float, float]:
    """Wall seconds of `lab run happy-path --real` in a new process, and of the same without it.

    The servers are those of the environment.

    Raises:
        BenchError: a verdict was not PASS.
        subprocess.TimeoutExpired: it took more than five minutes.
    """
    return _verdict_s(orders, "--real"), _verdict_s(orders)


def _verdict_s(orders: int, *options: str) -> float:
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        command = ["lab", "run", LOAD, *options, "--orders", str(orders)]
        start_s = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", *command, "--quiet", "--no-color", "--out", folder],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        spent_s = time.perf_counter() - start_s
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())[-_SHOWN:]
        raise BenchError(f"{' '.join(command)} ended with {done.returncode}: {said}")
    return spent_s
