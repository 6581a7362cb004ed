"""Load shedding: an API that has its hands full says so, before anything is stored.

A sale begins and everybody orders at once, while the database groans. Every request that is let in
waits for it with all the others: memory fills, each answer comes later than its client waits, and
clients who ask again add to the load. Not one of them is served any better for it.

The rule: with as many requests in hand as it may have, a process answers new work with 503 and
Retry-After, at once. It has stored nothing then, so the client may simply come again.

The weak part lets everybody in.

Source: Amazon Builders' Library, "Using load shedding to avoid overload".
"""

from lab.history.pen import Pen


class LoadShedding:
    """The bound on the requests that one process has in hand.

    Args:
        in_flight_max: more are never let in.
        pen: for the history.
    """

    def __init__(self, *, in_flight_max: int, pen: Pen) -> None:
        self._in_flight_max = in_flight_max
        self._process, self._now, self._write = pen.process, pen.now, pen.write

    def admits(self, in_hand: int) -> bool:
        """Whether a request is let in; if not, it is shed. `in_hand` counts it already."""
        if in_hand <= self._in_flight_max:
            return True
        if self._write is not None:
            self._write(("acted", self._now(), self._process, "", "load_shedding", "shed"))
        return False


class AdmitAll:
    """The weak part: every request is let in, and waits with all the others."""

    def __init__(self, **_: object) -> None:
        """Nothing is counted."""

    def admits(self, in_hand: int) -> bool:  # noqa: ARG002 - of the same shape
        """Always."""
        return True
