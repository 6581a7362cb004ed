"""Which orders are posted, and when: made up out of a seed, or read from a file of real ones.

What is posted comes from keyed chance alone, so a run is the same with every release of Faker. Its
names of people are in the header `From`, as of a browser's user: no entry of a history holds them.
Not here: the file's formats (`orders_file`), and who posts the orders (`client`).
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from lab.runtime.chance import Chance
from lab.scenarios.scenario import Spike

if TYPE_CHECKING:
    from pathlib import Path

_LISTED_MAX: Final = 10
_CUSTOMERS: Final = 256
_NAMES: Final = 16
_COUNTRIES: Final = (
    ("Germany", "EUR"),
    ("United Kingdom", "GBP"),
    ("France", "EUR"),
    ("Norway", "NOK"),
    ("Japan", "JPY"),
    ("United States", "USD"),
    ("Spain", "EUR"),
    ("Poland", "PLN"),
)
_GOODS: Final = ("mug", "lamp", "chair", "scarf", "kettle", "clock", "basket", "candle")
_COLOURS: Final = ("red", "blue", "green", "white", "black", "yellow", "grey", "pink")
_ITEMS: Final = (1, 1, 1, 2, 2, 2, 3, 3)
_QUANTITIES: Final = (1, 1, 1, 1, 2, 2, 3, 5)
_JITTER_BITS: Final = 20


class PlannedOrder(msgspec.Struct, frozen=True, gc=False):
    """One intended order.

    Attributes:
        ordinal: its number in the run, from 1.
        at_us: when it is posted, in microseconds after the first one; never before its predecessor.
        body: the JSON text of `POST /orders`.
        key: its Idempotency-Key, a function of seed and ordinal.
        sender: the mail address of who orders, "" if nobody knows.
    """

    ordinal: int
    at_us: int
    body: bytes
    key: str
    sender: str = ""


class UnreadableLine(msgspec.Struct, frozen=True):
    """A line that could not be read as an order, and why."""

    line: int
    reason: str


class Workload:
    """Orders in the order of their arrival, made while they are taken; can be taken once.

    Attributes:
        total: how many there will be, None if only the end of the file will tell.
        read: orders made up or read so far, unreadable lines included.
        unreadable: lines that could not be read so far.
        unreadable_lines: the first ten of them.
    """

    __slots__ = ("_close", "_orders", "read", "total", "unreadable", "unreadable_lines")

    def __init__(self, *, total: int | None = None) -> None:
        self.total = total
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


def made_up(seed: int, orders: int, rate: float, spike: Spike | None = None) -> Workload:
    """`orders` valid orders at `rate` a second, each at a keyed moment of its own interval.

    An order depends on seed and ordinal only (its time on the rate too), not on how many there are.
    """
    workload = Workload(total=orders)
    return workload.give(_make_orders(workload, seed, orders, rate, spike))


def from_file(
    path: "str | Path",
    *,
    seed: int,
    orders: int | None = None,
    rate: float | None = None,
    speed: float = 1.0,
) -> Workload:
    """The orders of a file; see `lab.scenarios.orders_file.from_file`."""
    from lab.scenarios import orders_file  # noqa: PLC0415 - it needs the classes above

    return orders_file.from_file(path, seed=seed, orders=orders, rate=rate, speed=speed)


def _make_orders(
    workload: Workload, seed: int, orders: int, rate: float, spike: Spike | None
) -> Iterator[PlannedOrder]:
    bits = Chance(seed).bits
    heads, items, senders = _customers(), _catalogue(seed), _senders(seed)
    gap_us = 1_000_000 / rate
    jitter_us = gap_us / (1 << _JITTER_BITS)
    first_us = 0
    for ordinal in range(1, orders + 1):
        # One draw an order: its parts are cut out of 64 bits.
        drawn = bits("order", ordinal)
        at_us = int((ordinal - 1) * gap_us + (drawn & 0xFFFFF) * jitter_us)
        if spike is not None:
            at_us = spike.moved_us(at_us)
        if ordinal == 1:
            first_us = at_us
        customer = drawn >> 20 & 0xFF
        many = _ITEMS[drawn >> 28 & 7]
        body = heads[customer] + items[drawn >> 31 & 0x1FF]
        if many > 1:
            body += b"," + items[drawn >> 40 & 0x1FF]
        if many > 2:
            body += b"," + items[drawn >> 49 & 0x1FF]
        workload.read = ordinal
        yield PlannedOrder(
            ordinal,
            at_us - first_us,
            body + b"]}",
            idempotency_key(seed, ordinal),
            senders[customer],
        )


@lru_cache(maxsize=1)
def _customers() -> list[bytes]:
    """The beginning of an order of each customer, up to the items."""
    places = [_COUNTRIES[number % len(_COUNTRIES)] for number in range(_CUSTOMERS)]
    return [
        b'{"customer_id":"C%04d","country":"%b","currency":"%b","items":['
        % (number, country.encode(), currency.encode())
        for number, (country, currency) in enumerate(places)
    ]


@lru_cache(maxsize=4)
def _catalogue(seed: int) -> list[bytes]:
    """Every item that can be ordered: 64 goods with a price of their own, in 8 quantities."""
    chance = Chance(seed)
    goods = [f"{good}-{colour}" for good in _GOODS for colour in _COLOURS]
    return [
        b'{"sku":"%b","quantity":%d,"unit_price_cents":%d}'
        % (sku.encode(), quantity, chance.integer(199, 9_999, "price", sku))
        for sku in goods
        for quantity in _QUANTITIES
    ]


@lru_cache(maxsize=4)
def _senders(seed: int) -> list[str]:
    """A mail address for each customer, out of two small pools of names."""
    # One provider of one locale: the whole of Faker would take longer than the run.
    from faker.generator import Generator  # noqa: PLC0415 - costs 0.1 s; not for `--help`
    from faker.providers.person.en_GB import Provider  # noqa: PLC0415 - as above

    source = Generator()
    people = Provider(source)
    source.add_provider(people)
    source.seed_instance(seed)
    first = [_letters(people.first_name()) for _ in range(_NAMES)]
    last = [_letters(people.last_name()) for _ in range(_NAMES)]
    return [f"{one}.{other}@example.com" for one in first for other in last]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if "a" <= letter <= "z")
