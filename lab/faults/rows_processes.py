"""Faults of the lab's own processes. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.points import ANY, CRASH_POINTS
from lab.faults.rows import GROUPS, FaultKind

PROCESSES_ROWS: Final = (
    FaultKind(
        name="proc.crash",
        summary="a process is killed: at a crash point, or at a time",
        per="delivery, request or relay batch that passes the point",
        sites=tuple(CRASH_POINTS),
        default_sites=(ANY,),
        takes_processes=True,
    ),
    FaultKind(
        name="proc.term",
        summary="a process is told to stop and drains, at the start of a delivery or at a time",
        per="delivery",
        sites=GROUPS,
        default_sites=GROUPS,
        takes_processes=True,
    ),
)
