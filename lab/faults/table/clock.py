"""Faults of clocks: a process has the time of day wrong. Their rows of the fault table.

Not here: the clock that is wrong (`clock.py`).
"""

from typing import Final

from lab.faults.table.row import MS, PROCESSES, FaultKind, Param, ParamType

_BY: Final = Param(
    name="by",
    type=ParamType.OFFSET,
    default=30_000 * MS,
    meaning="how far it is ahead, or behind with a minus: the time of day, no length of time",
)

CLOCK_ROWS: Final = (
    FaultKind(
        name="clock.skew",
        summary="a process's wall clock is wrong from its next start on, at first from the begin",
        per="process",
        sites=PROCESSES,
        only_by_default=(),
        params=(_BY,),
        takes_processes=True,
        is_timed=True,
    ),
    FaultKind(
        name="clock.jump",
        summary="a process's wall clock jumps while it runs, and stays wrong",
        per="process",
        sites=PROCESSES,
        only_by_default=(),
        params=(_BY,),
        takes_processes=True,
        is_timed=True,
    ),
)
