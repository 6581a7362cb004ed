"""What a text holds, in the words of the history: the client's sum, and what an event tells.

Not here: the promises that compare the two (`tests/planted_bugs`).
"""

import json

import pytest

from lab.domain.codec import encode
from lab.domain.envelope import format_time
from lab.domain.events import OrderCancelled, OrderCreated, PaymentCaptured
from lab.domain.order import Item
from lab.domain.request import checked_order
from lab.history.contents import (
    NO_AMOUNT,
    NO_TIME,
    UNREADABLE,
    asked_by,
    broken_fields,
    buyer_of,
    instant_of,
    is_sound,
    is_unsound,
    may_be_why,
    told_by,
)

TWO = (
    Item(sku="mug", quantity=2, unit_price_cents=350),
    Item(sku="lamp", quantity=3, unit_price_cents=1_999),
)


def body(**change: object) -> bytes:
    asked = {
        "customer_id": "C1",
        "country": "Norway",
        "currency": "NOK",
        "items": [
            {"sku": "mug", "quantity": 2, "unit_price_cents": 350},
            {"sku": "lamp", "quantity": 3, "unit_price_cents": 1_999},
        ],
    }
    return json.dumps({**asked, **change}).encode()


def test_an_amount_is_the_sum_of_quantity_times_price() -> None:
    assert asked_by(body()).amount_cents == 2 * 350 + 3 * 1_999


def test_an_order_and_its_event_hold_the_same() -> None:
    order = checked_order(body())
    assert not isinstance(order, list)
    event = OrderCreated(
        order_id="id-1",
        customer_id=order.customer_id,
        country=order.country,
        currency=order.currency,
        amount_cents=order.amount_cents,
        items=order.items,
    )

    asked, told = asked_by(body()), told_by(encode(event))

    assert asked[:4] == told[:4]
    assert told.order_id == "id-1"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("amount_cents", {"items": [{"sku": "mug", "quantity": 1, "unit_price_cents": 350}]}),
        ("currency", {"currency": "EUR"}),
        ("buyer", {"customer_id": "C2"}),
        ("buyer", {"country": None}),
        ("buyer", {"country": ""}),
        ("items", {"items": [{"sku": "mug", "quantity": 350, "unit_price_cents": 2}]}),
        ("items", {"items": [{"sku": "cup", "quantity": 2, "unit_price_cents": 350}]}),
    ],
)
def test_a_field_differs_if_the_order_does(field: str, change: dict[str, object]) -> None:
    assert getattr(asked_by(body(**change)), field) != getattr(asked_by(body()), field)


def test_no_country_and_an_empty_one_are_two() -> None:
    assert buyer_of("C1", None) != buyer_of("C1", "")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b"[]", body(items="none"), body(customer_id=7), b"[" * 100_000],
    ids=["nothing", "torn", "bytes", "array", "items", "customer", "depth"],
)
def test_a_text_that_cannot_be_read_holds_nothing(text: bytes) -> None:
    assert asked_by(text) == UNREADABLE
    assert not UNREADABLE.currency


def test_an_amount_that_no_entry_can_hold_is_none() -> None:
    huge = {"sku": "mug", "quantity": 2**62, "unit_price_cents": 2**62}

    assert asked_by(body(items=[huge])).amount_cents == NO_AMOUNT


def test_an_event_tells_of_its_charge() -> None:
    captured = PaymentCaptured(
        order_id="id-1", charge_key="charge:id-1:1", currency="EUR", amount_cents=700
    )

    assert told_by(encode(captured)) == (700, "EUR", "", "", "id-1", "charge:id-1:1")
    assert told_by(encode(OrderCancelled(order_id="id-1"))) == (0, "", "", "", "id-1", "")


@pytest.mark.parametrize("amount", ["700.0", "7e2", "null", str(2**70)])
def test_an_amount_of_an_event_that_is_no_whole_number_is_none(amount: str) -> None:
    told = told_by(b'{"order_id":"id-1","amount_cents":%b}' % amount.encode())

    assert (told.amount_cents, told.order_id) == (NO_AMOUNT, "id-1")


