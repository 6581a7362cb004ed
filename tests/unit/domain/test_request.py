"""The body of POST /orders: all that is wrong is said at once, and nothing makes it raise."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab.domain.codec import encode
from lab.domain.events import OrderCreated
from lab.domain.order import NewOrder
from lab.domain.request import (
    AMOUNT_CENTS_MAX,
    BODY_BYTES_MAX,
    CURRENCIES,
    ITEMS_MAX,
    TEXT_MAX,
    BodyTooLarge,
    Malformed,
    Reason,
    Refusal,
    checked_order,
    parse_order,
)
from lab.ports.bus import MAIN_RECORD_BYTES

R = Reason
MUG = {"sku": "mug", "quantity": 2, "unit_price_cents": 450}
GOOD: dict[str, Any] = {"customer_id": "C1", "country": "DE", "currency": "EUR", "items": [MUG]}


def parse(**changes: Any) -> NewOrder | list[Refusal]:
    return parse_order(json.dumps(GOOD | changes).encode())


def refused(**changes: Any) -> list[tuple[Reason, str]]:
    found = parse(**changes)
    assert isinstance(found, list)
    assert all(refusal.message for refusal in found)
    return [(refusal.reason, refusal.field) for refusal in found]


def item(**changes: Any) -> dict[str, Any]:
    return MUG | changes


def test_a_good_order_is_parsed_and_its_amount_is_computed() -> None:
    order = parse(items=[MUG, item(sku="tea", quantity=3, unit_price_cents=100)], amount_cents=1)
    assert isinstance(order, NewOrder)
    assert (order.customer_id, order.country, order.currency) == ("C1", "DE", "EUR")
    assert [each.sku for each in order.items] == ["mug", "tea"]
    assert order.amount_cents == 1_200


def test_the_country_may_be_left_out() -> None:
    body = {name: value for name, value in GOOD.items() if name != "country"}
    order = parse_order(json.dumps(body).encode())
    assert isinstance(order, NewOrder)
    assert order.country is None


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"items": []}, R.ITEMS_NONE, "items"),
        ({"items": None}, R.ITEMS_NONE, "items"),
        ({"items": [MUG] * (ITEMS_MAX + 1)}, R.ITEMS_TOO_MANY, "items"),
        ({"items": [item(quantity=0)]}, R.QUANTITY_BELOW_1, "items[0].quantity"),
        ({"items": [MUG, item(quantity=-3)]}, R.QUANTITY_BELOW_1, "items[1].quantity"),
        ({"items": [item(unit_price_cents=0)]}, R.PRICE_BELOW_1, "items[0].unit_price_cents"),
        ({"items": [item(sku="")]}, R.SKU_EMPTY, "items[0].sku"),
        ({"items": [item(sku=" \t\u00a0")]}, R.SKU_EMPTY, "items[0].sku"),
        ({"items": [item(sku=None)]}, R.SKU_EMPTY, "items[0].sku"),
        ({"customer_id": None}, R.CUSTOMER_MISSING, "customer_id"),
        ({"customer_id": ""}, R.CUSTOMER_MISSING, "customer_id"),
        ({"customer_id": "  "}, R.CUSTOMER_MISSING, "customer_id"),
        ({"customer_id": "c" * (TEXT_MAX + 1)}, R.TEXT_TOO_LONG, "customer_id"),
        ({"country": "c" * (TEXT_MAX + 1)}, R.TEXT_TOO_LONG, "country"),
        ({"items": [item(sku="s" * (TEXT_MAX + 1))]}, R.TEXT_TOO_LONG, "items[0].sku"),
        ({"customer_id": "a\0b"}, R.TEXT_INVALID, "customer_id"),
        ({"country": "\ud800"}, R.TEXT_INVALID, "country"),
        ({"items": [item(sku="a\udfff")]}, R.TEXT_INVALID, "items[0].sku"),
        ({"currency": "eur"}, R.CURRENCY_UNKNOWN, "currency"),
        ({"currency": "QQQ"}, R.CURRENCY_UNKNOWN, "currency"),
        ({"currency": None}, R.CURRENCY_UNKNOWN, "currency"),
        ({"currency": "\udfff\0" * 999}, R.CURRENCY_UNKNOWN, "currency"),
        ({"items": [item(quantity=AMOUNT_CENTS_MAX)]}, R.AMOUNT_TOO_LARGE, "items"),
        ({"items": [item(quantity=10**30)]}, R.AMOUNT_TOO_LARGE, "items"),
        ({"customer_id": 7}, R.TYPE_WRONG, "customer_id"),
        ({"country": ["DE"]}, R.TYPE_WRONG, "country"),
        ({"currency": 978}, R.TYPE_WRONG, "currency"),
        ({"items": {"0": MUG}}, R.TYPE_WRONG, "items"),
        ({"items": [7]}, R.TYPE_WRONG, "items[0]"),
        ({"items": [item(sku=7)]}, R.TYPE_WRONG, "items[0].sku"),
        ({"items": [item(quantity=2.0)]}, R.TYPE_WRONG, "items[0].quantity"),
        ({"items": [item(quantity=True)]}, R.TYPE_WRONG, "items[0].quantity"),
        ({"items": [item(quantity="2")]}, R.TYPE_WRONG, "items[0].quantity"),
        ({"items": [item(quantity=None)]}, R.TYPE_WRONG, "items[0].quantity"),
        ({"items": [item(unit_price_cents=4.5)]}, R.TYPE_WRONG, "items[0].unit_price_cents"),
    ],
)
def test_each_reason_names_its_field(changes: dict[str, Any], reason: Reason, field: str) -> None:
    assert refused(**changes) == [(reason, field)]


def test_all_reasons_are_given_at_once() -> None:
    given_items = [item(sku="", quantity=0, unit_price_cents=-1), 7, item(quantity=2 * 10**12)]
    assert refused(customer_id=" ", country=1, currency="?", items=given_items) == [
        (R.CUSTOMER_MISSING, "customer_id"),
        (R.TYPE_WRONG, "country"),
        (R.CURRENCY_UNKNOWN, "currency"),
        (R.SKU_EMPTY, "items[0].sku"),
        (R.QUANTITY_BELOW_1, "items[0].quantity"),
        (R.PRICE_BELOW_1, "items[0].unit_price_cents"),
        (R.TYPE_WRONG, "items[1]"),
        (R.AMOUNT_TOO_LARGE, "items"),
    ]


def test_limits_are_inclusive() -> None:
    assert isinstance(parse(customer_id="c" * TEXT_MAX, items=[MUG] * ITEMS_MAX), NewOrder)
    at_limit = item(quantity=1, unit_price_cents=AMOUNT_CENTS_MAX)
    order = parse(items=[at_limit])
    assert isinstance(order, NewOrder)
    assert order.amount_cents == AMOUNT_CENTS_MAX


def test_texts_of_every_language_are_taken() -> None:
    order = parse(customer_id="Zoë 🦊", items=[item(sku="茶\u2028x")])
    assert isinstance(order, NewOrder)
    assert order.items[0].sku == "茶\u2028x"


def test_the_answer_to_too_many_items_stays_bounded() -> None:
    found = parse(items=[0] * 50_000)
    assert isinstance(found, list)
    assert len(found) == ITEMS_MAX + 1
    assert found[0].reason is R.ITEMS_TOO_MANY


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"', b"true"])
def test_a_body_that_is_no_object_has_the_wrong_type(body: bytes) -> None:
    found = parse_order(body)
    assert isinstance(found, list)
    assert [(each.reason, each.field) for each in found] == [(R.TYPE_WRONG, "")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} x",
        b"\xff",
        b'{"a": "\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 01}',
        b"[1,]",
        b'{"a": "\x00"}',
        '{"a": 1}'.encode("utf-16"),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    ],
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_order(body)


def test_a_body_over_the_limit_is_not_looked_at() -> None:
    with pytest.raises(BodyTooLarge):
        parse_order(b" " * (BODY_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (b"9" * 5_000, R.AMOUNT_TOO_LARGE),
        (b"-" + b"9" * 5_000, R.QUANTITY_BELOW_1),
        (b"1e400", R.TYPE_WRONG),
        (b"-0", R.QUANTITY_BELOW_1),
        (b"1e2", R.TYPE_WRONG),
        (b"18446744073709551616", R.AMOUNT_TOO_LARGE),
    ],
)
def test_numbers_beyond_reason_are_refused_not_malformed(number: bytes, reason: Reason) -> None:
    body = json.dumps(GOOD).encode().replace(b'"quantity": 2', b'"quantity": ' + number)
    found = parse_order(body)
    assert isinstance(found, list)
    assert [refusal.reason for refusal in found] == [reason]


def test_of_a_name_given_twice_the_last_counts() -> None:
    body = b'{"customer_id": 7, "currency": "?", ' + json.dumps(GOOD).encode()[1:]
    assert isinstance(parse_order(body), NewOrder)


def test_half_a_surrogate_in_an_unknown_field_does_no_harm() -> None:
    assert isinstance(parse(note="\ud800"), NewOrder)


def test_the_event_of_the_largest_order_fits_a_record() -> None:
    # The most bytes for a character: a control character is six in JSON.
    lines = [item(sku=f"{n:04}" + "\x01" * 31) for n in range(ITEMS_MAX)]
    body = json.dumps(GOOD | {"items": lines}, separators=(",", ":")).encode()
    assert BODY_BYTES_MAX * 0.9 < len(body) <= BODY_BYTES_MAX
    order = parse_order(body)
    assert isinstance(order, NewOrder)
    event = OrderCreated(
        order_id="o" * 64,
        customer_id=order.customer_id,
        country=order.country,
        currency=order.currency,
        amount_cents=order.amount_cents,
        items=order.items,
    )
    assert len(encode(event)) < MAIN_RECORD_BYTES


def test_currencies_are_three_capital_letters() -> None:
    assert {"EUR", "GBP", "USD", "JPY"} <= CURRENCIES
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)


# ---- anything at all

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(allow_nan=True),
    st.text(st.characters(exclude_categories=()), max_size=70),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
lines = st.fixed_dictionaries(
    {},
    optional={
        "sku": st.one_of(values, st.just("mug")),
        "quantity": st.one_of(values, st.integers(0, 9)),
        "unit_price_cents": st.one_of(values, st.integers(0, 9)),
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "customer_id": st.one_of(values, st.just("C1")),
        "country": values,
        "currency": st.one_of(values, st.sampled_from(sorted(CURRENCIES))),
        "items": st.one_of(values, st.lists(st.one_of(lines, values), max_size=3)),
        "x": values,
    },
)


def is_sane(body: bytes) -> None:
    try:
        found = parse_order(body)
    except (Malformed, BodyTooLarge):
        return
    assert found == checked_order(body), "the short way says the same as the long one"
    if isinstance(found, list):
        assert found
        assert all(type(refusal.reason) is Reason for refusal in found)
        encode(found)  # it can be put into the answer
        return
    assert 1 <= found.amount_cents <= AMOUNT_CENTS_MAX
    assert found.customer_id.strip()
    assert found.currency in CURRENCIES
    assert all(line.quantity >= 1 and line.unit_price_cents >= 1 for line in found.items)
    assert all(line.sku.strip() and len(line.sku) <= TEXT_MAX for line in found.items)
    json.dumps(found.country).encode()
    encode(found)  # it can be stored and published


small = st.integers(-1, 3)
texts = st.one_of(st.just("mug"), st.text(st.characters(exclude_categories=()), max_size=66))
nearly_good = st.fixed_dictionaries(
    {
        "customer_id": texts,
        "currency": st.sampled_from(["EUR", "GBP", "eur", ""]),
        "items": st.lists(
            st.fixed_dictionaries(
                {
                    "sku": texts,
                    "quantity": st.one_of(small, st.just(10**12), st.sampled_from([1.0, True])),
                    "unit_price_cents": st.one_of(small, st.just(10**30)),
                }
            ),
            max_size=3,
        ),
    },
    optional={"country": st.one_of(st.none(), texts), "x": values},
)


@given(nearly_good)
@example(GOOD)
def test_a_nearly_good_order_is_read_alike_on_both_ways(body: dict[str, Any]) -> None:
    is_sane(json.dumps(body).encode())
    is_sane(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=300))
@example(b'{"items":[{"sku":"\\ud800"}]}')
def test_any_bytes_end_in_an_order_or_in_reasons_or_are_malformed(body: bytes) -> None:
    is_sane(body)


@given(bodies)
def test_any_json_ends_in_an_order_or_in_reasons_or_is_malformed(body: dict[str, Any]) -> None:
    is_sane(json.dumps(body).encode())


@given(bodies, st.data())
def test_a_broken_body_is_no_worse(body: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(json.dumps(body).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    is_sane(bytes(raw))
