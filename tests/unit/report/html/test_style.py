"""Colours: every text can be read in the light and in the dark."""

import re
from importlib.resources import files

import pytest

STYLE = files("lab.report.html").joinpath("page.css").read_text("utf-8")
TEXTS = ("ink", "soft", "accent", "pass", "fail", "unknown", "fault", "client", "api", "relay",
         "orders", "validation", "payment", "notification", "other")  # fmt: skip
BARS = TEXTS[7:]
AA_TEXT = 4.5


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", block))


_LIGHT = colours(STYLE.split("@media", maxsplit=1)[0])
THEMES = {
    "light": _LIGHT,
    "dark": _LIGHT | colours(STYLE.split("@media")[1]),
}


def brightness(colour: str) -> float:
    """Relative luminance. Source: WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours. Source: WCAG 2.2."""
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_and_white_are_as_far_apart_as_can_be() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stands_out_from_what_is_behind_it(theme: str, ground: str, text: str) -> None:
    found = THEMES[theme]

    assert contrast(found[text], found[ground]) >= AA_TEXT


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("bar", BARS)
def test_a_text_on_a_bar_stands_out_from_it(theme: str, bar: str) -> None:
    found = THEMES[theme]

    assert contrast(found["on-work"], found[bar]) >= AA_TEXT


def test_both_themes_name_every_colour() -> None:
    light, dark = THEMES["light"], colours(STYLE.split("@media")[1])

    assert set(light) == set(dark)
    assert all(f"var(--{name})" in STYLE for name in light)
