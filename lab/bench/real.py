"""`lab bench --real`: figures of the real adapters and of a whole real run, as one object.

The servers are those that a run would use, and are looked at first. Everything that is made on them
has a name of its own and is removed. Not here: the measurements (`real_rounds`), the figures
(`real_figures`), and printing.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from lab import __version__
from lab.bench.figures import SCHEMA_VERSION
from lab.bench.interpreter import this_machine
from lab.bench.real_figures import USUAL, all_of
from lab.bench.real_rounds import REAL, RealRounds, RealSizes
from lab.bench.report import Report
from lab.bench.rounds import OnProgress
from lab.domain.errors import EnvironmentNotReady, LabError
from lab.wiring.backends.readiness import ServerState, addresses, look_at_servers

REAL_ROUNDS: Final = 3


class RealReport(Report, frozen=True, kw_only=True):
    """Everything that `lab bench --real` found.

    Attributes:
        lab: version of the lab.
        rounds: how often each figure was measured, but for the whole run; values are medians.
        latency: of the orders of the whole run; null if it was left out.
        wall_s: how long the measuring took.
        parts: what was measured, by the names that `--only` takes.
        thresholds: those that were given, and what was measured.
        compared: the figures beside those of an earlier report.
        not_now: figures of the earlier report that were not measured this time.
        not_before: figures that the earlier report has not.
        servers: the version of each server, by its name.
    """

    servers: Mapping[str, str]


def measure_real(
    variables: Mapping[str, str],
    *,
    parts: Collection[str] = USUAL,
    rounds: int = REAL_ROUNDS,
    sizes: RealSizes = REAL,
    on_progress: OnProgress | None = None,
) -> RealReport:
    """Measure every figure of some parts and its baseline on the servers that `variables` name.

    Args:
        variables: `lab.settings.environment()`.
        parts: names of `lab.bench.parts.REAL`, in their order.
        rounds: how often each figure is measured, but for the whole run.
        sizes: of the measurements.
        on_progress: see `Progress`.

    Raises:
        EnvironmentNotReady: a server is not there, or was not there any more.
        BenchError: something did not do its work.
        subprocess.CalledProcessError: a program that measures a baseline failed.
    """
    start = time.perf_counter()
    machine = this_machine()
    servers = must_be_ready(look_at_servers(variables))
    source = RealRounds(addresses(variables), parts, sizes, rounds=rounds, on_progress=on_progress)
    try:
        # First: a failure comes before minutes were spent.
        verdict = source.take_verdict() if "run" in parts else None
        taken = [source.take() for _ in range(rounds)]
    except LabError:
        must_be_ready(look_at_servers(variables))
        raise
    return RealReport(
        schema_version=SCHEMA_VERSION,
        lab=__version__,
        machine=machine,
        servers=servers,
        rounds=rounds,
        parts=tuple(parts),
        figures=all_of(taken, verdict, parts),
        latency=None if verdict is None else verdict.latency,
        wall_s=time.perf_counter() - start,
    )


def must_be_ready(states: Sequence[ServerState]) -> dict[str, str]:
    """The version of each server.

    Raises:
        EnvironmentNotReady: one of them cannot be used; the first such one is told of.
    """
    for state in states:
        if state.problem:
            raise EnvironmentNotReady(
                state.problem, server=state.name, address=state.address, remedy=state.remedy
            )
    return {state.name: state.version for state in states}
