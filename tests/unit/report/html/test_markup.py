"""What others wrote is text on a page, whatever it looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.report.html.markup import el, page_of, shown
from tests.kit.html_page import read_page

HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' style='position:fixed",
    "<!-- ",
    "]]>&amp;&lt;b&gt;&#60;",
    "</style><script>alert(1)</script>",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_looks_like_markup_comes_back_as_the_text_that_it_is(text: str) -> None:
    page = read_page(page_of(el("html", el("p", text, title=text), text)))

    assert page.one("p").attributes == {"title": text}
    assert page.one("p").children == [text]
    assert [node.tag for node in page.all()] == ["", "html", "p"]


@given(st.text())
def test_any_text_comes_back_without_what_nobody_sees(text: str) -> None:
    page = read_page(page_of(el("p", el("b"), text, title=text)))

    # A parser of HTML takes a carriage return for a line feed; none is left to be taken.
    assert page.one("p").attributes["title"] == shown(text)
    assert "".join(one for one in page.one("p").children if isinstance(one, str)) == shown(text)


@pytest.mark.parametrize(
    "text", ["a\x00b", "a\x1b[31mb", "a\u202eb", "a\u200bb", "a\ud800b", "a\rb", "a\ufeffb"]
)
def test_a_character_that_hides_or_turns_others_is_shown_as_one_that_stands_for_it(
    text: str,
) -> None:
    assert shown(text) in ("a\ufffdb", "a\ufffd[31mb")
    assert shown(text).encode()


@pytest.mark.parametrize("text", ["Grüße", "注文", "أمر", "😀", "a\tb\nc", "e\u0301"])
def test_every_script_is_left_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_children_may_be_lists_numbers_are_short_and_nothing_is_nothing() -> None:
    made = el("td", "a", [el("b", "c"), "d", [None, "e"]], None, "f", width=1 / 3, class_=None)

    assert page_of(made).splitlines()[1] == '<td width="0.33">a<b>c</b>def</td>'
    assert page_of(el("rect", x=100, y=0.0, aria_hidden="true")).splitlines()[1] == (
        '<rect x="100" y="0" aria-hidden="true"></rect>'
    )
