"""Wrappers of a port that change some of its calls, by means of bases that hand every call on.

There are two ways to wrap a port, and this is the first. A wrapper inherits the base of its port
and overrides the methods that it is about, so each keeps its own arguments and mypy compares them
with the port's. A wrapper that changes every method of a small port has no use for a base: it
inherits the Protocol itself, and mypy reports a method that it leaves out. A wrapper that does one
thing around every awaited method, without a look at its own arguments, takes the second way:
`lab.ports.every_call`.

A method that only hands on is no coroutine of its own: it returns the one of the port inside.

Not here: any wrapper that does something.
"""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from lab.domain.order import Order
from lab.ports.bus import Consumer, Listener, Record, TopicPartition
from lab.ports.clock import Clock
from lab.ports.store import HttpKeyRow, Loaded, OrderStore, Outcome, Unit, UnitVerdict

T = TypeVar("T")
Awaited = Coroutine[Any, Any, T]


class PassThroughClock(Clock):
    """Hands every call on to the clock inside."""

    def __init__(self, inner: Clock) -> None:
        self._inner = inner

    def now_us(self) -> int:
        return self._inner.now_us()

    def wall_us(self) -> int:
        return self._inner.wall_us()

    def sleep_us(self, us: int) -> Awaited[None]:
        return self._inner.sleep_us(us)


class PassThroughConsumer(Consumer):
    """Hands every call on to the consumer inside."""

    def __init__(self, inner: Consumer) -> None:
        self._inner = inner

    def join(self, topics: Sequence[str], listener: Listener) -> Awaited[None]:
        return self._inner.join(topics, listener)

    def poll(self, max_records: int) -> Awaited[list[Record]]:
        return self._inner.poll(max_records)

    def wake(self) -> None:
        self._inner.wake()

    def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> Awaited[None]:
        return self._inner.commit(offsets, epoch)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._inner.pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._inner.resume(partitions)

    def leave(self) -> Awaited[None]:
        return self._inner.leave()


class PassThroughStore(OrderStore):
    """Hands every call on to the order store inside."""

    def __init__(self, inner: OrderStore) -> None:
        self._inner = inner

    def commit(self, unit: Unit) -> Awaited[UnitVerdict]:
        return self._inner.commit(unit)

    def load(self, order_id: str) -> Awaited[Loaded | None]:
        return self._inner.load(order_id)

    def outcome(self, group: str, event_id: str) -> Awaited[tuple[Outcome, int] | None]:
        return self._inner.outcome(group, event_id)

    def http_key(self, key: str) -> Awaited[HttpKeyRow | None]:
        return self._inner.http_key(key)

    def due(self, limit: int) -> Awaited[Sequence[Order]]:
        return self._inner.due(limit)

    def of_customer(
        self, customer_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Awaited[Sequence[Order]]:
        return self._inner.of_customer(customer_id, before=before, limit=limit)

    def wait_due(self) -> Awaited[None]:
        return self._inner.wait_due()
