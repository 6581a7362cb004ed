"""Consumer groups of the memory log, as Kafka's classic protocol has them.

Members, generations, eager rebalances, committed offsets, sessions. A silent member (killed or
paused) is expelled by one timer; nobody sends heartbeats. Not here: a member's own side
(`consumer.py`).

Source: Apache Kafka, `GroupCoordinator` (classic protocol), `RangeAssignor`, `RoundRobinAssignor`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from lab.bus.memory.topics import all_partitions
from lab.domain.errors import Fenced
from lab.ports.bus import TopicPartition
from lab.ports.clock import Timer

Assignor = Literal["range", "roundrobin"]


class SimLoop(Protocol):
    """The part of a simulated process that the memory log needs."""

    name: str
    dead: bool
    on_kill: list[Callable[[], None]]

    def now_us(self) -> int: ...
    def create_future(self) -> Any: ...
    def create_task(self, coro: Any) -> Any: ...
    def call_after_us(self, delay_us: int, callback: Callable[[], object], /) -> Timer: ...


class GroupClient(Protocol):
    """A member's own side, as the group sees it. None of these calls waits."""

    def rejoin_wanted(self) -> None:
        """The group rebalances, or expelled the member: give up, then call `Group.rejoin`."""
        ...

    def assigned(self, generation: int, partitions: Sequence[TopicPartition]) -> None:
        """These partitions are the member's under `generation`."""
        ...


class MemoryMember:
    """One membership; a process that joins again is another member."""

    __slots__ = ("client", "has_joined", "id", "is_silent", "session", "topics")

    def __init__(
        self, client: GroupClient, member_id: tuple[str, int], topics: Sequence[str]
    ) -> None:
        self.client = client
        self.id = member_id
        self.topics = frozenset(topics)
        self.has_joined = True
        self.is_silent = False
        self.session: Timer | None = None


class Group:
    """One consumer group.

    Args:
        number: of the group on its broker, from 0.

    Attributes:
        generation: grows with each rebalance; 0 before the first.
        committed: the offset of the next record to be read, per partition.
    """

    def __init__(
        self,
        name: str,
        *,
        number: int,
        root: SimLoop,
        partitions_of: Callable[[str], int],
        session_us: int,
        rebalance_us: int,
        assignor: Assignor,
    ) -> None:
        self.name = name
        self.number = number
        self.generation = 0
        self.committed: dict[TopicPartition, int] = {}
        self._root = root
        self._partitions_of = partitions_of
        self._session_us = session_us
        self._rebalance_us = rebalance_us
        self._assign: Final = _assign_range if assignor == "range" else _assign_round_robin
        self._members: dict[tuple[str, int], MemoryMember] = {}
        self._joined = 0
        self._is_rebalancing = False
        self._timer: Timer | None = None

    @property
    def members(self) -> Sequence[str]:
        """Names of the present members, in the order of joining."""
        return [name for name, _ in self._members]

    def join(self, client: GroupClient, name: str, topics: Sequence[str]) -> MemoryMember:
        """A new member; the others give up their partitions."""
        self._joined += 1
        member = MemoryMember(client, (name, self._joined), topics)
        self._members[member.id] = member
        self._rebalance(newcomer=member)
        return member

    def rejoin(self, member: MemoryMember) -> bool:
        """The member gave up and is ready for the next generation; False if it was expelled."""
        if member.id not in self._members:
            return False
        member.has_joined = True
        self._complete_if_ready()
        return True

    def leave(self, member: MemoryMember) -> None:
        """The member is gone. Nothing happens if it is no member."""
        if self._members.pop(member.id, None) is not None:
            if member.session is not None:
                member.session.cancel()
            self._rebalance()

    def silent(self, member: MemoryMember) -> None:
        """Nothing is heard of the member's process any more."""
        if member.id in self._members and not member.is_silent:
            member.is_silent = True
            member.session = self._root.call_after_us(self._session_us, lambda: self._expel(member))

    def heard(self, member: MemoryMember) -> None:
        """The member's process is back."""
        member.is_silent = False
        if member.session is not None:
            member.session.cancel()
            member.session = None

    def check_commit(self, member: MemoryMember | None, epoch: int) -> None:
        """Whether a commit under `epoch` is accepted.

        Raises:
            Fenced: the sender is no member, or the group has moved on.
        """
        if member is None or member.id not in self._members:
            raise Fenced(f"group {self.name}: a commit by somebody who is no member")
        if epoch != self.generation:
            raise Fenced(
                f"group {self.name}: a commit of generation {epoch}, now is {self.generation}"
            )

    def _expel(self, member: MemoryMember) -> None:
        if self._members.pop(member.id, None) is not None:
            member.client.rejoin_wanted()
            self._rebalance()

    def _rebalance(self, newcomer: MemoryMember | None = None) -> None:
        if not self._is_rebalancing:
            self._is_rebalancing = True
            self._timer = self._root.call_after_us(self._rebalance_us, self._give_up_waiting)
            for member in list(self._members.values()):
                if member is not newcomer:
                    member.has_joined = False
                    member.client.rejoin_wanted()
        self._complete_if_ready()

    def _give_up_waiting(self) -> None:
        for member in list(self._members.values()):
            if not member.has_joined:
                self._expel(member)

    def _complete_if_ready(self) -> None:
        if not self._is_rebalancing:
            return
        for member in self._members.values():
            if not member.has_joined:
                return
        self._is_rebalancing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.generation += 1
        members = [self._members[key] for key in sorted(self._members)]
        owned = self._assign(members, self._partitions_of)
        for member in members:
            member.client.assigned(self.generation, owned[member.id])


Owned = Mapping[tuple[str, int], Sequence[TopicPartition]]


def _assign_range(members: Sequence[MemoryMember], count: Callable[[str], int]) -> Owned:
    """Per topic, a contiguous share each; so a topic and its retry topics stay together."""
    owned: dict[tuple[str, int], list[TopicPartition]] = {member.id: [] for member in members}
    for topic in _topics(members):
        readers = [member for member in members if topic in member.topics]
        partitions = all_partitions(topic, count(topic))
        share, extra = divmod(len(partitions), len(readers))
        start = 0
        for position, member in enumerate(readers):
            size = share + (position < extra)
            owned[member.id] += partitions[start : start + size]
            start += size
    return owned


def _assign_round_robin(members: Sequence[MemoryMember], count: Callable[[str], int]) -> Owned:
    """All partitions in turn over the readers of the topic."""
    owned: dict[tuple[str, int], list[TopicPartition]] = {member.id: [] for member in members}
    turn = 0
    for topic in _topics(members):
        for partition in all_partitions(topic, count(topic)):
            while topic not in members[turn % len(members)].topics:
                turn += 1
            owned[members[turn % len(members)].id].append(partition)
            turn += 1
    return owned


def _topics(members: Sequence[MemoryMember]) -> Sequence[str]:
    return sorted({topic for member in members for topic in member.topics})
