"""The customers of a whole load, for servers that must know of them beforehand."""

from collections.abc import Sequence
from contextlib import closing
from typing import Final

import msgspec

from lab.scenarios.workload import Workload


class _Buyer(msgspec.Struct):
    """The part of an order that is read before it is posted."""

    customer_id: str = ""


_decode: Final = msgspec.json.Decoder(_Buyer, strict=False).decode


def customers_of(orders: Workload) -> Sequence[str]:
    """Every customer of a load that names one, once. The load is taken."""
    found: dict[str, None] = {}
    with closing(orders):
        for order in orders:
            try:
                found[_decode(order.body).customer_id] = None
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
    return tuple(found)
