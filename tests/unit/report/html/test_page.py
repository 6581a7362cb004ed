"""A page about a run: whole, readable by everybody, and nothing but text of what others wrote."""

import re
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from lab.report.html.page import OrderWay, RunPage, run_page
from lab.report.html.waterfall import FIRST_STEPS, LAST_STEPS
from lab.report.result import Costs, Fault, PatternUse, Result, UnreadableOrder
from lab.story.steps import StoryStep
from tests.kit.html_page import Node, read_page
from tests.kit.report_pages import make_course, make_page, make_steps
from tests.kit.results import make_fail, make_result, make_unknown

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"y\">&amp;</style>\x1b[31m\u202e -->"
KEPT_WORDS = {"PASS", "FAIL", "UNKNOWN", "simulated", "wall-clock", "real", "safety", "liveness"}
RESULTS = (make_result, make_fail, make_unknown)


def page_of(page: RunPage) -> Node:
    return read_page(run_page(page))


def with_way(steps: tuple[StoryStep, ...]) -> RunPage:
    """A page that follows one order."""
    return replace(make_page(make_result()), ways=(OrderWay(ordinal=1, why="", steps=steps),))


def poisoned(value: Any) -> Any:
    """Every text of a result as somebody would write it who means harm."""
    if isinstance(value, str):
        return value if value in KEPT_WORDS else f"{value} {HOSTILE}"
    if isinstance(value, list | tuple):
        return [poisoned(one) for one in value]
    if isinstance(value, dict):
        return {name: poisoned(one) for name, one in value.items()}
    return value


def full_result() -> Result:
    """A result that has something in every field."""
    broken = make_fail()
    return replace(
        broken,
        beyond_contract=("bus.drop_publish",),
        partial=True,
        orders=replace(broken.orders, refused=3, refused_by_reason={"sku": 3}, unreadable=1),
        unreadable_lines=(UnreadableOrder(line=4, reason="no JSON"),),
        notes=("seed 1 drew nothing",),
        without_faults=Costs(metrics=broken.metrics, virtual_ms=5, digest="d"),
        faults=(*broken.faults, Fault(name="of.mine", fired=1, orders=())),
        patterns=(*broken.patterns, PatternUse(name="mine", on=True, acted={"done": 1})),
        kept="lab_1",
    )


