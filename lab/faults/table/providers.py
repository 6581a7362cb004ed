"""Faults of third parties, as their callers see them. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.table.row import MOVERS, MS, PROVIDERS, FaultKind, Param, ParamType

NOT_EXECUTED: Final = (401, 403, 409, 429)
HINTED: Final = (409, 429, 503)
"""Answers that may say when to come back: the header Retry-After means nothing with others."""
DOWN: Final = (500, 502, 503, 504)
_STATUSES: Final = (400, *NOT_EXECUTED, *DOWN)
_PER_CALL: Final = "provider call"
ERROR: Final = "svc.error"
DEFAULT_STATUS: Final = 503
"""A 503 carries a hint only if it was asked to."""

PROVIDERS_ROWS: Final = (
    FaultKind(
        name=ERROR,
        summary="a third party answers with an error; nothing was done, unless with done=yes",
        per=_PER_CALL,
        sites=PROVIDERS,
        params=(
            Param(
                name="status",
                type=ParamType.NUMBER,
                default=DEFAULT_STATUS,
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
                name="done",
                type=ParamType.WORD,
                default="no",
                meaning="whether the provider did what it was asked before it failed; 5xx only",
                choices=("no", "yes"),
            ),
            Param(
                name="after",
                type=ParamType.LENGTH,
                default=1_000 * MS,
                meaning="when to come back: the hint of 409 and 429, and of 503 if it is given",
            ),
        ),
    ),
    FaultKind(
        name="svc.refuse_refund",
        summary="the payment gateway answers that it will never give this money back",
        per="refund",
        sites=("payment_gateway",),
    ),
    FaultKind(
        name="svc.acts_late",
        summary="a third party, its clock behind, acts after the caller's deadline; until then the "
        "request is under way",
        per="provider call that moves something",
        sites=MOVERS,
        params=(
            Param(
                name="by",
                type=ParamType.SPAN,
                default=(50 * MS, 400 * MS),
                meaning="how long after the caller's deadline it acts",
                within="provider_key.skew_ms",
            ),
            Param(
                name="cut",
                type=ParamType.WORD,
                default="no",
                meaning="whether the caller hears at once that the connection broke; else he waits",
                choices=("no", "yes"),
            ),
            Param(
                name="seen",
                type=ParamType.WORD,
                default="yes",
                meaning="whether it knows of the request until then: 409, and pending; else it is "
                "asked and knows nothing",
                choices=("yes", "no"),
            ),
        ),
    ),
    FaultKind(
        name="svc.timeout",
        summary="a third party neither acts nor answers",
        per=_PER_CALL,
        sites=PROVIDERS,
    ),
    FaultKind(
        name="svc.hang_after_effect",
        summary="a third party acts and never answers",
        per="provider call that moves something",
        sites=MOVERS,
    ),
    FaultKind(
        name="svc.late_reply",
        summary="a third party acts in time and answers after the caller has given up",
        per=_PER_CALL,
        sites=PROVIDERS,
        params=(
            Param(
                name="by",
                type=ParamType.SPAN,
                default=(100 * MS, 1_000 * MS),
                meaning="how long after the caller's deadline the answer comes",
            ),
        ),
    ),
    FaultKind(
        name="svc.slow",
        summary="a third party takes longer; the answer may be in time all the same",
        per=_PER_CALL,
        sites=PROVIDERS,
        params=(
            Param(
                name="by",
                type=ParamType.SPAN,
                default=(200 * MS, 800 * MS),
                meaning="how much longer it takes",
            ),
            Param(
                name="times",
                type=ParamType.NUMBER,
                default=0,
                meaning="it takes so many times as long, instead",
                instead_of="by",
            ),
        ),
    ),
    FaultKind(
        name="svc.flapping",
        summary="a third party is down and up by turns; while it is down every call fails",
        per="provider call while it is down",
        sites=PROVIDERS,
        is_state=True,
        params=(
            Param(
                name="down",
                type=ParamType.LENGTH,
                default=2_000 * MS,
                meaning="how long it is down each time, at first too",
            ),
            Param(
                name="up",
                type=ParamType.LENGTH,
                default=3_000 * MS,
                meaning="how long it is up in between",
            ),
            Param(
                name="status",
                type=ParamType.NUMBER,
                default=503,
                meaning="HTTP status of the answer while it is down",
                choices=DOWN,
            ),
        ),
    ),
    FaultKind(
        name="svc.rate_limit",
        summary="a third party answers 429 to all calls of a second beyond its limit",
        per="provider call beyond the limit",
        sites=PROVIDERS,
        is_state=True,
        params=(
            Param(
                name="calls",
                type=ParamType.NUMBER,
                default=10,
                meaning="how many calls a second it takes",
            ),
            Param(
                name="after",
                type=ParamType.LENGTH,
                default=1_000 * MS,
                meaning="when to come back, as the answer says",
            ),
        ),
    ),
    FaultKind(
        name="svc.malformed",
        summary="a third party acts, and nobody can read its answer",
        per=_PER_CALL,
        sites=PROVIDERS,
    ),
)
