"""Promises about positions and ownership: a commit passes settled records only, under valid epochs.

Not here: the owner of a partition at an instant. Only epochs, fences and offsets are compared.
"""

from lab.checks.check import Check, Seen


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
                f"{process} completed {event_id} of {group} in the dedupe store after "
                "another owner had taken it over"
            )
