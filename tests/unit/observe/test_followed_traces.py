"""The traces of a standing system: its own can be computed, those of clients are followed."""

import pytest

from lab.observe import followed_traces
from lab.observe.followed_traces import FollowedTraces, Sight
from lab.observe.model import LogLine, Span
from lab.observe.process_view import ProcessView
from lab.observe.traces import root_span, trace_of
from lab.runtime.ids import TimeOrderedIds

IDS = TimeOrderedIds()
CLIENTS, SPAN = "c" * 32, "d" * 16
CONTEXT = f"00-{CLIENTS}-{SPAN}-01 vendor=1"
EVENTS_OWN = f"00-{CLIENTS}-{'e' * 16}-01 vendor=1"
"""Of an event of the order: the client's trace, the event's span."""


def make() -> FollowedTraces:
    return FollowedTraces(IDS.traceparent)


def test_an_order_is_in_the_trace_that_can_be_computed_until_it_is_seen_in_another() -> None:
    traces, order = make(), IDS.order_id("")
    own = trace_of(IDS.traceparent(order))
    assert (traces.of(order), traces.parent_of(order)) == (own, "")
    traces.follow(order, IDS.traceparent(order), Sight.EVENT)
    assert traces.of(order) == own
    traces.follow(order, EVENTS_OWN, Sight.EVENT)
    assert (traces.of(order), traces.parent_of(order)) == (CLIENTS, "")


def test_only_the_client_s_own_span_is_the_parent_of_the_order() -> None:
    traces = make()
    traces.follow("order", CONTEXT, Sight.ROW, is_clients=True)
    traces.follow("order", EVENTS_OWN, Sight.EVENT)
    assert (traces.of("order"), traces.parent_of("order")) == (CLIENTS, SPAN)


def test_what_is_surer_is_never_overruled_by_what_is_less_sure() -> None:
    traces, other = make(), f"00-{'f' * 32}-{'e' * 16}-01"
    traces.follow("order", other, Sight.REQUEST)
    traces.follow("order", EVENTS_OWN, Sight.EVENT)
    traces.follow("order", other, Sight.REQUEST)
    assert traces.of("order") == CLIENTS
    traces.follow("order", other, Sight.ROW)
    traces.follow("order", EVENTS_OWN, Sight.EVENT)
    assert traces.of("order") == "f" * 32


def test_a_foreign_event_does_not_move_an_order_whose_row_was_seen_in_its_own_trace() -> None:
    traces = make()
    own = traces.of("order")
    traces.follow("order", IDS.traceparent("order"), Sight.ROW)
    traces.follow("order", EVENTS_OWN, Sight.EVENT)
    assert traces.of("order") == own


def test_what_names_no_order_or_no_trace_is_not_followed() -> None:
    traces = make()
    own = traces.of("order")
    for subject, context in (("", CONTEXT), ("order", ""), ("order", "00-12-34-01")):
        traces.follow(subject, context, Sight.ROW)
    assert (traces.of(""), traces.of("order")) == ("", own)


def test_the_orders_that_were_seen_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_traces, "REMEMBERED_MAX", 2)
    traces = make()
    for order in ("one", "two", "three"):
        traces.follow(order, CONTEXT, Sight.EVENT)
    assert [traces.of(order) == CLIENTS for order in ("one", "two", "three")] == [False, True, True]


def test_a_request_whose_order_is_known_later_ends_in_the_trace_of_that_order() -> None:
    traces = make()
    found: list[Span | LogLine] = []
    view = ProcessView("api-1#1", traces=traces, epoch_us=0, emit=found.append)
    view.take(("request.begin", 1_000, "api-1#1", "order", "cancel"))
    traces.follow("order", EVENTS_OWN, Sight.EVENT)
    view.take(("request.end", 2_000, "api-1#1", "order", "cancel", 200, 1_000))
    (request,) = [one for one in found if isinstance(one, Span)]
    assert (request.trace_id, request.parent_id) == (CLIENTS, root_span(CLIENTS, "order"))


def test_orders_of_one_trace_have_a_root_each_under_the_client_s_span() -> None:
    traces = make()
    for order in ("one", "two"):
        traces.follow(order, CONTEXT, Sight.ROW, is_clients=True)
    found: list[Span | LogLine] = []
    view = ProcessView("api-1#1", traces=traces, epoch_us=0, emit=found.append)
    for order in ("one", "two"):
        view.take(("commit.begin", 1_000, "api-1#1", order, "api", "", False))
        view.take(("commit.end", 2_000, "api-1#1", order, "api", "", False, "committed"))
        view.take(("request.end", 3_000, "api-1#1", order, "create", 201, 2_500))
    roots = [one for one in found if isinstance(one, Span) and one.parent_id == SPAN]
    assert [one.span_id for one in roots] == [root_span(CLIENTS, order) for order in ("one", "two")]
    assert len({one.span_id for one in roots}) == 2


def test_a_request_that_is_repeated_leaves_no_span_open() -> None:
    traces = make()
    found: list[Span | LogLine] = []
    view = ProcessView("api-1#1", traces=traces, epoch_us=0, emit=found.append)
    view.take(("commit.begin", 1_000, "api-1#1", "never-made", "api", "", False))
    view.take(("commit.end", 2_000, "api-1#1", "never-made", "api", "", False, "key_taken"))
    view.take(("request.end", 3_000, "api-1#1", "made-before", "create", 201, 2_500))
    told = [one for one in found if isinstance(one, Span)]
    view.close(9_000)
    assert len([one for one in found if isinstance(one, Span)]) == len(told) == 3
