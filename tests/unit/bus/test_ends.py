"""The two ends of the chain: what is read at all, and one run of a handler."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from msgspec.structs import replace

from lab.bus.facts import event_digest
from lab.bus.loop.ends import HANDLED, UNKNOWN, UNREAD, Invoke, TypeFilter
from lab.domain.codec import decode
from lab.domain.envelope import from_headers
from lab.domain.errors import Indeterminate, Poison, Transient, Unclassified
from lab.domain.events import OrderCancelled, Payload
from lab.patterns.inbox import Inbox
from lab.patterns.timeout import NoTimeout, Timeout
from lab.ports.bus import Delivery, Record
from lab.ports.service import Context
from lab.ports.store import Outcome, Unit
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.chain_parts import (
    GROUP,
    PROCESS,
    SECOND,
    Entries,
    Inner,
    Stores,
    make_delivery,
    make_pen,
    make_record,
    no_republish,
)
from tests.kit.stepping import at_once

On = Callable[[Payload, Context], Awaitable[None]]


def make_invoke(
    on_cancelled: On,
    *,
    stores: Stores | None = None,
    entries: Entries | None = None,
    timeout: Timeout | NoTimeout | None = None,
) -> Invoke:
    stores = stores or Stores()
    inbox = Inbox(
        stores.store.orders,
        republish=no_republish,
        pen=make_pen(stores.hand.now_us),
    )
    return Invoke(
        handlers={"OrderCancelled": on_cancelled},
        decode=decode,
        settler=inbox,
        watch=(timeout or NoTimeout()).watch,
        pen=make_pen(stores.hand.now_us, entries),
    )


def make_filter(inner: Inner, move: Inner | None = None) -> TypeFilter:
    return TypeFilter(inner, reads=("OrderCancelled",), move=move or Inner())


def test_a_known_type_that_the_group_does_not_read_is_acknowledged_unread() -> None:
    inner = Inner()

    settled = at_once(make_filter(inner)(make_delivery(event_type="OrderCreated")))

    assert settled is UNREAD
    assert inner.seen == []


def without(name: str, *instead: tuple[str, bytes]) -> Record:
    """A record of a type that nobody knows, which lacks a header, or has another one instead."""
    record = make_record(event_type="OrderTeleported")
    kept = tuple(pair for pair in record.headers if pair[0] != name)
    return replace(record, headers=(*kept, *instead))


def test_a_type_that_is_read_passes_inward() -> None:
    inner = Inner()

    at_once(make_filter(inner)(make_delivery(event_type="OrderCancelled")))

    assert len(inner.seen) == 1


def test_an_event_of_a_type_that_nobody_knows_yet_is_acknowledged_and_named_apart() -> None:
    inner = Inner()
    structured = Record(
        "orders",
        0,
        0,
        b"k",
        b'{"specversion":"1.0","id":"e1","source":"/shop","type":"OrderTeleported"}',
        (("content-type", b"application/cloudevents+json; charset=utf-8"),),
        0,
    )

    for record in (make_record(event_type="OrderTeleported"), without("ce_time"), structured):
        delivery = make_delivery(record=record, event_type="OrderTeleported")
        assert at_once(make_filter(inner)(delivery)) is UNKNOWN

    assert inner.seen == []


@pytest.mark.parametrize(
    "record",
    [
        without("ce_id"),
        without("ce_source"),
        without("ce_specversion"),
        without("ce_id", ("ce_id", b"\xff")),
        without("ce_source", ("ce_source", b"\xff")),
        without("ce_specversion", ("ce_specversion", b"0.3")),
        replace(without(""), topic="orders.notification.retry.1"),
    ],
    ids=["no id", "no source", "no version", "id", "source", "another version", "parked"],
)
def test_what_is_no_event_or_was_begun_passes_inward_although_its_type_is_unknown(
    record: Record,
) -> None:
    inner = Inner()

    at_once(make_filter(inner)(make_delivery(record=record, event_type="OrderTeleported")))

    assert len(inner.seen) == 1


def test_an_event_in_structured_mode_is_handled_like_any_other() -> None:
    seen = []
    plain = make_record()
    members: dict[str, object] = {
        name[3:]: value.decode() for name, value in plain.headers if name[:3] == "ce_"
    }
    members |= {"traceparent": f"00-{'1' * 32}-{'2' * 16}-00", "data": {"order_id": "order-1"}}
    structured = replace(
        plain,
        headers=(("content-type", b"application/cloudevents+json"),),
        value=msgspec.json.encode(members),
    )

    async def on_cancelled(payload: Payload, context: Context) -> None:
        seen.append((payload, replace(context.envelope, lab_subject="1.1")))

    at_once(make_invoke(on_cancelled)(make_delivery(record=structured)))

    expected = from_headers(plain.headers, plain.value)
    assert seen == [(OrderCancelled(order_id="order-1"), expected)]


def test_a_record_of_a_retry_topic_passes_whatever_its_type() -> None:
    inner = Inner()
    record = make_record(event_type="OrderCreated", topic="orders.notification.retry.1")

    at_once(make_filter(inner)(make_delivery(record=record, event_type="OrderCreated")))

    assert len(inner.seen) == 1


def test_a_record_without_an_event_id_is_named_by_its_origin() -> None:
    inner = Inner()
    retry_topic = "orders.notification.retry.1"
    parked = make_record("", topic=retry_topic, offset=9, lab_origin=b"orders/3/7")

    at_once(make_filter(inner)(make_delivery("", record=make_record("", offset=7))))
    at_once(make_filter(inner)(make_delivery("", record=parked)))

    assert [delivery.event_id for delivery in inner.seen] == ["orders/0/7", "orders/3/7"]


def test_a_drain_moves_what_is_read_and_acknowledges_what_is_not() -> None:
    move = Inner()
    edge = make_filter(Inner(), move)

    at_once(edge.move(make_delivery()))
    settled = at_once(edge.move(make_delivery(event_type="OrderCreated")))

    assert settled is UNREAD
    assert len(move.seen) == 1


def test_a_handler_gets_its_payload_and_its_unit_is_committed_as_done() -> None:
    stores, seen = Stores(), []

    async def on_cancelled(payload: Payload, context: Context) -> None:
        seen.append((payload, context.attempt, context.envelope.sequence))
        await context.settle(Unit())

    settled = at_once(make_invoke(on_cancelled, stores=stores)(make_delivery(attempt=2)))

    assert settled is HANDLED
    assert seen == [(OrderCancelled(order_id="order-1"), 2, 3)]
    assert at_once(stores.store.orders.outcome(GROUP, "e1")) == (Outcome.DONE, 0)


def test_a_handler_that_settles_nothing_is_done_all_the_same() -> None:
    stores = Stores()

    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        return

    at_once(make_invoke(on_cancelled, stores=stores)(make_delivery()))

    assert at_once(stores.store.orders.outcome(GROUP, "e1")) == (Outcome.DONE, 0)


@pytest.mark.parametrize(
    "record",
    [
        make_record(value=b"\xff not json"),
        make_record(value=b"{}"),
        make_record(event_type="OrderTeleported"),
        make_record("", topic="payments", lab_subject=b"\xff"),
    ],
    ids=["no json", "no payload", "unknown type", "unreadable header"],
)
def test_what_cannot_be_decoded_is_poison_and_starts_no_handler(record: Record) -> None:
    entries = Entries()

    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        raise AssertionError("started")

    with pytest.raises(Poison):
        at_once(make_invoke(on_cancelled, entries=entries)(make_delivery(record=record)))
    assert entries == []


def test_a_bug_of_a_handler_becomes_an_unclassified_error_with_its_own_name() -> None:
    entries = Entries()

    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        raise KeyError("sku")

    with pytest.raises(Unclassified) as raised:
        at_once(make_invoke(on_cancelled, entries=entries)(make_delivery()))

    assert raised.value.kind == "KeyError"
    assert entries.of("handle.end") == [(GROUP, "e1", "OrderCancelled", 1, "Unclassified", 0)]


def test_a_run_stands_in_the_history_with_its_end() -> None:
    entries = Entries()

    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        raise Transient("later")

    delivery = make_delivery()
    record = delivery.record
    with pytest.raises(Transient):
        at_once(make_invoke(on_cancelled, entries=entries)(delivery))

    begin, end = entries
    assert begin[0:4] == ("handle.begin", 0, PROCESS, "1.1")
    assert begin[4:8] == (GROUP, "e1", "OrderCancelled", 1)
    assert begin[10] == "orders"
    assert begin[11:] == (1, event_digest(record.key, record.value, record.headers), 0)
    assert end[-2:] == ("Transient", 0)


def make_timeout(scheduler: Scheduler, entries: Entries) -> Timeout:
    return Timeout(
        handler_us=10 * SECOND,
        provider_us=2 * SECOND,
        clock=scheduler.root.now_us,
        pen=make_pen(scheduler.root.now_us, entries),
    )


def test_a_run_past_its_deadline_is_cancelled_and_indeterminate_and_its_worker_goes_on() -> None:
    entries = Entries()

    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        await asyncio.get_running_loop().create_future()

    async def worker() -> int:
        invoke = make_invoke(on_cancelled, timeout=timeout, entries=entries)
        with pytest.raises(Indeterminate):
            await invoke(make_delivery())
        stopped_us = scheduler.now_us
        await sleep_us(SECOND)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return stopped_us

    with Scheduler() as scheduler:
        timeout = make_timeout(scheduler, entries)
        assert scheduler.run(worker()) == 10 * SECOND
    assert entries.of("acted") == [("timeout", "handler")]
    assert entries.of("handle.end")[0][-2] == "Indeterminate"


def test_a_worker_cancelled_by_somebody_else_is_not_mistaken_for_a_deadline() -> None:
    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        invoke = make_invoke(on_cancelled, timeout=timeout)
        loop = asyncio.get_running_loop()

        async def work(delivery: Delivery) -> None:
            await invoke(delivery)

        task = loop.create_task(work(make_delivery()))
        await sleep_us(SECOND)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Scheduler() as scheduler:
        timeout = make_timeout(scheduler, Entries())
        scheduler.run(main())


def test_a_cancellation_at_the_deadline_itself_still_ends_the_worker() -> None:
    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        invoke = make_invoke(on_cancelled, timeout=timeout)

        async def work() -> None:
            await invoke(make_delivery())

        task = asyncio.get_running_loop().create_task(work())
        await sleep_us(0)
        scheduler.root.call_at_us(10 * SECOND, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    with Scheduler() as scheduler:
        timeout = make_timeout(scheduler, Entries())
        scheduler.run(main())


def test_a_handler_that_answers_its_cancellation_with_an_error_leaves_a_clean_worker() -> None:
    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise Indeterminate("cancelled in a call") from None

    async def worker() -> None:
        invoke = make_invoke(on_cancelled, timeout=timeout)
        with pytest.raises(Indeterminate):
            await invoke(make_delivery())
        await sleep_us(SECOND)

    with Scheduler() as scheduler:
        timeout = make_timeout(scheduler, Entries())
        scheduler.run(worker())


def test_runs_in_time_leave_one_timer_and_no_cancellation() -> None:
    runs = 0

    async def on_cancelled(_payload: Payload, _context: Context) -> None:
        nonlocal runs
        runs += 1
        await sleep_us(9 * SECOND)

    async def worker() -> None:
        invoke = make_invoke(on_cancelled, timeout=timeout, entries=entries)
        for number in range(5):
            await invoke(make_delivery(f"e{number}"))

    entries = Entries()
    with Scheduler() as scheduler:
        timeout = make_timeout(scheduler, entries)
        scheduler.run(worker())
    assert runs == 5
    assert entries.of("acted") == []
