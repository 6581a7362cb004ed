"""What the text of an order or an event holds, as the ids and numbers of an entry.

The client notes what it asked for, the bus what an event tells, the order store whose order it has:
all in the same few words, so that a check can compare them. Nothing here is shared with the parts
that take an order in or make an event: they are judged by it. Not here: judging (`lab.checks`).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

NO_AMOUNT: Final = -1
"""An amount that is no whole number, or that no entry can hold."""

NO_TIME: Final = -1
"""An instant that a text does not tell."""

_HELD_MAX: Final = 2**63 - 1
_DIGEST_BYTES: Final = 8


class Contents(NamedTuple):
    """What a text holds; each field is "" or 0 if the text has no such thing.

    Attributes:
        amount_cents: `NO_AMOUNT` if it is no whole number, or the text cannot be read.
        buyer: short hash of customer and country; items: of every sku, quantity and price.
        order_id: the order that an event is about; "" of one that cannot be read.
        charge_key: the charge that an event is about.
    """

    amount_cents: int
    currency: str
    buyer: str
    items: str
    order_id: str = ""
    charge_key: str = ""


UNREADABLE: Final = Contents(NO_AMOUNT, "", "", "")
NOTHING: Final = Contents(0, "", "", "")
"""What a text holds that nobody reads."""


class _Item(msgspec.Struct, frozen=True, gc=False):
    sku: str
    quantity: int
    unit_price_cents: int


class _Request(msgspec.Struct, frozen=True, gc=False):
    customer_id: str
    currency: str
    items: list[_Item]
    country: str | None = None


class _Buyer(msgspec.Struct, frozen=True, gc=False):
    customer_id: str


class _Event(msgspec.Struct, frozen=True, gc=False):
    order_id: str
    customer_id: str = ""
    country: str | None = None
    currency: str = ""
    amount_cents: int | float | None = 0
    items: list[_Item] | None = None
    charge_key: str = ""


BODY_MAX: Final = 256 * 1024
ITEMS_MAX: Final = 1_000
TEXT_MAX: Final = 64
_AMOUNT_MAX: Final = 10**12
_CODE_LENGTH: Final = 3
_SECOND_END: Final = len("2025-01-01T00:00:00.")
_INSTANT_LENGTH: Final = _SECOND_END + len("000000Z")
_CURRENCIES: Final = frozenset({"EUR", "USD", "GBP", "JPY", "NOK", "SEK", "DKK", "CHF", "PLN"})
"""Some that nobody can refuse."""

_TEXT: Final = ("type_wrong", "text_too_long", "text_invalid")
_WHY: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("type_wrong",),
    "customer_id": (*_TEXT, "customer_missing"),
    "country": _TEXT,
    "currency": ("type_wrong", "currency_unknown"),
    "items": ("type_wrong", "items_none", "items_too_many", "amount_too_large"),
    "sku": (*_TEXT, "sku_empty"),
    "quantity": ("type_wrong", "quantity_below_1"),
    "unit_price_cents": ("type_wrong", "price_below_1"),
}
"""The reasons for which the shop may refuse each field."""

_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_request: Final = msgspec.json.Decoder(_Request).decode
_buyer: Final = msgspec.json.Decoder(_Buyer).decode
_event: Final = msgspec.json.Decoder(_Event).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def asked_by(body: bytes) -> Contents:
    """What the body of `POST /orders` asks for; the amount is the sum over its items."""
    try:
        asked = _request(body)
    except _BROKEN:
        return UNREADABLE
    cents = 0
    for item in asked.items:
        cents += item.quantity * item.unit_price_cents
    if abs(cents) > _HELD_MAX:
        cents = NO_AMOUNT
    buyer = buyer_of(asked.customer_id, asked.country)
    return Contents(cents, asked.currency, buyer, short_digest(_encode(asked.items)))


def customer_of(body: bytes) -> str:
    """The customer that the body of `POST /orders` names, "" if it is no order."""
    try:
        return _buyer(body).customer_id
    except _BROKEN:
        return ""


def is_sound(body: bytes) -> bool:
    """Whether the body of `POST /orders` surely breaks no rule; if in doubt, it does.

    Source: the rules that the shop tells its clients, read by a client.
    """
    try:
        asked = _request(body)
    except _BROKEN:
        return False
    items = asked.items
    return (
        len(body) <= BODY_MAX
        and 0 < len(items) <= ITEMS_MAX
        and all(item.quantity > 0 and item.unit_price_cents > 0 for item in items)
        and sum(item.quantity * item.unit_price_cents for item in items) <= _AMOUNT_MAX
        and asked.currency in _CURRENCIES
        and all(map(_is_plain, (asked.customer_id, *(item.sku for item in items))))
        and (asked.country is None or _is_plain(asked.country))
    )


def is_unsound(body: bytes) -> bool:
    """Whether the body of `POST /orders` surely breaks a rule; if in doubt, it breaks none.

    Source: as of `is_sound`. One of too many bytes is not read. In doubt are texts that are no JSON
    to every reader, numbers with a fraction, and codes of currencies.
    """
    if len(body) > BODY_MAX:
        return True
    try:
        asked = msgspec.json.decode(body)
    except _BROKEN:
        return False
    if type(asked) is not dict:
        return True
    return any(_broken_fields(asked))


def broken_fields(body: bytes) -> tuple[str, ...]:
    """The fields of an `is_unsound` body that surely break a rule, as the shop calls them.

    None of a body that is no object, or has too many bytes: no field is to blame.
    """
    try:
        asked = msgspec.json.decode(body) if len(body) <= BODY_MAX else None
    except _BROKEN:
        return ()
    return tuple(_broken_fields(asked)) if type(asked) is dict else ()


def may_be_why(reason: str, field: str) -> bool:
    """Whether an order can be refused for a reason against a field, such as `items[3].sku`."""
    name = field.rpartition(".")[2].partition("[")[0]
    return reason in _WHY.get(name, ())


def _broken_fields(asked: dict[str, Any]) -> Iterator[str]:
    items, country, currency = asked.get("items"), asked.get("country"), asked.get("currency")
    if not _may_be_text(asked.get("customer_id")):
        yield "customer_id"
    if country is not None and (type(country) is not str or len(country) > TEXT_MAX):
        yield "country"
    if type(currency) is not str or len(currency) != _CODE_LENGTH:
        yield "currency"
    if type(items) is not list or not 0 < len(items) <= ITEMS_MAX:
        yield "items"
        return
    if not all(map(_may_be_item, items)):
        for place, item in enumerate(items):
            yield from _broken_in(item, place)
    elif _cents(items) > _AMOUNT_MAX:
        yield "items"


def _cents(items: list[dict[str, Any]]) -> int:
    """What they cost together, without those in doubt: the shop adds up no item that it refuses."""
    cents = 0
    for item in items:
        quantity, price = item["quantity"], item["unit_price_cents"]
        if type(quantity) is int and type(price) is int and _is_plain(item["sku"]):
            cents += quantity * price
    return cents


def _may_be_item(item: object) -> bool:
    return (
        type(item) is dict
        and _may_be_text(item.get("sku"))
        and _may_be_count(item.get("quantity"))
        and _may_be_count(item.get("unit_price_cents"))
    )


def _broken_in(item: object, place: int) -> Iterator[str]:
    if type(item) is not dict:
        yield f"items[{place}]"
        return
    if not _may_be_text(item.get("sku")):
        yield f"items[{place}].sku"
    for name in ("quantity", "unit_price_cents"):
        if not _may_be_count(item.get(name)):
            yield f"items[{place}].{name}"


def _may_be_text(text: object) -> bool:
    return type(text) is str and len(text) <= TEXT_MAX and bool(text.strip())


def _may_be_count(number: object) -> bool:
    # A bool is an int to Python, not to JSON.
    return (type(number) is int or type(number) is float) and number >= 1


def _is_plain(text: str) -> bool:
    return len(text) <= TEXT_MAX and text.isprintable() and not text.isspace() and text != ""


def told_by(value: bytes) -> Contents:
    """What the payload of an event tells."""
    try:
        told = _event(value)
    except _BROKEN:
        return UNREADABLE
    cents, items = told.amount_cents, told.items
    if type(cents) is not int or abs(cents) > _HELD_MAX:
        cents = NO_AMOUNT
    buyer = buyer_of(told.customer_id, told.country) if told.customer_id else ""
    digest = "" if items is None else short_digest(_encode(items))
    fields = (cents, told.currency, buyer, digest, told.order_id, told.charge_key)
    # `Contents(...)` would cost one frame more, for each event.
    return tuple.__new__(Contents, fields)


def instant_of(text: bytes) -> int:
    """Microseconds since the Unix epoch of an instant as an event tells it, or `NO_TIME`.

    Source: RFC 3339, in UTC and with six digits of a second.
    """
    if len(text) != _INSTANT_LENGTH or text[-1:] != b"Z":
        return NO_TIME
    micros = text[_SECOND_END:-1]
    try:
        return _second_us(text[:_SECOND_END]) + int(micros) if micros.isdigit() else NO_TIME
    except ValueError:
        return NO_TIME


# The events of one moment are many, and the calendar is slow.
@lru_cache(maxsize=256)
def _second_us(text: bytes) -> int:
    second, dot, _ = text.decode().partition(".")
    if not dot:
        raise ValueError(second)
    return int(datetime.fromisoformat(second).replace(tzinfo=UTC).timestamp()) * 1_000_000


@lru_cache(maxsize=8_192)
def buyer_of(customer_id: str, country: str | None) -> str:
    """Short hash of a customer and the country."""
    return short_digest(_encode((customer_id, country)))


def short_digest(data: bytes) -> str:
    """Short hash of some bytes, such as those of an answer."""
    return blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()
