"""Promises about positions and ownership: a commit passes settled records only, under valid epochs.

Not here: the owner of a partition at an instant. Only epochs, fences and offsets are compared.
"""

from typing import Final

from lab.checks.check import Check, Seen

_LATE_US: Final = 60_000_000
"""For so long after an outage of the broker a commit of before may still be applied."""


class CommitPrefix(Check):
    """A committed position never passes an offset that no member acknowledged.

    By the entries of processes: when a position is reported, all below it are acknowledged. By the
    facts of the bus: no offset below the committed position is left unacknowledged.
    """

    name = "commit-prefix"
    sentence = "a group's position never passes a record that is not settled"

    def conclude(self, seen: Seen) -> None:
        for track in seen.tracks:
            self.checked += track.passed
            where = f"{track.group} on {track.topic}/{track.partition}"
            for process, position, offset in track.ahead:
                self.broken(
                    f"{process}: {where} was to be committed at {position}, "
                    f"and offset {offset} was not settled"
                )
            if seen.has_ended and track.gaps:
                offset = next(iter(track.gaps))
                self.broken(
                    f"{where} is committed at {track.passed}, "
                    f"and offset {offset} was never settled",
                    times=len(track.gaps),
                )


class CommitForward(Check):
    """Accepted commits only go forward; none goes past the last record.

    An answer that an outage of the broker swallowed leaves a commit that may be applied late: what
    was set back within one epoch in such a time, or soon after it, is not judged. Whatever was out,
    a new epoch begins where the one before had come to.
    """

    name = "commit-forward"
    sentence = "a group's position never goes back, nor past the end of the log"

    def conclude(self, seen: Seen) -> None:
        for track in seen.tracks:
            self.checked += track.passed > 0
            where = f"{track.group} on {track.topic}/{track.partition}"
            for t_us, epoch, before, after, is_anew in track.back:
                if is_anew or not seen.facts.was_out(track.group, t_us - _LATE_US, t_us):
                    who = track.member(epoch)
                    self.broken(f"{who}: {where} was committed at {before}, and then at {after}")
            if seen.has_ended and track.passed > track.records.end:
                self.broken(
                    f"{track.member(track.epoch)}: {where} is committed at {track.passed}, "
                    f"and the partition ends at {track.records.end}"
                )


class OneOwner(Check):
    """Under one epoch a partition is given to one member; nobody else has records of it in hand."""

    name = "one-owner"
    sentence = "a partition belongs to one member at a time, and no other one is given its records"

    def conclude(self, seen: Seen) -> None:
        owners = seen.deliveries.owners
        self.checked += owners.told
        for group, place, epoch, first, second in owners.shared:
            self.broken(f"{first} and {second} of {group} both own {place} under epoch {epoch}")
        for _, place, epoch, process in owners.strangers:
            self.broken(f"{process} had records of {place}, which is not its own in epoch {epoch}")


class FencingHolds(Check):
    """Nothing of a superseded epoch or fence is accepted. Overlap itself breaks nothing."""

    name = "fenced"
    sentence = "who has lost a partition or a lease can commit, settle and complete nothing more"

    def conclude(self, seen: Seen) -> None:
        for track in seen.tracks:
            self.checked += track.epoch > 0
            for epoch, present in track.superseded:
                self.broken(
                    f"{track.group} on {track.topic}/{track.partition}: a commit of epoch {epoch} "
                    f"was accepted after one of epoch {present}"
                )
        for life in seen.lives:
            for settled in life.stale:
                where = f"{settled.topic}/{settled.partition} offset {settled.offset}"
                self.broken(
                    f"{life.name} settled {where} under epoch {settled.epoch} after it had lost it",
                    settled.subject,
                )
        for process, group, event_id in seen.calls.claims.usurped:
            self.broken(
                f"{process} ended the claim of {event_id} in {group} after "
                "another owner had taken it over"
            )
