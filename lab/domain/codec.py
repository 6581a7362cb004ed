"""Payloads as bytes, and the partition of a key.

Both are the same on every bus, in memory too: the simulator carries the same bytes as Kafka. Not
here: the envelope around the payload (`lab.domain.envelope`).
"""

from functools import lru_cache
from struct import unpack_from
from typing import Final

import msgspec

from lab.domain.errors import Poison
from lab.domain.events import PAYLOADS, Payload

encode: Final = msgspec.json.Encoder().encode
"""The bytes of a payload: JSON, fields in the order of the struct. Equal payloads, equal bytes."""

_DECODERS: Final = {name: msgspec.json.Decoder(kind) for name, kind in PAYLOADS.items()}


def decode(event_type: str, data: bytes) -> Payload:
    """The payload of an event. Unknown fields are ignored: a newer writer may know more.

    Raises:
        Poison: the type is unknown, or `data` is no payload of it.
    """
    decoder = _DECODERS.get(event_type)
    if decoder is None:
        raise Poison(f"no such event type: {ascii(event_type)[:80]}")
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as bad:
        raise Poison(f"not the payload of an {event_type}: {bad}") from None


# An order's key comes back with each of its events, and its records come close together.
@lru_cache(maxsize=8_192)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, from 0, as Kafka's default partitioner chooses it.

    Source: org.apache.kafka.clients.producer.internals.BuiltInPartitioner.
    """
    return (murmur2(key) & 0x7FFF_FFFF) % partitions


_M: Final = 0x5BD1_E995
_MASK: Final = 0xFFFF_FFFF
_SEED: Final = 0x9747_B28C


def murmur2(data: bytes) -> int:
    """The 32-bit hash of Kafka's clients, unsigned.

    Source: Austin Appleby's MurmurHash2 with Kafka's seed.
    """
    length = len(data)
    words = length >> 2
    state = _SEED ^ length
    for word in unpack_from(f"<{words}I", data):
        mixed = word * _M & _MASK
        state = (state * _M ^ (mixed ^ mixed >> 24) * _M) & _MASK
    rest = data[words << 2 :]
    if rest:
        state = (state ^ int.from_bytes(rest, "little")) * _M & _MASK
    state = (state ^ state >> 13) * _M & _MASK
    return state ^ state >> 15
