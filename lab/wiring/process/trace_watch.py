"""Looks on at what a process of a standing system reads and writes, to follow the clients' traces.

Whatever names an order with its trace context tells of it before the first entry about the order
is written: a unit that creates it, a row, an event. Not here: what is made of it (`lab.observe`).
"""

from collections.abc import Sequence

from lab.domain.content_mode import as_readable
from lab.domain.envelope import H_SUBJECT, text_header, trace_of
from lab.observe.followed_traces import FollowedTraces, Sight
from lab.ports.bus import Consumer, Outgoing, Publisher, Record
from lab.ports.pass_through import PassThroughConsumer, PassThroughStore
from lab.ports.store import Loaded, OrderStore, Unit, UnitVerdict


class TraceWatch:
    """The onlooker of one process.

    Args:
        traces: are told.
    """

    def __init__(self, traces: FollowedTraces) -> None:
        self._traces = traces

    def around_store(self, inner: OrderStore) -> OrderStore:
        """The order store of the process, looked at."""
        return _WatchedStore(inner, self._traces)

    def around_publisher(self, inner: Publisher) -> Publisher:
        """Its publisher, looked at."""
        return _WatchedPublisher(inner, self._traces)

    def around_consumer(self, inner: Consumer) -> Consumer:
        """Its consumer, looked at."""
        return _WatchedConsumer(inner, self._traces)

    def request(self, subject: str, context: str) -> None:
        """A request about an order came in this trace."""
        self._traces.follow(subject, context, Sight.REQUEST)


class _WatchedStore(PassThroughStore):
    def __init__(self, inner: OrderStore, traces: FollowedTraces) -> None:
        super().__init__(inner)
        self._traces = traces

    async def commit(self, unit: Unit) -> UnitVerdict:
        if unit.create is not None:
            context = unit.create.traceparent
            self._traces.follow(unit.lab_subject, context, Sight.ROW, is_clients=True)
        for event in unit.events:
            self._traces.follow(event.lab_subject, event.traceparent, Sight.EVENT)
        return await self._inner.commit(unit)

    async def load(self, order_id: str) -> Loaded | None:
        loaded = await self._inner.load(order_id)
        if loaded is not None:
            order = loaded.order
            self._traces.follow(order.lab_subject, order.traceparent, Sight.ROW)
        return loaded


class _WatchedPublisher(Publisher):
    def __init__(self, inner: Publisher, traces: FollowedTraces) -> None:
        self._inner = inner
        self._traces = traces

    async def publish(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            _follow(self._traces, record)
        await self._inner.publish(records)


class _WatchedConsumer(PassThroughConsumer):
    def __init__(self, inner: Consumer, traces: FollowedTraces) -> None:
        super().__init__(inner)
        self._traces = traces

    async def poll(self, max_records: int) -> list[Record]:
        records = await self._inner.poll(max_records)
        for record in records:
            _follow(self._traces, record)
        return records


def _follow(traces: FollowedTraces, record: Record | Outgoing) -> None:
    headers, _ = as_readable(record.headers, record.value)
    traces.follow(text_header(headers, H_SUBJECT), trace_of(dict(headers)), Sight.EVENT)
