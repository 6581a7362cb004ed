"""How far each group has come in each partition, by its members and by the bus.

Epochs tell which member came first, so nothing in here depends on the order of entries of different
members in the history. Not here: the folds that fill a track (`delivery_folds`, `fact_folds`), and
the promises.
"""

from collections.abc import Iterator
from typing import Final

from lab.checks.partition_owners import Owners
from lab.checks.standing_records import StandingRecords, Topics
from lab.history.calls import DeliverEntry, SettleEntry
from lab.history.entries import Entry

_NOWHERE: Final = 2**62


class GroupProgress:
    """One member's way through one partition under one epoch, by the member's own entries.

    Attributes:
        low: the lowest offset that it started or settled.
        acked: the offsets at or above `reported` that it acknowledged.
        reported: the highest position that it reported, -1 without one. first: the first one.
        from_: `low` at the first report: all offsets below must belong to other members.
        open: the lowest offset that it may not have acknowledged, as of the last look.
    """

    __slots__ = ("acked", "epoch", "first", "from_", "low", "open", "process", "reported")

    def __init__(self, process: str, epoch: int) -> None:
        self.process = process
        self.epoch = epoch
        self.low = _NOWHERE
        self.acked: set[int] = set()
        self.reported = -1
        self.first = -1
        self.from_ = _NOWHERE
        self.open = _NOWHERE

    def first_open(self) -> int:
        """The lowest offset since its first start that it has not acknowledged."""
        offset = max(self.open, self.reported)
        while offset in self.acked:
            offset += 1
        self.open = offset
        return offset


