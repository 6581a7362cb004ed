"""Faults of Redis and PostgreSQL, as their clients see them. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.table.row import GROUPS, MS, PROCESSES, FaultKind, Param, ParamType

_COMMAND: Final = "command"
_STATEMENT: Final = "statement"
_CHANGE: Final = "statement that changes something"
_SLOW: Final = Param(
    name="by",
    type=ParamType.SPAN,
    default=(50 * MS, 400 * MS),
    meaning="how much later the answer comes; of a span, each time has its own",
)

STORES_ROWS: Final = (
    FaultKind(
        name="redis.down",
        summary="Redis cannot be reached; it comes back with all that it had",
        per="outage",
        sites=("redis",),
        lasts=True,
        is_outage=True,
    ),
    FaultKind(
        name="redis.slow",
        summary="Redis takes its time before it does anything",
        per=_COMMAND,
        sites=GROUPS,
        params=(_SLOW,),
    ),
    FaultKind(
        name="redis.evict",
        summary="Redis has forgotten the event, claim or mark, when the command comes",
        per=_COMMAND,
        sites=GROUPS,
    ),
    FaultKind(
        name="redis.early_expire",
        summary="the lease that is taken, or the mark that is set, ends before its time",
        per="command that claims or marks an event",
        sites=GROUPS,
        params=(
            Param(
                name="after",
                type=ParamType.SPAN,
                default=(0, 0),
                meaning="how long the lease or mark lasts; of a span, each has its own",
            ),
        ),
    ),
    FaultKind(
        name="pg.deadlock",
        summary="PostgreSQL rolls back a victim of a deadlock (40P01)",
        per=_CHANGE,
        sites=PROCESSES,
    ),
    FaultKind(
        name="pg.serialization",
        summary="PostgreSQL rolls back what it cannot put into an order (40001)",
        per=_CHANGE,
        sites=PROCESSES,
    ),
    FaultKind(
        name="pg.conn_loss_before_commit",
        summary="the connection is lost at commit, and nothing was applied",
        per=_CHANGE,
        sites=PROCESSES,
    ),
    FaultKind(
        name="pg.conn_loss_after_commit",
        summary="the connection is lost at commit, and everything was applied",
        per=_CHANGE,
        sites=PROCESSES,
    ),
    FaultKind(
        name="pg.pool_exhausted",
        summary="no connection is free: the statement is not even sent",
        per=_STATEMENT,
        sites=PROCESSES,
    ),
    FaultKind(
        name="pg.slow",
        summary="PostgreSQL takes its time before it does anything",
        per=_STATEMENT,
        sites=PROCESSES,
        params=(_SLOW,),
    ),
    FaultKind(
        name="pg.shutdown",
        summary="PostgreSQL is shut down; it comes back with all that was committed",
        per="outage",
        sites=("postgres",),
        lasts=True,
        is_outage=True,
    ),
)
