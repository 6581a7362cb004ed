"""Pages about runs made by hand: every part of a page has something to show."""

from lab.report.course import Course, CourseLane
from lab.report.html.page import OrderWay, RunPage
from lab.report.result import Result
from lab.report.time_bins import Column
from lab.story.marks import Mark, Sign
from lab.story.steps import StoryStep

S = 1_000_000


def make_course(columns: int = 20) -> Course:
    """One order a second; a fault at work from the second to the fifth column."""
    return Course(
        end_us=columns * S,
        width_us=S,
        columns=tuple(make_column(number) for number in range(columns)),
        lanes=(
            CourseLane(kind="bus.down", fired=1, spans=((2 * S, 5 * S),)),
            CourseLane(kind="bus.duplicate", fired=2, spans=()),
        ),
        phases={"faults": 0, "heal": 8 * S, "drain": 8 * S, "end": columns * S},
        dots=((S, 300_000), (2 * S, 900_000)),
        open_since=(3 * S,),
        accepted=columns,
        refused=1,
        ended=columns - 1,
        slowest="2.1",
        slowest_us=900_000,
        hit_most="3.1",
        hits=2,
    )


def make_column(number: int) -> Column:
    """One second."""
    return Column(
        start_us=number * S,
        accepted=1,
        refused=0,
        ended=1 if number else 0,
        p50_us=300_000 if number % 3 else None,
        p95_us=900_000 if number % 3 else None,
        open=number % 5,
        outbox=number % 2,
        records=number % 4,
        faults={"bus.duplicate": 1} if number in (3, 4) else {},
    )


def make_steps(text: str = "gets OrderCreated") -> tuple[StoryStep, ...]:
    """The way of an order with every sign, a wait, a failure, and a service that has no colour."""
    marks = tuple(
        Mark(at_us=place * S // 10, sign=sign, text=f"{sign.value} {text}")
        for place, sign in enumerate(Sign)
    )
    return (
        StoryStep(depth=0, service="client", text="sends POST /orders", start_us=0, end_us=0),
        StoryStep(depth=0, service="payment", text=text, start_us=0, end_us=S, marks=marks),
        StoryStep(
            depth=1, service="payment", text=text, start_us=0, end_us=S, failure=f"failed: {text}"
        ),
        StoryStep(
            depth=1, service="payment", text="waits", start_us=S, end_us=90 * S, is_wait=True
        ),
        StoryStep(depth=0, service=f"else {text}"[:40], text=text, start_us=90 * S, end_us=91 * S),
    )


def make_page(result: Result) -> RunPage:
    """A whole page."""
    return RunPage(
        result=result,
        course=make_course(),
        ways=(
            OrderWay(ordinal=37, why="The witness.", steps=make_steps()),
            OrderWay(ordinal=2, why="The slowest.", steps=()),
        ),
        story="Records come twice.",
        changed=(("retry.attempts_max", "2 attempts", "6 attempts", "attempts in all"),),
        missing=("Some orders were not kept.",),
        commands=(("Again", (result.reproduce,)), ("Next", result.next)),
    )