class Track:
    """Positions of one partition in one group.

    Attributes:
        records: that stand in the partition.
        passed: the group's committed position, the highest one.
        back: accepted commits that set the position back: (when, epoch, from, to), and whether one
            of an epoch before had come further.
        gaps: offsets below the committed position that no member has acknowledged.
        ahead: positions reported while an offset below them was not acknowledged: (process,
            position, the offset). Complete after `conclude`.
        epoch: highest one of an accepted commit.
        superseded: accepted commits of a lower epoch than one before: (epoch, higher epoch).
        widest: the longest run of records of a member from its first unsettled one on, and that
            member.
    """

    __slots__ = (
        "_acked",
        "_members",
        "_newest",
        "_owners",
        "_past",
        "_position",
        "_started",
        "ahead",
        "back",
        "epoch",
        "gaps",
        "group",
        "partition",
        "passed",
        "records",
        "superseded",
        "topic",
        "widest",
    )

    def __init__(self, group: str, records: StandingRecords, owners: Owners) -> None:
        self.group = group
        self.records = records
        self._owners = owners
        self.topic = records.topic
        self.partition = records.partition
        self.passed = 0
        self.back: tuple[tuple[int, int, int, int, bool], ...] = ()
        self._position = 0
        self.gaps: dict[int, None] = {}
        self.ahead: tuple[tuple[str, int, int], ...] = ()
        self.epoch = 0
        self.superseded: tuple[tuple[int, int], ...] = ()
        self.widest = (0, "")
        self._members: dict[str, GroupProgress] = {}
        self._past: list[GroupProgress] = []
        # Offsets at or above `passed`: the settlement of the latest epoch that acknowledged one,
        # the last delivery, and the highest epoch of a delivery. Most entries are never looked at,
        # so they are kept as they were written.
        self._acked: dict[int, Entry] = {}
        self._started: dict[int, Entry] = {}
        self._newest = 0

    # ---- by its members

    def start(self, process: str, offset: int, epoch: int, entry: Entry) -> SettleEntry | None:
        """A record is handed to a chain, by this `deliver`.

        Returns:
            The ack of another member of an earlier epoch, if there is one.
        """
        progress = self._members.get(process)
        if progress is None or progress.epoch < epoch:
            progress = self._begin(process, epoch)
        if offset < progress.low:  # noqa: PLR1730 - as in `delivery_folds`
            progress.low = offset
        if progress.open == _NOWHERE:
            progress.open = offset
        if offset - progress.open >= self.widest[0] and epoch == progress.epoch:
            # Rarely so: then it is worth looking how far it has really come.
            self.widest = max(self.widest, (offset - progress.first_open() + 1, process))
        if epoch > self._newest:  # noqa: PLR1730 - as in `delivery_folds`
            self._newest = epoch
        if offset >= self.passed:
            self._started[offset] = entry
        if offset in self._acked:
            acked = SettleEntry._make(self._acked[offset])
            if acked.epoch < epoch and acked.process != process:
                return acked
        return None

    def ack(self, process: str, offset: int, epoch: int, entry: Entry) -> DeliverEntry | None:
        """A record is acknowledged, by this `settle`.

        Returns:
            The start by another member of a later epoch, if there is one.
        """
        progress = self._members.get(process)
        if progress is None or progress.epoch < epoch:
            progress = self._begin(process, epoch)
        if epoch == progress.epoch:
            if offset < progress.low:  # noqa: PLR1730 - as in `delivery_folds`
                progress.low = offset
            if offset >= progress.reported:
                progress.acked.add(offset)
        if offset < self.passed:
            self.gaps.pop(offset, None)
            return None
        if offset not in self._acked or SettleEntry._make(self._acked[offset]).epoch <= epoch:
            self._acked[offset] = entry
        if epoch < self._newest and offset in self._started:
            started = DeliverEntry._make(self._started[offset])
            if started.epoch > epoch and started.process != process:
                return started
        return None

    def uncommitted(self) -> Iterator[SettleEntry]:
        """The acknowledgements that no committed position has passed, in their order."""
        return map(SettleEntry._make, self._acked.values())

    def report(self, process: str, position: int, epoch: int) -> None:
        """A process is about to commit `position`: all below must be acknowledged by now."""
        progress = self._members.get(process)
        if progress is None or progress.epoch < epoch:
            progress = self._begin(process, epoch)
        if progress.epoch > epoch:
            return
        if progress.reported < 0:
            progress.first = position
            progress.from_ = min(progress.low, position)
        acked, low, reported = progress.acked, progress.low, progress.reported
        if low < reported:  # noqa: PLR1730 - as in `delivery_folds`
            low = reported
        passed = range(low, position)
        if not acked.issuperset(passed):
            offset = next(offset for offset in passed if offset not in acked)
            self.ahead += ((process, position, offset),)
        if position > reported:
            progress.reported = position
            acked.difference_update(passed)

    def member(self, epoch: int) -> str:
        """Who had the partition under an epoch, as far as members tell; else the group."""
        members = (*self._members.values(), *self._past)
        return next((each.process for each in members if each.epoch == epoch), self.group)

    def first_open(self, process: str) -> int:
        """The lowest offset that a member may not have acknowledged; far away without any."""
        progress = self._members.get(process)
        return _NOWHERE if progress is None else progress.first_open()

    def reported_by(self, process: str) -> int:
        """The highest position that a member reported, -1 without one."""
        progress = self._members.get(process)
        return -1 if progress is None else progress.reported

    def conclude(self) -> None:
        """The history is complete: each member must have begun where earlier ones had come to."""
        reached = 0
        reports = [each for each in (*self._past, *self._members.values()) if each.reported >= 0]
        for progress in sorted(reports, key=lambda each: each.epoch):
            if progress.from_ > reached:
                self.ahead += ((progress.process, progress.first, reached),)
            reached = max(reached, progress.reported)

    def _begin(self, process: str, epoch: int) -> GroupProgress:
        before = self._members.get(process)
        if before is not None:
            self._past.append(before)
            before.acked = set()
        progress = self._members[process] = GroupProgress(process, epoch)
        self._owners.work(process, self.group, self.topic, self.partition, epoch)
        return progress

    # ---- by the bus

    def commit(self, position: int, epoch: int, t_us: int) -> None:
        """The bus accepted `position`."""
        if epoch < self.epoch:
            self.superseded += ((epoch, self.epoch),)
        else:
            if position < self._position and epoch:
                is_anew = epoch > self.epoch
                self.back += ((t_us, epoch, self._position, position, is_anew),)
            self.epoch = epoch
        self._position = position
        acked, started = self._acked, self._started
        for offset in range(self.passed, position):
            started.pop(offset, None)
            if acked.pop(offset, None) is None:
                self.gaps[offset] = None
        if position > self.passed:  # noqa: PLR1730 - as in `delivery_folds`
            self.passed = position
        self.records.pass_by(self.group, self.passed)


class Tracks(dict[tuple[str, str, int], Track]):
    """All tracks of a run, by (group, topic, partition); a missing one is made.

    Attributes:
        topics: the partitions that they are about. owners: of these.
    """

    def __init__(self) -> None:
        super().__init__()
        self.topics = Topics()
        self.owners = Owners()

    def __missing__(self, key: tuple[str, str, int]) -> Track:
        group, topic, partition = key
        track = self[key] = Track(group, self.topics[topic, partition], self.owners)
        return track
