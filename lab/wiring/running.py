"""One run from its specification to its result, files included.

Everything that can be refused is refused before anything is run or written. Not here: the phases
(`lab.runner`), the world (`simulated`), the words of the result (`outcome`).
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lab.checks.checker import Checker
from lab.checks.contract import Contract
from lab.checks.verdict import parse_goal
from lab.history.digest import Digest
from lab.history.recorder import Recorder, Sink
from lab.history.writer import HistoryFile
from lab.report.result import Result, encode_result
from lab.report.run_folder import RunFolder, RunFolderError
from lab.runner import Limits, Progress, drive
from lab.scenarios.scenario import Scenario
from lab.scenarios.workloads import Workload, from_file, made_up
from lab.settings import Settings
from lab.wiring.outcome import End, Ran, make_result
from lab.wiring.simulated import SimulatedWorld
from lab.wiring.spec import HistoryKept, RunSpec, make_spec

_TAIL_US = 5_000_000


def run(
    scenario: str | Scenario,
    *,
    seed: int = 1,
    orders: int | None = None,
    rate: float | None = None,
    orders_from: str | None = None,
    speed: float = 1.0,
    faults: Sequence[str] = (),
    off: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    only: Sequence[str] = (),
    scenarios: Sequence[Path] = (),
    history: HistoryKept = "witnesses",
    out: Path | None = None,
    on_progress: Progress | None = None,
) -> Result:
    """Run a scenario in the simulated world and say which promises held.

    Args:
        scenario: name of one, or one of your own.
        seed: root of every coin, id and latency; the same seed gives the same run.
        orders: how many orders; default: what the scenario says.
        rate: orders a second of virtual time.
        orders_from: `sample`, or an NDJSON or CSV file of orders, gzip too.
        speed: divides the recorded times of `orders_from`.
        faults: more faults, beside those of the scenario.
        off: patterns to switch off.
        settings: policies that differ, by name.
        only: promises to judge; default: all.
        scenarios: files with more scenarios.
        history: `all` keeps every entry of a long run on disk.
        out: folder for the run's files; None: nothing is written.
        on_progress: called now and then with (orders placed, orders in all, phase).

    Raises:
        ScenarioError, SettingError, FaultError, GoalError, OrdersFileError, RunFolderError: what
            was asked for cannot be run; nothing was written.
        CheckError, SimulationError: a mistake of the lab's own.
    """
    spec = make_spec(
        scenario,
        seed=seed,
        orders=orders,
        rate=rate,
        orders_from=orders_from,
        speed=speed,
        faults=faults,
        off=off,
        settings=settings,
        only=only,
        scenarios=scenarios,
        history=history,
        out=out,
    )
    return run_spec(spec, on_progress=on_progress)


def run_spec(spec: RunSpec, *, on_progress: Progress | None = None) -> Result:
    """Run what was decided; see `run`."""
    goals = tuple(parse_goal(text) for text in spec.scenario.goals)
    with closing(make_workload(spec)) as workload, _folder(spec) as folder:
        ran = simulate(spec, workload, folder=folder, on_progress=on_progress)
        result = make_result(ran, goals)
        if folder is not None:
            folder.stage("plan.json").write_bytes(ran.plan.to_json())
            result = msgspec.structs.replace(result, run_dir=str(folder.path))
            folder.stage("result.json").write_bytes(encode_result(result))
            folder.commit()
    return result


def make_workload(spec: RunSpec) -> Workload:
    """The orders of a run.

    Raises:
        OrdersFileError: the file of orders cannot be used.
    """
    if spec.orders_from:
        return from_file(
            spec.orders_from, seed=spec.seed, orders=spec.orders, rate=spec.rate, speed=spec.speed
        )
    assert spec.orders is not None, "made-up orders are counted"
    assert spec.rate is not None, "made-up orders have a rate"
    return made_up(spec.seed, spec.orders, spec.rate)


def simulate(
    spec: RunSpec,
    workload: Workload,
    *,
    observe: bool = True,
    folder: RunFolder | None = None,
    on_progress: Progress | None = None,
) -> Ran:
    """Run the simulated world to the end of its drain, or to Ctrl-C.

    Args:
        spec: what is to be run.
        workload: its orders.
        observe: record and judge; without it the core alone runs, for measurements.
        folder: takes the history file.
        on_progress: see `run`.
    """
    sinks = _Sinks(spec, folder) if observe else None
    recorder = None if sinks is None else Recorder(sinks.all)
    world = SimulatedWorld(
        spec,
        write=None if recorder is None else recorder.append,
        on_instant=None if recorder is None else recorder.flush_if_full,
    )
    began_ns = time.perf_counter_ns()
    is_partial = False
    try:
        end = world.scheduler.run(_to_the_end(world, workload, on_progress))
    except KeyboardInterrupt:
        is_partial = True
        end = asyncio.run(world.look())
    world.raise_errors()
    if recorder is not None:
        recorder.flush()
    findings = () if sinks is None else sinks.checker.findings()
    if sinks is not None and sinks.file is not None:
        sinks.file.close()
    if recorder is not None:
        recorder.close()
    world.close()
    return Ran(
        spec=spec,
        workload=workload,
        tally=world.client.tally,
        end=end,
        plan=world.plan,
        checker=None if sinks is None else sinks.checker,
        findings=findings,
        digest="" if sinks is None else sinks.digest.hexdigest(),
        entries=0 if recorder is None else recorder.count,
        wall_ms=(time.perf_counter_ns() - began_ns) // 1_000_000,
        is_partial=is_partial,
    )


async def _to_the_end(
    world: SimulatedWorld, workload: Workload, on_progress: Progress | None
) -> End:
    """All phases of a run, and the world as it is then."""
    limits = Limits(tail_us=_TAIL_US, drain_us=world.spec.settings.us("run.drain_ms"))
    total = workload.total or 0
    await drive(world, iter(workload), total=total, limits=limits, progress=on_progress)
    return await world.look()


@dataclass(slots=True)
class _Sinks:
    """Who reads the history of a run."""

    checker: Checker
    digest: Digest
    file: HistoryFile | None

    def __init__(self, spec: RunSpec, folder: RunFolder | None) -> None:
        self.checker = Checker(contract_of(spec.settings), only=spec.only)
        self.digest = Digest()
        self.file = None
        if folder is not None:
            self.file = HistoryFile(folder.stage("history.ndjson"), keep_all=spec.history == "all")

    @property
    def all(self) -> tuple[Sink, ...]:
        judges: tuple[Sink, ...] = (self.checker, self.digest)
        return judges if self.file is None else (*judges, self.file)


def contract_of(settings: Settings) -> Contract:
    """The declared policies by which the promises are judged."""
    return Contract(
        attempts_max=settings.number("retry.attempts_max"),
        base_us=settings.us("retry.base_ms"),
        cap_us=settings.us("retry.cap_ms"),
        tiers_us=settings.many_us("retry.tiers_ms"),
        budget_tokens=settings.number("retry.budget_tokens"),
        budget_refill=settings.real("retry.budget_refill"),
        handler_us=settings.us("timeout.handler_ms"),
        provider_us=settings.us("timeout.provider_ms"),
        workers=settings.number("bus.workers"),
        max_in_flight=settings.number("bus.max_in_flight"),
        window_us=settings.us("dedupe.window_ms"),
        stop_us=settings.us("drain.grace_ms"),
        breaker_window_us=settings.us("breaker.window_ms"),
        breaker_calls_min=settings.number("breaker.calls_min"),
        breaker_open_us=settings.us("breaker.open_ms"),
        max_elapsed_us=settings.us("retry.max_elapsed_ms"),
    )


@contextmanager
def _folder(spec: RunSpec) -> Iterator[RunFolder | None]:
    """The run's folder; nothing of it is left if the run fails.

    Raises:
        RunFolderError: it cannot be made, or the disk is full before the run is over.
    """
    if spec.out is None:
        yield None
        return
    folder = RunFolder(spec.out, spec.scenario.name, spec.seed, datetime.now(UTC))  # noqa: TID251
    try:
        yield folder
    except OSError as bad:
        raise RunFolderError(
            f"cannot write the run to {spec.out}: {bad.strerror}; choose another --out"
        ) from None
    finally:
        folder.discard()
