"""Orders that break a rule of the shop, each one rule, as programs and people get them wrong.

Not here: the client that posts them (`client`), and its reading of the rules
(`lab.history.contents`).
"""

from typing import Any, Final

import msgspec

_BREAKS: Final[tuple[tuple[str, object], ...]] = (
    ("quantity", True),
    ("quantity", "1"),
    ("quantity", 0),
    ("quantity", 10**12),
    ("quantity", None),
    ("unit_price_cents", -5),
    ("unit_price_cents", False),
    ("sku", "  "),
    ("customer_id", 7),
    ("customer_id", ""),
    ("country", ["NO"]),
    ("currency", "EURO"),
    ("items", []),
)
"""A field, and a value that it never may have. A prime number of them: any stride meets all."""

_OF_AN_ITEM: Final = ("sku", "quantity", "unit_price_cents")


def unsound(body: bytes, ordinal: int) -> bytes:
    """The body of an order with one field spoiled; which one depends on the ordinal."""
    order: dict[str, Any] = msgspec.json.decode(body)
    field, value = _BREAKS[ordinal % len(_BREAKS)]
    spoiled = order["items"][0] if field in _OF_AN_ITEM else order
    spoiled[field] = value
    return msgspec.json.encode(order)
