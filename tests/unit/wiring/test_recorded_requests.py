"""Requests of a real API leave entries, and tell in which trace they came."""

from collections.abc import Sequence

import pytest

from lab.api import Door, make_app
from lab.history.entries import Entry, kind_of, subject_of
from lab.history.pen import Pen
from lab.observe.followed_traces import FollowedTraces
from lab.runtime.asgi_call import call
from lab.runtime.ids import TimeOrderedIds
from lab.wiring.process.trace_watch import TraceWatch
from lab.wiring.worlds.recorded_requests import recorded_requests
from tests.kit.order_world import ID, World
from tests.kit.virtual_steps import run

CLIENTS = "c" * 32
PARENT = ("traceparent", f"00-{CLIENTS}-{'d' * 16}-01")
OTHER = ("traceparent", f"00-{'e' * 32}-{'d' * 16}-01")
STATE = ("tracestate", "vendor=1")


def cancelled(*headers: tuple[str, str]) -> tuple[str, list[Entry]]:
    """The trace and the entries of an order that was cancelled by a request with these headers."""
    world, entries = World(), list[Entry]()
    world.create()
    traces = FollowedTraces(TimeOrderedIds().traceparent)
    pen = Pen(process="api-1", now=lambda: 7, write=entries.append)
    app = recorded_requests(make_app(world.desk, Door()), pen, "", TraceWatch(traces))
    run(call(app, "POST", f"/orders/{ID}/cancel", headers))
    return traces.of(subject_of(entries[0])), entries


@pytest.mark.parametrize(
    "headers", [[PARENT], [PARENT, STATE], [PARENT, ("idempotency-key", "\x01")]]
)
def test_the_trace_of_a_request_is_followed_refused_or_not(
    headers: Sequence[tuple[str, str]],
) -> None:
    trace, entries = cancelled(*headers)
    assert trace == CLIENTS
    assert [kind_of(entry) for entry in entries] == ["request.begin", "request.end"]


@pytest.mark.parametrize("headers", [[], [PARENT, OTHER], [("traceparent", "00-1-2-3")]])
def test_what_the_api_takes_for_no_trace_is_none_to_onlookers(
    headers: Sequence[tuple[str, str]],
) -> None:
    own, _ = cancelled()
    assert cancelled(*headers)[0] == own
