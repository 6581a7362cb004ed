"""The page about one run: its verdict first, then why, then how to go on.

One file that needs nothing else: no script, no network, no font. Its policy (CSP) forbids all of
them, and allows the one style sheet by its hash. Not here: what the sections hold (`sections`,
`timeline`, `waterfall`), and where the data comes from (`lab.wiring.reporting`).
"""

import base64
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Final
from xml.etree.ElementTree import Element

import msgspec

from lab.report.course import Course
from lab.report.html import sections
from lab.report.html.markup import Child, el, page_of
from lab.report.html.timeline import timeline
from lab.report.html.waterfall import waterfall
from lab.report.html.words import broken, length, number, proof, verdict_sentence
from lab.report.result import Result
from lab.story.steps import StoryStep
from lab.story.words import sentence


class OrderWay(msgspec.Struct, frozen=True, kw_only=True):
    """The way of one order.

    Attributes:
        ordinal: its number.
        why: why this one is shown, in a sentence.
        steps: none: its entries were not kept.
    """

    ordinal: int
    why: str
    steps: tuple[StoryStep, ...]


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """What a page is made from.

    Attributes:
        result: of the run.
        course: over its time.
        ways: of the orders that are worth a look.
        story: why this goes wrong in real systems; "" for a scenario of one's own.
        changed: policies that differ: name, value, default, meaning.
        missing: what of the run was not kept, in sentences.
        commands: what to do next: for what, and the lines.
    """

    result: Result
    course: Course
    ways: tuple[OrderWay, ...] = ()
    story: str = ""
    changed: tuple[tuple[str, str, str, str], ...] = ()
    missing: tuple[str, ...] = ()
    commands: tuple[tuple[str, tuple[str, ...]], ...] = ()


_ABOUT: Final = {
    "promises": "What this system promises its customers and operators, whatever goes wrong.",
    "timeline": "Faults above, and below them what they did to the orders, all on one time.",
    "faults": "What was made to go wrong on purpose.",
    "patterns": "The resilience patterns that had something to do, and those that were missing.",
    "costs": "Numbers that break no promise.",
}


def run_page(page: RunPage) -> str:
    """The page as text."""
    result = page.result
    parts: list[tuple[str, str, Sequence[Element]]] = [
        ("promises", "Promises", sections.promises(result)),
        ("timeline", "Over time", [*_missing(page.missing), *timeline(page.course)]),
        ("orders-followed", _followed(page.ways), [el("div", _ways(page.ways))]),
        ("orders", "Orders by state", sections.orders(result)),
        ("faults", "Faults", sections.faults(result)),
        ("patterns", "Patterns", sections.patterns(result)),
        ("unknown", "What it did not exercise", sections.not_exercised(result)),
        ("costs", "Costs", sections.costs(result)),
        ("settings", "Settings", sections.settings(result, page.changed)),
        ("next", "Go on", sections.commands(page.commands)),
    ]
    name = f"{result.scenario}, seed {result.seed}"
    return document(
        f"{result.verdict}: {name}",
        _hero(page),
        [part for part in parts if part[2] and (part[0] != "orders-followed" or page.ways)],
        f"pulse-lab {result.versions.lab} on Python {result.versions.python}",
    )


def document(
    title: str,
    hero: Element,
    parts: Iterable[tuple[str, str, Sequence[Element]]],
    made_by: str,
) -> str:
    """A page of a hero and sections, with its style and its policy.

    Args:
        title: of the window.
        hero: the head of the page.
        parts: id, heading and content of each section.
        made_by: for the foot.
    """
    style = _style()
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'"
    chosen = list(parts)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title} - pulse-lab"),
        el("link", rel="icon", href="data:,"),
        el("style", style),
    )
    links = [el("li", el("a", heading, href=f"#{ident}")) for ident, heading, _ in chosen]
    body = el(
        "body",
        el("a", "Skip to the promises", href=f"#{chosen[0][0]}", class_="skip"),
        _hatches(),
        hero,
        el("nav", el("ul", links), aria_label="Sections of this report"),
        el("main", [_section(*part) for part in chosen]),
        el("footer", el("p", f"Made by {made_by}. This file needs no network and no script.")),
    )
    return page_of(el("html", head, body, lang="en"))


