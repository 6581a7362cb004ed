"""A run in real processes, from its specification to what was found in its history."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from lab.history.recorder import Recorder
from lab.observe.ecs import quiet_libraries
from lab.report.run_folder import RunFolder
from lab.runner import Limits, Progress, drive
from lab.scenarios.workloads import Workload
from lab.wiring.backends import not_removed, telling_what_is_left
from lab.wiring.judging import Sinks
from lab.wiring.outcome import Ran
from lab.wiring.real_world import RealWorld
from lab.wiring.spec import TAIL_US, RunSpec

_KEPT_FILES: Final = ("logs.ndjson", "ledger.ndjson")


def run_for_real(
    spec: RunSpec,
    workload: Workload,
    customers: Sequence[str],
    *,
    folder: RunFolder | None = None,
    on_progress: Progress | None = None,
) -> Ran:
    """Run real processes to the end of their drain, or to Ctrl-C.

    Raises:
        EnvironmentNotReady: a server is not there, or not fit for use.
        SimulationError: a process ended as none should.
    """
    quiet_libraries()
    return asyncio.run(_run(spec, workload, customers, folder, on_progress))


async def _run(
    spec: RunSpec,
    workload: Workload,
    customers: Sequence[str],
    folder: RunFolder | None,
    on_progress: Progress | None,
) -> Ran:
    sinks = Sinks(spec, folder)
    with _work_folder(folder) as place:
        world = RealWorld(spec, place, customers)
        async with _opened(world):
            began_ns = time.perf_counter_ns()
            is_partial = await _drive(world, workload, on_progress)
            world.raise_errors()
            end = await world.look()
            recorder = Recorder(sinks.all)
            for entry in await world.history():
                recorder.write(entry)
            recorder.flush()
            findings = sinks.checker.findings()
            wall_ms = (time.perf_counter_ns() - began_ns) // 1_000_000
    if sinks.file is not None:
        sinks.file.close()
    return Ran(
        spec=spec,
        workload=workload,
        tally=world.client.tally,
        end=end,
        plan=world.plan,
        checker=sinks.checker,
        findings=findings,
        digest="",
        entries=recorder.count,
        wall_ms=wall_ms,
        is_partial=is_partial,
        kept=world.name if spec.makes.keep else None,
        left=not_removed(world.name, world.left),
    )


@asynccontextmanager
async def _opened(world: RealWorld) -> AsyncIterator[None]:
    """The world in the block; behind it every process has ended and its servers are tidy."""
    with telling_what_is_left(world.name, world.left):
        async with AsyncExitStack() as stack:
            await world.open(stack)
            yield


async def _drive(world: RealWorld, workload: Workload, on_progress: Progress | None) -> bool:
    """All phases of the run; whether Ctrl-C cut them short."""
    limits = Limits(tail_us=TAIL_US, drain_us=world.spec.settings.us("run.drain_ms"))
    total = workload.total or 0
    driving = asyncio.ensure_future(
        drive(
            world,
            iter(workload),
            total=total,
            limits=limits,
            operator=world.operator,
            progress=on_progress,
        )
    )
    try:
        await driving
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            raise
        task.uncancel()
        driving.cancel()
        await asyncio.wait([driving])
        await world.cut_short()
        return True
    return False


@contextmanager
def _work_folder(folder: RunFolder | None) -> Iterator[Path]:
    """A folder for the files of the processes; what people read of it is kept with the run.

    It has a short path: that of a socket may not be long.
    """
    place = Path(tempfile.mkdtemp(prefix="lab-"))
    try:
        yield place
        for name in _KEPT_FILES:
            if folder is not None and (place / name).exists():
                shutil.copyfile(place / name, folder.stage(name))
    finally:
        shutil.rmtree(place, ignore_errors=True)
