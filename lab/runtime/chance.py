"""Keyed chance: a draw is a function of the seed and a key, never of an earlier draw.

So a coin shows the same side in every interleaving, on every machine and every Python version, and
a higher rate contains a lower one: a fault that fired at 10 % fires at 20 % too. A stream of random
numbers has neither property; one more draw anywhere shifts all that follow.

Not here: ids (they are derived), and which keys there are (faults, made-up orders).
"""

from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, TypeVar

from lab.ports.chance import Draw

T = TypeVar("T")

Key = str | int
"""A part of a key. Enum members count as their values."""

_SCALE: Final = 2.0**-53
_UNSIGNED: Final = Struct("<Q").unpack


class KeyedChance:
    """Draws for one seed. Parts of a key are told apart: ``("a", "bc")`` is not ``("ab", "c")``.

    Use ordinals, names of sites and event types as keys; an id or a time would make the draw depend
    on its own outcome.
    """

    __slots__ = ("_start", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._start = blake2b(b"%d\0" % seed, digest_size=8)

    def bits(self, *key: Key) -> int:
        """An integer of 64 even bits."""
        text = ascii(key)
        if "<" in text:  # the representation of an enum member names its class
            text = ascii(tuple(_plain(part) for part in key))
        state = self._start.copy()
        state.update(text.encode())
        number: int = _UNSIGNED(state.digest())[0]
        return number

    def u(self, *key: Key) -> float:
        """A number in [0, 1), even, of 53 bits."""
        return (self.bits(*key) >> 11) * _SCALE

    def under(self, *first: Key) -> Draw:
        """`u` of keys that begin with these parts and end in a text and a number.

        What such keys have in common is hashed once.
        """
        begun = self._start.copy()
        begun.update("".join(["(", *(f"{_plain(part)!a}, " for part in first)]).encode())

        def u(text: str, number: int) -> float:
            # From here on as `ascii` of the whole key has it.
            state = begun.copy()
            state.update(f"{text!a}, {number})".encode())
            bits: int = _UNSIGNED(state.digest())[0]
            return (bits >> 11) * _SCALE

        return u

    def integer(self, lo: int, hi: int, *key: Key) -> int:
        """An integer from `lo` to `hi`, both included.

        Raises:
            ValueError: `hi` is below `lo`.
        """
        if hi < lo:
            raise ValueError(f"no integer from {lo} to {hi}")
        return lo + (self.bits(*key) * (hi - lo + 1) >> 64)

    def choice(self, options: Sequence[T], *key: Key) -> T:
        """One of `options`.

        Raises:
            ValueError: there are none.
        """
        if not options:
            raise ValueError("nothing to choose from")
        return options[self.bits(*key) * len(options) >> 64]


def _plain(part: Key) -> Key:
    """The part as a plain string or integer."""
    return str.__str__(part) if isinstance(part, str) else int(part)
