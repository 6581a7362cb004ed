"""Faults of third parties, as their callers see them. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.rows import MOVERS, MS, PROVIDERS, FaultKind, Param, ParamType

NOT_EXECUTED: Final = (401, 403, 409, 429)
_STATUSES: Final = (400, *NOT_EXECUTED, 500, 502, 503, 504)

PROVIDERS_ROWS: Final = (
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
)