@pytest.mark.parametrize(
    ("change", "surely"),
    [
        ({}, True),
        ({"country": None}, True),
        ({"items": [{"sku": "mug", "quantity": 1, "unit_price_cents": 10**12}]}, True),
        ({"items": [{"sku": "mug", "quantity": 1, "unit_price_cents": 10**12 + 1}]}, False),
        ({"items": [{"sku": "mug", "quantity": 0, "unit_price_cents": 1}]}, False),
        ({"items": [{"sku": "mug", "quantity": 1, "unit_price_cents": 0}]}, False),
        ({"items": [{"sku": " ", "quantity": 1, "unit_price_cents": 1}]}, False),
        ({"items": [{"sku": "mug", "quantity": 1, "unit_price_cents": 1}] * 1_000}, True),
        ({"items": [{"sku": "mug", "quantity": 1, "unit_price_cents": 1}] * 1_001}, False),
        ({"items": []}, False),
        ({"customer_id": ""}, False),
        ({"customer_id": "C" * 64}, True),
        ({"customer_id": "C" * 65}, False),
        ({"country": "N" * 65}, False),
        ({"currency": "QQQ"}, False),
        ({"comment": "x" * 256 * 1024}, False),
    ],
)
def test_an_order_is_sound_only_if_the_shop_takes_it(
    change: dict[str, object], *, surely: bool
) -> None:
    text = body(**change)

    assert is_sound(text) is surely
    if surely:
        assert not isinstance(checked_order(text), list)
        assert not is_unsound(text)


@pytest.mark.parametrize(
    ("change", "surely"),
    [
        ({"items": {"sku": "mug"}}, True),
        ({"items": ["mug"]}, True),
        ({"items": [{"sku": "mug", "quantity": 1}]}, True),
        ({"items": [{"sku": "mug", "quantity": 10**7, "unit_price_cents": 10**6}]}, True),
        ({"currency": 978}, True),
        ({"country": 47}, True),
        ({"country": "N" * 65}, True),
        # In doubt.
        ({"items": [{"sku": "mug", "quantity": 1.5, "unit_price_cents": 1}]}, False),
        ({"currency": "QQQ"}, False),
    ],
)
def test_an_order_is_unsound_only_if_the_shop_refuses_it(
    change: dict[str, object], *, surely: bool
) -> None:
    text = body(**change)

    assert is_unsound(text) is surely
    assert isinstance(checked_order(text), list)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({}, ()),
        (
            {"customer_id": " ", "country": 47, "currency": "QQQQ"},
            ("customer_id", "country", "currency"),
        ),
        ({"items": []}, ("items",)),
        ({"items": [{"sku": "mug", "quantity": 10**7, "unit_price_cents": 10**6}]}, ("items",)),
        (
            {"items": ["mug", {"sku": "", "quantity": 0, "unit_price_cents": True}]},
            ("items[0]", "items[1].sku", "items[1].quantity", "items[1].unit_price_cents"),
        ),
        ({"items": [{"sku": "mug", "quantity": 1.5, "unit_price_cents": 10**13}]}, ()),
        ({"items": [{"sku": "\0", "quantity": 1, "unit_price_cents": 10**13}]}, ()),
        ({"comment": "x" * 256 * 1024, "items": []}, ()),
    ],
)
def test_every_field_that_breaks_a_rule_is_known_by_the_name_that_the_shop_gives_it(
    change: dict[str, object], fields: tuple[str, ...]
) -> None:
    text = body(**change)

    assert broken_fields(text) == fields
    refusals = checked_order(text)
    named = {one.field for one in refusals} if isinstance(refusals, list) else set()
    assert named.issuperset(fields)


@pytest.mark.parametrize("text", [b"[]", b"{"])
def test_of_a_body_that_is_no_object_no_field_is_to_blame(text: bytes) -> None:
    assert broken_fields(text) == ()


def test_a_reason_belongs_to_its_field() -> None:
    assert may_be_why("price_below_1", "items[7].unit_price_cents")
    assert not may_be_why("price_below_1", "items[7].quantity")
    assert may_be_why("items_none", "items")
    assert may_be_why("type_wrong", "items[7]")
    assert not may_be_why("items_none", "status_422")


@pytest.mark.parametrize(("text", "surely"), [(b"[]", True), (b"{", False)])
def test_what_is_no_order_at_all_is_unsound_if_it_can_be_read(text: bytes, *, surely: bool) -> None:
    assert is_unsound(text) is surely


@pytest.mark.parametrize("time_us", [0, 1, 1_735_689_600_000_000, 1_735_689_661_234_567])
def test_an_instant_is_read_as_the_shop_writes_it(time_us: int) -> None:
    assert instant_of(format_time(time_us)) == time_us


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"2025-01-01T00:00:00Z",
        b"2025-01-01T00:00:00.123Z",
        b"2025-01-01T00:00:00.123456",
        b"2025-01-01T00:00:00.123456+00:00",
        b"2025-13-01T00:00:00.123456Z",
        b"2025-01-01T00:00:00.12x456Z",
    ],
)
def test_an_instant_in_any_other_form_is_none(text: bytes) -> None:
    assert instant_of(text) == NO_TIME
