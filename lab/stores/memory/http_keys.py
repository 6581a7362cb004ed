"""The answers that stand under Idempotency-Keys, as bytes; the oldest are forgotten.

Not here: whether a request may use a key (`lab.patterns.http_idempotency`).
"""

from typing import Final

import msgspec

from lab.ports.store import HttpKeyRow
from lab.stores.memory.base import Aged

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[str, int, bytes, int]).decode


class HttpKeyTable:
    """One row a key.

    Args:
        retention_us: a row is kept for so long at least.
    """

    def __init__(self, retention_us: int) -> None:
        self._kept: Aged[bytes] = Aged(retention_us)

    def __contains__(self, key: str) -> bool:
        return self._kept.get(key) is not None

    def find(self, key: str) -> HttpKeyRow | None:
        """The row of a key."""
        packed = self._kept.get(key)
        if packed is None:
            return None
        body_sha256, status, answer, _ = _decode(packed)
        return HttpKeyRow(key=key, body_sha256=body_sha256, status=status, answer=answer)

    def put(self, row: HttpKeyRow, now_us: int) -> None:
        """Keep a row."""
        packed = _encode((row.body_sha256, row.status, row.answer, now_us))
        self._kept.put(row.key, packed, now_us)

    def older(self, than_us: int) -> list[str]:
        """The keys of the rows that were put before that instant."""
        return self._kept.older(lambda packed: _decode(packed)[3] < than_us)

    def cut(self, keys: list[str]) -> None:
        """Forget some rows."""
        for key in keys:
            self._kept.pop(key)

    def clear(self) -> None:
        """Forget every row."""
        self._kept.clear()
