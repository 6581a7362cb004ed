"""A process of a standing system sees the trace of an order wherever the order passes by."""

from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from lab.domain.content_mode import CONTENT_TYPE, STRUCTURED
from lab.domain.envelope import Headers
from lab.domain.order import OrderState
from lab.observe.followed_traces import FollowedTraces
from lab.ports.bus import Outgoing, Record
from lab.ports.store import Unit, UnitVerdict
from lab.runtime.ids import TimeOrderedIds
from lab.wiring.process.trace_watch import TraceWatch
from tests.contract.store_worlds import make_create, make_event
from tests.kit.order_world import World
from tests.kit.virtual_steps import run

CLIENTS = "c" * 32
CONTEXT = f"00-{CLIENTS}-{'d' * 16}-01 vendor=1"
EVENT = {"traceparent": CONTEXT.split(maxsplit=1)[0], "lab-subject": "one"}


def binary() -> tuple[Headers, bytes]:
    return tuple((name, text.encode()) for name, text in EVENT.items()), b""


def structured() -> tuple[Headers, bytes]:
    members = {"specversion": "1.0", "id": "e", "traceparent": EVENT["traceparent"]}
    headers = ((CONTENT_TYPE, STRUCTURED), ("lab-subject", b"one"))
    return headers, msgspec.json.encode(members)


class Calls:
    """The inside of each port: it gives what it has."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    async def poll(self, max_records: int) -> list[Record]:  # noqa: ARG002 - see the port
        return self._records

    async def publish(self, records: object) -> None:
        """Takes anything."""

    async def commit(self, unit: Unit) -> UnitVerdict:  # noqa: ARG002 - see the port
        return UnitVerdict.COMMITTED


def watched(job: Any) -> FollowedTraces:
    """The traces after a job was done with a watch over them."""
    traces = FollowedTraces(TimeOrderedIds().traceparent)
    coroutine: Coroutine[Any, Any, object] = job(TraceWatch(traces))
    run(coroutine)
    return traces


@pytest.mark.parametrize("form", [binary, structured])
def test_by_a_record_that_is_read(form: Any) -> None:
    headers, value = form()
    record = Record("orders", 0, 0, b"one", value, headers, 0)
    traces = watched(lambda watch: watch.around_consumer(Calls([record])).poll(1))
    assert (traces.of("one"), traces.parent_of("one")) == (CLIENTS, "")


@pytest.mark.parametrize("form", [binary, structured])
def test_by_a_record_that_is_published(form: Any) -> None:
    headers, value = form()
    record = Outgoing("orders", b"one", value, headers)
    assert watched(lambda w: w.around_publisher(Calls([])).publish([record])).of("one") == CLIENTS


@pytest.mark.parametrize("odd", [f"00-{'Z' * 32}-{'d' * 16}-01", "\0", "x" * 32, "00-" + "7" * 32])
def test_a_record_whose_trace_is_none_says_nothing(odd: str) -> None:
    own = FollowedTraces(TimeOrderedIds().traceparent).of("one")
    headers = (("traceparent", odd.encode()), ("lab-subject", b"one"))
    record = Outgoing("orders", b"one", b"", headers)
    assert watched(lambda w: w.around_publisher(Calls([])).publish([record])).of("one") == own


def test_by_the_order_that_is_created_and_by_the_events_of_a_unit() -> None:
    create = make_create("one").create
    assert create is not None
    made = Unit(lab_subject="one", create=msgspec.structs.replace(create, traceparent=CONTEXT))
    traces = watched(lambda watch: watch.around_store(Calls([])).commit(made))
    assert (traces.of("one"), traces.parent_of("one")) == (CLIENTS, "d" * 16)

    event = make_event("one", OrderState.CANCELLED, 2)
    event = msgspec.structs.replace(event, traceparent=CONTEXT, lab_subject="two")
    moved = Unit(lab_subject="two", events=(event,))
    traces = watched(lambda watch: watch.around_store(Calls([])).commit(moved))
    assert (traces.of("two"), traces.parent_of("two")) == (CLIENTS, "")


def test_by_the_order_that_is_looked_up() -> None:
    world = World()
    world.create()
    order = world.order()
    traces = watched(lambda watch: watch.around_store(world.desk.store).load(order.id))
    assert traces.of(order.lab_subject) == order.traceparent.split("-")[1]
    assert traces.of("another") != traces.of(order.lab_subject)
