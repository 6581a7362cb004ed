"""What is known about survivors: a table of mutants that change nothing, each with its reason.

Not here: blind spots. A survivor that a promise should see stays on the list until one does.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tests.hunt.mutants import Mutant

TABLE: Final = Path(__file__).with_name("equivalents.toml")


@cache
def reasons() -> Mapping[str, str]:
    """The reason by the key of a mutant; in one that ends with `*` each `*` stands for any text."""
    with TABLE.open("rb") as file:
        table = tomllib.load(file)
    return {key: each["reason"] for each in table["equivalent"] for key in each["mutants"]}


def reason_for(key: str) -> str:
    """Why the mutant changes nothing; "" if nobody said so."""
    known = reasons()
    if key in known:
        return known[key]
    return next((why for row, why in known.items() if row.endswith("*") and _fits(key, row)), "")


def outlived(mutants: Sequence[Mutant]) -> list[str]:
    """Rows that no mutant fits any more."""
    keys = [mutant.key for mutant in mutants]
    known = set(keys)
    return [
        row
        for row in reasons()
        if row not in known and not (row.endswith("*") and any(_fits(key, row) for key in keys))
    ]


def _fits(key: str, row: str) -> bool:
    begin, *parts = row.split("*")
    if not key.startswith(begin):
        return False
    at = len(begin)
    for part in parts:
        found = key.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True