@pytest.mark.parametrize("make", RESULTS)
def test_a_page_has_the_landmarks_and_headings_that_readers_go_by(make: Any) -> None:
    page = page_of(make_page(make()))

    assert page.one("html").attributes == {"lang": "en"}
    for landmark in ("header", "nav", "main", "footer", "h1"):
        page.one(landmark)
    levels = [int(node.tag[1]) for node in page.all("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [node.attributes["id"] for node in page.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for link in page.one("nav").all("a"):
        assert link.attributes["href"].removeprefix("#") in ids


@pytest.mark.parametrize("make", RESULTS)
def test_every_table_and_drawing_says_what_it_is(make: Any) -> None:
    page = page_of(make_page(make()))

    ids = {node.attributes["id"]: node for node in page.all() if "id" in node.attributes}
    for table in page.all("table"):
        assert table.one("caption").text
        for head in table.all("th"):
            assert head.attributes["scope"] in ("col", "row")
    drawings = [node for node in page.all("svg") if node.attributes.get("role") == "img"]
    assert len(drawings) == 3
    for drawing in drawings:
        for name in drawing.attributes["aria-labelledby"].split():
            assert ids[name].text
    for drawing in page.all("svg"):
        inside = any(drawing in list(other.all()) for other in drawings)
        is_silent = drawing.attributes.get("aria-hidden") == "true"
        assert inside or is_silent or _is_part_of_silent(page, drawing)


def _is_part_of_silent(page: Node, drawing: Node) -> bool:
    silent = [one for one in page.all("svg") if one.attributes.get("aria-hidden") == "true"]
    return any(drawing is inner for one in silent for inner in one.all("svg"))


@pytest.mark.parametrize("make", RESULTS)
def test_a_page_asks_for_nothing_and_runs_nothing(make: Any) -> None:
    text = run_page(make_page(make()))
    page = read_page(text)

    for node in page.all():
        assert node.tag not in ("script", "iframe", "object", "embed", "img", "base", "form")
        assert not [name for name in node.attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "xlink:href", "action", "poster"):
            address = node.attributes.get(name, "#")
            assert address.startswith("#") or address == "data:,"
    style = page.one("style").children[0]
    assert isinstance(style, str)
    assert "@import" not in style
    assert re.findall(r"url\(([^)]*)", style) == ["#hatch-band", "#hatch-cut"]
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"https?://", text)


def test_the_verdict_stands_first_and_in_words() -> None:
    for make in RESULTS:
        result = make()
        page = page_of(make_page(result))

        assert page.one("h1").text.startswith(f"{result.verdict} ")
        assert (
            page.one("head").one("title").text.startswith(f"{result.verdict}: duplicates, seed 7")
        )
        first = next(node.text for node in page.one("body").all("h1", "h2", "table"))
        assert result.verdict in first


def test_promises_that_broke_come_first_with_their_witness_then_those_at_risk() -> None:
    rows = [row.text for row in _rows(page_of(make_page(make_fail())), "promises")]

    assert rows[0].startswith("no-double-charge")
    assert "Witness: Order 37: 2 captures, at 4.210s and 9.730s." in rows[0]
    assert rows[0].endswith("FAIL broken 3 of 500 times")
    assert [row.split()[0] for row in rows[1:3]] == ["effect-once", "dedupe-sound"]
    assert len(rows) == 10


def _rows(page: Node, section: str) -> list[Node]:
    bodies = page.one("section", id=section).all("tbody")
    return [row for body in bodies for row in body.all("tr")]


def test_every_section_shows_what_the_run_has() -> None:
    page = page_of(make_page(full_result()))

    def told(section: str) -> str:
        return page.one("section", id=section).text

    assert "faults end" in told("timeline")
    assert "never ended: 1" in told("timeline")
    assert "Some orders were not kept." in told("timeline")
    assert "Order 37" in told("orders-followed")
    assert "Its entries were not kept." in told("orders-followed")
    assert "3 refused (sku 3)" in told("orders")
    assert "line 4: no JSON" in told("orders")
    assert "CONFIRMED 451 90 %" in told("orders")
    assert "3, 37, 41, ..." in told("faults")
    assert "Seed 1 drew nothing." in told("faults")
    assert "before they reach the order store. switched off" in told("patterns")
    assert "17 attempts that failed and got another one" in told("patterns")
    assert "idempotency-key" in told("unknown")
    assert "breaker" in told("unknown")
    assert "deliveries an order 4.3 4.3" in told("costs")
    assert "retry.attempts_max" in told("settings")
    assert "lab run duplicates --off dedupe,inbox" in told("next")
    assert "Interrupted." in page.one("header").text


def test_the_charts_have_their_numbers_as_a_table() -> None:
    page = page_of(make_page(make_result()))

    table = page.one("section", id="timeline").one("table")

    assert len(list(table.one("tbody").all("tr"))) == 20
    assert "bus.duplicate 1" in table.text


def test_whatever_others_wrote_is_text() -> None:
    built = msgspec.to_builtins(full_result())
    result = msgspec.convert(poisoned(built), Result)
    page = replace(
        make_page(result),
        ways=(OrderWay(ordinal=1, why=HOSTILE, steps=make_steps(HOSTILE)),),
        story=HOSTILE,
        changed=((HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
        missing=(HOSTILE,),
    )

    read = page_of(page)

    harmless = page_of(make_page(full_result()))
    assert {node.tag for node in read.all()} == {node.tag for node in harmless.all()}
    for node in read.all():
        assert not [name for name in node.attributes if name.startswith("on")]
    assert read.text.count("<script>alert('x')</script>") > 25
    assert "\x1b" not in read.text
    assert "\u202e" not in read.text


def test_a_service_that_nobody_knows_names_no_class() -> None:
    steps = (StoryStep(depth=0, service='"><b>', text="x", start_us=0, end_us=1),)
    page = page_of(with_way(steps))

    looks = [node.attributes.get("class", "") for node in page.all("span")]
    assert [look for look in looks if look.startswith("service")] == ["service s-other"]


def test_of_a_very_long_way_the_begin_and_the_end_are_shown() -> None:
    steps = tuple(
        StoryStep(depth=0, service="payment", text=f"step {n}", start_us=n, end_us=n + 1)
        for n in range(500)
    )
    page = page_of(with_way(steps))

    told = page.one("section", id="orders-followed").text
    assert "step 0 " in told
    assert "step 499 " in told
    assert f"{500 - FIRST_STEPS - LAST_STEPS} steps in between left out" in told


def test_a_page_without_anything_in_it_is_a_page() -> None:
    bare = replace(
        make_result(), checks=(), faults=(), patterns=(), goals=(), metrics={}, not_exercised=()
    )

    page = page_of(RunPage(result=bare, course=replace(make_course(1), lanes=(), ended=0, dots=())))

    assert "Nothing was made to go wrong." in page.text
    assert "No pattern was provoked" in page.text


def test_a_large_run_makes_no_large_page() -> None:
    course = make_course(80)
    many = replace(course, dots=tuple((n * 50_000, 300_000 + n) for n in range(1_500)))
    page = replace(make_page(make_fail()), course=many)

    assert len(run_page(page).encode()) < 200_000
