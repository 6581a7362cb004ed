"""Ids made at the edge.

Not here: ids of derived events, which are computed (`lab.domain.events.derived_id`).
"""

from typing import Protocol

from lab.domain.order import OrderId


class Ids(Protocol):
    """Names new things."""

    def order_id(self, lab_subject: str) -> OrderId:
        """Id of a new order: a function of (seed, `lab_subject`) in a lab run, else a UUIDv7."""
        ...

    def traceparent(self, lab_subject: str) -> str:
        """The W3C traceparent of an order: a function of its subject, so anybody can compute it.

        Args:
            lab_subject: `ordinal.send` in a lab run, else the order's id.
        """
        ...
