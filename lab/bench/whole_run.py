"""A whole run by the command, in a process of its own: how long it takes, and what it kept."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.bench.load import LOAD, BenchError
from lab.bench.open_loop import OpenLoop
from lab.history.history_reader import read_history

_TIMEOUT_S: Final = 300
_LOADS: Final = 3
"""A run may take the length of its load so often, besides."""
_CLEAN_UP_S: Final = 30
_SHOWN: Final = 300


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """One run whose verdict was PASS.

    Attributes:
        spent_s: wall seconds from a new process to its end.
        wall_ms: from the first order to the verdict.
    """

    spent_s: float
    wall_ms: float


class _Promise(msgspec.Struct):
    name: str
    verdict: str


class _Told(msgspec.Struct):
    """The part of a result that is looked at."""

    time: dict[str, Any]
    checks: tuple[_Promise, ...]


_told: Final = msgspec.json.Decoder(_Told).decode


def run_whole(*options: str, load_s: float) -> Whole:
    """Run the happy path by `lab run`.

    Args:
        options: of the command, behind the name.
        load_s: how long its orders come.

    Raises:
        BenchError: its verdict was not PASS.
        subprocess.TimeoutExpired: it took far longer than its load.
    """
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        return _run(options, load_s, Path(folder))


def run_timed(*options: str, load_s: float, due_us: Sequence[int]) -> tuple[Whole, OpenLoop]:
    """The same, and the times of its orders, which were due as `due_us` says.

    Raises:
        BenchError, subprocess.TimeoutExpired: as above.
    """
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        whole = _run((*options, "--history", "all"), load_s, Path(folder))
        (history,) = Path(folder).glob("*/*-s*/history.ndjson")
        return whole, OpenLoop(read_history(history), due_us)


def _run(options: Sequence[str], load_s: float, folder: Path) -> Whole:
    command = ["lab", "run", LOAD, *options]
    start_s = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", *command, "--quiet", "--no-color", "--out", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=_TIMEOUT_S + _LOADS * load_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        raise
    finally:
        _let_end(process)
    spent_s = time.perf_counter() - start_s
    told = [_told(path.read_bytes()) for path in folder.glob("*/*-s*/result.json")]
    if process.returncode:
        said = [" ".join((out + err).split())[-_SHOWN:]]
        said += [one.name for each in told for one in each.checks if one.verdict == "FAIL"]
        raise BenchError(f"{' '.join(command)} ended with {process.returncode}: {', '.join(said)}")
    return Whole(spent_s=spent_s, wall_ms=told[0].time["wall_ms"])


def _let_end(process: "subprocess.Popen[str]") -> None:
    """Let it clean up on the servers: Ctrl-C was for it too."""
    try:
        process.communicate(timeout=_CLEAN_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
