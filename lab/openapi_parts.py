"""Parameters and headers of the orders API, as its document names them.

Not here: the routes that have them (`lab.openapi`).
"""

from typing import Any, Final

from lab.api_pages import AFTER, CUSTOMER, LIMIT, LIMIT_MAX, LIMIT_USUAL
from lab.domain.request import KEY_LENGTH_MAX, KEY_PATTERN, TEXT_MAX

Schema = dict[str, Any]

IDEMPOTENCY_KEY: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Names this wish: sent again under the same key it gets the same answer, and "
    'there is one order. `"abc"` and `abc` are one key. Bodies that mean the same are one wish, '
    "however they are spelled. Without a key every request is a wish of its own.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_LENGTH_MAX,
        "pattern": KEY_PATTERN,
    },
}
SUBJECT: Final[Schema] = {
    "name": "lab-subject",
    "in": "header",
    "description": "For runs of the lab only: which order of the workload this is.",
    "schema": {"type": "string", "maxLength": 32, "pattern": r"^([0-9]+\.[0-9]+)?$"},
}
TRACEPARENT: Final[Schema] = {
    "name": "traceparent",
    "in": "header",
    "description": "The client's place in a trace (W3C Trace Context), in which the order goes on; "
    "`tracestate` goes with it. What cannot be read is left out.",
    "schema": {"type": "string"},
}
ORDER_ID: Final[Schema] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The `order_id` of the answer that took the order.",
    "schema": {"type": "string", "maxLength": 64, "pattern": r"^[0-9A-Za-z-][0-9A-Za-z.-]*$"},
}
RETRY_AFTER: Final[Schema] = {
    "description": "Seconds until it is worth asking again.",
    "schema": {"type": "integer", "minimum": 1},
}
LOCATION: Final[Schema] = {
    "description": "Where the order can be looked at.",
    "required": True,
    "schema": {"type": "string", "pattern": "^/orders/"},
}
ETAG: Final[Schema] = {
    "description": "The version of the order, for `If-None-Match`.",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
}
IF_NONE_MATCH: Final[Schema] = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag of an earlier answer: while it is the order's, the answer is 304.",
    "schema": {"type": "string", "maxLength": 1_000},
}
OF_CUSTOMER: Final[Schema] = {
    "name": CUSTOMER,
    "in": "query",
    "required": True,
    "description": "Whose orders.",
    "schema": {"type": "string", "minLength": 1, "maxLength": TEXT_MAX},
}
PAGE_LIMIT: Final[Schema] = {
    "name": LIMIT,
    "in": "query",
    "description": "So many at most.",
    "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_USUAL},
}
PAGE_AFTER: Final[Schema] = {
    "name": AFTER,
    "in": "query",
    "description": "The `next` of the page before.",
    "schema": {"type": "string", "pattern": "^[0-9A-Za-z_-]+$"},
}
LINKS: Final[Schema] = {
    name: {"operationId": name, "parameters": {"id": "$response.body#/order_id"}}
    for name in ("getOrder", "cancelOrder")
}
