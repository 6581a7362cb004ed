"""The promise about claims in the dedupe store: nobody waits for a claim under which nobody works.

Not here: the completion of a claim that was taken over (`positions`).
"""

from typing import Final

from lab.checks.check import Check, Seen
from lab.checks.claims import Kept

_AROUND_US: Final = 1_000_000
"""A call may have begun so long before the instant at which its answer is missed."""


class ClaimReturned(Check):
    """The run of a delivery is over when it is settled, and so is its claim.

    A process that died returns nothing: its lease runs out. Nor does one to which the dedupe store
    was out of reach, or that stood still, in the time from its claim on. The store accepts the end
    of a claim unless its lease is over, or it was made to forget claims.
    """

    name = "claim-returned"
    sentence = "a claim is given back when its run ends, and not when its lease runs out"

    def conclude(self, seen: Seen) -> None:
        self.checked += seen.calls.claims.granted
        for kept in seen.calls.claims.kept:
            if not self._is_explained(seen, kept):
                its = f"its claim of {kept.event_id}"
                what = f"could not end {its}" if kept.is_refused else f"kept {its} beyond its run"
                told = f"{kept.process} {what}"
                ordinal = kept.subject.partition(".")[0]
                self.broken(f"order {ordinal}: {told}" if ordinal else told, kept.subject)

    def _is_explained(self, seen: Seen, kept: Kept) -> bool:
        since_us, until_us = kept.claimed_us, kept.until_us
        if kept.is_refused and (
            seen.facts.was_claim_gone(kept.group) or until_us - since_us >= self.contract.lease_us
        ):
            return True
        # A machine that stands still for one process does so for the store as well.
        stood_still = any(
            life.stood_still_us(since_us - _AROUND_US, until_us + _AROUND_US)
            for life in seen.lives
            if life.stalls or life.name == kept.process
        )
        return stood_still or seen.facts.was_dedupe_out(since_us, until_us)
