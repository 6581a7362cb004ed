"""The reference pages say what the code says."""

from lab.cli.exit_codes import MEANINGS, ExitCode
from lab.cli.reference import FOLDER, pages


def test_the_reference_pages_have_not_drifted() -> None:
    made = pages()

    stale = [
        name
        for name, text in made.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text("utf-8") != text
    ]

    assert stale == [], "write them again: python -m lab.cli.reference"
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(made)


def test_every_exit_code_is_explained() -> None:
    assert list(MEANINGS) == list(ExitCode)
