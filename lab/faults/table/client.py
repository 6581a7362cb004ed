"""Faults of the client: customers and their browsers. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.table.row import CLIENT, MS, FaultKind, Param, ParamType

CLIENT_ROWS: Final = (
    FaultKind(
        name="client.retry_same_key",
        summary="the client sends an answered request again, under the same Idempotency-Key",
        per="order",
        sites=(CLIENT,),
    ),
    FaultKind(
        name="client.same_key_new_body",
        summary="the client sends another order under the Idempotency-Key of one that was accepted",
        per="order",
        sites=(CLIENT,),
    ),
    FaultKind(
        name="client.unsound_order",
        summary="the client asks for another order too, which breaks a rule",
        per="order",
        sites=(CLIENT,),
    ),
    FaultKind(
        name="client.large_order",
        summary="the client asks for another order too, as large as they come or larger",
        per="order",
        sites=(CLIENT,),
        params=(
            Param(
                name="size",
                type=ParamType.WORD,
                default="most",
                meaning="as large as the shop takes one, or more than that",
                choices=("most", "more"),
            ),
        ),
    ),
    FaultKind(
        name="client.double_submit",
        summary="the client sends the order twice, without a key",
        per="order",
        sites=(CLIENT,),
    ),
    FaultKind(
        name="client.cancel",
        summary="the client cancels the order after it was accepted",
        per="order",
        sites=(CLIENT,),
        params=(
            Param(
                name="after",
                type=ParamType.SPAN,
                default=(0, 500 * MS),
                meaning="how long after the answer; of a span, each order has its own time in it",
            ),
            Param(
                name="times",
                type=ParamType.NUMBER,
                default=1,
                meaning="how often it asks for it, one answer after the other",
            ),
            Param(
                name="pause",
                type=ParamType.LENGTH,
                default=0,
                meaning="how long after an answer it asks for it again",
            ),
            Param(
                name="key",
                type=ParamType.WORD,
                default="none",
                meaning="the Idempotency-Key: its own, the order's, or one shared by all cancels",
                choices=("none", "own", "order", "shared"),
            ),
            Param(
                name="slip",
                type=ParamType.WORD,
                default="no",
                meaning="whether it asks first, by a slip in the id, for an order that nobody made",
                choices=("no", "yes"),
            ),
        ),
    ),
    FaultKind(
        name="client.look",
        summary="the client looks at its order once it was accepted, and for it in a list",
        per="order",
        sites=(CLIENT,),
        params=(
            Param(
                name="times",
                type=ParamType.NUMBER,
                default=3,
                meaning="how often: at once, when all else was asked for, and then now and again",
            ),
            Param(
                name="pause",
                type=ParamType.LENGTH,
                default=2_000 * MS,
                meaning="how long after the second look, and each later one, it looks again",
            ),
        ),
    ),
    FaultKind(
        name="client.abandon",
        summary="the client leaves without reading the answer, and never asks again",
        per="order",
        sites=(CLIENT,),
        params=(
            Param(
                name="after",
                type=ParamType.SPAN,
                default=(1 * MS, 20 * MS),
                meaning="how long after it had sent the order",
            ),
        ),
    ),
)
