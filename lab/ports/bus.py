"""The bus: the promises of a log, as the delivery loop needs them.

Guarantees that hold for every adapter stand in the methods' docstrings; the conformance suite
(`tests/contract/test_bus.py`) holds each adapter to them. Not here: lanes, workers, retries.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import msgspec

from lab.domain.envelope import Headers

MAIN_RECORD_BYTES: Final = 1024 * 1024
PARKED_RECORD_BYTES: Final = 2 * MAIN_RECORD_BYTES


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as it stands in a log."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers
    timestamp_us: int


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record to be appended; its partition is murmur2(key) % partitions in every adapter."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


def record_limit(topic: str) -> int:
    """Largest record that a topic takes, in bytes as `record_bytes` counts them."""
    return PARKED_RECORD_BYTES if "." in topic else MAIN_RECORD_BYTES


def record_bytes(record: Outgoing) -> int:
    """Size of a record: key, value and headers, without the additions of a log."""
    size = len(record.key) + len(record.value)
    for name, value in record.headers:
        size += len(name) + len(value)
    return size


class Publisher(Protocol):
    """Appends records."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return when every record is appended (Kafka: idempotent producer, acks=all).

        Records of one key are appended in the order given, and a failed call may have appended a
        prefix of them per key. Repeating a call may append records again: readers see duplicates.
        Cancelling it is Indeterminate.

        Raises:
            TooLarge: a record exceeds its topic's limit; nothing was appended.
            Unavailable: (a `Transient`) the broker was not reached; nothing was appended.
            Indeterminate: the answer was lost.
        """
        ...


class TopicReader(Protocol):
    """Reads topics as an onlooker: it belongs to no group, and moves nobody's position."""

    async def read(self, *topics: str) -> Sequence[Record]:
        """Every record that stands in the topics now, partition by partition in offset order.

        Raises:
            Unavailable: (a `Transient`) the broker was not reached.
        """
        ...


class Unread(StrEnum):
    """Where a group without a committed offset starts."""

    EARLIEST = "earliest"
    LATEST = "latest"


class Listener(Protocol):
    """Told of changes of a member's assignment; both calls are awaited by the member."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """The partitions are about to go; a commit in here still counts.

        The call has the group's rebalance timeout; a member that takes longer is expelled.
        """
        ...

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        """The partitions now owned under `epoch`, each with its end offset at this moment.

        Positions are the committed offsets, also for partitions that the member kept.
        """
        ...

    def on_lost(self, partition: TopicPartition, start: int, end: int) -> None:
        """The group can never read the offsets from `start` to before `end`: the log begins there.

        Told before `on_assigned`, whenever an assignment finds it. It is a loss: what stood there
        was neither handled nor put aside. If `end` is not above `start`, the log is another one,
        and is read from `end` on.
        """
        del partition, start, end  # A listener need not care.


class Consumer(Protocol):
    """One member of one consumer group."""

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        """Become a member. Assignments arrive through `listener`, in this call or any poll."""
        ...

    async def poll(self, max_records: int) -> list[Record]:
        """The next records of owned, unpaused partitions; waits until there is at least one.

        Within a partition in offset order. Main topics and retry topics take turns: of two calls in
        a row, one hands out the records of retry topics first that are at hand, however many of
        main topics wait. Returns an empty list when an assignment changed or
        `wake` was called: a call never hands out records of an assignment that is younger than
        the call. Records of an assignment come only after `on_assigned` returned and before
        `on_revoked` is called. One call at a time. Heartbeats go on whether or not anybody polls.

        Raises:
            Unavailable: (a `Transient`) the broker was not reached.
        """
        ...

    def wake(self) -> None:
        """Let a waiting `poll` return at once."""
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        """Set the group's positions: the offset of the next record to be read.

        Raises:
            Fenced: the group has moved on to another generation; nothing was committed.
            Unavailable: (a `Transient`) the broker did not answer in time; the request may
                be committed all the same.
        """
        ...

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Stop handing out records of these partitions. Lost at a rebalance, as in Kafka."""
        ...

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Hand out records of these partitions again."""
        ...

    async def leave(self) -> None:
        """Leave the group, so that it need not wait for the session to expire. Idempotent.

        Does not call `on_revoked`, and does not commit.
        """
        ...


class Delivery(msgspec.Struct, gc=False):
    """One hand-over of a record to a handler.

    Attributes:
        attempt: from 1; grows over retries, not over releases.
        starts_known: True if no owner of the partition can have started the record before: it
            stood at or above the partition's end when that was assigned, and was not handed over
            yet. A member that was expelled and has not noticed may be wrong about it: a later
            owner may have started the record already.
        first_failure_us: wall time of the first failed attempt, 0 if none failed.
        failures: the last ten failed attempts, oldest first: (wall us, class, message).
        starts: handler starts of the event that nobody accounted for, as far as they were counted.
        wait_us: of one that is moved to the retry path: how long its next attempt had to wait yet.
        has_run: a handler was started for it, since it was handed over: only then is it an attempt.
    """

    record: Record
    group: str
    epoch: int
    attempt: int
    event_type: str
    event_id: str
    subject: str
    redrives: int
    starts_known: bool
    first_failure_us: int = 0
    failures: tuple[tuple[int, str, str], ...] = ()
    starts: int = 0
    wait_us: int = 0
    has_run: bool = False


class Ack(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Settled. `why`: handled, unread, unknown (of a new type), done, dead, parked, discarded."""

    why: str = "handled"


