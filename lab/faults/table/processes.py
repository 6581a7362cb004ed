"""Faults of the lab's own processes. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.table.crash_points import ANY, CRASH_POINTS
from lab.faults.table.row import GROUPS, MS, FaultKind, Param, ParamType

PROCESSES_ROWS: Final = (
    FaultKind(
        name="proc.crash",
        summary="a process is killed: at a crash point, or at a time",
        per="delivery, request or relay batch that passes the point",
        sites=tuple(CRASH_POINTS),
        only_by_default=(ANY,),
        takes_processes=True,
    ),
    FaultKind(
        name="proc.term",
        summary="a process is told to stop and drains, at the start of a delivery or at a time",
        per="delivery",
        sites=GROUPS,
        takes_processes=True,
    ),
    FaultKind(
        name="proc.pause",
        summary="a process stands still (SIGSTOP), in the middle of a delivery or at a time",
        per="delivery",
        sites=GROUPS,
        params=(
            Param(
                name="by",
                type=ParamType.LENGTH,
                default=5_000 * MS,
                meaning="how long, if it strikes a delivery; at a time it is for= that says it",
            ),
        ),
        takes_processes=True,
        lasts=True,
    ),
    FaultKind(
        name="proc.cancel",
        summary="the running handler is cancelled at one of its awaits",
        per="delivery",
        sites=GROUPS,
    ),
    FaultKind(
        name="proc.crash_loop",
        summary="a record kills its process whenever its handler starts, also after heal",
        per="order",
        sites=GROUPS,
    ),
)
