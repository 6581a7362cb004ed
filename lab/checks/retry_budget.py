"""The budget of retries in place, counted a second time: a bucket of tokens for each third party.

A retry belongs to the third party whose call failed in that run of the handler, not to the one that
the process names. Where two failed, or none, nobody knows whose token was taken. Not here: the
promise (`promises/retries`).
"""

from collections.abc import Collection
from typing import Final

from lab.checks.contract import Contract

_ROUNDING: Final = 1e-6


class Buckets:
    """The tokens of one process life.

    A handler that has ended well gives tokens back a little later, when its claim is completed: as
    many handlers as there are workers may be in between. So much is left open, both ways.
    """

    __slots__ = ("_full", "_is_full", "_least", "_least_of_others", "_most", "_open", "_refill")

    def __init__(self, contract: Contract) -> None:
        self._full = float(contract.budget_tokens)
        self._refill = contract.budget_refill
        self._open = contract.budget_refill * contract.workers + _ROUNDING
        # Tokens at most and at least, by third party; a full bucket is not kept.
        self._most: dict[str, float] = {}
        self._least: dict[str, float] = {}
        self._least_of_others = self._full
        self._is_full = True

    def succeeded(self) -> None:
        """A handler has ended well."""
        if self._is_full:
            return
        lowest = self._least_of_others = min(self._least_of_others + self._refill, self._full)
        for buckets in (self._most, self._least):
            for name, left in buckets.items():
                buckets[name] = filled = min(left + self._refill, self._full)
                lowest = min(lowest, filled)
        self._is_full = lowest >= self._full

    def take(self, failed: Collection[str]) -> bool:
        """An event is retried in place; False if there was no token for sure.

        Args:
            failed: the third parties one of which was the cause; empty if none of them was.
        """
        self._is_full = False
        if not failed:
            # At its own deadline, or by the store: the token may be of any bucket.
            self._least_of_others = max(self._least_of_others - 1, 0.0)
        for name in failed or tuple(self._least):
            self._least[name] = max(self._least.get(name, self._least_of_others) - 1, 0.0)
        if len(failed) != 1:
            return True
        (name,) = failed
        left = self._most.get(name, self._full)
        self._most[name] = max(left - 1, -self._open)
        return left >= 1 - self._open

    def had_one(self, failed: Collection[str]) -> bool:
        """Whether there was a token for sure, whichever of these was the cause."""
        return bool(failed) and all(
            self._least.get(name, self._least_of_others) >= 1 + self._open for name in failed
        )
