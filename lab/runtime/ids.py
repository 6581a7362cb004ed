"""Ids of a lab run: functions of the seed and of who the order is, never of the time.

So the same fault hits the same order in every world, and a history can be compared with another.
"""

import hashlib

from lab.domain.order import OrderId
from lab.ports.ids import Ids


class SeededIds(Ids):
    """Ids that anybody can compute who knows the seed.

    An order id ends in its `ordinal.send`, so that whoever holds one knows which order it is.
    """

    def __init__(self, seed: int) -> None:
        self._key = seed.to_bytes(8, "big", signed=False)

    def order_id(self, lab_subject: str) -> OrderId:
        return OrderId(f"{self._digest('order', lab_subject, 8)}-{lab_subject}")

    def traceparent(self, lab_subject: str) -> str:
        digest = self._digest("trace", lab_subject, 24)
        return f"00-{digest[:32]}-{digest[32:]}-01"

    def _digest(self, what: str, subject: str, size: int) -> str:
        text = f"{what} {subject}".encode()
        return hashlib.blake2b(text, digest_size=size, key=self._key).hexdigest()


def subject_of(order_id: str) -> str:
    """`ordinal.send` of an order id made by `SeededIds`, "" of any other."""
    return order_id.partition("-")[2]
