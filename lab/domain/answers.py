"""The bodies of the API's answers, and every problem that it may answer with.

Not here: the body of a request (`request`), HTTP itself (`lab.api`), the document that describes
both (`lab.openapi`).

Source: RFC 9457 (problem details).
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from lab.domain.order import OrderState
from lab.domain.request import Refusal

PROBLEM: Final = "urn:lab:problem:"
"""Every problem type begins with it."""
SHED: Final = PROBLEM + "shed"
"""Type of a 503 that says: nothing was stored."""
INDETERMINATE: Final = PROBLEM + "indeterminate"
"""Type of a 503 that says: it may have been stored; ask again under the same key."""

MALFORMED_HTTP: Final = "malformed-http"
SLOW: Final = "request-timeout"
TOO_LONG_HEAD: Final = "head-too-large"
"""Problems that a server answers with before its app has seen the request."""

PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "malformed-http": (400, "the request is no HTTP/1.1, or has no Host or two"),
    "request-timeout": (408, "head or body did not come whole in time; nothing was stored"),
    "head-too-large": (431, "request line and headers have too many bytes"),
    "malformed-json": (400, "the body is no JSON in UTF-8"),
    "idempotency-key-invalid": (400, "the Idempotency-Key is none, or there are two"),
    "subject-invalid": (400, "the subject of a lab run is none"),
    "query-invalid": (400, "the query of the path is none"),
    "not-found": (404, "there is no such order, or nothing at this path"),
    "method-not-allowed": (405, "the method is not for this path; Allow names those that are"),
    "too-late": (409, "the order can be cancelled no more"),
    "idempotency-key-running": (409, "a request with this Idempotency-Key is running"),
    "order-exists": (409, "there is an order of this id"),
    "body-too-large": (413, "the body has too many bytes"),
    "media-type": (415, "the body is not application/json in UTF-8, or is packed"),
    "order-refused": (422, "the order is none; `errors` has every reason"),
    "idempotency-key-reused": (422, "this Idempotency-Key was used for another wish"),
    "internal": (500, "a mistake of ours; it may have been stored"),
    "shed": (503, "nothing was stored; ask again after Retry-After"),
    "indeterminate": (503, "it may have been stored; ask again under the same Idempotency-Key"),
}
"""Status and meaning of each problem, by its type without `PROBLEM`."""


class CreatedOrder(msgspec.Struct, frozen=True, gc=False):
    """An order was taken."""

    order_id: str
    state: Literal["PENDING"]


class OrderView(msgspec.Struct, frozen=True, gc=False):
    """An order as it stands now. `version` begins at 1 and grows by 1 with each change of state."""

    order_id: str
    state: OrderState
    version: int
    currency: str
    amount_cents: int


class OrderPage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Some orders of a customer, the newest first. `next` is there if there may be more."""

    orders: list[OrderView]
    next: str | msgspec.UnsetType = msgspec.UNSET


class CancelledOrder(msgspec.Struct, frozen=True, gc=False):
    """An order is cancelled, by this request or an earlier one."""

    order_id: str
    state: Literal["CANCELLED"] = "CANCELLED"


class Problem(msgspec.Struct, frozen=True, gc=False):
    """An answer other than success. `errors` are the reasons against an order, field by field."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Refusal] | msgspec.UnsetType = msgspec.UNSET


def problem_of(name: str, detail: str, refusals: list[Refusal] | None = None) -> Problem:
    """A problem by its name in `PROBLEMS`."""
    return Problem(
        type=PROBLEM + name,
        title=name.replace("-", " "),
        status=PROBLEMS[name][0],
        detail=detail,
        errors=msgspec.UNSET if refusals is None else refusals,
    )
