"""What the tests of single links share: a delivery, a log that remembers, a handler that is told.

Memory adapters suspend but wait for nobody, so links over them run with `at_once`, without a loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.domain.envelope import Envelope, to_headers, with_headers
from lab.domain.errors import LabError
from lab.history.entries import FIELDS, kind_of
from lab.history.pen import Pen
from lab.history.recorder import Now
from lab.patterns.fencing import accept_present
from lab.ports.bus import Ack, Delivery, Outgoing, Publisher, Record, Settlement
from lab.stores.memory.base import crossing
from lab.stores.memory.dedupe import MemoryDedupe, MemoryDedupeServer
from lab.stores.memory.store import MemoryStore, MemoryStoreServer
from tests.kit.entries import own_fields

GROUP = "notification"
PROCESS = "notification-1#1"
MS = 1_000
SECOND = 1_000 * MS
EPOCH_US = 1_735_689_600 * SECOND
WINDOW_US = 86_400 * SECOND


@dataclass
class Hand:
    """A clock that is set by hand; also the harness of memory servers."""

    us: int = 0
    on_kill: list[Callable[[], None]] = field(default_factory=list)

    def now_us(self) -> int:
        return self.us

    def wall_us(self) -> int:
        return self.us + EPOCH_US

    def call_at_us(self, when_us: int, callback: Callable[[], object]) -> Any:  # noqa: ARG002 - no timer is ever due
        raise AssertionError("no timer here")


class Entries(list[tuple[Any, ...]]):
    """A history in memory; every entry must have the fields of its kind."""

    def write(self, entry: tuple[Any, ...]) -> None:
        assert len(entry) == len(FIELDS[kind_of(entry)]), entry
        self.append(entry)

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        """The own fields of all entries of a kind."""
        return [own_fields(entry) for entry in self if kind_of(entry) == kind]


def make_pen(now: Now, entries: Entries | None = None) -> Pen:
    return Pen(process=PROCESS, now=now, write=None if entries is None else entries.write)


class Log(Publisher):
    """Remembers what was published; fails as often as it is told."""

    def __init__(self, *failures: LabError) -> None:
        self.records: list[Outgoing] = []
        self._failures = list(failures)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await crossing()
        if self._failures:
            raise self._failures.pop(0)
        self.records += records

    @property
    def topics(self) -> list[str]:
        return [record.topic for record in self.records]


class Inner:
    """The links inside, the handler too: each call does the next of `steps`, the last for ever."""

    def __init__(self, *steps: Settlement | BaseException) -> None:
        self.seen: list[Delivery] = []
        self._steps = list(steps) or [Ack("handled")]

    async def __call__(self, delivery: Delivery) -> Settlement:
        self.seen.append(delivery)
        await crossing()
        delivery.has_run = True
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, BaseException):
            raise step
        return step


@dataclass
class Stores:
    """Both stores in memory, as one process sees them."""

    hand: Hand = field(default_factory=Hand)

    def __post_init__(self) -> None:
        self.server = MemoryStoreServer(self.hand, retention_us=WINDOW_US)
        self.dedupe_server = MemoryDedupeServer(
            self.hand, window_us=WINDOW_US, accepts=accept_present
        )
        self.store: MemoryStore = self.server.connect(self.hand)
        self.dedupe: MemoryDedupe = self.dedupe_server.connect()


def make_record(
    event_id: str = "e1",
    *,
    topic: str = "orders",
    offset: int = 0,
    key: str = "order-1",
    event_type: str = "OrderCancelled",
    value: bytes = b'{"order_id":"order-1"}',
    **headers: bytes,
) -> Record:
    envelope = Envelope(
        id=event_id,
        type=event_type,
        source="orders",
        subject=key,
        time_us=EPOCH_US,
        data=value,
        correlation_id="c",
        causation_id="c",
        sequence=3,
        traceparent=f"00-{'1' * 32}-{'2' * 16}-00",
        lab_subject="1.1",
    )
    given = with_headers(to_headers(envelope), **headers)
    return Record(topic, 0, offset, key.encode(), value, given, EPOCH_US)


def make_delivery(
    event_id: str = "e1",
    *,
    record: Record | None = None,
    attempt: int = 1,
    starts_known: bool = False,
    redrives: int = 0,
    event_type: str = "OrderCancelled",
) -> Delivery:
    return Delivery(
        record=record or make_record(event_id, event_type=event_type),
        group=GROUP,
        epoch=1,
        attempt=attempt,
        event_type=event_type,
        event_id=event_id,
        subject="1.1",
        redrives=redrives,
        starts_known=starts_known,
    )


async def no_republish(_delivery: Delivery) -> None:
    raise AssertionError("nothing is dead here")
