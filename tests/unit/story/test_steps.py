"""The way of an order in steps: plain words, causes before effects, and nothing left out."""

from collections.abc import Mapping

from lab.observe.model import Attributes, LogLine, Outcome, Span, SpanKind, SpanMoment
from lab.story.marks import Sign
from lab.story.steps import StoryStep, steps_of

MS = 1_000


def span(
    action: str,
    service: str,
    start: int,
    end: int,
    *,
    ident: str,
    parent: str = "",
    entry: str = "",
    outcome: Outcome = "success",
    error: str = "",
    moments: Mapping[int, tuple[str, Attributes]] | None = None,
    **attributes: str | int,
) -> Span:
    """A span of order 1; an underscore in the name of an attribute stands for a dot."""
    return Span(
        trace_id="t",
        span_id=ident,
        parent_id=parent,
        entry_id=entry or ident,
        action=action,
        name=f"{action} of {service}",
        kind=SpanKind.INTERNAL,
        service=service,
        node=f"{service}-1",
        subject="1.1",
        start_us=start * MS,
        end_us=end * MS,
        outcome=outcome,
        error=error,
        attributes={_ATTRIBUTES.get(name, f"lab.{name}"): one for name, one in attributes.items()},
        moments=[SpanMoment(at * MS, name, told) for at, (name, told) in (moments or {}).items()],
    )


_ATTRIBUTES = {
    "event": "messaging.message.id",
    "group": "messaging.consumer.group.name",
    "topic": "messaging.destination.name",
    "does": "lab.action",
}


def line(action: str, at: int, node: str = "run", subject: str = "", **told: str) -> LogLine:
    return LogLine(
        at_us=at * MS,
        id=f"{action}{at}",
        level="info",
        message="",
        action=action,
        service=node.partition("-")[0],
        node=node,
        subject=subject,
        attributes={f"lab.{name.replace('_', '.')}": one for name, one in told.items()},
    )


def deliver(ident: str, start: int, end: int, **more: object) -> Span:
    told = {"event": "e1", "group": "payment", "event_type": "OrderCreated", **more}
    return span("deliver", "payment", start, end, ident=ident, parent="p", **told)  # type: ignore[arg-type]  # strings


def texts(steps: tuple[StoryStep, ...]) -> list[str]:
    return [f"{'  ' * step.depth}{step.service} {step.text}" for step in steps]


def test_a_delivery_with_one_attempt_is_one_line_with_what_it_consists_of() -> None:
    spans = [
        span("request", "client", 0, 1, ident="r"),
        span("publish", "relay", 2, 2, ident="p", parent="r", topic="orders", event="e1"),
        deliver("d", 2, 9),
        span("attempt", "payment", 2, 9, ident="a", parent="d", entry="d", attempt=1),
        span("call", "payment", 3, 8, ident="c", parent="a", entry="d", provider="bank",
             does="pay"),
        span("commit", "payment", 9, 9, ident="k", parent="a", entry="d", result="committed"),
    ]  # fmt: skip

    steps = steps_of(spans)

    assert texts(steps) == [
        "client sends request of client",
        "relay publishes OrderCreated to orders",
        "payment gets OrderCreated",
        "  payment calls bank: pay",
    ]
    assert [mark.text for mark in steps[2].marks] == ["commit"]


def test_each_of_several_attempts_has_a_line_and_a_wait_between_them_too() -> None:
    retry: Attributes = {"lab.tier": "tier.1", "lab.delay_ms": 5_000, "lab.error_class": "X"}
    spans = [
        deliver("d", 0, 5_100),
        span("attempt", "payment", 0, 50, ident="a", parent="d", entry="d", attempt=1,
             outcome="failure", error="Transient", moments={50: ("retry", retry)}),
        span("wait", "payment", 50, 5_050, ident="w", parent="d", entry="d", tier="tier.1"),
        span("attempt", "payment", 5_050, 5_100, ident="b", parent="d", entry="d", attempt=2),
    ]  # fmt: skip

    steps = steps_of(spans)

    assert texts(steps) == [
        "payment gets OrderCreated",
        "  payment attempt 1",
        "  payment waits in retry topic 1",
        "  payment attempt 2",
    ]
    assert steps[1].failure == "failed: Transient"
    assert steps[1].marks[0].text == "to retry topic 1, again in 5 s"
    assert steps[2].is_wait


