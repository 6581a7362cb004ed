"""Orders made up out of a seed: customer, country, items and time of each.

Orders come from keyed chance alone, so a run is the same with every release of Faker. Its
names of people are in the header `From`, as of a browser's user: no entry of a history holds them.
Not here: orders out of a file (`orders_file`), and the client that posts them (`client`).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from lab.runtime.chance import KeyedChance
from lab.scenarios.scenario import Spike
from lab.scenarios.workload import PlannedOrder, Workload, idempotency_key

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


def made_up(seed: int, orders: int, rate: float, spike: Spike | None = None) -> Workload:
    """`orders` valid orders at `rate` a second, each at a keyed moment of its own interval.

    An order depends on seed and ordinal only (its time on the rate too), not on how many there are.
    """
    workload = Workload(total=orders)
    return workload.give(_make_orders(workload, seed, orders, rate, spike))


def _make_orders(
    workload: Workload, seed: int, orders: int, rate: float, spike: Spike | None
) -> Iterator[PlannedOrder]:
    bits = KeyedChance(seed).bits
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
    chance = KeyedChance(seed)
    goods = [f"{good}-{colour}" for good in _GOODS for colour in _COLOURS]
    prices = [(sku.encode(), chance.integer(199, 9_999, "price", sku)) for sku in goods]
    return [
        b'{"sku":"%b","quantity":%d,"unit_price_cents":%d}' % (sku, quantity, price)
        for sku, price in prices
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
