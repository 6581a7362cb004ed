"""Spans over OTLP into a receiver that decodes what it gets with OpenTelemetry's own classes."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.observe.fields import Origin
from lab.observe.model import Span, SpanKind, SpanLink, SpanMoment
from lab.observe.otlp import BATCH_SPANS, export
from tests.kit.http_stand_in import StandIn
from tests.kit.otlp_backend import PATH, plain, requests_of, spans_of

pytestmark = pytest.mark.slow

ORIGIN: Final = Origin(run_id="duplicates/now-s7", environment="simulated", version="0.1.0")
TRACE: Final = f"{7:032x}"


@pytest.fixture
def backend() -> Iterator[StandIn]:
    with StandIn() as server:
        server.answers[("POST", PATH)] = (200, b"")
        yield server


def make_span(number: int, **fields: Any) -> Span:
    made: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_id": f"{number - 1:016x}" if number > 1 else "",
        "name": "attempt",
        "kind": SpanKind.INTERNAL,
        "action": "attempt",
        "outcome": "success",
        "service": "payment",
        "node": "payment-1",
        "subject": "1.1",
        "start_us": 1_735_689_600_000_001,
        "end_us": 1_735_689_600_000_901,
        "entry_id": f"{number:016x}",
        **fields,
    }
    return Span(**made)


def test_a_span_arrives_with_everything_that_is_known_of_it(backend: StandIn) -> None:
    other = f"{9:032x}"
    span = make_span(
        2,
        kind=SpanKind.CONSUMER,
        name="process orders",
        outcome="failure",
        error="process.killed",
        attributes={"messaging.system": "kafka", "numeric.attempt": 2, "lab.late": True},
        links=[SpanLink(trace_id=other, span_id=f"{5:016x}")],
        moments=[
            SpanMoment(
                at_us=1_735_689_600_000_500,
                name="lab.fault",
                attributes={"lab.fault.kind": "bus.duplicate"},
            )
        ],
    )

    assert export([span], ORIGIN, endpoint=f"{backend.url}/") == 1

    ((resource, came),) = spans_of(backend).values()
    assert resource == {
        "service.name": "lab-payment",
        "service.instance.id": "payment-1",
        "service.version": "0.1.0",
        "deployment.environment.name": "simulated",
    }
    assert (came.trace_id.hex(), came.span_id.hex()) == (TRACE, f"{2:016x}")
    assert came.parent_span_id.hex() == f"{1:016x}"
    assert (came.name, came.kind) == ("process orders", 5), "SPAN_KIND_CONSUMER"
    assert came.start_time_unix_nano == 1_735_689_600_000_001_000
    assert came.end_time_unix_nano == 1_735_689_600_000_901_000
    assert plain(came.attributes) == {
        "messaging.system": "kafka",
        "numeric.attempt": 2,
        "lab.late": True,
        "lab.order_id": "1.1",
        "lab.run_id": "duplicates/now-s7",
        "error.type": "process.killed",
    }
    assert (came.status.code, came.status.message) == (2, "process.killed"), "STATUS_CODE_ERROR"
    (link,) = came.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (other, f"{5:016x}")
    (moment,) = came.events
    assert (moment.name, moment.time_unix_nano) == ("lab.fault", 1_735_689_600_000_500_000)
    assert plain(moment.attributes) == {"lab.fault.kind": "bus.duplicate"}


def test_a_root_has_no_parent_and_a_good_span_no_error(backend: StandIn) -> None:
    export([make_span(1)], ORIGIN, endpoint=backend.url)

    ((_, came),) = spans_of(backend).values()
    assert came.parent_span_id == b""
    assert came.status.code == 0


def test_many_spans_go_in_bounded_batches_and_all_arrive(backend: StandIn) -> None:
    seen: list[int] = []
    spans = [make_span(number) for number in range(1, BATCH_SPANS + 11)]

    assert export(spans, ORIGIN, endpoint=backend.url, on_progress=seen.append) == len(spans)

    assert seen == [BATCH_SPANS, BATCH_SPANS + 10]
    assert len(requests_of(backend)) == 2
    assert spans_of(backend).keys() == {span.span_id for span in spans}


def test_a_backend_that_refuses_is_no_success_and_its_reason_is_told_once(
    backend: StandIn, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.answers[("POST", PATH)] = (401, b"who are you")

    with pytest.raises(EnvironmentNotReady, match=r"took 0 spans and not the next 1 .*401"):
        export([make_span(1)], ORIGIN, endpoint=backend.url)

    assert caplog.messages == []
    assert capsys.readouterr() == ("", "")
