"""Claims of events in the dedupe store: given back too late, or completed by a superseded owner.

Fences tell which claim came first; the order of answers of two processes tells nothing. Not here:
the promises (`promises/claims`, `promises/positions`).
"""

from collections.abc import Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from lab.checks.fact_folds import Fold
from lab.checks.order_case import Owed, owed_of
from lab.history.calls import ClaimEntry, CompleteEntry, SettleEntry, UnclaimEntry
from lab.history.entries import Entry, time_of

T = TypeVar("T")

_GRANTED: Final = ("acquired", "takeover")

REMEMBERED: Final = 8_192
"""So many events are remembered, at least, in case that a takeover of one of them follows."""

BEFORE_US: Final = 5_000_000
"""A completion so long before a takeover was no completion of the claim that was taken over."""


class Kept(NamedTuple):
    """A claim that was granted at `claimed_us` was not given back, by `until_us`.

    Attributes:
        subject: the order, "" if it is not known.
        is_refused: the store did not accept the end of the claim, whatever the reason.
    """

    process: str
    subject: str
    group: str
    event_id: str
    claimed_us: int
    until_us: int
    is_refused: bool


class Doubled(NamedTuple):
    """An event was claimed while another claim of it was held, or taken over from it.

    Attributes:
        first, second: the claims, as they were granted.
        ended_us: when the end of the first was answered later; None if it never was.
    """

    first: ClaimEntry
    second: ClaimEntry
    ended_us: int | None = None


