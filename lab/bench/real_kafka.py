"""Kafka through the lab's bus: how many events a second one process handles, and three hops.

Topics and groups carry a prefix of their own and are removed. Not here: the baseline
(`baselines.kafka_loops`).
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from lab.bench.baselines.kafka_loops import Payload, handle_all_s, three_hops_s
from lab.bench.load import BenchError
from lab.bench.sample_orders import all_events, make_created, next_event
from lab.bench.work_until import work_until
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.topics import KafkaTopics
from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.domain.envelope import Envelope, from_headers
from lab.history.pen import Pen
from lab.patterns.commit_prefix import commit_prefix
from lab.patterns.fencing import accept_present
from lab.patterns.outbox import to_record
from lab.ports.bus import Ack, Consumer, Delivery, Handle, Outgoing, Publisher, Settlement
from lab.runtime.clock import SystemClock

HANDLER_S: Final = 0.005
KEYS: Final = 200
EVENT_BYTES: Final = 288
WORKERS: Final = 100
IN_FLIGHT: Final = 2_000
PARTITIONS: Final = 8

_EVENTS: Final = "events"
_HOPS: Final = ("orders", "validation", "payments")
_BURST: Final = 500
_GRACE_US: Final = 5_000_000
_HANDLED: Final = Ack()


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """The work of a consumer on the events of a topic.

    Attributes:
        rate: events a second, from the first to the last.
        disorders: events that did not wait for the one before them under their key.
    """

    rate: float
    disorders: int


class Orderliness:
    """A handler that takes five milliseconds, and sees whether those of a key come in order.

    Attributes:
        disorders: see `Handled`.
        left: events that were not handled yet.
    """

    def __init__(self, events: int) -> None:
        self.disorders = 0
        self.left = events
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.start_s = 0.0
        self._next: dict[bytes, int] = {}

    async def handle(self, key: bytes, value: bytes) -> None:
        """Handle the event that `value` begins with the number of, from 0 under each key."""
        number = int(value[:8])
        self.start_s = self.start_s or time.perf_counter()
        is_next = self._next.get(key, 0) == number
        await asyncio.sleep(HANDLER_S)
        # An event that did not wait sees the same number as the one before it.
        is_next = is_next and self._next.get(key, 0) == number
        self._next[key] = number + 1
        self.disorders += not is_next
        self.left -= 1
        if not self.left and not self.end.done():
            self.end.set_result(None)

    async def on_delivery(self, delivery: Delivery) -> Settlement:
        """The same as the innermost link of a chain."""
        await self.handle(delivery.record.key, delivery.record.value)
        return _HANDLED


async def handle_events(bootstrap: str, events: int) -> tuple[Handled, Handled]:
    """The same topic, read by the lab's delivery loop and then by bare aiokafka.

    Raises:
        BenchError: the lab broke the order of a key, or left a position behind.
        TimeoutError: it took more than a minute.
    """
    async with _topics(bootstrap, (_EVENTS,)) as (settings, topics):
        bus = KafkaBus(settings, "bench")
        try:
            await _fill(bus.publisher(), events)
            ours = await _handle_ours(bus.consumer("ours"), events)
        finally:
            await bus.close()
        committed = sum((await topics.committed("ours")).values())
        raw = Orderliness(events)
        raw_s = await handle_all_s(
            bootstrap,
            settings.topic(_EVENTS),
            group=settings.topic("raw"),
            events=events,
            workers=WORKERS,
            handle=raw.handle,
        )
    if ours.disorders or committed != events:
        raise BenchError(
            f"of {events:,} events {ours.disorders:,} did not wait for the one before them, and "
            f"{committed:,} were committed: their rate says nothing"
        )
    return ours, Handled(rate=events / raw_s, disorders=raw.disorders)


async def _handle_ours(consumer: Consumer, events: int) -> Handled:
    watch = Orderliness(events)
    loop = _loop(consumer, watch.on_delivery, _EVENTS)
    loop.start()
    try:
        await work_until(watch.end, ())
        spent_s = time.perf_counter() - watch.start_s
    finally:
        await loop.stop(_GRACE_US)
    return Handled(rate=events / spent_s, disorders=watch.disorders)


async def _fill(publisher: Publisher, events: int) -> None:
    """Publish the events: of each key in order, the keys in turn."""
    numbers = range(events)
    for place in range(0, events, _BURST):
        await publisher.publish(
            [
                Outgoing(_EVENTS, b"key-%d" % (each % KEYS), _event(each // KEYS), ())
                for each in numbers[place : place + _BURST]
            ]
        )


def _event(number: int) -> bytes:
    return (b"%08d" % number).ljust(EVENT_BYTES, b".")


async def hop_orders(bootstrap: str, orders: int) -> tuple[float, float]:
    """Orders a second over three topics: of the lab's bus, and of bare aiokafka.

    Every hop of the lab decodes its event, derives the next event from it and publishes
    that before it is settled.

    Raises:
        TimeoutError: it took more than a minute.
    """
    first = [make_created(number) for number in range(orders + 1)]
    async with _topics(bootstrap, _HOPS) as (settings, _):
        ours_s = await _hop_ours(KafkaBus(settings, "bench"), first)
    async with _topics(bootstrap, _HOPS) as (settings, _):
        raw_s = await three_hops_s(
            bootstrap,
            [settings.topic(topic) for topic in _HOPS],
            group=settings.topic("raw"),
            hops=same_bytes(first),
            burst=_BURST,
        )
    return orders / ours_s, orders / raw_s


async def _hop_ours(bus: KafkaBus, first: Sequence[Envelope]) -> float:
    publisher, running = bus.publisher(), asyncio.get_running_loop()
    rehearsed, end = running.create_future(), running.create_future()
    left, start_s = len(first), 0.0

    async def on_delivery(delivery: Delivery) -> Settlement:
        nonlocal left
        record = delivery.record
        following = next_event(from_headers(record.headers, record.value))
        if record.topic != _HOPS[-1] and following is not None:
            await publisher.publish([to_record(following)])
            return _HANDLED
        left -= 1
        if not rehearsed.done():
            rehearsed.set_result(None)
        if not left:
            end.set_result(None)
        return _HANDLED

    async def drive() -> None:
        nonlocal start_s
        rehearsal, *records = map(to_record, first)
        await publisher.publish([rehearsal])
        await rehearsed
        start_s = time.perf_counter()
        for place in range(0, len(records), _BURST):
            await publisher.publish(records[place : place + _BURST])

    loops = [_loop(bus.consumer(topic), on_delivery, topic) for topic in _HOPS]
    try:
        for loop in loops:
            loop.start()
        await work_until(end, [drive()])
        return time.perf_counter() - start_s
    finally:
        for loop in loops:
            await loop.stop(_GRACE_US)
        await bus.close()


def same_bytes(first: Sequence[Envelope]) -> list[Mapping[bytes, Payload]]:
    """The records of every hop by key, as the lab publishes them."""
    hops: list[dict[bytes, Payload]] = [{} for _ in _HOPS]
    for created in first:
        for records, event in zip(hops, all_events(created), strict=False):
            record = to_record(event)
            records[record.key] = (record.key, record.value, list(record.headers))
    return list(hops)


def _loop(consumer: Consumer, handle: Handle, topic: str) -> DeliveryLoop:
    """A member with the order of keys, committing the settled prefix."""
    return DeliveryLoop(
        consumer=consumer,
        handle=handle,
        topics=(topic,),
        group="bench",
        limits=Limits(workers=WORKERS, max_in_flight=IN_FLIGHT, max_uncommitted=2 * IN_FLIGHT),
        position=commit_prefix,
        accepts=accept_present,
        pen=Pen(process="bench", now=SystemClock().now_us),
    )


@asynccontextmanager
async def _topics(
    bootstrap: str, topics: Sequence[str]
) -> AsyncIterator[tuple[KafkaSettings, KafkaTopics]]:
    """Fresh topics under a prefix that nobody uses; removed in the end, with their groups."""
    settings = KafkaSettings(bootstrap=bootstrap, prefix=f"bench-{secrets.token_hex(5)}")
    async with KafkaTopics(settings) as admin:
        await admin.create(dict.fromkeys(topics, PARTITIONS))
        try:
            yield settings, admin
        finally:
            await admin.delete()
