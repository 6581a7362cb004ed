"""Faults of the bus: between the broker and a delivery. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.rows import GROUPS, READ_TYPES, FaultKind

BUS_ROWS: Final = (
    FaultKind(
        name="bus.duplicate",
        summary="the same record, same offset, is handed over again, next in its lane",
        per="delivery",
        sites=GROUPS,
        default_sites=GROUPS,
    ),
    FaultKind(
        name="bus.drop_ack",
        summary="the unit is committed, its ack is lost; the record comes again after the lease",
        per="delivery",
        sites=GROUPS,
        default_sites=GROUPS,
    ),
    FaultKind(
        name="bus.poison",
        summary="the value of a record on a main topic is replaced by garbage, for every group",
        per="record",
        sites=READ_TYPES,
        default_sites=READ_TYPES,
    ),
)
