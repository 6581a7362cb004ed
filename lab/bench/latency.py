"""How long an order takes from the moment it was due to its end, and how many end a second.

Orders come in an open loop: each at its planned time, however slow those before it are, so a system
that stands still is not asked less meanwhile. In virtual time a client is never late; in a real run
it may be, and the delay counts (`open_loop`). Not here: where they were measured (`bench`, `real`).
"""

from collections.abc import Mapping

import msgspec


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run of the happy path.

    Attributes:
        p50_ms, p95_ms, p99_ms, max_ms: from the moment at which an order was due to its end; of a
            simulated run in virtual time.
        orders_per_s: orders that a second of processor time simulates; of a real run orders that
            came to their end, a second of the run.
        how: how it was measured.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    orders_per_s: float
    how: str


def latency_of(metrics: Mapping[str, float], *, orders_per_s: float, how: str) -> Latency:
    """The latency that the metrics of a simulated result tell."""
    return Latency(
        p50_ms=metrics["to_terminal_p50_ms"],
        p95_ms=metrics["to_terminal_p95_ms"],
        p99_ms=metrics["to_terminal_p99_ms"],
        max_ms=metrics["to_terminal_max_ms"],
        orders_per_s=orders_per_s,
        how=how,
    )
