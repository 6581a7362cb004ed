"""Ids of a lab run: functions of the seed and the order, never of the time.

So the same fault hits the same order in every world, and a history can be compared with another.
Outside of lab runs ids are the usual ones.
"""

import hashlib
import secrets
import time
from typing import Final

from lab.domain.order import OrderId
from lab.domain.trace_context import made_up
from lab.ports.ids import Ids

_DIGITS: Final = 16
"""Of the part of an order id before its subject; a UUID has half as many before its first dash."""

_DRAWN: Final = 64
_VARIANTS: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""Of a UUID: two bits are given, two are drawn."""


class SeededIds(Ids):
    """Ids that can be computed from the seed.

    An order id ends in its `ordinal.send`, so that an id alone says which order it is.
    """

    def __init__(self, seed: int) -> None:
        self._key = seed.to_bytes(8, "big", signed=False)

    def order_id(self, lab_subject: str) -> OrderId:
        return OrderId(f"{self._digest('order', lab_subject, _DIGITS // 2)}-{lab_subject}")

    def traceparent(self, lab_subject: str) -> str:
        digest = self._digest("trace", lab_subject, 24)
        return f"00-{digest[:32]}-{digest[32:]}-01"

    def _digest(self, what: str, subject: str, size: int) -> str:
        text = f"{what} {subject}".encode()
        return hashlib.blake2b(text, digest_size=size, key=self._key).hexdigest()


class TimeOrderedIds(Ids):
    """Ids outside of lab runs: UUIDv7 for orders, so that young rows lie side by side.

    Chance is drawn for many at once, a call to the system being dear: one is made after a fork.

    Source: RFC 9562, section 5.7.
    """

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def order_id(self, lab_subject: str) -> OrderId:  # noqa: ARG002 - nobody numbers the orders
        if not self._drawn:
            digits = secrets.token_hex(_DRAWN * 10)
            self._drawn += [digits[at : at + 20] for at in range(0, len(digits), 20)]
        at, drawn = f"{time.time_ns() // 1_000_000:012x}", self._drawn.pop()
        variant = _VARIANTS[drawn[3]]
        return OrderId(f"{at[:8]}-{at[8:]}-7{drawn[:3]}-{variant}{drawn[4:7]}-{drawn[7:19]}")

    def traceparent(self, lab_subject: str) -> str:
        return made_up(lab_subject)


def subject_of(order_id: str) -> str:
    """`ordinal.send` of an order id made by `SeededIds`, "" of any other."""
    digest, _, subject = order_id.partition("-")
    return subject if len(digest) == _DIGITS else ""
