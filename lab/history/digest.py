"""The digest of a history: two runs are equal if and only if their digests are equal.

Not here: anything that could differ between two Pythons or machines. Entries hold
ids, kinds, outcomes and whole numbers, and MessagePack has one encoding for each of them.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from lab.history.entries import Entry

DIGEST_BYTES: Final = 16

_encode = msgspec.msgpack.Encoder().encode


class Digest:
    """A sink that hashes every entry. How entries are cut into batches does not matter."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=DIGEST_BYTES)

    def take(self, batch: Sequence[Entry]) -> None:
        """See `lab.history.recorder.Sink`."""
        # The header of the encoded list holds its length, which is the recorder's business.
        self._hash.update(_encode(batch)[_header_bytes(len(batch)) :])

    def hexdigest(self) -> str:
        """Digest of everything taken so far: 32 hexadecimal digits."""
        return self._hash.hexdigest()


def _header_bytes(items: int) -> int:
    """Length of the header that MessagePack gives to an array."""
    if items < 16:
        return 1
    return 3 if items < 65_536 else 5
