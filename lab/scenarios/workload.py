"""A workload: orders in the order of their arrival, made or read while they are taken.

Not here: their origin (`made_up`, `orders_file`), and the client that posts them (`client`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final

import msgspec

from lab.history.contents import customer_of

_LISTED_MAX: Final = 10


class PlannedOrder(msgspec.Struct, frozen=True, gc=False):
    """One intended order.

    Attributes:
        ordinal: its number in the run, from 1.
        at_us: when it is posted, in microseconds after the first one; never before its predecessor.
        body: the JSON text of `POST /orders`.
        key: its Idempotency-Key, a function of seed and ordinal.
        sender: the mail address of the customer, "" if it is unknown.
        line: of the file that it comes from, 0 if it is made up.
    """

    ordinal: int
    at_us: int
    body: bytes
    key: str
    sender: str = ""
    line: int = 0


class UnreadableLine(msgspec.Struct, frozen=True):
    """A line that could not be read as an order, and why."""

    line: int
    reason: str


class OrdersInput(msgspec.Struct):
    """What was read of a file of orders so far.

    Attributes:
        rows: lines with something in them, a header left out.
        orders: those that were posted.
        unreadable: rows that were left out, all rows of an order with one that cannot be read.
        first_at, last_at: the earliest and the latest recorded time, "" if none was read.
        before_predecessor: orders whose recorded time lies before that of the order above.
    """

    rows: int = 0
    orders: int = 0
    unreadable: int = 0
    first_at: str = ""
    last_at: str = ""
    before_predecessor: int = 0


class Workload:
    """Orders in the order of their arrival, made while they are taken; can be taken once.

    Attributes:
        total: how many there will be, None if only the end of the file will tell.
        read: orders made up or read so far, unreadable lines included.
        unreadable: orders and lines that could not be read so far.
        unreadable_lines: the first ten of them.
        given: what was read of the file, None if the orders are made up.
    """

    __slots__ = ("_close", "_orders", "given", "read", "total", "unreadable", "unreadable_lines")

    def __init__(self, *, total: int | None = None, given: OrdersInput | None = None) -> None:
        self.total = total
        self.given = given
        self.read = 0
        self.unreadable = 0
        self.unreadable_lines: list[UnreadableLine] = []
        self._orders: Iterator[PlannedOrder] = iter(())
        self._close: Callable[[], None] = lambda: None

    def give(
        self, orders: Iterator[PlannedOrder], *, close: Callable[[], None] = lambda: None
    ) -> "Workload":
        """Take the orders from here; it keeps `read` itself. Returns this workload."""
        self._orders = orders
        self._close = close
        return self

    def report(self, line: int, reason: str) -> None:
        """Count a line as unreadable."""
        self.read += 1
        self.unreadable += 1
        if len(self.unreadable_lines) < _LISTED_MAX:
            self.unreadable_lines.append(UnreadableLine(line, reason))

    def __iter__(self) -> Iterator[PlannedOrder]:
        return self._orders

    def __next__(self) -> PlannedOrder:
        return next(self._orders)

    def close(self) -> None:
        """Close the file, if there is one. Idempotent; needed only before the last order."""
        self._close()


def idempotency_key(seed: int, ordinal: int) -> str:
    """The key of one intent, the same in every run of this seed."""
    return f"lab-{seed}-{ordinal}"


def customers_of(orders: Workload) -> Sequence[str]:
    """Every customer of a load that names one, once: some servers must know them beforehand.

    The load is taken.
    """
    found: dict[str, None] = {}
    with closing(orders):
        for order in orders:
            found[customer_of(order.body)] = None
    found.pop("", None)
    return tuple(found)