def test_the_same_event_again_is_called_so_and_its_suppression_has_a_sign() -> None:
    spans = [
        deliver("d", 0, 10),
        deliver("f", 12, 12, moments={12: ("dedupe.suppressed", {})}),
    ]

    first, again = steps_of(spans)

    assert (first.text, again.text) == ("gets OrderCreated", "gets OrderCreated again")
    assert [mark.sign for mark in again.marks] == [Sign.SUPPRESSED]


def test_a_killed_process_leaves_a_cross_where_it_died() -> None:
    (step,) = steps_of([deliver("d", 0, 7, outcome="failure", error="process.killed")])

    assert [(mark.sign, mark.at_us) for mark in step.marks] == [(Sign.CRASH, 7 * MS)]
    assert step.failure == ""


def test_a_dead_letter_and_a_fault_are_marks_with_their_reasons() -> None:
    fault: Attributes = {"lab.fault.kind": "svc.error", "lab.fault.site": "bank"}
    dead: Attributes = {"lab.reason": "permanent", "lab.attempts": 4}
    moments = {2: ("lab.fault", fault), 7: ("dead_letter", dead)}
    (step,) = steps_of([deliver("d", 0, 7, moments=moments)])

    assert [(mark.sign, mark.text) for mark in step.marks] == [
        (Sign.FAULT, "fault svc.error at bank"),
        (Sign.DEAD, "dead letter: permanent, after 4 attempts"),
    ]


def test_a_fault_that_struck_the_order_beside_its_work_has_a_line_of_its_own() -> None:
    noted: Attributes = {"lab.fault.kind": "bus.delay", "lab.fault.site": "payment"}
    spans = [deliver("d", 0, 9, moments={4: ("lab.fault", noted)})]
    lines = [
        line("fault", 1, subject="1.1", fault_kind="bus.duplicate", fault_site="payment"),
        line("fault", 4, subject="1.1", fault_kind="bus.delay", fault_site="payment"),
        line("fault", 1, subject="2.1", fault_kind="bus.duplicate", fault_site="payment"),
        line("fault", 2, fault_kind="pg.shutdown", fault_site="any"),
    ]

    assert texts(steps_of(spans, lines)) == [
        "payment gets OrderCreated",
        "fault bus.duplicate at payment",
        "fault pg.shutdown",
    ]


def test_a_process_that_dies_is_shown_while_it_works_for_the_order_and_no_longer() -> None:
    spans = [deliver("d", 10, 20), deliver("f", 60, 70)]
    lines = [
        line("process", 30, "payment-1", process="kill"),
        line("process", 40, "payment-1#2", process="start"),
        line("process", 5, "payment-1", process="kill"),
        line("process", 80, "payment-1#2", process="kill"),
        line("process", 30, "notification-1", process="kill"),
        line("process", 10, "payment-1", process="start"),
    ]

    assert texts(steps_of(spans, lines)) == [
        "payment gets OrderCreated",
        "payment payment-1 was killed",
        "payment payment-1#2 was started again",
        "payment gets OrderCreated again",
    ]


def test_of_one_moment_causes_stand_before_effects() -> None:
    spans = [
        deliver("d", 0, 0),
        span("publish", "relay", 0, 0, ident="p", parent="r", topic="orders", event="e1"),
        span("request", "client", 0, 0, ident="r"),
    ]

    assert [step.service for step in steps_of(spans)] == ["client", "relay", "payment"]


def test_no_span_no_step() -> None:
    assert steps_of([]) == ()
