"""Orders that break a rule of the shop, or two, or are at its limits; other orders, and none.

Not here: the client that posts them (`client`), and its reading of the rules
(`lab.history.contents`).
"""

from typing import Any, Final

import msgspec

from lab.history.contents import BODY_MAX, ITEMS_MAX, TEXT_MAX

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

_WIDE: Final = "\u6f22"
"""A letter of three bytes: with skus of these an order comes close to the limit of its bytes."""

_FURTHER: Final = 6
_CHANGES: Final = 7
_OF_AN_ITEM: Final = ("sku", "quantity", "unit_price_cents")


def unsound(body: bytes, ordinal: int) -> bytes:
    """The body of an order with one field spoiled, or two; which ones depends on the ordinal."""
    order: dict[str, Any] = msgspec.json.decode(body)
    first = ordinal % len(_BREAKS)
    broken = [_BREAKS[first]]
    further = _BREAKS[first - _FURTHER]
    # Without items nothing is wrong in one.
    if ordinal % 2 == 0 and "items" not in (broken[0][0], further[0]):
        broken.append(further)
    for field, value in broken:
        spoiled = order["items"][0] if field in _OF_AN_ITEM else order
        spoiled[field] = value
    return msgspec.json.encode(order)


def changed(body: bytes, ordinal: int) -> bytes:
    """The body of another order: one field is different; which one depends on the ordinal."""
    order: dict[str, Any] = msgspec.json.decode(body)
    item = order["items"][0]
    match ordinal % _CHANGES:
        case 1:
            item["quantity"] += 1
        case 2:
            order["currency"] = "CHF" if order["currency"] != "CHF" else "EUR"
        case 3:
            order["country"] = None if order.get("country") else "Norway"
        case 4:
            order["customer_id"] = f"{order['customer_id'][:-1]}x"
        case 5:
            item["sku"] = f"{item['sku'][:-1]}x"
        case 6:
            order["items"].append(item)
        case _:
            item["unit_price_cents"] += 1
    return msgspec.json.encode(order)


def large(body: bytes, ordinal: int, size: str) -> bytes:
    """The body of an order with as many and as long items as there may be, or more than that.

    Args:
        body: of an order.
        ordinal: of the order; whether `more` are too many items or too many bytes depends on it.
        size: `most` or `more`.
    """
    order: dict[str, Any] = msgspec.json.decode(body)
    many = ITEMS_MAX
    if size == "more":
        if ordinal % 2:
            return body + b" " * BODY_MAX
        many += 1
    order["items"] = [
        {
            "sku": f"{ordinal}-{number}-".ljust(TEXT_MAX, _WIDE),
            "quantity": 1,
            "unit_price_cents": 1 + number % 9,
        }
        for number in range(many)
    ]
    return msgspec.json.encode(order)


def with_a_slip(order_id: str) -> str:
    """The id of an order that nobody made."""
    return ("1" if order_id.startswith("0") else "0") + order_id[1:]
