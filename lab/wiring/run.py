"""One run from its specification to its result, files included.

Everything that can be refused is refused before anything is run or written. Not here: the phases
(`lab.runner`), the world (`simulated`), the words of the result (`outcome`).
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lab.checks.verdict import parse_goal
from lab.history.recorder import Recorder, Sink
from lab.report.result import Result, encode_result
from lab.report.run_folder import RunFolder, RunFolderError
from lab.runner import Limits, Progress, drive
from lab.runtime.virtual_loop import Scheduler
from lab.scenarios.made_up import made_up
from lab.scenarios.scenario import Scenario
from lab.scenarios.workload import Workload
from lab.wiring.judging import Sinks
from lab.wiring.outcome import End, Ran, beside, make_result
from lab.wiring.spec import (
    TAIL_US,
    HistoryKept,
    RunSpec,
    choose_makes,
    make_spec,
    without_faults,
)
from lab.wiring.worlds.simulated import SimulatedWorld


def run(
    scenario: str | Scenario,
    *,
    real: bool = False,
    bus: str = "memory",
    store: str = "memory",
    dedupe: str = "memory",
    wall_clock: bool = False,
    keep: bool = False,
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
    beyond_contract: bool = False,
    watch: Sink | None = None,
    on_progress: Progress | None = None,
) -> Result:
    """Run a scenario, in the simulated world if nothing else is asked for, and judge its promises.

    Args:
        scenario: name of one, or one of your own.
        real: in processes of the operating system, on Kafka, PostgreSQL and Redis.
        bus: `memory` or `kafka`; anything real runs on the wall clock.
        store: `memory` or `postgres`.
        dedupe: `memory` or `redis`.
        wall_clock: on the wall clock, also if everything is in memory.
        keep: leave topics, schema and keys of the run on the servers.
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
        beyond_contract: allow what the design does not promise to survive; broken promises are
            expected then, and the verdict is UNKNOWN.
        watch: takes every entry of the run, in order.
        on_progress: called now and then with (orders placed, orders in all, phase).

    Raises:
        ScenarioError, SettingError, FaultError, GoalError, OrdersFileError, RunFolderError: what
            was asked for cannot be run; nothing was written.
        EnvironmentNotReady: a real server is not there, or not fit for use.
        CheckError, SimulationError: a mistake of the lab's own.
    """
    spec = make_spec(
        scenario,
        makes=choose_makes(
            real=real, bus=bus, store=store, dedupe=dedupe, wall_clock=wall_clock, keep=keep
        ),
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
        beyond_contract=beyond_contract,
    )
    return run_spec(replace(spec, watch=watch), on_progress=on_progress)


def run_spec(spec: RunSpec, *, on_progress: Progress | None = None) -> Result:
    """Run what was decided; see `run`."""
    goals = tuple(parse_goal(text) for text in spec.scenario.goals)
    with closing(make_workload(spec)) as workload, _folder(spec) as folder:
        ran = _run(spec, workload, folder, on_progress)
        result = make_result(ran, goals)
        if spec.scenario.compares and not result.partial:
            result = beside(result, run_spec(without_faults(spec), on_progress=on_progress))
        if folder is not None:
            folder.stage("plan.json").write_bytes(ran.plan.to_json())
            result = msgspec.structs.replace(result, run_dir=str(folder.path))
            folder.stage("result.json").write_bytes(encode_result(result))
            folder.commit()
    return result


def _run(
    spec: RunSpec, workload: Workload, folder: RunFolder | None, on_progress: Progress | None
) -> Ran:
    """Run it in the world that it is for; what only few runs need is imported by those."""
    if not spec.makes.is_live:
        return simulate(spec, workload, folder=folder, on_progress=on_progress)
    if not spec.makes.is_real:
        from lab.wiring.worlds.wall_clock import run_live  # noqa: PLC0415 - see above

        return run_live(
            spec, workload, lambda: make_workload(spec), folder=folder, on_progress=on_progress
        )
    from lab.scenarios.buyers import customers_of  # noqa: PLC0415 - see above
    from lab.wiring.worlds.real_run import run_for_real  # noqa: PLC0415 - see above

    customers = customers_of(make_workload(spec))
    return run_for_real(spec, workload, customers, folder=folder, on_progress=on_progress)


def make_workload(spec: RunSpec) -> Workload:
    """The orders of a run.

    Raises:
        OrdersFileError: the file of orders cannot be used.
    """
    if spec.orders_from:
        from lab.scenarios.orders_file import from_file  # noqa: PLC0415 - only such runs need it

        return from_file(
            spec.orders_from, seed=spec.seed, orders=spec.orders, rate=spec.rate, speed=spec.speed
        )
    assert spec.orders is not None, "made-up orders are counted"
    assert spec.rate is not None, "made-up orders have a rate"
    return made_up(spec.seed, spec.orders, spec.rate, spec.scenario.spike)


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
    sinks = Sinks(spec, folder) if observe else None
    recorder = None if sinks is None else Recorder(sinks.all)
    order = spec.settings.text("run.order")
    world = SimulatedWorld(
        spec,
        write=None if recorder is None else recorder.append,
        scheduler=Scheduler(
            seed=spec.seed,
            order="shuffle" if order == "shuffle" else "fifo",
            on_instant=None if recorder is None else recorder.flush_if_full,
        ),
    )
    began_ns = time.perf_counter_ns()
    is_partial = False
    try:
        end = world.scheduler.run(to_the_end(world, workload, on_progress))
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


async def to_the_end(
    world: SimulatedWorld, workload: Workload, on_progress: Progress | None
) -> End:
    """All phases of a run, and the world as it is then."""
    limits = Limits(tail_us=TAIL_US, drain_us=world.spec.settings.us("run.drain_ms"))
    total = workload.total or 0
    await drive(
        world,
        iter(workload),
        total=total,
        limits=limits,
        operator=world.operator,
        progress=on_progress,
    )
    return await world.look()


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
