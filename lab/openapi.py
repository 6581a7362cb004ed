"""The orders API as a document for programs: OpenAPI 3.1, made from the types that it speaks.

Shapes come from the types of requests and answers, limits from the constants that refuse what is
beyond them. What no schema can say (a sum of items, a body in bytes) stands in a description. Not
here: serving it (`lab.api`).

Source: OpenAPI Specification 3.1.1, RFC 9457.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

import msgspec

from lab.domain.answers import (
    MALFORMED_HTTP,
    PROBLEM,
    PROBLEMS,
    SLOW,
    TOO_LONG_HEAD,
    CancelledOrder,
    CreatedOrder,
    OrderPage,
    OrderView,
    Problem,
)
from lab.domain.json_schema import with_clean_texts
from lab.domain.order import Item
from lab.domain.request import (
    AMOUNT_CENTS_MAX,
    BODY_BYTES_MAX,
    CURRENCIES,
    ITEMS_MAX,
    TEXT_MAX,
    OrderRequest,
    Refusal,
)
from lab.openapi_parts import (
    ETAG,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LINKS,
    LOCATION,
    OF_CUSTOMER,
    ORDER_ID,
    PAGE_AFTER,
    PAGE_LIMIT,
    RETRY_AFTER,
    SUBJECT,
    TRACEPARENT,
    Schema,
)

VERSION: Final = "1"
"""Of the API; a change that a client could notice raises it."""

# No NUL; and not blank: Python's blanks and those of a regular expression are not quite the same.
_TEXT: Final = r"^[^\u0000]*$"
_FILLED: Final = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"

_WHOLE: Final = "Written without fraction or exponent: 2, not 2.0."

_LIMITS: Final[Mapping[str, Mapping[str, Schema]]] = {
    "OrderRequest": {
        "customer_id": {"minLength": 1, "maxLength": TEXT_MAX, "pattern": _FILLED},
        "country": {"maxLength": TEXT_MAX, "pattern": _TEXT},
        "currency": {"enum": sorted(CURRENCIES), "description": "A code of ISO 4217."},
        "items": {
            "minItems": 1,
            "maxItems": ITEMS_MAX,
            "description": f"Together they cost at most {AMOUNT_CENTS_MAX} minor units.",
        },
    },
    "Item": {
        "sku": {"minLength": 1, "maxLength": TEXT_MAX, "pattern": _FILLED},
        "quantity": {"minimum": 1, "maximum": AMOUNT_CENTS_MAX, "description": _WHOLE},
        "unit_price_cents": {"minimum": 1, "maximum": AMOUNT_CENTS_MAX, "description": _WHOLE},
    },
    "OrderView": {"version": {"minimum": 1}, "amount_cents": {"minimum": 1}},
}
"""What the types do not say, by schema and property."""


class Operation(NamedTuple):
    """One route: what it takes, and all that it may answer. The name is its operationId."""

    name: str
    method: str
    path: str
    summary: str
    status: int
    answer: Schema
    problems: Sequence[str]
    parameters: Sequence[Schema] = ()
    takes_order: bool = False
    has_etag: bool = False


def _ref(type_: type) -> Schema:
    return {"$ref": f"#/components/schemas/{type_.__name__}"}


def _status(word: str) -> Schema:
    return {
        "type": "object",
        "properties": {"status": {"const": word}},
        "required": ["status"],
    }


_STORE: Final = ("internal", "shed", "indeterminate")
_ANY: Final = (MALFORMED_HTTP, SLOW, TOO_LONG_HEAD)
"""Problems that every request may meet, before anybody looks what it is for."""

OPERATIONS: Final = (
    Operation(
        "createOrder",
        "post",
        "/orders",
        "Take an order",
        201,
        _ref(CreatedOrder),
        (
            "malformed-json",
            "idempotency-key-invalid",
            "subject-invalid",
            "idempotency-key-running",
            "order-exists",
            "body-too-large",
            "media-type",
            "order-refused",
            "idempotency-key-reused",
            *_STORE,
        ),
        parameters=(IDEMPOTENCY_KEY, TRACEPARENT, SUBJECT),
        takes_order=True,
    ),
    Operation(
        "listOrders",
        "get",
        "/orders",
        "Look at the orders of a customer, the newest first",
        200,
        _ref(OrderPage),
        ("query-invalid", *_STORE),
        parameters=(OF_CUSTOMER, PAGE_LIMIT, PAGE_AFTER),
    ),
    Operation(
        "getOrder",
        "get",
        "/orders/{id}",
        "Look at an order",
        200,
        _ref(OrderView),
        ("not-found", *_STORE),
        parameters=(ORDER_ID, IF_NONE_MATCH),
        has_etag=True,
    ),
    Operation(
        "cancelOrder",
        "post",
        "/orders/{id}/cancel",
        "Cancel an order that is not paid; asking again changes nothing",
        200,
        _ref(CancelledOrder),
        (
            "idempotency-key-invalid",
            "not-found",
            "too-late",
            "idempotency-key-running",
            "idempotency-key-reused",
            *_STORE,
        ),
        parameters=(ORDER_ID, IDEMPOTENCY_KEY),
    ),
    Operation("isAlive", "get", "/health", "Ask whether it runs", 200, _status("ok"), ()),
    Operation(
        "isReady",
        "get",
        "/ready",
        "Ask whether new orders are taken",
        200,
        _status("ready"),
        ("shed",),
    ),
    Operation(
        "getOpenapi",
        "get",
        "/openapi.json",
        "Get this document",
        200,
        {"type": "object", "required": ["openapi", "info", "paths"]},
        (),
    ),
)


@cache
def openapi_document() -> bytes:
    """The document, with line ends for people."""
    paths: dict[str, Schema] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Orders of the pulse-lab",
            "version": VERSION,
            "description": "Takes orders, and tells what became of them. Every refusal is a "
            "problem (RFC 9457) whose `type` says what to do.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(), "headers": {"RetryAfter": RETRY_AFTER}},
    }
    clean = with_clean_texts(dict(document))
    return msgspec.json.format(msgspec.json.encode(clean), indent=2) + b"\n"


def _schemas() -> Mapping[str, Schema]:
    """The schema of every type by its name, with the limits in it."""
    types = (
        OrderRequest,
        Item,
        CreatedOrder,
        OrderView,
        OrderPage,
        CancelledOrder,
        Problem,
        Refusal,
    )
    _, found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for name, limits in _LIMITS.items():
        properties = found[name]["properties"]
        for field, limit in limits.items():
            properties[field] |= limit
    return found


def _operation(one: Operation) -> Schema:
    answers: dict[str, Schema] = {str(one.status): _success(one)}
    if one.has_etag:
        answers["304"] = {"description": "Not changed.", "headers": {"ETag": ETAG}}
    by_status: dict[int, list[str]] = {}
    for problem in (*_ANY, *one.problems):
        by_status.setdefault(PROBLEMS[problem][0], []).append(problem)
    for status, problems in sorted(by_status.items()):
        answers[str(status)] = _refusal(status, problems)
    operation: Schema = {"operationId": one.name, "summary": one.summary}
    if one.parameters:
        operation["parameters"] = list(one.parameters)
    if one.takes_order:
        operation["requestBody"] = {
            "required": True,
            "description": f"At most {BODY_BYTES_MAX} bytes of UTF-8.",
            "content": {"application/json": {"schema": _ref(OrderRequest)}},
        }
    return operation | {"responses": answers}


def _success(one: Operation) -> Schema:
    response: Schema = {
        "description": "Done.",
        "content": {"application/json": {"schema": one.answer}},
    }
    if one.takes_order:
        response |= {"description": "Taken.", "headers": {"Location": LOCATION}, "links": LINKS}
    if one.has_etag:
        response["headers"] = {"ETag": ETAG}
    return response


def _refusal(status: int, problems: Sequence[str]) -> Schema:
    response: Schema = {
        "description": "; ".join(f"`{one}`: {PROBLEMS[one][1]}" for one in problems) + ".",
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        _ref(Problem),
                        {
                            "properties": {
                                "type": {"enum": [PROBLEM + one for one in problems]},
                                "status": {"const": status},
                            }
                        },
                    ]
                }
            }
        },
    }
    if status in (409, 503):
        response["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    return response
