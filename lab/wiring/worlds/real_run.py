"""A run in real processes, from its specification to what was found in its history."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from lab.history.recorder import Recorder
from lab.observe.ecs import quiet_libraries
from lab.report.run_folder import RunFolder
from lab.runner import Limits, Progress, drive
from lab.scenarios.workload import Workload
from lab.wiring.backends.interface import not_removed, telling_what_is_left
from lab.wiring.judging import Sinks
from lab.wiring.outcome import End, Ran
from lab.wiring.spec import TAIL_US, RunSpec
from lab.wiring.worlds.real import RealWorld

T = TypeVar("T")

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
            (end, entries), is_cut = await to_the_end(_look_back(world, sinks))
            world.is_cut |= is_partial or is_cut
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
        entries=entries,
        wall_ms=wall_ms,
        is_partial=world.is_cut,
        kept=world.name if spec.makes.keep else None,
        left=not_removed(world.name, world.left),
    )


@asynccontextmanager
async def _opened(world: RealWorld) -> AsyncIterator[None]:
    """The world in the block; behind it every process has ended and its servers are tidy."""
    stack = AsyncExitStack()
    with telling_what_is_left(world.name, world.left):
        try:
            await world.open(stack)
            yield
        finally:
            _, is_cut = await to_the_end(stack.aclose())
            world.is_cut |= is_cut


async def _look_back(world: RealWorld, sinks: Sinks) -> tuple[End, int]:
    """The world at its end, and how many entries its history has, which `sinks` take."""
    world.raise_errors()
    end = await world.look()
    recorder = Recorder(sinks.all)
    for entry in await world.history():
        recorder.write(entry)
    recorder.flush()
    return end, recorder.count


async def to_the_end(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """What `work` gives, and whether Ctrl-C came meanwhile, which does not cut it short.

    What is looked at and tidied up behind a run is bounded; half of it is of use to nobody.
    """
    working, is_cut = asyncio.ensure_future(work), False
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            is_cut = True
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
    return working.result(), is_cut


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
