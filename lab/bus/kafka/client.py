"""The common ground of all clients of a real Kafka: addresses, names, deadlines, its errors.

Names inside the lab are those of the port; on the broker each carries the run's prefix, so that two
runs do not meet. Not here: groups (`consumer.py`, `member.py`) and topics (`topics.py`).
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from aiokafka import errors as kafka_errors
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.security import KafkaSecurity
from lab.domain.errors import Fenced, LabError, Permanent, TooLarge, Transient
from lab.ports.bus import PARKED_RECORD_BYTES, Record, TopicPartition

T = TypeVar("T")

BATCH_BYTES_MAX: Final = PARKED_RECORD_BYTES + 64 * 1024
"""Of a batch on the wire: the largest record, and the room that the format takes."""

_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BROKERS: Final = re.compile(r"[\w.-]+:\d{1,5}|\[[\da-fA-F:.]+\]:\d{1,5}")
_PORT_MAX: Final = 65_535

KAFKA_ERRORS: Final = (
    kafka_errors.KafkaError,
    kafka_errors.ConsumerStoppedError,
    kafka_errors.IllegalOperation,
    OSError,
    TimeoutError,
)
"""Errors of a call of the client library that the broker, the group or the network fails."""


def quiet_client() -> None:
    """Have the library say nothing by itself: it tells of each attempt, and errors say enough."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Where the broker is, and how long its clients wait.

    Attributes:
        bootstrap: `host:port`, several separated by commas.
        prefix: of every topic and group of this run, without a dot; "" uses the bare names.
        session_us: a silent member is expelled after this.
        rebalance_us: a member may take this long to give its partitions up.
        connect_us, publish_us, commit_us, leave_us: longest wait of one such call.
        reached_us: a poll without records looks this often whether the broker is there.
        known_us: a topic that was made anew, or has more partitions, is noticed after so long.
        retention_ms: topics with the prefix keep a record this long; 0: for ever.
        segment_ms: and are cut by segments that span this time at most.
        replication: copies of every topic; 0: one for each broker, three at most.
        min_insync: copies that must have a record before it counts as appended; 0: all but one.
        security: of the listener.
    """

    bootstrap: str
    prefix: str = ""
    session_us: int = 45_000_000
    rebalance_us: int = 60_000_000
    connect_us: int = 10_000_000
    publish_us: int = 10_000_000
    commit_us: int = 5_000_000
    leave_us: int = 3_000_000
    reached_us: int = 5_000_000
    known_us: int = 10_000_000
    retention_ms: int = 0
    segment_ms: int = 604_800_000
    replication: int = 0
    min_insync: int = 0
    security: KafkaSecurity = field(default_factory=KafkaSecurity)

    def __post_init__(self) -> None:
        if self.prefix and not _PREFIX.fullmatch(self.prefix):
            raise ValueError(
                f"the prefix {self.prefix!r} of a run's topics must consist of up to 64 letters, "
                "digits, - and _"
            )

    @property
    def where(self) -> str:
        """The addresses as they may be shown; "" if they cannot be read.

        Anything else may hold a password, so nothing of it is shown.
        """
        brokers = self.bootstrap.split(",")
        return self.bootstrap if all(_is_address(one.strip()) for one in brokers) else ""

    @property
    def stem(self) -> str:
        """The beginning of every name of this run on the broker.

        A prefix has no dot, so no other run's names begin with it.
        """
        return f"{self.prefix}." if self.prefix else ""

    @property
    def heartbeat_us(self) -> int:
        """How often a member says that it lives; it hears of a rebalance in the answer."""
        return max(100_000, min(1_000_000, self.session_us // 10))

    def connection(self, client_id: str, request_us: int) -> dict[str, Any]:
        """Arguments that every client takes; `request_us` is its longest wait for one answer.

        Raises:
            EnvironmentNotReady: a file of its security cannot be used.
        """
        return {
            "bootstrap_servers": self.bootstrap,
            "client_id": client_id,
            "request_timeout_ms": request_us // 1000,
            "retry_backoff_ms": 100,
            "metadata_max_age_ms": self.known_us // 1000,
            **self.security.arguments(),
        }

    def topic(self, topic: str) -> str:
        """The topic's name on the broker; a group's name alike."""
        return self.stem + topic

    def partition(self, partition: TopicPartition) -> BrokerPartition:
        """The partition as the client library names it."""
        return BrokerPartition(self.stem + partition.topic, partition.partition)

    def own(self, partition: BrokerPartition) -> TopicPartition:
        """The partition as the lab names it."""
        return TopicPartition(partition.topic.removeprefix(self.stem), partition.partition)


def _is_address(broker: str) -> bool:
    """Whether it can be looked up: else the client library raises a foreign error."""
    host, _, port = broker.rpartition(":")
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return _BROKERS.fullmatch(broker) is not None and int(port) <= _PORT_MAX


def to_record(found: Any, settings: KafkaSettings) -> Record:
    """A record of the library as the port's; a foreign one may lack a key or a value."""
    headers = found.headers
    if None in [value for _name, value in headers]:
        headers = tuple((name, value or b"") for name, value in headers)
    return Record(
        found.topic[len(settings.stem) :],
        found.partition,
        found.offset,
        found.key or b"",
        found.value or b"",
        headers,
        found.timestamp * 1000,
    )


async def within(limit_us: int, call: Awaitable[T]) -> T:
    """The answer of `call`, which is cancelled after `limit_us`.

    No call of the client library is awaited without it: some retry without end.

    Raises:
        TimeoutError: it took longer.
    """
    async with asyncio.timeout(limit_us / 1e6):  # noqa: TID251 - a real adapter, not simulated
        return await call


def java_hash(text: str) -> int:
    """The hash by which a broker spreads its groups; names of ours are ASCII."""
    number = 0
    for character in text:
        number = (31 * number + ord(character)) & 0xFFFF_FFFF
    # Of a negative number the amount is taken, and there is none of the lowest.
    return number if number < 2**31 else (2**32 - number) % 2**31


# ---- errors

_FENCED: Final = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.RebalanceInProgressError,
)
_TOO_LARGE: Final = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
)
# The same request fails again, whatever is repaired.
_WRONG: Final = (
    kafka_errors.IllegalArgumentError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InvalidTimestampError,
)

CLASSES: Final[Mapping[type[LabError], tuple[type[Exception], ...]]] = {
    Fenced: _FENCED,
    TooLarge: _TOO_LARGE,
    Permanent: _WRONG,
}
"""Which errors of the library are which of ours. Every other one is Transient.

A broker that forbids, is too old or is set up wrongly is looked for at the start and is Transient
afterwards: somebody may repair it, and no event must become a dead letter because of it.
"""


def mapped(error: BaseException, doing: str) -> LabError:
    """Our error for one of the library's; `doing` names the call that failed."""
    for ours, theirs in CLASSES.items():
        if isinstance(error, theirs):
            return ours(f"{doing}: {describe(error)}")
    return Transient(f"{doing}: {describe(error)}")


def describe(error: BaseException) -> str:
    """One line; some of the library's messages are paragraphs."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."
