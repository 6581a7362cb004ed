"""How far each group has come in each partition: what its members say, and what the bus says.

Members are told apart by their epochs, which say who was first; so nothing in here depends on whose
entry stands first in the history. Not here: who fills it, what is promised.
"""

from typing import Final

from lab.history.shapes import Deliver, Settle

_NOWHERE: Final = 2**62


class Progress:
    """One member's way through one partition under one epoch, as the member itself tells it.

    Attributes:
        low: the lowest offset that it started or settled.
        acked: what it acknowledged at or above `told`.
        told: the highest position that it told, -1 without one. first: the first one.
        from_: `low` when it told the first one: all below must be somebody else's.
        open: the lowest offset that it may not have acknowledged, as of the last look.
    """

    __slots__ = ("acked", "epoch", "first", "from_", "low", "open", "process", "told")

    def __init__(self, process: str, epoch: int) -> None:
        self.process = process
        self.epoch = epoch
        self.low = _NOWHERE
        self.acked: set[int] = set()
        self.told = -1
        self.first = -1
        self.from_ = _NOWHERE
        self.open = _NOWHERE

    def first_open(self) -> int:
        """The lowest offset since its first start that it has not acknowledged."""
        offset = max(self.open, self.told)
        while offset in self.acked:
            offset += 1
        self.open = offset
        return offset


class Track:
    """Positions of one partition in one group.

    Attributes:
        acked: acknowledged offsets at or above `passed`, with the settlement of the latest epoch.
        started: offsets at or above `passed` that were handed to a chain, with the delivery.
        passed: the group's committed position.
        gaps: offsets that a committed position passed and nobody has acknowledged.
        ahead: positions told while an offset below them was not acknowledged: (process, position,
            the offset). Complete after `conclude`.
        epoch: highest one of an accepted commit.
        superseded: accepted commits of a lower epoch than one before: (epoch, higher epoch).
        widest: the most records that a member had come past its first unsettled one, that one
            counted, and which member.
    """

    __slots__ = (
        "_members",
        "_past",
        "acked",
        "ahead",
        "epoch",
        "gaps",
        "group",
        "partition",
        "passed",
        "started",
        "superseded",
        "topic",
        "widest",
    )

    def __init__(self, group: str, topic: str, partition: int) -> None:
        self.group = group
        self.topic = topic
        self.partition = partition
        self.acked: dict[int, Settle] = {}
        self.started: dict[int, Deliver] = {}
        self.passed = 0
        self.gaps: dict[int, None] = {}
        self.ahead: tuple[tuple[str, int, int], ...] = ()
        self.epoch = 0
        self.superseded: tuple[tuple[int, int], ...] = ()
        self.widest = (0, "")
        self._members: dict[str, Progress] = {}
        self._past: list[Progress] = []

    # ---- as members tell it

    def start(self, entry: Deliver) -> Settle | None:
        """A record is handed to a chain; the ack of another member of an earlier epoch, if any."""
        process, offset, epoch = entry[2], entry[7], entry[8]
        progress = self._members.get(process)
        if progress is None or progress.epoch < epoch:
            progress = self._begin(process, epoch)
        if offset < progress.low:  # noqa: PLR1730 - as in `call_folds`
            progress.low = offset
        if progress.open == _NOWHERE:
            progress.open = offset
        if offset - progress.open >= self.widest[0] and epoch == progress.epoch:
            # Rarely so: then it is worth looking how far it has really come.
            self.widest = max(self.widest, (offset - progress.first_open() + 1, process))
        if offset >= self.passed:
            self.started[offset] = entry
        acked = self.acked.get(offset)
        if acked is not None and acked[8] < epoch and acked[2] != process:
            return acked
        return None

    def ack(self, entry: Settle) -> Deliver | None:
        """A record is acknowledged; the start of another member of a later epoch, if any."""
        process, offset, epoch = entry[2], entry[7], entry[8]
        progress = self._members.get(process)
        if progress is None or progress.epoch < epoch:
            progress = self._begin(process, epoch)
        if epoch == progress.epoch:
            if offset < progress.low:  # noqa: PLR1730 - as above
                progress.low = offset
            if offset >= progress.told:
                progress.acked.add(offset)
        if offset < self.passed:
            self.gaps.pop(offset, None)
            return None
        before = self.acked.get(offset)
        if before is None or before[8] <= epoch:
            self.acked[offset] = entry
        started = self.started.get(offset)
        if started is not None and started[8] > epoch and started[2] != process:
            return started
        return None

    def tell(self, process: str, position: int, epoch: int) -> None:
        """A process is about to commit `position`: all below must be acknowledged by now."""
        progress = self._members.get(process)
        if progress is None or progress.epoch < epoch:
            progress = self._begin(process, epoch)
        if progress.epoch > epoch:
            return
        if progress.told < 0:
            progress.first = position
            progress.from_ = min(progress.low, position)
        acked = progress.acked
        for offset in range(max(min(progress.low, position), progress.told), position):
            if offset not in acked:
                self.ahead += ((process, position, offset),)
                break
        if position > progress.told:
            progress.told = position
            progress.acked = {offset for offset in acked if offset >= position}

    def told_by(self, process: str) -> int:
        """The highest position that a member told, -1 without one."""
        progress = self._members.get(process)
        return -1 if progress is None else progress.told

    def conclude(self) -> None:
        """The history is complete: a member began where those before it had come to."""
        reached = 0
        told = [each for each in (*self._past, *self._members.values()) if each.told >= 0]
        for progress in sorted(told, key=lambda each: each.epoch):
            if progress.from_ > reached:
                self.ahead += ((progress.process, progress.first, reached),)
            reached = max(reached, progress.told)

    def _begin(self, process: str, epoch: int) -> Progress:
        before = self._members.get(process)
        if before is not None:
            self._past.append(before)
            before.acked = set()
        progress = self._members[process] = Progress(process, epoch)
        return progress

    # ---- as the bus has it

    def commit(self, position: int, epoch: int) -> None:
        """The bus accepted `position`."""
        if epoch < self.epoch:
            self.superseded += ((epoch, self.epoch),)
        else:
            self.epoch = epoch
        acked, started = self.acked, self.started
        for offset in range(self.passed, position):
            started.pop(offset, None)
            if acked.pop(offset, None) is None:
                self.gaps[offset] = None
        self.passed = max(self.passed, position)


class Tracks(dict[tuple[str, str, int], Track]):
    """All tracks of a run, by (group, topic, partition); a missing one is made."""

    def __missing__(self, key: tuple[str, str, int]) -> Track:
        track = self[key] = Track(*key)
        return track
