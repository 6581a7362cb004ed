"""The body of `POST /orders`: bytes in, an order or every reason against it out.

Everything is looked at before anything is said, so that a client learns all reasons at once. Not
here: HTTP itself (`lab.api`), and whether customer or sku exist, which the providers know.
"""

import json
import re
from enum import StrEnum
from typing import Final, NoReturn

import msgspec

from lab.domain.order import Item, NewOrder

BODY_BYTES_MAX: Final = 256 * 1024
ITEMS_MAX: Final = 1_000
TEXT_MAX: Final = 64
AMOUNT_CENTS_MAX: Final = 10**12
KEY_LENGTH_MAX: Final = 255
"""Of an Idempotency-Key, in characters."""
KEY_PATTERN: Final = r'^("([ !#-\[\]-~]|\\["\\])+"(;[!-~]([ -~]*[!-~])?)?|[!#-~]([ -~]*[!-~])?)$'
"""Of an Idempotency-Key: a string of RFC 8941, which may have parameters, or a bare token.

Source: draft-ietf-httpapi-idempotency-key-header-07 wants the string; most clients send the token.
"""

_CODES: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
    GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD
    KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN
    NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP
    SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES
    VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """

CURRENCIES: Final = frozenset(_CODES.split())
"""Currencies of an order: the alphabetic codes of ISO 4217, three upper-case letters each.

Metals, bond units, funds codes and the codes for tests and for "no currency" are left out: nobody
pays in them.

