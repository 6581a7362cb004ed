"""Pages of a long answer: the query that asks for one, and where the next one begins.

A page begins behind an order, not at a number: an order that comes meanwhile moves nothing. Not
here: the route (`lab.api`).
"""

from base64 import b64decode, urlsafe_b64encode
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from lab.api_problems import HttpProblem
from lab.domain.order import Order
from lab.domain.request import TEXT_MAX

LIMIT_MAX: Final = 200
LIMIT_USUAL: Final = 50
CUSTOMER, LIMIT, AFTER = "customer_id", "limit", "after"
_NAMES: Final = (CUSTOMER, LIMIT, AFTER)
_QUERY_BYTES_MAX: Final = 8_192
_US_MAX: Final = 2**63 - 1


class PageAsked(NamedTuple):
    """What a client asks for. `before`: creation and id of the order behind which it begins."""

    customer_id: str
    limit: int
    before: tuple[int, str] | None


def read_page(query: bytes) -> PageAsked:
    """The page that the query of a path asks for.

    Raises:
        HttpProblem: 400, with the reason.
    """
    if len(query) > _QUERY_BYTES_MAX:
        raise _bad(f"it has more than {_QUERY_BYTES_MAX} bytes")
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=len(_NAMES) + 1,
        )
    except (ValueError, UnicodeDecodeError):
        raise _bad("it must be name=value, joined by &, in UTF-8 with %-escapes") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise _bad("a name stands twice")
    if unknown := sorted(given.keys() - set(_NAMES)):
        raise _bad(f"{unknown[0][:40]!a} is no name for it: take {', '.join(_NAMES)}")
    customer_id = given.get(CUSTOMER, "")
    if not customer_id or len(customer_id) > TEXT_MAX:
        raise _bad(f"name a customer: {CUSTOMER}=C1, at most {TEXT_MAX} characters")
    limit = given.get(LIMIT, str(LIMIT_USUAL))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 0 < int(limit) <= LIMIT_MAX):
        raise _bad(f"{LIMIT} must be a whole number from 1 to {LIMIT_MAX}, not {limit[:40]!a}")
    after = given.get(AFTER)
    before = None if after is None else _read_place(after)
    return PageAsked(customer_id, int(limit), before)


def place_of(order: Order) -> str:
    """Where the page behind this order begins; opaque for clients."""
    return urlsafe_b64encode(f"{order.created_us}.{order.id}".encode()).decode().rstrip("=")


def link_to_next(asked: PageAsked, place: str) -> bytes:
    """The header Link of a page that is not the last. Source: RFC 8288."""
    query = urlencode({CUSTOMER: asked.customer_id, LIMIT: asked.limit, AFTER: place})
    return f'</orders?{query}>; rel="next"'.encode()


def _read_place(text: str) -> tuple[int, str]:
    try:
        plain = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        plain = ""
    created, dot, order_id = plain.partition(".")
    is_number = created.isascii() and created.isdigit() and len(created) < 20
    if not (dot and is_number and int(created) <= _US_MAX):
        raise _bad(f"{AFTER} must be the `next` of an earlier page, not {text[:40]!a}")
    return int(created), order_id


def _bad(detail: str) -> HttpProblem:
    return HttpProblem("query-invalid", f"the query of /orders: {detail}")
