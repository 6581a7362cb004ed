"""The fidelity pages name only tests that exist, where they say, and one at least a row."""

import re
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted((TOP / "docs" / "fidelity").glob("*.md"))
STANDS_FOR: Final = re.compile(r"\((\w)\)\s(?:stands\s)?for\s+`(tests/[^`]+)`")
NAMED: Final = re.compile(r"(?:\((\w)\) )?`(test_\w+)`")


def names_in(place: str) -> set[str]:
    """The names of all tests in a file, or in the files of a folder."""
    path = TOP / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return {
        name
        for file in files
        for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))
    }


def rows_of(page: str) -> list[str]:
    """The rows of all tables of a page, without their heads."""
    lines = page.splitlines()
    return [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("| ") and not below.startswith("|---")
    ]


def wrong_in(page: str) -> list[str]:
    """The rows that name no test, or one that does not stand where the page says."""
    intro = page.partition("\n| ")[0]
    letters = dict(STANDS_FOR.findall(intro))
    known = {letter: names_in(place) for letter, place in letters.items()}
    plain = set(re.findall(r"`(tests/[^`]+)`", intro)) - set(letters.values())
    known[""] = {name for place in plain for name in names_in(place)}
    wrong = []
    for row in rows_of(page):
        named = NAMED.findall(row)
        if not named or any(name not in known.get(letter, ()) for letter, name in named):
            wrong.append(row)
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_row_of_a_fidelity_page_names_tests_that_exist(path: Path) -> None:
    page = path.read_text(encoding="utf-8")

    assert len(rows_of(page)) > 10
    assert wrong_in(page) == []


def test_each_part_that_is_simulated_has_its_page() -> None:
    assert [path.stem for path in PAGES] == ["bus", "http", "peers", "postgresql", "redis"]


HEAD = (
    "Cases of `tests/contract/test_bus.py`; (M) stands for `tests/unit/bus/test_memory_log.py`.\n\n"
    "| in memory | test |\n|---|---|\n"
)


@pytest.mark.parametrize(
    "row",
    [
        "| it is said | and nothing shows it |",
        "| it was there | `test_of_yesterday` |",
        "| it stands elsewhere | (M) `test_a_new_group_starts_where_it_says` |",
        "| its letter is unknown | (X) `test_a_new_group_starts_where_it_says` |",
    ],
)
def test_a_row_that_shows_nothing_is_noticed(row: str) -> None:
    good = "| it is shown | `test_a_new_group_starts_where_it_says` |"

    assert wrong_in(f"{HEAD}{good}\n{row}\n") == [row]