Source: ISO 4217 list one.
"""


class Reason(StrEnum):
    """Why an order is refused."""

    ITEMS_NONE = "items_none"
    ITEMS_TOO_MANY = "items_too_many"
    QUANTITY_BELOW_1 = "quantity_below_1"
    PRICE_BELOW_1 = "price_below_1"
    SKU_EMPTY = "sku_empty"
    CUSTOMER_MISSING = "customer_missing"
    TEXT_TOO_LONG = "text_too_long"
    TEXT_INVALID = "text_invalid"
    CURRENCY_UNKNOWN = "currency_unknown"
    AMOUNT_TOO_LARGE = "amount_too_large"
    TYPE_WRONG = "type_wrong"


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """One reason against one field, such as `items[3].quantity`; "" is the body as a whole."""

    reason: Reason
    field: str
    message: str


class Malformed(ValueError):
    """The body is no JSON text; the message says where."""


class BodyTooLarge(ValueError):
    """The body has more than `BODY_BYTES_MAX` bytes."""


def parse_order(body: bytes) -> NewOrder | list[Refusal]:
    """The order that `body` asks for, or all refusals in the order of the fields.

    Unknown fields are ignored; of a name given twice the last value counts. With too many items
    only the first `ITEMS_MAX` are looked at, so that the answer stays bounded too.

    Raises:
        Malformed: `body` is not well-formed JSON in UTF-8, or is nested beyond reason.
        BodyTooLarge: it is over the limit.
    """
    if len(body) > BODY_BYTES_MAX:
        raise BodyTooLarge(f"the body has {len(body)} bytes; at most {BODY_BYTES_MAX} are taken")
    return _plain_order(body) or checked_order(body)


def checked_order(body: bytes) -> NewOrder | list[Refusal]:
    """The same as `parse_order` of a body that is small enough, one field after the other.

    Raises:
        Malformed: see `parse_order`.
    """
    try:
        given: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        given = _decode_leniently(body)
    if type(given) is not dict:
        return [_wrong_type("", "an object", given)]
    refusals: list[Refusal] = []
    customer_id = _text(given.get("customer_id"), "customer_id", Reason.CUSTOMER_MISSING, refusals)
    country = given.get("country")
    if country is not None:
        country = _text(country, "country", None, refusals)
    currency = _currency(given.get("currency"), refusals)
    items, amount_cents = _items(given.get("items"), refusals)
    if amount_cents > AMOUNT_CENTS_MAX:
        message = f"the items cost {amount_cents} together; at most {AMOUNT_CENTS_MAX} is taken"
        refusals.append(Refusal(Reason.AMOUNT_TOO_LARGE, "items", message))
    if refusals:
        return refusals
    return NewOrder(
        customer_id=customer_id,
        country=country,
        currency=currency,
        items=tuple(items),
        amount_cents=amount_cents,
    )


_KEY: Final = re.compile(KEY_PATTERN)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\(.)")


class _Spelled(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    customer_id: str
    country: str | None = None
    currency: str = ""
    items: tuple[Item, ...] = ()


_encode: Final = msgspec.json.Encoder().encode


def spelled(order: NewOrder) -> bytes:
    """What a body means to us, spelled in one way: equal for bodies that ask for the same order.

    Blanks, the order of members, escapes and fields that are ignored make no difference.
    """
    return _encode(
        _Spelled(
            customer_id=order.customer_id,
            country=order.country,
            currency=order.currency,
            items=order.items,
        )
    )


def read_key(given: str) -> str:
    """The Idempotency-Key that a header names; `"abc"` and `abc` are one key.

    Raises:
        ValueError: it is none.
    """
    if len(given) > KEY_LENGTH_MAX or _KEY.search(given) is None:
        raise ValueError(given)
    quoted = _QUOTED.match(given)
    return given if quoted is None else _ESCAPED.sub(r"\1", quoted[1])


class OrderRequest(msgspec.Struct, gc=False):
    """An order as a client asks for it. Further fields are ignored."""

    customer_id: str
    currency: str
    items: tuple[Item, ...]
    country: str | None = None


_decode: Final = msgspec.json.Decoder(OrderRequest).decode


def _plain_order(body: bytes) -> NewOrder | None:
    """The order, if it is beyond doubt: nearly all are, and pay for no messages."""
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    items, country, amount_cents = asked.items, asked.country, 0
    for item in items:
        sku, quantity, price = item.sku, item.quantity, item.unit_price_cents
        if quantity < 1 or price < 1 or len(sku) > TEXT_MAX:
            return None
        # As `_is_plain`, without a frame for each of up to a thousand lines.
        if not sku.isprintable() or not sku.strip():
            return None
        amount_cents += quantity * price
    if (
        0 < len(items) <= ITEMS_MAX
        and amount_cents <= AMOUNT_CENTS_MAX
        and asked.currency in CURRENCIES
        and _is_plain(asked.customer_id)
        and (not country or _is_plain(country))
    ):
        return NewOrder(
            customer_id=asked.customer_id,
            country=country,
            currency=asked.currency,
            items=items,
            amount_cents=amount_cents,
        )
    return None


def _is_plain(text: str) -> bool:
    """Neither blank, nor too long, and printable: so without NUL and surrogates."""
    return len(text) <= TEXT_MAX and text.isprintable() and bool(text.strip())


def _items(given: object, refusals: list[Refusal]) -> tuple[list[Item], int]:
    """The good items and their price together."""
    if given is None or given == []:
        refusals.append(Refusal(Reason.ITEMS_NONE, "items", "an order needs at least one item"))
        return [], 0
    if type(given) is not list:
        refusals.append(_wrong_type("items", "an array", given))
        return [], 0
    if len(given) > ITEMS_MAX:
        message = f"{len(given)} items; at most {ITEMS_MAX} are taken"
        refusals.append(Refusal(Reason.ITEMS_TOO_MANY, "items", message))
    items = []
    amount_cents = 0
    for index, line in enumerate(given[:ITEMS_MAX]):
        item = _checked_item(line, f"items[{index}]", refusals)
        if item is not None:
            items.append(item)
            amount_cents += item.quantity * item.unit_price_cents
    return items, amount_cents


def _checked_item(line: object, field: str, refusals: list[Refusal]) -> Item | None:
    """The item, or None after every reason against it was added to `refusals`."""
    if type(line) is not dict:
        refusals.append(_wrong_type(field, "an object", line))
        return None
    before = len(refusals)
    sku = _text(line.get("sku"), f"{field}.sku", Reason.SKU_EMPTY, refusals)
    quantity = _at_least_1(
        line.get("quantity"), f"{field}.quantity", Reason.QUANTITY_BELOW_1, refusals
    )
    price = _at_least_1(
        line.get("unit_price_cents"), f"{field}.unit_price_cents", Reason.PRICE_BELOW_1, refusals
    )
    if len(refusals) > before:
        return None
    return Item(sku=sku, quantity=quantity, unit_price_cents=price)


def _at_least_1(given: object, field: str, reason: Reason, refusals: list[Refusal]) -> int:
    # A bool is an int to Python, not to JSON.
    if type(given) is not int:
        refusals.append(_wrong_type(field, "a whole number", given))
        return 0
    if given < 1:
        refusals.append(Refusal(reason, field, f"{given} is below 1"))
    return given


def _text(given: object, field: str, missing: Reason | None, refusals: list[Refusal]) -> str:
    """A short text; `missing` is the reason against an empty one, None if it may be empty."""
    if missing is not None and (given is None or given == ""):
        refusals.append(Refusal(missing, field, "it is missing or empty"))
        return ""
    if type(given) is not str:
        refusals.append(_wrong_type(field, "a string", given))
        return ""
    if missing is not None and not given.strip():
        refusals.append(Refusal(missing, field, "it is blank"))
    if len(given) > TEXT_MAX:
        message = f"{len(given)} characters; at most {TEXT_MAX} are taken"
        refusals.append(Refusal(Reason.TEXT_TOO_LONG, field, message))
    if not given.isprintable() and ("\0" in given or not _is_encodable(given)):
        message = "it contains NUL or half of a surrogate pair"
        refusals.append(Refusal(Reason.TEXT_INVALID, field, message))
    return given


def _currency(given: object, refusals: list[Refusal]) -> str:
    if type(given) is str and given in CURRENCIES:
        return given
    if given is not None and type(given) is not str:
        refusals.append(_wrong_type("currency", "a string", given))
    else:
        shown = "it is missing" if given is None else f"{ascii(given)[:20]} is none"
        message = f"{shown}: take a code of ISO 4217 such as EUR"
        refusals.append(Refusal(Reason.CURRENCY_UNKNOWN, "currency", message))
    return ""


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_NAMES: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a number with a fraction or exponent",
    type(None): "null or missing",
}


def _wrong_type(field: str, wanted: str, given: object) -> Refusal:
    # The value itself is not shown: it may be as large and as deep as the body.
    message = f"it must be {wanted}, not {_NAMES[type(given)]}"
    return Refusal(Reason.TYPE_WRONG, field, message)


_DIGITS_MAX: Final = 25


def _bounded_int(text: str) -> int:
    """A whole number; one beyond any limit of ours becomes a smaller one beyond them, soon."""
    if len(text) <= _DIGITS_MAX:
        return int(text)
    return -(10**_DIGITS_MAX) if text.startswith("-") else 10**_DIGITS_MAX


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is no JSON")


def _decode_leniently(body: bytes) -> object:
    """A well-formed body that the fast decoder refuses: lone surrogates, endless numbers."""
    try:
        return json.loads(body.decode(), parse_int=_bounded_int, parse_constant=_no_constant)
    except UnicodeDecodeError as bad:
        raise Malformed(f"the body is not UTF-8 at byte {bad.start}") from None
    except json.JSONDecodeError as bad:
        raise Malformed(f"the body is no JSON: {bad.msg} at character {bad.pos}") from None
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
