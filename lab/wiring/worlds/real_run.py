"""A run in real processes, from its specification to the findings in its history.

Not here: the world itself (`real`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from lab.observe.ecs import quiet_libraries
from lab.report.run_folder import RunFolder
from lab.runner import Progress
from lab.runtime.uninterrupted import cancelled_by_ctrl_c, uninterrupted
from lab.scenarios.workload import Workload
from lab.wiring.backends.interface import not_removed, telling_what_is_left
from lab.wiring.outcome import End, Ran
from lab.wiring.spec import RunSpec
from lab.wiring.workload import blocked_customers
from lab.wiring.worlds.driving import RunRecord, drive_to_end
from lab.wiring.worlds.real import RealWorld
from lab.wiring.worlds.run_lock import holding, new_run_lock

_KEPT_FILES: Final = ("logs.ndjson", "ledger.ndjson")


def run_for_real(
    spec: RunSpec,
    workload: Workload,
    *,
    folder: RunFolder | None = None,
    on_progress: Progress | None = None,
) -> Ran:
    """Run real processes to the end of their drain, or to Ctrl-C.

    Args:
        spec: of the run.
        workload: its orders.
        folder: takes the history file, logs and ledger.
        on_progress: see `lab.run`.

    Raises:
        EnvironmentNotReady: a server is not there, or not fit for use.
        SimulationError: a process ended as none should.
    """
    quiet_libraries()
    try:
        return asyncio.run(_run(spec, workload, folder, on_progress))
    except asyncio.CancelledError:
        # Only Ctrl-C cancels it.
        raise KeyboardInterrupt from None


async def _run(
    spec: RunSpec, workload: Workload, folder: RunFolder | None, on_progress: Progress | None
) -> Ran:
    record = RunRecord(spec, workload, folder=folder)
    with cancelled_by_ctrl_c(), holding(new_run_lock(), []) as held:
        world = RealWorld(spec, held, blocked_customers(spec))
        async with _opened(world):
            record.begin()
            is_partial = await _drive(world, workload, on_progress)
            end, is_cut = await uninterrupted(_look_back(world, record))
            world.is_cut |= is_partial or is_cut
            record.judge()
        _keep_files(held.folder, folder)
    return record.ran(
        world,
        end,
        is_partial=world.is_cut,
        kept=world.name if spec.world.keep else None,
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
            _, is_cut = await uninterrupted(stack.aclose())
            world.is_cut |= is_cut


async def _look_back(world: RealWorld, record: RunRecord) -> End:
    """The world at its end; `record` takes its history."""
    world.raise_errors()
    end = await world.look()
    record.take(await world.history())
    return end


async def _drive(world: RealWorld, workload: Workload, on_progress: Progress | None) -> bool:
    """All phases of the run; whether Ctrl-C cut them short."""
    driving = asyncio.ensure_future(drive_to_end(world, workload, on_progress))
    failing = asyncio.ensure_future(world.failed.wait())
    try:
        await asyncio.wait([driving, failing], return_when=asyncio.FIRST_COMPLETED)
        if not driving.done():
            driving.cancel()
            await asyncio.wait([driving])
            world.raise_errors()
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
    finally:
        failing.cancel()
    return False


def _keep_files(place: Path, folder: RunFolder | None) -> None:
    """Keep the files that people read with the run."""
    for name in _KEPT_FILES:
        if folder is not None and (place / name).exists():
            folder.copy(place / name)
