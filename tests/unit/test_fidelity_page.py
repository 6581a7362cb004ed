"""The page on what the memory bus simplifies names only cases that exist, one at least a row."""

import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def test_every_row_of_the_fidelity_page_names_tests_that_exist() -> None:
    page = (TOP / "docs" / "fidelity.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", sources))
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"no test in the row: {row}"
        assert set(named) <= defined, f"no such test: {set(named) - defined}"