def _hatches() -> Element:
    """Patterns that shapes are filled with, so that no colour alone says what they are."""
    patterns = [
        el(
            "pattern",
            el("rect", width=6, height=6, class_=f"{name} ground"),
            el("path", d="M-1 1l2-2M0 6l6-6M5 7l2-2", class_=f"{name} hatch"),
            id=f"hatch-{name}",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        )
        for name in ("band", "cut")
    ]
    return el("svg", el("defs", patterns), width=0, height=0, class_="hidden", aria_hidden="true")


def _section(ident: str, heading: str, content: Sequence[Child]) -> Element:
    about = _ABOUT.get(ident)
    title = f"{ident}-heading"
    return el(
        "section",
        el("h2", heading, id=title),
        el("p", about, class_="about") if about else None,
        content,
        id=ident,
        aria_labelledby=title,
        tabindex=-1,
    )


def _style() -> str:
    """The style sheet, without what a browser does not need."""
    text = files("lab.report.html").joinpath("page.css").read_text("utf-8")
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _hero(page: RunPage) -> Element:
    result = page.result
    rests_on = proof(result)
    return el(
        "header",
        el(
            "p",
            el("span", "pulse-lab", class_="brand"),
            el("b", result.scenario),
            ": ",
            result.summary,
            f" (without {', '.join(result.off)})" if result.off else None,
            class_="kicker",
        ),
        el(
            "h1",
            sections.verdict_mark(result.verdict),
            " ",
            el("span", verdict_sentence(result), class_="outcome"),
        ),
        el("p", rests_on, class_="proof") if rests_on else None,
        el("p", _why(result), class_="why") if broken(result) and result.why else None,
        el("p", el("b", "Interrupted. "), "What follows is what was found until then.")
        if result.partial
        else None,
        el("details", el("summary", "The story"), el("p", page.story)) if page.story else None,
        _tiles(result),
        _facts(result),
        class_=f"hero {result.verdict.lower()}",
    )


def _why(result: Result) -> list[Child]:
    """What is known of the reason, without what the first line says; commands stand in `...`."""
    parts = [part for part in result.why.split("; ") if not re.match(r"\d+ promises? broken", part)]
    texts = sentence("; ".join(parts)).split("`")
    return [el("code", text) if place % 2 else text for place, text in enumerate(texts)]


def _tiles(result: Result) -> Element:
    metrics = result.metrics
    fired = sum(fault.fired for fault in result.faults)
    tiles = [
        (number(result.orders.accepted), "orders accepted"),
        (number(fired), "fault struck" if fired == 1 else "faults struck"),
        (number(metrics.get("deliveries", 0)), "deliveries"),
    ]
    if metrics.get("duplicates"):
        stopped = f"{metrics['duplicates_stopped']:,.0f} of {metrics['duplicates']:,.0f}"
        tiles.append((stopped, "duplicates suppressed"))
    if metrics.get("dead_letters"):
        tiles.append((number(metrics["dead_letters"]), "dead letters"))
    if metrics.get("to_terminal_p95_ms"):
        tiles.append((length(metrics["to_terminal_p95_ms"] * 1_000), "95 % of orders ended within"))
    if fired and metrics.get("recovery_ms"):
        tiles.append((length(metrics["recovery_ms"] * 1_000), "to recover from the last fault"))
    items = [el("div", el("dt", told), el("dd", value)) for value, told in tiles]
    return el("dl", items, class_="tiles")


def _facts(result: Result) -> Element:
    took = length(result.time.wall_ms * 1_000)
    facts = [
        f"{result.mode} world",
        f"seed {result.seed}",
        f"{length(result.time.virtual_ms * 1_000)} of virtual time in {took}"
        if result.mode == "simulated"
        else f"took {took}",
        f"digest {result.digest[:8]}" if result.digest else "",
    ]
    return el("ul", [el("li", fact) for fact in facts if fact], class_="facts")


def _missing(missing: Iterable[str]) -> list[Element]:
    return [el("p", told, class_="notice") for told in missing]


def _followed(ways: Sequence[OrderWay]) -> str:
    names = ("", "One order", "Two orders", "Three orders", "Four orders")
    return f"{names[len(ways)]}, step by step"


def _ways(ways: Iterable[OrderWay]) -> Iterable[Child]:
    for way in ways:
        yield el("h3", f"Order {way.ordinal}")
        yield el("p", way.why)
        if way.steps:
            yield waterfall(f"order-{way.ordinal}", f"Order {way.ordinal}, step by step", way.steps)
        else:
            yield el("p", "Its entries were not kept.", class_="notice")
