"""The pages hang together: links lead somewhere, the index leads to all, named files exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).resolve().parents[2]
DOCS: Final = TOP / "docs"
INDEX: Final = DOCS / "README.md"
PAGES: Final = sorted(DOCS.rglob("*.md"))
FRONT: Final = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "tests" / "README.md"]
DATED: Final = DOCS / "adr"
"""Decisions name files as they were called on their day."""

LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
PATH: Final = re.compile(r"(?<![\w/.-])(?:lab|tests|docs|scripts)/[\w./*-]*")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made on the web."""
    heads = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def links_of(page: Path) -> Iterator[tuple[Path, str, str]]:
    """Where the relative links of a page lead: path, anchor, and the link as it is written."""
    for link in LINK.findall(FENCED.sub("", text_of(page))):
        if not re.match(r"[a-z]+:", link):
            place, _, anchor = link.partition("#")
            yield (page.parent / place).resolve() if place else page, anchor, link


def broken_links(page: Path) -> list[str]:
    return [
        link
        for path, anchor, link in links_of(page)
        if not path.exists() or (anchor and anchor not in anchors_of(text_of(path)))
    ]


@pytest.mark.parametrize("page", [*FRONT, *PAGES], ids=lambda page: str(page.relative_to(TOP)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Head\n\n[a](page.md#head) [b](gone.md) [c](#gone) [d](https://x.org/gone)\n")

    assert broken_links(page) == ["gone.md", "#gone"]


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    ahead = [INDEX]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.is_relative_to(DOCS) and page.suffix == ".md":
            reached.add(page)
            ahead += [path for path, _, _ in links_of(page)]

    assert sorted(set(PAGES) - reached) == []


def missing_files(text: str) -> list[str]:
    """The files and folders that a text names, from the top, and that do not exist."""
    named = dict.fromkeys(path.rstrip("/.") for path in PATH.findall(text))
    return [name for name in named if not any(TOP.glob(name))]


@pytest.mark.parametrize(
    "page",
    [page for page in (*FRONT, *PAGES) if not page.is_relative_to(DATED)],
    ids=lambda page: str(page.relative_to(TOP)),
)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert missing_files(text_of(page)) == []


def test_a_file_that_does_not_exist_is_noticed() -> None:
    text = "`lab/runner.py`, lab/bus/kafka/, `tests/*/README.md`, and lab/gone.py."

    assert missing_files(text) == ["lab/gone.py"]


def glossary() -> list[list[str]]:
    """Word, meaning and place of each line."""
    rows = [line for line in text_of(DOCS / "glossary.md").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]


def test_the_glossary_is_sorted_and_has_a_file_for_each_word() -> None:
    rows = glossary()
    words = [word for word, _, _ in rows]

    assert len(words) > 50
    assert words == sorted(set(words), key=str.lower)
    assert [word for word, _, place in rows if not re.fullmatch("`[^`]+`", place)] == []
    assert [word for word, meaning, _ in rows if not meaning.endswith(".")] == []
