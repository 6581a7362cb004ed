"""The pages of `docs/explanation/` show what their commands print."""

from pathlib import Path

import pytest

from tests.cli.examples import TOP, Reader, examples_of, is_shown

PAGES = sorted((TOP / "docs" / "explanation").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    examples = examples_of(page.read_text(encoding="utf-8"))
    assert examples, "a page without an example explains nothing"

    for example in examples:
        printed = reader.types(example.script)
        assert is_shown(example.shown, printed), f"{example.script}\nprints\n{printed}"


PRINTED = "verdict PASS  seed 1\none two three\nfour\nfive\n"


@pytest.mark.parametrize(
    "shown", ["one two three\n", "one ... three\nfour\n", "verdict...1\n...\nfive\n", PRINTED]
)
def test_a_part_of_the_output_is_known_as_such(shown: str) -> None:
    assert is_shown(shown, PRINTED)


@pytest.mark.parametrize(
    "shown", ["two three\n", "one two\n", "four\none ...\n", "one ...\nfive\n", "six\n"]
)
def test_what_was_not_printed_so_is_noticed(shown: str) -> None:
    assert not is_shown(shown, PRINTED)


def test_an_example_that_shows_nothing_is_noticed() -> None:
    with pytest.raises(AssertionError, match="lab list"):
        examples_of("Look:\n\n```sh\nlab list\n```\n\nand so on.\n")


def test_a_command_that_is_refused_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no-such-scenario"):
        Reader(tmp_path).types("lab run no-such-scenario")