class Claims:
    """Claims of one run.

    Attributes:
        held: claims that were granted and neither completed nor given back, by (process, group,
            event id), as written. Read it on hot paths, write it never.
        granted: how many there were. kept: see `Kept`.
        doubled: see there, by the first claim: its process, group and event id.
        forgotten: claims of events that were granted although the store had been told that they
            are done, and should have known it still.
    """

    def __init__(self, done_us: int) -> None:
        self._done_us = done_us
        self.held: dict[tuple[str, str, str], Entry] = {}
        self.granted = 0
        self.kept: tuple[Kept, ...] = ()
        self.doubled: dict[tuple[str, str, str], Doubled] = {}
        self.forgotten: tuple[ClaimEntry, ...] = ()
        self._usurped: dict[Owed, tuple[CompleteEntry, ClaimEntry]] = {}
        self._takeovers: dict[Owed, ClaimEntry] = {}
        # Hardly any is ever compared, so they are kept as they were written.
        self._completions: _Recent[Entry] = _Recent()
        self._fresh: _Recent[tuple[Entry, ...]] = _Recent()

    @property
    def usurped(self) -> tuple[tuple[str, str, str], ...]:
        """Ends accepted after a takeover by another owner: (process, group, event id)."""
        return tuple((completed.process, *owed) for owed, (completed, _) in self._usurped.items())

    def hot_folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as plain tuples."""
        return {"claim": self._claimed, "complete": self._completed, "unclaim": self._given_back}

    def settled(self, entry: SettleEntry) -> None:
        """A delivery was settled while its process had a claim of its event."""
        place = (entry.process, entry.group, entry.event_id)
        claimed_us = time_of(self.held.pop(place))
        self.kept += (
            Kept(
                entry.process, entry.subject, *place[1:], claimed_us, entry.t_us, is_refused=False
            ),
        )

    def _claimed(self, entry: ClaimEntry) -> None:
        """A claim was answered."""
        _, _, process, _, group, event_id, state, fence = entry
        owed = (group, event_id)
        if state == "acquired":
            before = self._fresh.get(owed)
            if before is not None or (self._takeovers and owed in self._takeovers):
                self._succeed(before or (), ClaimEntry._make(entry), is_takeover=False)
            self._fresh.put(owed, (entry,) if before is None else (*before, entry))
            if before is not None:
                self._look_at_done(ClaimEntry._make(entry))
            if self._usurped and owed in self._usurped:
                self._compare(*self._usurped.pop(owed))
        elif state == "takeover":
            takeover = ClaimEntry._make(entry)
            self._succeed(self._fresh.get(owed) or (), takeover, is_takeover=True)
            known = self._takeovers.get(owed)
            if known is None or known.fence < fence:
                self._takeovers[owed] = takeover
            completed = self._completions.get(owed)
            if completed is not None:
                self._compare(CompleteEntry._make(completed), takeover)
        if state in _GRANTED:
            self.held[process, group, event_id] = entry
            self.granted += 1

    def _succeed(self, fresh: tuple[Entry, ...], second: ClaimEntry, *, is_takeover: bool) -> None:
        """Note which claim a further one of the same event follows, unless that was given back."""
        before = [claim for claim in map(ClaimEntry._make, fresh) if claim.fence < second.fence]
        taken = self._takeovers.get((second.group, second.event_id))
        if taken is not None and taken.fence < second.fence:
            before.append(taken)
        if not before:
            return
        first = max(before, key=lambda claim: claim.fence)
        place = (first.process, first.group, first.event_id)
        held = self.held.get(place)
        if is_takeover or (held is not None and held[-1] == first.fence):
            self.doubled[place] = Doubled(first, second)

    def _completed(self, entry: CompleteEntry) -> None:
        """A completion was answered."""
        _, _, process, _, group, event_id, _, accepted = entry
        place = (process, group, event_id)
        claimed = self.held.pop(place, None)
        if self.doubled and place in self.doubled:
            self._end_late(place, entry)
        if not accepted:
            self._refused(entry, claimed)
            return
        owed = (group, event_id)
        self._completions.put(owed, entry)
        if self._takeovers and owed in self._takeovers:
            self._compare(CompleteEntry._make(entry), self._takeovers[owed])

    def _given_back(self, entry: UnclaimEntry) -> None:
        """The end of a claim was answered, whether it was accepted or not."""
        _, _, process, _, group, event_id, fence, accepted = entry
        place = (process, group, event_id)
        claimed = self.held.pop(place, None)
        if self.doubled and place in self.doubled:
            self._end_late(place, entry)
        if not accepted:
            self._refused(entry, claimed)
            return
        owed = (group, event_id)
        taken = self._takeovers.get(owed)
        # Given back before, it would have been acquired instead: by whoever was then taken over.
        if taken is not None and taken.fence > fence:
            self._compare(CompleteEntry._make(entry), taken)

    def _end_late(self, place: tuple[str, str, str], entry: CompleteEntry | UnclaimEntry) -> None:
        """The end of a claim was answered after another one was granted."""
        _, t_us, _, _, _, _, fence, _ = entry
        doubled = self.doubled[place]
        if doubled.first.fence == fence and doubled.ended_us is None:
            self.doubled[place] = doubled._replace(ended_us=t_us)

    def _refused(self, entry: CompleteEntry | UnclaimEntry, claimed: Entry | None) -> None:
        """The store did not accept the end of a claim."""
        _, t_us, process, _, group, event_id, *_ = entry
        if claimed is not None:
            kept = Kept(process, "", group, event_id, time_of(claimed), t_us, is_refused=True)
            self.kept += (kept,)

    def _look_at_done(self, claimed: ClaimEntry) -> None:
        """An event was claimed anew: the store must not have been told before that it is done."""
        found = self._completions.get(owed_of(claimed))
        if found is not None:
            completed = CompleteEntry._make(found)
            age_us = claimed.t_us - completed.t_us
            if completed.fence < claimed.fence and 0 < age_us < self._done_us:
                self.forgotten += (claimed,)

    def _compare(self, completed: CompleteEntry, taken_over: ClaimEntry) -> None:
        """A completed claim is never taken over: an owner with a lower fence completed it later.

        Only a store that has forgotten the completion hands the event out anew: another owner then
        acquired it without a takeover, or, if that claim is in no history, the first takeover comes
        after a whole lease. A process knows the order of its own claims and completions.
        """
        is_anew = any(
            completed.fence < fresh.fence < taken_over.fence and fresh.t_us >= completed.t_us
            for fresh in map(ClaimEntry._make, self._fresh.get(owed_of(completed)) or ())
        )
        is_own = completed.process == taken_over.process
        is_later = completed.t_us > taken_over.t_us - (0 if is_own else BEFORE_US)
        if completed.fence < taken_over.fence and is_later and not is_anew:
            self._usurped[owed_of(completed)] = (completed, taken_over)


class _Recent(Generic[T]):
    """The last value that was put, by event; of the `REMEMBERED` latest events at least.

    Two generations, so that a run of any length takes bounded memory.
    """

    def __init__(self) -> None:
        self._young: dict[Owed, T] = {}
        self._old: dict[Owed, T] = {}

    def put(self, owed: Owed, value: T) -> None:
        if len(self._young) >= REMEMBERED:
            self._young, self._old = {}, self._young
        self._young[owed] = value

    def get(self, owed: Owed) -> T | None:
        return self._young.get(owed) or self._old.get(owed)
