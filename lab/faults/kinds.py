"""The table of fault kinds: what each does, where it can strike, what it can be told.

`lab list --faults` prints it. A new kind is a row here and an injector beside it.
Not here: how a fault is written (`vocabulary.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lab.domain.events import READS
from lab.faults.points import ANY, CRASH_POINTS

SIMULATED: Final = ("simulated",)
MS: Final = 1_000

GROUPS: Final = tuple(READS)
PROCESSES: Final = ("api", "relay", *GROUPS)
PROVIDERS: Final = ("warehouse", "antifraud", "payment_gateway", "mailer")
MOVERS: Final = ("payment_gateway", "mailer")
READ_TYPES: Final = tuple(dict.fromkeys(name for types in READS.values() for name in types))
CLIENT: Final = "client"


class ParamType(StrEnum):
    """How the value of a parameter is written."""

    LENGTH = "length of time such as 30s or 500ms"
    SPAN = "length of time such as 500ms, or two such as 50ms..400ms"
    NUMBER = "whole number"
    WORD = "word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter of a kind, beside those that every kind has.

    Attributes:
        default: in microseconds for lengths; a span has two of them.
        choices: the values that are allowed; empty: any of the type.
    """

    name: str
    type: ParamType
    default: int | str | tuple[int, int]
    meaning: str
    choices: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One row of the vocabulary.

    Attributes:
        per: what its rate counts.
        sites: where it can strike; a fault that names none strikes at `default_sites`.
        takes_processes: with `at=` it strikes a process at that time, and the site names it.
    """

    name: str
    summary: str
    per: str
    sites: tuple[str, ...]
    default_sites: tuple[str, ...]
    worlds: tuple[str, ...] = SIMULATED
    params: tuple[Param, ...] = ()
    takes_processes: bool = False


NOT_EXECUTED: Final = (401, 403, 409, 429)
_STATUSES: Final = (400, *NOT_EXECUTED, 500, 502, 503, 504)

_ROWS: Final = (
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
    FaultKind(
        name="svc.error",
        summary="a third party answers with an error; nothing was done",
        per="provider call",
        sites=PROVIDERS,
        default_sites=PROVIDERS,
        params=(
            Param(
                name="status",
                type=ParamType.NUMBER,
                default=503,
                meaning="HTTP status of the answer",
                choices=_STATUSES,
            ),
            Param(
                name="stored",
                type=ParamType.WORD,
                default="no",
                meaning="whether the provider keeps the answer under the call's idempotency key",
                choices=("yes", "no"),
            ),
            Param(
                name="after",
                type=ParamType.LENGTH,
                default=1_000 * MS,
                meaning="when to come back: the hint of 401, 403, 409 and 429",
            ),
        ),
    ),
    FaultKind(
        name="svc.timeout",
        summary="a third party neither acts nor answers",
        per="provider call",
        sites=PROVIDERS,
        default_sites=PROVIDERS,
    ),
    FaultKind(
        name="svc.hang_after_effect",
        summary="a third party acts and never answers",
        per="provider call that moves something",
        sites=MOVERS,
        default_sites=MOVERS,
    ),
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
    FaultKind(
        name="client.retry_same_key",
        summary="the client sends an answered request again, under the same Idempotency-Key",
        per="order",
        sites=(CLIENT,),
        default_sites=(CLIENT,),
    ),
    FaultKind(
        name="client.double_submit",
        summary="the client sends the order twice, without a key",
        per="order",
        sites=(CLIENT,),
        default_sites=(CLIENT,),
    ),
    FaultKind(
        name="client.cancel",
        summary="the client cancels the order after it was accepted",
        per="order",
        sites=(CLIENT,),
        default_sites=(CLIENT,),
        params=(
            Param(
                name="after",
                type=ParamType.SPAN,
                default=(0, 500 * MS),
                meaning="how long after the answer; of a span, each order has its own time in it",
            ),
        ),
    ),
)

KINDS: Final[Mapping[str, FaultKind]] = {row.name: row for row in _ROWS}
"""Every fault that can be asked for, in the order in which it is printed."""
