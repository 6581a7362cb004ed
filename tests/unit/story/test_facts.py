"""Facts stand with the work that brought them about, and a cause before its effects."""

from msgspec.structs import replace

from lab.faults.table.spec import ordinal_of
from lab.history.entries import Entry, kind_of, subject_of
from lab.observe.model import LogLine, Span
from lab.observe.run_view import RunView
from lab.observe.traces import ComputedTraces
from lab.runtime.ids import SeededIds
from lab.story.marks import Sign
from lab.story.steps import StoryStep, steps_of
from tests.kit.seen import entries_of


def spans_of(entries: list[Entry]) -> list[Span]:
    found: list[Span | LogLine] = []
    traces = ComputedTraces(SeededIds(1).traceparent, has_client=True, sees_requests=False)
    view = RunView(traces=traces, epoch_us=0, emit=found.append, is_whole=False)
    for entry in entries:
        view.take(entry)
    view.close()
    return [seen for seen in found if isinstance(seen, Span)]


def order_1(*off: str) -> list[Entry]:
    return [e for e in entries_of("duplicates", 1, *off) if ordinal_of(subject_of(e)) == 1]


def told(steps: tuple[StoryStep, ...], sign: Sign) -> list[tuple[str, str, str]]:
    return [
        (step.service, step.text, mark.text)
        for step in steps
        for mark in step.marks
        if mark.sign is sign
    ]


def test_each_fact_of_an_order_stands_with_the_work_that_brought_it_about() -> None:
    entries = order_1("dedupe", "inbox")

    facts = told(steps_of(spans_of(entries), entries=entries), Sign.FACT)

    assert ("api", "answers the request", "the store has the order as PENDING") in facts
    assert ("payment", "gets OrderValidated", "the store has the order as PAID") in facts
    taken = [(who, step) for who, step, what in facts if "takes" in what]
    assert taken == [("payment", "calls payment_gateway: charge")]
    revenue = [step for _, step, what in facts if "revenue" in what]
    assert revenue == ["gets OrderConfirmed", "gets OrderConfirmed again"]


def test_the_turning_entry_has_a_mark_of_its_own_where_it_happened() -> None:
    entries = order_1("dedupe", "inbox")
    turn = [entry for entry in entries if kind_of(entry) == "revenue"][1]

    steps = steps_of(spans_of(entries), entries=entries, turn=turn)

    ((service, text, _),) = told(steps, Sign.TURN)
    assert (service, text) == ("notification", "gets OrderConfirmed again")


def test_an_effect_never_stands_before_its_cause_whatever_the_clocks_say() -> None:
    entries = order_1()
    spans = spans_of(entries)
    straight = [(step.service, step.text) for step in steps_of(spans)]
    # The clock of payment is an hour slow.
    slow_us = 3_600_000_000
    skewed = [
        replace(span, start_us=span.start_us - slow_us, end_us=span.end_us - slow_us)
        if span.service == "payment"
        else span
        for span in spans
    ]

    steps = [(step.service, step.text) for step in steps_of(skewed)]

    assert sorted(steps) == sorted(straight)
    published = steps.index(("relay", "publishes OrderValidated to validation"))
    assert published < steps.index(("payment", "gets OrderValidated"))
    assert steps[0] == ("client", "sends POST /orders")


def test_a_fact_of_no_known_work_is_a_step_of_its_own() -> None:
    entries = order_1()
    expired: Entry = (
        "row",
        5,
        "store",
        "1.1",
        9,
        "EXPIRED",
        "e9",
        "OrderExpired",
        "GBP",
        1,
        "",
        "",
    )

    steps = steps_of(spans_of(entries), entries=[*entries, expired])

    alone = [step for step in steps if step.service == "store"]
    assert [step.text for step in alone] == ["the store has the order as EXPIRED"]
