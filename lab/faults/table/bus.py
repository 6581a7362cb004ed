"""Faults of the bus: between the broker and a delivery. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.domain.events import TOPICS
from lab.faults.table.row import GROUPS, MS, READ_TYPES, FaultKind, Param, ParamType

_PER_DELIVERY: Final = "delivery"

RETRY: Final = "retry"
DLQ: Final = "dlq"
PUBLISHED_TO: Final = (*TOPICS, RETRY, DLQ)
"""Where a publish goes: a main topic, some retry topic, some dead-letter queue."""

LEADER_MOVE: Final = "bus.leader_move"


def broker_number(site: str) -> int:
    """The number of a broker, from 1, of which `LEADER_MOVE` names the site."""
    return int(site.partition("-")[2])


BUS_ROWS: Final = (
    FaultKind(
        name="bus.duplicate",
        summary="the same record, same offset, is handed over again, next in its lane",
        per=_PER_DELIVERY,
        sites=GROUPS,
    ),
    FaultKind(
        name="bus.drop_ack",
        summary="the unit is committed, its ack is lost; the record comes again after the lease",
        per=_PER_DELIVERY,
        sites=GROUPS,
    ),
    FaultKind(
        name="bus.poison",
        summary="the value of a record on a main topic is replaced by garbage, for every group",
        per="record",
        sites=READ_TYPES,
    ),
    FaultKind(
        name="bus.drop_publish",
        summary="a publish does not reach the broker, nothing is appended",
        per="publish",
        sites=PUBLISHED_TO,
        params=(
            Param(
                name="told",
                type=ParamType.WORD,
                default="yes",
                meaning="whether the publisher is told; a producer that lies says it was appended",
                choices=("yes", "no"),
                beyond_contract=("no",),
            ),
        ),
    ),
    FaultKind(
        name="bus.publish_unknown",
        summary="a publish is appended and its answer is lost",
        per="publish",
        sites=PUBLISHED_TO,
        params=(
            Param(
                name="appended",
                type=ParamType.WORD,
                default="yes",
                meaning="whether it is appended: who lost the answer cannot know",
                choices=("yes", "no"),
            ),
        ),
    ),
    FaultKind(
        name="bus.delay",
        summary="a record is handed over later; its key waits, other keys pass",
        per=_PER_DELIVERY,
        sites=GROUPS,
        params=(
            Param(
                name="by",
                type=ParamType.SPAN,
                default=(100 * MS, 1_000 * MS),
                meaning="how much later",
            ),
        ),
    ),
    FaultKind(
        name="bus.reorder",
        summary="records of other keys, in other partitions, overtake a record and all behind it",
        per=_PER_DELIVERY,
        sites=GROUPS,
        params=(
            Param(
                name="by",
                type=ParamType.LENGTH,
                default=2_000 * MS,
                meaning="how long it waits to be overtaken, at most",
            ),
            Param(
                name="within_key",
                type=ParamType.WORD,
                default="no",
                meaning="whether it changes places with the next record of its key and topic",
                choices=("yes", "no"),
                beyond_contract=("yes",),
            ),
        ),
    ),
    FaultKind(
        name="bus.rebalance",
        summary="the member that gets the record has to join its group again: a new generation",
        per=_PER_DELIVERY,
        sites=GROUPS,
    ),
    FaultKind(
        name="bus.partition",
        summary="the member that gets the record is cut off for a while: polls, commits, publishes "
        "fail; a real client's heartbeats may go on underneath",
        per=_PER_DELIVERY,
        sites=GROUPS,
        params=(
            Param(
                name="by",
                type=ParamType.SPAN,
                default=(500 * MS, 10_000 * MS),
                meaning="how long; longer than the session, and the group goes on without it",
            ),
        ),
    ),
    FaultKind(
        name="bus.down",
        summary="the broker cannot be reached; it comes back with all that it had",
        per="outage",
        sites=("broker",),
        lasts=True,
        is_outage=True,
    ),
    FaultKind(
        name=LEADER_MOVE,
        summary="one of three brokers ends, others lead what it led; it comes back and follows",
        per="outage",
        sites=("broker-1", "broker-2", "broker-3"),
        only_by_default=("broker-1",),
        lasts=True,
        is_outage=True,
        params=(
            Param(
                name="how",
                type=ParamType.WORD,
                default="killed",
                meaning="killed: nobody leads until an election; stopped: it hands its part over",
                choices=("killed", "stopped"),
            ),
            Param(
                name="elects",
                type=ParamType.LENGTH,
                default=2_000 * MS,
                meaning="length of the election in the simulator; real brokers take their time",
            ),
        ),
    ),
)
