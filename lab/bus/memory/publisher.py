"""A producer of the memory log, which keeps what it cannot send yet, and dies with its process.

Not here: the records that are appended (`log.py`), and who leads (`cluster.py`).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from lab.bus.memory.consumer import suspend
from lab.bus.memory.groups import SimLoop
from lab.domain.errors import Indeterminate
from lab.ports.bus import Outgoing, Publisher, TopicPartition

PUBLISH_US: Final = 10_000_000
"""The longest wait for brokers that elect or are missing, as of a client of Kafka."""


class Appends(Protocol):
    """The broker, as a producer sees it. None of these calls waits."""

    def reached(self) -> None:
        """Raises Transient if the broker cannot be reached."""
        ...

    def check(self, records: Sequence[Outgoing]) -> None:
        """Raises TooLarge or Permanent if one of them cannot be appended."""
        ...

    def takes(self, record: Outgoing) -> bool:
        """Whether the record can be appended now."""
        ...

    def place_of(self, record: Outgoing) -> TopicPartition:
        """The partition that a record belongs to."""
        ...

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append all, or none if one is refused. Raises TooLarge or Permanent."""
        ...


class MemoryPublisher(Publisher):
    """A producer. Cancelled before its request was applied, it has appended nothing.

    Records whose partition has no leader, or too few copies, wait here in their order; also after
    the call's deadline, as in a client of Kafka that has taken them. They die with the process.
    """

    def __init__(self, broker: Appends, loop: SimLoop) -> None:
        self.loop = loop
        self._broker = broker
        self._waiting: dict[TopicPartition, deque[tuple[Outgoing, asyncio.Future[None]]]] = {}

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await suspend()
        broker = self._broker
        broker.reached()
        if not self._waiting and all(map(broker.takes, records)):
            broker.append(records)
            return
        broker.check(records)
        answers: list[asyncio.Future[None]] = []
        for record in records:
            answer = self.loop.create_future()
            answers.append(answer)
            self._waiting.setdefault(broker.place_of(record), deque()).append((record, answer))
        self.send_on()
        is_late = self.loop.create_future()
        timer = self.loop.call_after_us(PUBLISH_US, lambda: _resolve(is_late))
        try:
            await asyncio.wait(
                [is_late, asyncio.gather(*answers)], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            timer.cancel()
        if not all(answer.done() for answer in answers):
            raise Indeterminate("publish: the brokers did not answer in time")

    def send_on(self) -> None:
        """Append what waits, as far as that is possible now; called when brokers have changed."""
        if self.loop.dead:
            self._waiting.clear()
        for place, queue in list(self._waiting.items()):
            while queue and self._broker.takes(queue[0][0]):
                record, answer = queue.popleft()
                self._broker.append([record])
                _resolve(answer)
            if not queue:
                del self._waiting[place]


def _resolve(future: Any) -> None:
    if not future.done():
        future.set_result(None)
