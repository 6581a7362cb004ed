"""Elements of HTML and SVG, made as a tree and written out by the standard library.

Text is handed over as text and nothing else can be: there is no way to put markup of somebody else
into a page, so nobody has to remember to escape. A templating library would have to be trusted with
that, and brings a second language for what are loops and conditions.

Not here: what a page consists of.
"""

import re
from collections.abc import Iterable
from typing import Final
from xml.etree.ElementTree import Element, tostring

Child = Element | str | int | float | None | Iterable["Child"]
"""What may stand in an element; None is nothing."""

Value = str | int | float | None

_NEVER_SHOWN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\uffff]"
)
"""Controls, halves of characters, and what makes text run the other way or vanish."""


def el(tag: str, *children: Child, **attributes: Value) -> Element:
    """An element.

    Args:
        tag: its name.
        children: texts, numbers, elements, or lists of these.
        attributes: an underscore stands for `-`, a last one for nothing (`class_`); None: without.
    """
    element = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            element.set(name.rstrip("_").replace("_", "-"), _text(value))
    _fill(element, children)
    return element


def page_of(html: Element) -> str:
    """A whole document as text."""
    return f"<!doctype html>\n{tostring(html, encoding='unicode', method='html')}\n"


def shown(text: str) -> str:
    """A text without characters that a reader cannot see; each is shown as one that stands for it.

    What is written by others may hold any character; one that hides or turns what stands beside it
    must not do so on a page that says what was found.
    """
    return _NEVER_SHOWN.sub("\ufffd", text)


def _fill(element: Element, children: Iterable[Child]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            element.append(child)
        elif isinstance(child, str | int | float):
            _append(element, _text(child))
        else:
            _fill(element, child)


def _append(element: Element, text: str) -> None:
    """Text goes behind what is there already."""
    if len(element):
        last = element[-1]
        last.tail = (last.tail or "") + text
    else:
        element.text = (element.text or "") + text


def _text(value: str | float) -> str:
    return shown(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
