"""How long a whole run takes, from the command to its verdict: in real processes, and simulated."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.bench.latency import Latency, latency_of
from lab.bench.load import LOAD, BenchError
from lab.scenarios.run_options import RunOptions
from lab.wiring.spec import make_spec

_TIMEOUT_S: Final = 300
_CLEAN_UP_S: Final = 30
_SHOWN: Final = 300


class VerdictTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long one run took, from a new process to its verdict.

    Attributes:
        real_s: wall seconds in real processes.
        simulated_s: of the same run in the simulator.
        orders: how many it had.
        rate: how many of them came a second; they take their time, however fast the rest is.
        latency: of the real run.
    """

    real_s: float
    simulated_s: float
    orders: int
    rate: float
    latency: Latency


class _Told(msgspec.Struct):
    """The part of a result that is looked at."""

    metrics: dict[str, float]
    time: dict[str, Any]


_told: Final = msgspec.json.Decoder(_Told).decode


def measure_verdict(orders: int) -> VerdictTime:
    """Run the happy path, which must pass, on the servers of the environment and simulated.

    Raises:
        BenchError: a verdict was not PASS.
        subprocess.TimeoutExpired: it took more than five minutes.
    """
    spec = make_spec(RunOptions(scenario=LOAD, real=True, orders=orders))
    rate = spec.rate or 0.0
    real_s, told = _verdict_s(orders, "--real")
    return VerdictTime(
        real_s=real_s,
        simulated_s=_verdict_s(orders)[0],
        orders=orders,
        rate=rate,
        latency=latency_of(
            told.metrics,
            orders_per_s=orders / told.time["wall_ms"] * 1_000,
            how=f"{orders} orders of {LOAD} --real at {rate:g} a second, each at its time; "
            "orders/s from the first order to the verdict",
        ),
    )


def _verdict_s(orders: int, *options: str) -> "tuple[float, _Told]":
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        command = ["lab", "run", LOAD, *options, "--orders", str(orders)]
        start_s = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", *command, "--quiet", "--no-color", "--out", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            out, err = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            raise
        finally:
            _let_end(process)
        spent_s = time.perf_counter() - start_s
        told = [_told(path.read_bytes()) for path in Path(folder).rglob("result.json")]
    if process.returncode:
        said = " ".join((out + err).split())[-_SHOWN:]
        raise BenchError(f"{' '.join(command)} ended with {process.returncode}: {said}")
    return spent_s, told[0]


def _let_end(process: "subprocess.Popen[str]") -> None:
    """Let it clean up on the servers: Ctrl-C was for it too."""
    try:
        process.communicate(timeout=_CLEAN_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
