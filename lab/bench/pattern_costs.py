"""The cost of each pattern: an order with all of them, beside an order without that one.

What differs by a few percent drowns in the noise of a busy machine, so the two take turns, and the
calls of functions are counted besides, which are the same every time. Not here: what breaks without
a pattern (`lab ablate`).
"""

from collections.abc import Callable

import msgspec

from lab.bench import load
from lab.bench.step_count import count_calls
from lab.patterns import NAMES


class PatternCost(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern in one round.

    Attributes:
        on_us, off_us: processor time of an order with every pattern, and without this one.
    """

    on_us: float
    off_us: float


class PatternCalls(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of functions of one order; the numbers differ between Python versions.

    Attributes:
        on: with every pattern.
        off: without one, by the name of that one.
    """

    on: float
    off: dict[str, float]


def cost_of(pattern: str, orders: int) -> PatternCost:
    """Measure on, off, off, on: a machine that slows down meanwhile slows both down."""
    on = load.order_us(orders, observe=True)
    off = [load.order_us(orders, observe=True, off=(pattern,)) for _ in range(2)]
    return PatternCost(on_us=(on + load.order_us(orders, observe=True)) / 2, off_us=sum(off) / 2)


def count_all_calls(orders: int, begin: Callable[[str], None]) -> PatternCalls:
    """Count the calls of an order with every pattern, and without each.

    Args:
        orders: of each run whose calls are counted, at least 2.
        begin: told what comes next.
    """
    begin("calls, every pattern")
    on, off = count_calls(orders), {}
    for name in NAMES:
        begin(f"calls, without {name}")
        off[name] = count_calls(orders, (name,))
    return PatternCalls(on=on, off=off)
