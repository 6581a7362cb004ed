"""Bugs about positions and ownership: committed too far, settled by somebody who has lost it."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from lab.bus.loop.committing import PositionCommitter
from lab.bus.loop.offsets import OffsetTracker
from lab.bus.memory.groups import MemoryMember
from lab.patterns.fencing import accept_any
from lab.ports.bus import TopicPartition
from lab.ports.dedupe import Claim
from lab.stores.memory.dedupe import MemoryDedupeServer
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

KILLED_BEHIND_A_SLOW_ONE: Final = Setup(
    orders=60,
    rate=30,
    faults=(
        "svc.timeout@mailer#every7 first=1",
        "svc.timeout@antifraud#every7 first=1",
        "proc.crash@notification at=1500ms",
        "proc.crash@validation at=1700ms",
    ),
)


# ---- commit-prefix


PREFIX: Final = {
    "no-lost-event": "what lies below the position is never read again",
    "converges": "its order waits for ever",
}


@BUGS.plant(
    "commit-prefix",
    setup=KILLED_BEHIND_A_SLOW_ONE,
    off=("commit_prefix",),
    witness="was not settled",
    falls=PREFIX,
)
def no_commit_prefix() -> None:
    """The highest settled offset is committed, whatever lies open below it."""


@BUGS.plant(
    "commit-prefix",
    "lab.wiring.policy.Switches.commit_prefix.strong",
    setup=KILLED_BEHIND_A_SLOW_ONE,
    witness="was not settled",
    falls=PREFIX,
)
def commit_what_was_fetched(settled: OffsetTracker) -> int:
    """Auto-commit: the position is where the consumer reads, not how far it has come."""
    return settled._delivered + 1


@BUGS.plant(
    "commit-prefix",
    "lab.wiring.policy.Switches.commit_prefix.strong",
    setup=KILLED_BEHIND_A_SLOW_ONE,
    witness="was not settled",
    falls=PREFIX | {"commit-forward": "the last position lies past the last record"},
)
def one_too_far(settled: OffsetTracker) -> int:
    """Kafka wants the next offset to be read, and one is added to what is that already."""
    return settled.contiguous + 1


# ---- commit-forward


@BUGS.plant(
    "commit-forward",
    "lab.bus.loop.delivery.PositionCommitter",
    setup=Setup(),
    witness="and then at",
    falls={"drains": "the records below the last position look as if nobody had handled them"},
)
class CommitsInAnyOrder(PositionCommitter):
    """Nobody waits for the answer to a commit: one that is sent again comes behind a later one."""

    def _take(self) -> tuple[list[OffsetTracker], dict[TopicPartition, int]]:
        taken, offsets = super()._take()
        for tracker in taken:
            if tracker.committed > 0 and tracker.partition in offsets:
                offsets[tracker.partition] = tracker.committed - 1
        return taken, offsets


# ---- one-owner


@BUGS.plant(
    "one-owner",
    "lab.bus.memory.groups._assign_range",
    setup=Setup(settings=(("run.members", 3),)),
    witness="both own",
    falls={"commit-forward": "two members commit in turns, each how far it has come itself"},
)
def rounded_up(
    members: Sequence[MemoryMember], partitions_of: Callable[[str], int]
) -> dict[tuple[str, int], list[TopicPartition]]:
    """Eight partitions are three shares of three: what is left over is shared by two."""
    owned: dict[tuple[str, int], list[TopicPartition]] = {member.id: [] for member in members}
    for topic in sorted({topic for member in members for topic in member.topics}):
        count = partitions_of(topic)
        share = -(-count // len(members))
        for position, member in enumerate(members):
            start = min(position * share, count - share)
            owned[member.id] += [TopicPartition(topic, start + i) for i in range(share)]
    return owned


# ---- fenced


REBALANCED: Final = Setup(
    orders=80,
    rate=40,
    faults=("proc.crash@payment-2 at=500ms",),
    settings=(("drain.grace_ms", 100), ("payment.latency_ms", 600), ("run.members", 2)),
)


@BUGS.plant("fenced", setup=REBALANCED, off=("fencing",), witness="after it had lost it")
def no_fencing() -> None:
    """What a member settles counts, whoever has its partitions by now."""


HANDED_OVER: Final = Setup(
    orders=80,
    rate=40,
    faults=("proc.term@payment-2 at=500ms",),
    settings=(("drain.grace_ms", 300), ("payment.latency_ms", 600), ("run.members", 2)),
)


@BUGS.plant(
    "fenced",
    "lab.wiring.backends.memory_servers.MemoryDedupeServer",
    setup=HANDED_OVER,
    witness="after another owner had taken it over",
    falls={
        "graceful-shutdown": "whose claim was taken over leaves a start that nobody explains",
        "claim-returned": "claims are taken over long before their lease is over",
    },
)
class ClaimsWithoutFences(MemoryDedupeServer):
    """A lease of 30 ms instead of 30 s, and whoever completes a claim is believed."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{**named, "accepts": accept_any})

    def claim(self, name: str, event_id: str, owner: str, lease_us: int) -> Claim:
        return super().claim(name, event_id, owner, lease_us // 1_000)
