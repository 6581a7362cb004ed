"""`lab bench`: the rounds are taken, the figures made of them, and both reported as one object.

The report says what it was measured with; no figure of it is a promise about another machine.
Not here: the measurements (`rounds`, `growth`), the figures (`figures`), and printing.
"""

import time
from typing import Final

import msgspec

from lab import __version__
from lab.bench import figures
from lab.bench.figures import Figure
from lab.bench.interpreter import Machine, this_machine
from lab.bench.long_run import grow
from lab.bench.rounds import DEFAULT, OnProgress, Rounds, Sizes

SCHEMA_VERSION: Final = 1
ROUNDS: Final = 5
_GROW_BASE: Final = 3


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `lab bench` found.

    Attributes:
        lab: version of the lab.
        rounds: how often each figure was measured; values are medians over them.
        full: with the runs of up to 100,000 orders.
        hop_us: processor time of one ping-pong step between two tasks over two unbounded stdlib
            queues on a stdlib loop.
        hop_us_low, hop_us_high: smallest and largest of a round.
        wall_s: how long the measuring took.
    """

    schema_version: int
    lab: str
    machine: Machine
    rounds: int
    full: bool
    hop_us: float
    hop_us_low: float
    hop_us_high: float
    figures: tuple[Figure, ...]
    wall_s: float


def measure(
    *,
    full: bool = False,
    rounds: int = ROUNDS,
    sizes: Sizes = DEFAULT,
    on_progress: OnProgress | None = None,
) -> BenchReport:
    """Measure every figure and its baseline in this process, and in children of it.

    Args:
        full: also what grows with the number of orders; takes a minute more.
        rounds: see `BenchReport`.
        sizes: how much is run for each measurement.
        on_progress: told (measurements done, all of them, what is measured now).

    Raises:
        BenchError: a run did not do its work.
        subprocess.CalledProcessError: a child process did not.
    """
    start = time.perf_counter()
    machine = this_machine()
    source = Rounds(sizes, rounds=rounds, on_progress=on_progress)
    taken = [source.take() for _ in range(rounds)]
    found = [
        figures.order(taken),
        figures.core(taken),
        figures.floor(taken),
        figures.chaos(taken),
        figures.paced(taken),
        *figures.seeds(taken),
        *figures.cold(taken),
    ]
    if full:
        found.extend(_growth(sizes.grow, on_progress))
    hop_low, hop, hop_high = figures.hop(taken)
    return BenchReport(
        schema_version=SCHEMA_VERSION,
        lab=__version__,
        machine=machine,
        rounds=rounds,
        full=full,
        hop_us=hop,
        hop_us_low=hop_low,
        hop_us_high=hop_high,
        figures=tuple(found),
        wall_s=time.perf_counter() - start,
    )


def _growth(orders: tuple[int, int, int], on_progress: OnProgress | None) -> tuple[Figure, ...]:
    """The long runs: the short one of them several times, around the others."""
    small, middle, large = orders
    tell = on_progress or (lambda _done, _total, _what: None)
    plan = [small, middle, small, large, *[small] * (_GROW_BASE - 2)]
    grown = []
    for number, count in enumerate(plan):
        tell(number, len(plan), f"a run of {count:,} orders")
        grown.append(grow(count))
    of = {count: [one for one in grown if one.orders == count] for count in orders}
    return figures.growth(of[small], of[middle][0], of[large][0])


def encode_report(report: BenchReport) -> bytes:
    """What `lab bench --json` prints: one JSON object, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def bench_schema() -> bytes:
    """The JSON Schema of that object."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"lab bench, schema_version {SCHEMA_VERSION}",
        **msgspec.json.schema(BenchReport),
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
