"""The owners of partitions, as members tell: one a partition and epoch, if all is well.

A group goes from epoch to epoch, and only the latest ones matter: a member that tells of an older
one is not compared any more. Not here: how far an owner has come (`partition_track`).
"""

from typing import Final, NamedTuple, TypeVar

from lab.history.calls import OwnedEntry

T = TypeVar("T")

REMEMBERED: Final = 16
"""So many epochs of a group are remembered, and of a member."""


class Shared(NamedTuple):
    """A partition that two members hold to be theirs under one epoch."""

    group: str
    place: str
    epoch: int
    first: str
    second: str


class Stranger(NamedTuple):
    """A member that had a record of a partition that was not given to it under that epoch."""

    group: str
    place: str
    epoch: int
    process: str


class Owners:
    """Owners of one run.

    Attributes:
        told: assignments. shared, strangers: see there.
    """

    def __init__(self) -> None:
        self.told = 0
        self.shared: tuple[Shared, ...] = ()
        self.strangers: tuple[Stranger, ...] = ()
        self._by_group: dict[str, dict[int, dict[str, str]]] = {}
        self._by_member: dict[str, dict[int, tuple[str, ...]]] = {}

    def own(self, entry: OwnedEntry) -> None:
        """A member is given its partitions."""
        self.told += 1
        process, group, epoch = entry.process, entry.group, entry.epoch
        owners = _of_epoch(self._by_group.setdefault(group, {}), epoch, {})
        if owners.keys().isdisjoint(entry.partitions):
            owners.update(dict.fromkeys(entry.partitions, process))
        else:
            for place in entry.partitions:
                first = owners.setdefault(place, process)
                if first != process:
                    self.shared += (Shared(group, place, epoch, first, process),)
        _of_epoch(self._by_member.setdefault(process, {}), epoch, entry.partitions)

    def work(self, process: str, group: str, topic: str, partition: int, epoch: int) -> None:
        """A member has a record in hand, the first one of a partition under an epoch.

        One whose assignments nobody told of, or of an epoch before those that are remembered, is
        not judged.
        """
        told = self._by_member.get(process)
        if told is None or epoch < min(told):
            return
        place = f"{topic}/{partition}"
        if place not in told.get(epoch, ()):
            self.strangers += (Stranger(group, place, epoch, process),)


def _of_epoch(by_epoch: dict[int, T], epoch: int, fresh: T) -> T:
    """What is remembered of an epoch, `fresh` at first; the lowest epoch of too many is dropped."""
    found = by_epoch.setdefault(epoch, fresh)
    if len(by_epoch) > REMEMBERED:
        del by_epoch[min(by_epoch)]
    return found