class Retry(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Not before `after_us` from now, at the head of its lane; the next attempt if it `counts`.

    `by_tier`: the tier of its retry topic has not run out, and so has none of those behind it, but
    for what a third party asked to wait for less than the whole tier.
    """

    after_us: int
    counts: bool = True
    by_tier: bool = False


class DeadLetter(msgspec.Struct, frozen=True, gc=False, tag=True):
    """To the dead-letter queue. `reason`: poison, permanent, exhausted, starts, expired."""

    reason: str
    error: str
    message: str


class Release(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Given back unsettled: no attempt was made. The subscription pauses for `pause_us`."""

    why: str
    pause_us: int = 0


Settlement = Ack | Retry | DeadLetter | Release
Handle = Callable[[Delivery], Awaitable[Settlement]]
"""A link of the chain around a handler: takes a delivery, says how it is settled."""


class StopReport(msgspec.Struct, frozen=True, kw_only=True):
    """The fate of the deliveries that a stopping subscription had in hand; event ids.

    Attributes:
        drained: settled during the stop.
        cancelled: their handler was cancelled; they were moved to the retry path, or given back.
        abandoned: started, or below a settled offset, and neither settled nor moved away.
        is_committed: everything settled stands in the group's committed offsets.
    """

    drained: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()
    is_committed: bool = True

    @property
    def is_clean(self) -> bool:
        """No record that this member started will be started again because of the stop."""
        return self.is_committed and not self.cancelled and not self.abandoned


class Ordering(StrEnum):
    """Which deliveries of a group may run at the same time."""

    KEY = "key"
    PARTITION = "partition"
    NONE = "none"


def retry_topic(topic: str, group: str, tier: int) -> str:
    """Name of a group's retry topic of a main topic; tiers count from 1. Tier 0 takes redrives."""
    return f"{topic}.{group}.retry.{tier}" if tier else f"{topic}.{group}.retry"


def dead_letter_topic(topic: str, group: str) -> str:
    """Name of a group's dead-letter queue of a main topic."""
    return f"{topic}.{group}.dlq"


def is_main_topic(topic: str) -> bool:
    """Whether events are published to it first: all other topics have a dot in their name."""
    return "." not in topic


def main_topic(topic: str) -> str:
    """The main topic that a retry topic or dead-letter queue belongs to."""
    return topic.split(".", 1)[0]
