"""The promise about claims in the dedupe store: one holder at a time, and none who does not work.

Not here: the completion of a claim that was taken over (`positions`).
"""

from typing import Final

from lab.checks.check import Check, Seen
from lab.checks.claims import Doubled, Kept

_AROUND_US: Final = 1_000_000
"""A call may have begun so long before the instant at which its answer is missed."""


class ClaimReturned(Check):
    """The run of a delivery is over when it is settled, and so is its claim.

    A process that died returns nothing: its lease runs out. Nor does one to which the dedupe store
    was out of reach, or that stood still, in the time from its claim on. The store accepts the end
    of a claim unless its lease is over, or it was made to forget claims. And it grants no other one
    before: else two handlers work side by side.
    """

    name = "claim-returned"
    sentence = "an event is claimed by one run at a time, which gives it back as soon as it ends"

    def conclude(self, seen: Seen) -> None:
        self.checked += seen.calls.claims.granted
        for kept in seen.calls.claims.kept:
            if not self._is_explained(seen, kept):
                its = f"its claim of {kept.event_id}"
                what = f"could not end {its}" if kept.is_refused else f"kept {its} beyond its run"
                told = f"{kept.process} {what}"
                ordinal = kept.subject.partition(".")[0]
                self.broken(f"order {ordinal}: {told}" if ordinal else told, kept.subject)
        for doubled in seen.calls.claims.doubled.values():
            first, second = doubled.first, doubled.second
            held_us = second.t_us - first.t_us
            if not self._is_legal(seen, doubled):
                self.broken(
                    f"{second.process} was given the claim of {first.event_id} in {first.group} "
                    f"{held_us / 1e6:.3f}s after {first.process}, whose lease was not over"
                )

    def _is_legal(self, seen: Seen, doubled: Doubled) -> bool:
        """Whether the first claim was over, or may have been, when the second one was granted."""
        first, second, ended_us = doubled
        late_us = 10 * self.contract.slack_us
        since_us, until_us = first.t_us, second.t_us
        if until_us - since_us >= self.contract.lease_us - late_us or self._stood_still(
            seen, first.process, since_us, until_us
        ):
            return True
        if second.state == "takeover":
            # It was still there, so nobody had forgotten it, or given it back unheard.
            return seen.facts.was_lease_cut(first.group)
        if seen.facts.was_claim_gone(first.group) or seen.facts.was_dedupe_out(since_us, until_us):
            return True
        # Answers cross each other, and nobody hears of the last call of a process that ends.
        ends_us = (
            ended_us,
            *(
                end_us
                for life in seen.lives
                if life.name == first.process
                for end_us in (life.term_us, life.end_us)
            ),
        )
        return any(end_us is not None and end_us <= until_us + late_us for end_us in ends_us)

    def _is_explained(self, seen: Seen, kept: Kept) -> bool:
        since_us, until_us = kept.claimed_us, kept.until_us
        if kept.is_refused and (
            seen.facts.was_claim_gone(kept.group) or until_us - since_us >= self.contract.lease_us
        ):
            return True
        return self._stood_still(
            seen, kept.process, since_us, until_us
        ) or seen.facts.was_dedupe_out(since_us, until_us)

    def _stood_still(self, seen: Seen, process: str, since_us: int, until_us: int) -> bool:
        """Whether the process did: a machine that does for one does so for the store as well."""
        return any(
            life.stood_still_us(since_us - _AROUND_US, until_us + _AROUND_US)
            for life in seen.lives
            if life.stalls or life.name == process
        )
