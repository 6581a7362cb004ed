"""A run in the simulated world, from its specification to the findings in its history.

Not here: the world itself (`simulated`).
"""

import asyncio

from lab.report.run_folder import RunFolder
from lab.runner import Progress
from lab.runtime.garbage import own_garbage
from lab.runtime.virtual_loop import Scheduler
from lab.scenarios.workload import Workload
from lab.wiring.outcome import End, Ran
from lab.wiring.spec import RunSpec
from lab.wiring.worlds.driving import RunRecord, drive_to_end
from lab.wiring.worlds.simulated import SimulatedWorld


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
        spec: of the run.
        workload: its orders.
        observe: record and judge; without it the core alone runs, for measurements.
        folder: takes the history file.
        on_progress: see `lab.run`.

    Raises:
        SimulationError: a mistake of the lab's own.
    """
    with own_garbage():
        return _simulate(spec, workload, observe=observe, folder=folder, on_progress=on_progress)


def _simulate(
    spec: RunSpec,
    workload: Workload,
    *,
    observe: bool,
    folder: RunFolder | None,
    on_progress: Progress | None,
) -> Ran:
    """All of it, in a frame of its own: what is left of it is garbage by the end of the block."""
    record = RunRecord(spec, workload, folder=folder, observe=observe)
    recorder, order = record.recorder, spec.settings.text("run.order")
    world = SimulatedWorld(
        spec,
        write=None if recorder is None else recorder.append,
        scheduler=Scheduler(
            seed=spec.seed,
            order="shuffle" if order == "shuffle" else "fifo",
            on_instant=None if recorder is None else recorder.flush_if_full,
        ),
    )
    record.begin()
    is_partial = False
    try:
        end = world.scheduler.run(_drive_and_look(world, workload, on_progress))
    except KeyboardInterrupt:
        is_partial = True
        end = asyncio.run(world.look())
    world.raise_errors()
    record.judge()
    world.close()
    ran = record.ran(world, end, is_partial=is_partial)
    world.scheduler.release()
    return ran


async def _drive_and_look(
    world: SimulatedWorld, workload: Workload, on_progress: Progress | None
) -> End:
    await drive_to_end(world, workload, on_progress)
    return await world.look()
