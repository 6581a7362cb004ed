"""Orders that break a rule: the client knows it, and so does the shop."""

import pytest

from lab.domain.request import parse_order
from lab.history.contents import is_sound, is_unsound
from lab.scenarios.made_up import made_up
from lab.scenarios.unsound import unsound

ORDERS = [(order.ordinal, order.body) for order in made_up(1, 39, 10.0)]


@pytest.mark.parametrize(("ordinal", "body"), ORDERS)
def test_a_spoiled_order_breaks_a_rule_to_both_sides(ordinal: int, body: bytes) -> None:
    spoiled = unsound(body, ordinal)

    assert isinstance(parse_order(spoiled), list)
    assert is_unsound(spoiled)
    assert not is_sound(spoiled)


def test_a_stride_leaves_out_no_rule() -> None:
    _, body = ORDERS[0]
    assert len({unsound(body, ordinal) for ordinal in range(3, 40, 3)}) == 13


@pytest.mark.parametrize(("_ordinal", "body"), ORDERS)
def test_an_order_that_is_sound_breaks_none(_ordinal: int, body: bytes) -> None:
    assert not is_unsound(body)
