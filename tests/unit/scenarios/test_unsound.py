"""Orders that break a rule: the client knows it, and so does the shop."""

import pytest

from lab.domain.request import parse_order
from lab.history.contents import broken_fields, is_sound, is_unsound, may_be_why
from lab.scenarios.made_up import made_up
from lab.scenarios.unsound import changed, unsound

ORDERS = [(order.ordinal, order.body) for order in made_up(1, 39, 10.0)]


@pytest.mark.parametrize(("ordinal", "body"), ORDERS)
def test_a_spoiled_order_breaks_a_rule_to_both_sides(ordinal: int, body: bytes) -> None:
    spoiled = unsound(body, ordinal)

    refusals = parse_order(spoiled)
    assert isinstance(refusals, list)
    assert {refusal.field for refusal in refusals} == set(broken_fields(spoiled))
    assert all(may_be_why(refusal.reason, refusal.field) for refusal in refusals)
    assert is_unsound(spoiled)
    assert not is_sound(spoiled)


def test_some_orders_break_two_rules() -> None:
    assert {len(broken_fields(unsound(body, ordinal))) for ordinal, body in ORDERS} == {1, 2}


def test_another_order_is_sound_and_each_of_seven_differs() -> None:
    _, body = ORDERS[0]
    others = {changed(body, ordinal) for ordinal in range(5, 40, 5)}

    assert len(others) == 7
    assert body not in others
    assert all(is_sound(other) for other in others)
    assert not any(isinstance(parse_order(other), list) for other in others)


def test_a_stride_leaves_out_no_rule() -> None:
    _, body = ORDERS[0]
    assert len({unsound(body, ordinal) for ordinal in range(3, 40, 3)}) == 13


@pytest.mark.parametrize(("_ordinal", "body"), ORDERS)
def test_an_order_that_is_sound_breaks_none(_ordinal: int, body: bytes) -> None:
    assert not is_unsound(body)
