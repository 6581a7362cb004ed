"""The bus in memory alone: events published, delivered in the order of their key, and committed.

Everything is there that a service's event goes through but the chain of patterns and the service.
Not here: the baseline (`baselines.queue_events`).
"""

import gc
import time
from typing import Final

from lab.bench.load import BenchError
from lab.bench.sample_orders import make_created
from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.bus.memory.log import MemoryLog
from lab.domain.codec import decode
from lab.domain.envelope import from_headers
from lab.history.pen import Pen
from lab.patterns.commit_prefix import commit_prefix
from lab.patterns.fencing import accept_present
from lab.patterns.outbox import to_record
from lab.ports.bus import Ack, Delivery, Settlement, Unread
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler, sleep_us

BURST: Final = 100
"""So many events are published by one call, as a relay does."""

_TOPIC: Final = "orders"
_PARTITIONS: Final = 8
_SESSION_US: Final = 45_000_000
_REBALANCE_US: Final = 30_000_000
_PAUSE_US: Final = 20_000
_LIMIT_US: Final = 600_000_000
_HANDLED: Final = Ack()


def bus_event_us(events: int) -> float:
    """Microseconds of processor time of one event, from its making to its committed position.

    Raises:
        BenchError: not every event was handled and committed.
    """
    gc.collect()
    with Scheduler() as scheduler:
        bus = _Bus(scheduler)
        start = time.process_time()
        scheduler.run(bus.move(events))
        spent = time.process_time() - start
    if (bus.handled, bus.committed) != (events, events):
        raise BenchError(
            f"of {events:,} events on the bus in memory {bus.handled:,} were handled and "
            f"{bus.committed:,} committed: their time says nothing"
        )
    return spent / events * 1e6


class _Bus:
    """A log with one topic, one member that reads it, and one process that publishes."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.handled = 0
        self._log = MemoryLog(scheduler.root, session_us=_SESSION_US, rebalance_us=_REBALANCE_US)
        self._log.create_topics({_TOPIC: _PARTITIONS})
        self._scheduler = scheduler
        self._publisher = self._log.publisher(scheduler.root)
        self._process: ProcessLoop = scheduler.process("bench-1")
        self._loop = DeliveryLoop(
            consumer=self._log.consumer("bench", "bench-1", self._process, Unread.EARLIEST),
            handle=self._on_delivery,
            topics=(_TOPIC,),
            group="bench",
            limits=Limits(),
            position=commit_prefix,
            accepts=accept_present,
            pen=Pen(process="bench-1", now=self._process.now_us),
        )

    @property
    def committed(self) -> int:
        """Events before the committed positions."""
        return sum(self._log.committed("bench").values())

    async def move(self, events: int) -> None:
        """Publish, and wait until all is committed, or far too long has passed."""
        self._process.spawn(self._start())
        for place in range(0, events, BURST):
            numbers = range(place, min(place + BURST, events))
            await self._publisher.publish([to_record(make_created(each)) for each in numbers])
        while self.committed < events and self._scheduler.now_us < _LIMIT_US:
            await sleep_us(_PAUSE_US)

    async def _start(self) -> None:
        self._loop.start()

    async def _on_delivery(self, delivery: Delivery) -> Settlement:
        event = from_headers(delivery.record.headers, delivery.record.value)
        decode(event.type, event.data)
        self.handled += 1
        return _HANDLED
